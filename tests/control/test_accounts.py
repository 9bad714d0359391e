"""A new key for our account, a certificate revoked: on request, and safe to cut off half way."""

from __future__ import annotations

import threading

import pytest

from control import accounts, ports
from control.models import Account
from control.ports import AuthorityError
from control.registry import NoSuchHost
from control.worker import Worker
from deploy.process import wait_until
from tests.control.conftest import TEST, House

NAME = "mail.acme.test"


def sealed(house: House) -> tuple[str, str | None]:
    """What is stored of the account's keys."""
    with house.plane.database.reading() as session:
        stored = session.get_one(Account, house.authority.directory_url)
        return stored.sealed_key, stored.sealed_next_key


def test_after_a_rollover_orders_are_signed_by_the_new_key(house: House) -> None:
    house.add()
    house.work()
    before, _ = sealed(house)
    uri = accounts.roll_over(house.plane, house.authority.directory_url, TEST)
    after, following = sealed(house)
    assert (after != before, following) == (True, None)
    house.add("next.acme.test")
    house.work()
    assert house.host("next.acme.test").status == "ready"
    assert uri
    assert house.authority.count("register") == 1


def test_a_rollover_that_is_cut_off_goes_on_with_the_key_that_the_ca_has(house: House) -> None:
    house.add()
    house.work()
    house.authority.refuse("roll_over", AuthorityError("ca_unreachable", "cut off"))
    with pytest.raises(AuthorityError):
        accounts.roll_over(house.plane, house.authority.directory_url, TEST)
    _, following = sealed(house)
    assert following
    accounts.roll_over(house.plane, house.authority.directory_url, TEST)
    assert sealed(house) == (following, None)


def test_a_rollover_that_was_cut_off_after_the_ca_took_the_key_is_ended_by_a_worker(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.add()
    house.work()
    real = house.authority.roll_over

    def lost(account: ports.Account, new_key: bytes) -> ports.Account:
        real(account, new_key)
        raise AuthorityError("ca_unreachable", "the answer is lost, and then we die")

    with monkeypatch.context() as once:
        once.setattr(house.authority, "roll_over", lost)
        with pytest.raises(AuthorityError):
            accounts.roll_over(house.plane, house.authority.directory_url, TEST)
    _, following = sealed(house)
    assert following
    house.add("next.acme.test")
    worker = Worker(house.plane, 2)
    thread = threading.Thread(target=worker.run)
    thread.start()
    wait_until(lambda: house.host("next.acme.test").status == "ready", 20, "served")
    worker.stop()
    thread.join()
    assert sealed(house) == (following, None)
    assert house.authority.count("register") == 1, "with the account that it had"


def test_where_no_rollover_was_cut_off_the_ca_is_not_asked(house: House) -> None:
    house.add()
    house.work()
    accounts.finish(house.plane, TEST)
    assert house.authority.count("roll_over") == 0


def test_a_revoked_certificate_is_replaced_by_another_with_another_key(house: House) -> None:
    house.add()
    house.work()
    before = house.host().certificate
    assert before
    sha256 = accounts.revoke(house.plane, NAME, accounts.REVOCATION_REASONS["superseded"], TEST)
    assert sha256 == before.sha256
    assert house.authority.revoked == {int(before.serial, 16)}
    house.work()
    after = house.host().certificate
    assert after
    assert (after.sha256 != before.sha256, after.spki != before.spki) == (True, True)
    assert "certificate_revoked" in house.events()


def test_what_is_not_there_is_not_revoked(house: House) -> None:
    with pytest.raises(NoSuchHost):
        accounts.revoke(house.plane, "nobody.acme.test", 0, TEST)
    house.add()
    with pytest.raises(accounts.NothingToRevoke):
        accounts.revoke(house.plane, NAME, 0, TEST)
