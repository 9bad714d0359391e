"""A CA that stays down: the second is tried, never mixed within one order; its return makes all due."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from control.models import Account
from control.ports import AuthorityError
from tests.control.conftest import House
from tests.fakes.authority import FakeAuthority

NAME = "mail.acme.test"
FIRST = "https://fake-ca.test/directory"
SECOND = "https://second-ca.test/directory"
AWAY = AuthorityError("ca_unreachable", "no route")
METHODS = ("register", "new_order", "fetch_order", "answer", "finalize", "download")


@pytest.fixture
def second(house: House) -> FakeAuthority:
    """The second CA; the house knows both."""
    second = FakeAuthority(
        look=house.store.look, directory_url=SECOND, issuer=house.authority.issuer
    )
    both = {FIRST: house.authority, SECOND: second}
    settings = replace(house.plane.settings, acme_fallback_directory_url=SECOND)
    house.plane = replace(house.plane, settings=settings, authority=lambda url: both[url])
    return second


def go_away(authority: FakeAuthority) -> None:
    """From now on the CA does not answer."""
    for method in METHODS:
        authority.refuse(method, AWAY, times=10_000)


def come_back(authority: FakeAuthority) -> None:
    """It answers again."""
    for method in METHODS:
        authority._refusals[method].clear()


def pass_minutes(house: House, minutes: int) -> None:
    """Let time pass with a worker at work."""
    for _ in range(minutes * 2):
        house.clock.forward(seconds=30)
        house.work()


def down_since(house: House) -> object:
    """What is remembered of the first CA."""
    with house.plane.database.reading() as session:
        return session.get_one(Account, FIRST).down_since


def test_a_new_host_goes_to_the_second_ca_after_a_quarter_of_an_hour(
    house: House, second: FakeAuthority
) -> None:
    go_away(house.authority)
    house.add()
    pass_minutes(house, 13)
    assert second.count("new_order") == 0
    pass_minutes(house, 10)
    host = house.host()
    assert host.status == "ready"
    assert host.certificate
    assert host.certificate.directory_url == SECOND


def test_a_new_host_does_not_wait_for_as_long_as_the_first_ca_asks_when_there_is_a_second(
    house: House, second: FakeAuthority
) -> None:
    busy = AuthorityError("ca_unavailable", "busy", not_before=house.clock() + timedelta(hours=3))
    house.authority.refuse("new_order", busy, times=10_000)
    house.add()
    house.work()
    house.add("pop.acme.test")
    pass_minutes(house, 13)
    assert (house.authority.count("new_order"), second.count("new_order")) == (1, 0)
    pass_minutes(house, 4)
    assert {house.host(name).status for name in (NAME, "pop.acme.test")} == {"ready"}
    assert (house.authority.count("new_order"), second.count("new_order")) == (1, 2)


def test_what_the_second_ca_asks_for_is_obeyed(house: House, second: FakeAuthority) -> None:
    go_away(house.authority)
    until = house.clock() + timedelta(hours=3)
    busy = AuthorityError("ca_unavailable", "busy", not_before=until)
    second.refuse("new_order", busy, times=10_000)
    house.add()
    pass_minutes(house, 120)
    assert second.count("new_order") == 1


def test_an_order_made_at_the_first_ca_is_not_continued_at_the_second(
    house: House, second: FakeAuthority
) -> None:
    house.authority.refuse("answer", AWAY)
    house.add()
    house.work()
    order = house.host().order
    assert order
    assert (order.directory_url, bool(order.url)) == (FIRST, True)
    go_away(house.authority)
    pass_minutes(house, 25)
    assert house.host().status == "ready"
    assert second.count("fetch_order") == 0
    assert (second.count("new_order"), house.authority.count("new_order")) == (1, 1)


def test_the_first_ca_s_return_is_noticed_and_makes_those_due_who_waited(house: House) -> None:
    house.add()
    house.work()
    go_away(house.authority)
    waiting = [f"w{number}.acme.test" for number in range(5)]
    for name in waiting:
        house.add(name)
    pass_minutes(house, 300)
    assert down_since(house)
    come_back(house.authority)
    due = {house.host(name).due_at for name in waiting}
    assert max(due) > house.clock() + timedelta(minutes=5)
    house.clock.moment = min(due)
    house.work()
    assert down_since(house) is None
    assert {house.host(name).status for name in waiting} == {"ready"}


def test_while_one_ca_is_down_for_hours_a_host_asks_at_most_hourly(house: House) -> None:
    house.add()
    go_away(house.authority)
    pass_minutes(house, 600)
    before = len(house.authority.asked)
    pass_minutes(house, 120)
    assert 1 <= len(house.authority.asked) - before <= 3


def test_after_the_first_ca_is_back_new_orders_go_there_again(
    house: House, second: FakeAuthority
) -> None:
    go_away(house.authority)
    house.add()
    pass_minutes(house, 25)
    come_back(house.authority)
    since = down_since(house)
    assert isinstance(since, datetime)
    house.clock.moment = since + timedelta(hours=2, minutes=30)
    house.add("between.acme.test")
    house.work()
    house.clock.moment = since + timedelta(hours=3, seconds=10)
    house.add("later.acme.test")
    house.work()
    assert down_since(house) is None
    house.add("latest.acme.test")
    house.work()
    asked = [house.host(f"{name}.acme.test").certificate for name in ("between", "later", "latest")]
    assert [one.directory_url for one in asked if one] == [SECOND, FIRST, FIRST]


def test_the_second_ca_is_not_told_of_the_external_account_at_the_first(
    house: House, second: FakeAuthority
) -> None:
    settings = replace(house.plane.settings, acme_eab_kid="kid", acme_eab_hmac_key="c2VjcmV0")
    house.plane = replace(house.plane, settings=settings)
    go_away(house.authority)
    house.add()
    pass_minutes(house, 25)
    assert house.host().status == "ready"
    assert {binding.kid for binding in house.authority.bindings if binding} == {"kid"}
    assert second.bindings == [None]
