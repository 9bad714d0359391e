"""The rate-limit ledger: at most 80 % of what a CA publishes, and never more than it would allow."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control import limits

START = datetime(2026, 11, 20, tzinfo=UTC)
LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"
SECOND = timedelta(seconds=1)


def order(
    hostname: str, kind: str = limits.NEW, directory: str = LETS_ENCRYPT
) -> tuple[limits.Charge, ...]:
    """What an order by the one account of these tests draws on."""
    return limits.order_charges(directory, "https://ca.example/acct/1", hostname, kind)


def test_an_untouched_bucket_admits_now() -> None:
    assert limits.earliest(order("mail.acme.example"), {}, START) == START


def test_four_of_five_certificates_of_one_name_a_week_then_one_every_42_hours() -> None:
    levels: dict[str, datetime] = {}
    charges = order("mail.acme.example", limits.SAME_SET)
    for _ in range(4):
        assert limits.earliest(charges, levels, START) == START
        levels |= limits.spend(charges, levels, START)
    assert limits.earliest(charges, levels, START) == START + timedelta(days=7) / 4


def test_240_of_300_orders_at_once_and_180_where_nobody_waits() -> None:
    for share, expected in ((limits.SHARE, 240), (limits.BULK_SHARE, 180)):
        levels: dict[str, datetime] = {}
        made = 0
        while limits.earliest(order(f"m.d{made}.example"), levels, START, share=share) == START:
            levels |= limits.spend(order(f"m.d{made}.example"), levels, START)
            made += 1
        assert made == expected


def test_forty_new_names_of_one_registered_domain_and_another_domain_is_not_held_up() -> None:
    levels: dict[str, datetime] = {}
    made = 0
    while limits.earliest(order(f"m{made}.shop.acme.co.uk"), levels, START) == START:
        levels |= limits.spend(order(f"m{made}.shop.acme.co.uk"), levels, START)
        made += 1
    assert made == 40
    assert limits.earliest(order("mail.globex.co.uk"), levels, START) == START


def test_renewals_spare_what_the_ca_spares() -> None:
    def names(kind: str) -> set[str]:
        return {charge.limit.name for charge in order("mail.acme.example", kind)}

    every = {"new_orders", "certificates_per_domain", "certificates_per_set"}
    assert names(limits.NEW) == every
    assert names(limits.SAME_SET) == {"certificates_per_set"}
    assert names(limits.REPLACEMENT) == set()


def test_failed_validations_hold_a_name_back_after_four_an_hour() -> None:
    levels: dict[str, datetime] = {}
    failed = limits.failure_charges(LETS_ENCRYPT, "acct", "broken.acme.example")
    for _ in range(4):
        levels |= limits.spend(failed, levels, START)
    assert limits.earliest(failed, levels, START) == START + timedelta(minutes=15)
    other = limits.failure_charges(LETS_ENCRYPT, "acct", "fine.acme.example")
    assert limits.earliest(other, levels, START) == START


def test_a_ca_that_publishes_no_limits_has_none_unless_the_operator_says_so() -> None:
    directory = "https://127.0.0.1:14000/dir"
    assert order("mail.acme.test", directory=directory) == ()
    own = {directory: (limits.Limit("new_orders", 10, timedelta(hours=1), "account"),)}
    assert len(limits.order_charges(directory, "acct", "mail.acme.test", limits.NEW, own)) == 1


@pytest.mark.parametrize(
    ("hostname", "domain"),
    [
        ("mail.acme.example", "acme.example"),
        ("a.b.c.acme.co.uk", "acme.co.uk"),
        ("mail.tenant.github.io", "tenant.github.io"),
        ("xn--bro-hoa.example", "xn--bro-hoa.example"),
        ("co.uk", "co.uk"),
        ("mail.provider.test", "provider.test"),
    ],
)
def test_names_are_counted_under_their_registered_domain(hostname: str, domain: str) -> None:
    assert limits.registered_domain(hostname) == domain


@given(st.lists(st.integers(0, 7200), min_size=1, max_size=80), st.integers(1, 40))
def test_the_ca_s_own_bucket_never_runs_dry(gaps: list[int], amount: int) -> None:
    limit = limits.Limit("any", amount, timedelta(hours=3), "account")
    charge = (limits.Charge("k", limit),)
    levels: dict[str, datetime] = {}
    now, theirs, seen = START, float(amount), START
    for gap in gaps:
        now = limits.earliest(charge, levels, now + gap * SECOND)
        levels |= limits.spend(charge, levels, now)
        refill = (now - seen) / limit.period * amount
        theirs, seen = min(amount, theirs + refill) - 1, now
        assert theirs >= -1e-6


def test_an_operator_s_limits_hold_for_the_ca_in_use_and_every_order_counts() -> None:
    other = "https://ca.example/directory"
    known = limits.table(other, "new_orders=10/3h, failed_validations=2/1d")
    charges = limits.order_charges(other, "acct", "mail.acme.example", limits.SAME_SET, known)
    assert [(c.limit.name, c.limit.amount, c.limit.period) for c in charges] == [
        ("new_orders", 10, timedelta(hours=3))
    ]
    (failure,) = limits.failure_charges(other, "acct", "mail.acme.example", known)
    assert failure.limit.period == timedelta(days=1)
    assert known[LETS_ENCRYPT] == limits.PUBLISHED[LETS_ENCRYPT], "another CA keeps its own"


def test_an_override_that_the_ca_granted_replaces_one_limit_and_spares_the_same_orders() -> None:
    known = limits.table(LETS_ENCRYPT, "new_orders=3000/3h")[LETS_ENCRYPT]
    published = {limit.name: limit for limit in limits.PUBLISHED[LETS_ENCRYPT]}
    granted = {limit.name: limit for limit in known}
    assert granted["new_orders"] == replace(published["new_orders"], amount=3000)
    del granted["new_orders"], published["new_orders"]
    assert granted == published


@pytest.mark.parametrize("text", ["new_orders", "new_orders=300", "orders=3/1h", "new_orders=0/1h"])
def test_what_is_no_limit_is_refused_with_how_to_write_it(text: str) -> None:
    with pytest.raises(ValueError, match="new_orders"):
        limits.parse(text)
