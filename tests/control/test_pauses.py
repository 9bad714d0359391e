"""What a CA asks us to wait with: kept to the second by everybody whom it is meant for, and by nobody else."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from control import configuration, pauses, registry
from control.allowance import turn_after
from control.models import Pause, VirtualHost
from control.ports import AuthorityError, Problem
from control.urgency import ENDING, NEW
from tests.control.conftest import TEST, House, both_databases

NAME = "mail.acme.test"
OTHER = "mail.globex.test"
HOURS = timedelta(hours=2)
TOO_MANY = (
    "too many new orders (300) from this account in the last 3h0m0s, retry after 2026-11-20 "
    "12:00:00 UTC: see https://letsencrypt.org/docs/rate-limits/#new-orders-per-account"
)


def refuse(
    house: House, call: str = "new_order", words: str = TOO_MANY, times: int = 1
) -> datetime:
    """Let the CA refuse the next calls with a 429; until when it wants to be left alone."""
    until = house.clock() + HOURS
    problem = Problem("rateLimited", words)
    error = AuthorityError("ca_rate_limited", words, problem=problem, not_before=until)
    house.authority.refuse(call, error, times)
    return until


def assert_waits(house: House, hostname: str, until: datetime) -> None:
    """The host says why it waits, and until when: not earlier, and hardly later."""
    error = house.host(hostname).error
    assert error
    assert error["reason"] == "ca_rate_limited"
    assert until <= error["next_attempt_at"] <= until + pauses.SPREAD


@pytest.mark.parametrize("deed", [registry.retry, registry.renew], ids=["retry", "renew"])
def test_a_refused_host_does_not_ask_earlier_because_somebody_asks_us(
    house: House, deed: Callable[..., object]
) -> None:
    house.add()
    until = refuse(house)
    house.work()
    house.clock.forward(seconds=10)
    deed(house.plane, NAME, TEST)
    house.work()
    assert house.authority.count("new_order") == 1
    assert_waits(house, NAME, until)
    house.clock.moment = until - timedelta(seconds=1)
    house.work()
    assert house.authority.count("new_order") == 1
    house.clock.moment = until + pauses.SPREAD
    house.work()
    assert house.host().status == "ready"


@both_databases
def test_new_orders_of_others_wait_too_and_so_does_another_worker(house: House) -> None:
    house.add()
    until = refuse(house)
    house.work()
    house.add(OTHER)
    house.work()
    assert house.authority.asked.count(("new_order", OTHER)) == 0
    assert_waits(house, OTHER, until)
    house.clock.moment = until + pauses.SPREAD
    house.work()
    assert house.host(OTHER).status == "ready"
    with house.plane.database.reading() as session:
        assert session.query(Pause).filter(Pause.until > house.clock()).all() == []


@both_databases
def test_of_many_who_wait_for_a_pause_20_a_second_ask_one_after_the_other(house: House) -> None:
    house.add()
    until = refuse(house)
    house.work()
    step = timedelta(seconds=1) / 20
    for turn in range(300):
        assert waiting_turn(house) == until + turn * step
    house.add(OTHER)
    house.work()
    assert house.host(OTHER).next_attempt_at == until + 300 * step

    house.clock.moment = until + 300 * step
    later = refuse(house)
    house.work()
    turns = sorted(house.host(name).next_attempt_at or until for name in (NAME, OTHER))
    assert turns[0] == later, "the next pause has a queue of its own"


@both_databases
def test_who_is_more_urgent_does_not_wait_behind_the_many_that_are_not(house: House) -> None:
    house.add()
    until = refuse(house)
    house.work()
    for _ in range(100):
        waiting_turn(house)
    assert waiting_turn(house, ENDING) == until


def waiting_turn(house: House, urgency: int = NEW) -> datetime:
    """When one more host that waits for new orders is to ask again."""
    host = VirtualHost.create("mail.more.test", house.clock())
    host.urgency = urgency
    url, what = house.authority.directory_url, pauses.of_order(host.hostname, new=True)
    with house.plane.database.writing(lasting=False) as session:
        with pytest.raises(pauses.Paused) as paused:
            pauses.require_none(session, url, what, host.hostname, house.clock())
        return turn_after(paused.value, session, host)


def test_a_renewal_that_was_refused_is_not_ordered_because_settings_are_saved(house: House) -> None:
    house.add()
    house.work()
    certificate = house.host().certificate
    assert certificate
    house.clock.moment = certificate.renew_at or house.clock()
    until = refuse(house)
    house.work()
    configuration.configure(house.plane, {"renewal_threshold_days": 60}, TEST)
    house.work()
    assert house.authority.count("new_order") == 2
    assert (house.host().due_at or until) >= until
    house.clock.moment = until + pauses.SPREAD
    house.work()
    assert house.authority.count("new_order") == 3


def test_an_order_under_way_is_ended_while_new_ones_wait(house: House) -> None:
    house.add()
    house.authority.refuse("finalize", AuthorityError("ca_timeout", "no answer"))
    house.work(rounds=1)
    house.add(OTHER)
    refuse(house)
    house.work(rounds=1)
    house.clock.forward(minutes=1)
    house.work()
    assert house.host(NAME).status == "ready"
    assert house.host(OTHER).status == "failed"


@pytest.mark.parametrize(
    "words",
    [
        f'too many failed authorizations (5) for "{NAME}" in the last 1h0m0s',
        "too many certificates (5) already issued for this exact set of identifiers",
        f"slow down with {NAME}, please",
    ],
)
def test_a_limit_of_one_name_holds_up_nobody_else(house: House, words: str) -> None:
    house.add()
    until = refuse(house, words=words)
    house.work()
    house.add(OTHER)
    house.add("pop.acme.test")
    house.work()
    assert house.host(OTHER).status == house.host("pop.acme.test").status == "ready"
    registry.retry(house.plane, NAME, TEST)
    house.work()
    assert house.authority.asked.count(("new_order", NAME)) == 1
    assert_waits(house, NAME, until)


def test_a_limit_of_a_registered_domain_holds_up_its_names_and_no_others(house: House) -> None:
    house.add()
    until = refuse(house, words='too many certificates (50) already issued for "acme.test"')
    house.work()
    house.add(OTHER)
    house.add("pop.acme.test")
    house.work()
    assert house.host(OTHER).status == "ready"
    assert_waits(house, "pop.acme.test", until)


def test_what_is_said_of_an_order_under_way_is_meant_for_its_host(house: House) -> None:
    house.add()
    until = refuse(house, call="finalize")
    house.work()
    house.add(OTHER)
    house.work()
    assert house.host(OTHER).status == "ready"
    asked = len(house.authority.asked)
    registry.retry(house.plane, NAME, TEST)
    house.work()
    assert len(house.authority.asked) == asked
    assert_waits(house, NAME, until)


@pytest.mark.parametrize("call", ["register", "new_order"])
def test_a_ca_that_is_overloaded_is_left_alone_by_every_host_also_by_their_orders_under_way(
    house: House, call: str
) -> None:
    house.add(OTHER)
    house.authority.refuse("finalize", AuthorityError("ca_timeout", "no answer"))
    if call == "new_order":
        house.work(rounds=1)
    house.add()
    until = house.clock() + HOURS
    busy = AuthorityError("ca_unavailable", "busy", not_before=until)
    house.authority.refuse(call, busy)
    house.work(rounds=1)
    asked = len(house.authority.asked)
    house.add("pop.acme.test")
    house.clock.forward(minutes=5)
    house.work()
    assert len(house.authority.asked) == asked
    house.clock.moment = until + pauses.SPREAD
    house.work()
    assert {house.host(name).status for name in (NAME, OTHER, "pop.acme.test")} == {"ready"}


@pytest.mark.parametrize("reason", ["ca_rate_limited", "ca_unavailable"])
def test_questions_about_renewals_wait_as_well(house: House, reason: str) -> None:
    for name in (NAME, OTHER):
        house.add(name)
    house.work()
    first = min(host.due_at or house.clock() for host in map(house.host, (NAME, OTHER)))
    house.clock.moment = first + timedelta(hours=1)
    until = house.clock() + timedelta(days=1)
    house.authority.refuse("renewal_info", AuthorityError(reason, "busy", not_before=until))
    house.work()
    assert house.authority.count("renewal_info") == 1
    house.clock.moment = until - timedelta(seconds=1)
    house.work()
    assert house.authority.count("renewal_info") == 1
    house.clock.moment = until + pauses.SPREAD
    house.work()
    assert house.authority.count("renewal_info") == 3


def test_a_longer_pause_is_not_ended_by_a_shorter_one(house: House) -> None:
    error = {
        hours: AuthorityError(
            "ca_rate_limited", "429", not_before=house.clock() + timedelta(hours=hours)
        )
        for hours in (1, 3)
    }
    for hours in (3, 1):
        pauses.keep(house.plane, "https://ca.test", pauses.NEW_ORDERS, error[hours])
    house.clock.forward(hours=2)
    what = pauses.of_order(NAME, new=True)
    with house.plane.database.reading() as session, pytest.raises(pauses.Paused):
        pauses.require_none(session, "https://ca.test", what, NAME, house.clock())
    with house.plane.database.reading() as session:
        pauses.require_none(session, "https://other.test", what, NAME, house.clock())


@pytest.mark.parametrize(
    ("hostname", "words", "identifier", "what"),
    [
        (NAME, TOO_MANY, None, pauses.NEW_ORDERS),
        (NAME, "Rate limit exceeded", None, pauses.NEW_ORDERS),
        (NAME, "Rate limit exceeded", NAME, f"hostname {NAME}"),
        (NAME, f"{NAME}: too many", None, f"hostname {NAME}"),
        (NAME, f"too many of old.{NAME} and {NAME}.example", None, pauses.NEW_ORDERS),
        (NAME, "too many for acme.test, retry later", None, "domain acme.test"),
        ("acme.test", 'already issued for "acme.test"', None, "domain acme.test"),
        ("acme.test", "too many failed authorizations recently", None, "hostname acme.test"),
        ("mail.letsencrypt.org", TOO_MANY, None, pauses.NEW_ORDERS),
    ],
)
def test_the_ca_s_words_say_whom_a_limit_is_meant_for(
    hostname: str, words: str, identifier: str | None, what: str
) -> None:
    part = Problem("rateLimited", "one of several", identifier)
    problem = Problem("rateLimited", words, subproblems=(part,))
    error = AuthorityError("ca_rate_limited", words, problem=problem)
    assert pauses.meant(error, hostname, ordering=True) == what
    assert pauses.meant(error, hostname, ordering=False) == f"hostname {hostname}"
