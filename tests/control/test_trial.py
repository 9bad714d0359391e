"""A CA is tried before it is used: directory, account, terms; nothing is made there."""

from __future__ import annotations

from dataclasses import replace

from control import trial
from control.adapters.acme_authority import AcmeAuthority
from control.ports import AuthorityError
from tests.conftest import Pebble
from tests.control.conftest import House

CHECKS = ("directory", "account", "terms")


def verdicts(house: House) -> dict[str, tuple[str, str | None]]:
    """Verdict and reason of each check."""
    checks = trial.examine(house.plane, house.authority.directory_url)
    return {check.check: (check.verdict, check.reason) for check in checks}


def test_a_new_ca_is_in_order_before_there_is_an_account(house: House) -> None:
    assert verdicts(house) == dict.fromkeys(CHECKS, ("pass", None))
    assert house.authority.count("register") == 0


def test_our_account_is_found_with_its_key_and_named(house: House) -> None:
    house.add()
    house.work()
    _, account, _ = trial.examine(house.plane, house.authority.directory_url)
    assert account.evidence.startswith(f"{house.authority.directory_url}/account/")


def test_an_account_that_the_ca_has_lost_is_said(house: House) -> None:
    house.add()
    house.work()
    house.authority.forget_accounts()
    assert verdicts(house)["account"] == ("warn", "account_unknown")


def test_a_ca_that_wants_an_external_account_names_what_is_missing(house: House) -> None:
    house.authority.external_account_required = True
    assert verdicts(house)["account"] == ("fail", "eab_required")
    settings = replace(house.plane.settings, acme_eab_kid="kid", acme_eab_hmac_key="c2VjcmV0")
    bound = replace(house, plane=replace(house.plane, settings=settings))
    assert verdicts(bound)["account"] == ("pass", None)


def test_a_ca_that_does_not_answer_is_told_by_its_reason_and_what_to_do(house: House) -> None:
    house.authority.refuse("find_account", AuthorityError("ca_unreachable", "connection refused"))
    (check,) = trial.examine(house.plane, house.authority.directory_url)
    assert (check.check, check.verdict, check.reason) == ("directory", "fail", "ca_unreachable")
    assert check.evidence == "connection refused"
    assert check.fix


def test_a_real_pebble_passes_with_the_bundle_that_its_orders_use(
    house: House, pebble: Pebble
) -> None:
    bundle = str(pebble.ca_bundle)
    plane = replace(house.plane, authority=lambda url: AcmeAuthority(url, ca_bundle=bundle))
    checks = trial.examine(plane, pebble.directory_url)
    assert [(check.check, check.verdict) for check in checks] == [(c, "pass") for c in CHECKS]

    stranger = replace(house.plane, authority=AcmeAuthority)
    (check,) = trial.examine(stranger, pebble.directory_url)
    assert check.reason == "ca_untrusted"
