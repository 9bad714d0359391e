"""Rate limits in the chain: held back with a reason and a time, nobody else delayed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from control import configuration, registry
from control.ports import AuthorityError, Problem
from tests.control.conftest import TEST, House, both_databases

LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"


@pytest.fixture
def limited(house: House) -> House:
    """A house whose CA publishes limits."""
    house.authority.directory_url = LETS_ENCRYPT
    settings = replace(house.plane.settings, acme_directory_url=LETS_ENCRYPT)
    house.plane = replace(house.plane, settings=settings)
    return house


@both_databases
def test_the_41st_new_name_of_a_registered_domain_waits_for_its_turn(limited: House) -> None:
    for number in range(41):
        limited.add(f"m{number}.shop.acme.co.uk")
    limited.add("mail.globex.co.uk")
    limited.work(rounds=20)
    waiting = [
        host
        for host in (limited.host(f"m{number}.shop.acme.co.uk") for number in range(41))
        if host.status != "ready"
    ]
    assert len(waiting) == 1
    assert waiting[0].error
    assert (waiting[0].error["reason"], waiting[0].error["actor"]) == ("limit_reserved", "nobody")
    assert limited.host("mail.globex.co.uk").status == "ready", "another domain is not held up"
    assert limited.authority.count("new_order") == 41

    until = waiting[0].next_attempt_at
    assert until
    assert until - limited.clock() <= timedelta(days=7) / 40
    limited.clock.moment = until
    limited.work()
    assert limited.host(waiting[0].hostname).status == "ready"


@both_databases
def test_who_waits_for_one_limit_asks_in_turn_and_once(house: House) -> None:
    configuration.configure(house.plane, {"acme_limits": "new_orders=50/1h"}, TEST)
    names = [f"mail.t{number}.test" for number in range(50)]
    for name in names:
        house.add(name)
    assert len(house.work(rounds=20)) == 50
    waiting = [host for host in map(house.host, names) if host.status != "ready"]
    turns = sorted(host.next_attempt_at or house.clock() for host in waiting)
    step = timedelta(hours=1) / 40
    assert turns == [house.clock() + number * step for number in range(1, 11)]

    for moment in turns:
        house.clock.moment = moment
        assert len(house.work()) == 1
    assert {house.host(name).status for name in names} == {"ready"}


def test_of_many_who_wait_for_one_limit_nobody_sleeps_for_more_than_an_hour(house: House) -> None:
    configuration.configure(house.plane, {"acme_limits": "new_orders=5/1h"}, TEST)
    names = [f"mail.t{number}.test" for number in range(20)]
    for name in names:
        house.add(name)
    house.work(rounds=20)
    for _ in range(4):
        waiting = [host for host in map(house.host, names) if host.status != "ready"]
        turns = [(host.next_attempt_at or house.clock()) - house.clock() for host in waiting]
        assert max(turns) <= timedelta(minutes=75), (
            "one quarter until there is room, one hour of turns"
        )
        house.clock.forward(hours=1)
        asked = house.work(rounds=20)
        assert all(asked.count(host.hostname) <= 1 for host in waiting)
    assert house.authority.count("new_order") == 4 + 16


def test_a_name_that_keeps_failing_is_held_back_whatever_the_operator_asks(limited: House) -> None:
    limited.add()
    problem = Problem("unauthorized", "404")
    failure = AuthorityError("port80_wrong_answer", "404", problem=problem)
    limited.authority.refuse("wait_ready", failure, times=99)
    for _ in range(8):
        limited.work()
        limited.authority.forget_orders()
        host = limited.host()
        if host.status == "failed":
            registry.retry(limited.plane, host.hostname, TEST)
    limited.work()
    host = limited.host()
    assert host.error
    assert host.error["reason"] == "limit_reserved"
    assert limited.authority.count("wait_ready") == 4


def test_the_same_certificate_is_issued_four_times_a_week_at_most(limited: House) -> None:
    limited.add()
    limited.work()
    for _ in range(8):
        registry.renew(limited.plane, "mail.acme.test", TEST)
        limited.work()
    assert limited.authority.count("new_order") == 4
    assert limited.host().status == "ready", "a renewal that waits leaves it served"


def test_limits_that_the_operator_gives_hold_at_a_ca_that_we_do_not_know(house: House) -> None:
    configuration.configure(house.plane, {"acme_limits": "new_orders=5/3h"}, TEST)
    for number in range(5):
        house.add(f"m{number}.d{number}.test")
    house.work()
    assert house.authority.count("new_order") == 4, "80 % of five"
    waiting = [house.host(f"m{n}.d{n}.test") for n in range(5)]
    (held,) = [host for host in waiting if host.status != "ready"]
    assert held.error
    assert held.error["reason"] == "limit_reserved"
    configuration.configure(house.plane, {"acme_limits": None}, TEST)
    house.work()
    assert house.host(held.hostname).status == "ready", "nobody waits for a limit that is gone"
