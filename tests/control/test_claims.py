"""Who works on what: one claim at a time, leases that end, and nothing written after one is lost."""

from __future__ import annotations

import os
import threading
from datetime import timedelta

import pytest

from control.claims import (
    LEASE,
    Lost,
    claim,
    free_dead,
    hasten,
    keep,
    owned,
    release,
    turns_due,
)
from control.models import VirtualHost
from control.worker import identity, is_dead
from tests.control.conftest import House, both_databases


@both_databases
def test_a_claimed_host_is_nobody_elses(house: House) -> None:
    house.add()
    now = house.clock()
    assert turns_due(house.plane.database, now)
    assert [c.hostname for c in claim(house.plane.database, "one", now, 5)] == ["mail.acme.test"]
    assert claim(house.plane.database, "two", now, 5) == []
    assert not turns_due(house.plane.database, now)


@both_databases
def test_many_workers_share_without_overlap(house: House) -> None:
    for number in range(40):
        house.add(f"h{number}.acme.test")
    taken: list[str] = []
    lock = threading.Lock()

    def work() -> None:
        while claimed := claim(house.plane.database, "w", house.clock(), 3):
            with lock:
                taken.extend(c.hostname for c in claimed)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == len(set(taken)) == 40


def test_the_longest_waiting_comes_first(house: House) -> None:
    for name in ("a.test.example", "b.test.example", "c.test.example"):
        house.add(name)
        house.clock.forward(seconds=1)
    order = [claim(house.plane.database, "w", house.clock(), 1)[0].hostname for _ in range(3)]
    assert order == ["a.test.example", "b.test.example", "c.test.example"]


@both_databases
def test_a_certificate_about_to_end_comes_before_new_hosts_that_wait_longer(house: House) -> None:
    house.add("old.acme.test")
    house.work()
    house.clock.forward(days=89.5)
    for number in range(5):
        house.add(f"new{number}.acme.test")
    house.clock.forward(seconds=1)
    with house.plane.database.writing() as session:
        session.query(VirtualHost).filter_by(hostname="old.acme.test").one().due_at = house.clock()
    first, *others = claim(house.plane.database, "w", house.clock(), 3)
    assert first.hostname == "old.acme.test"
    assert [held.hostname for held in others] == ["new0.acme.test", "new1.acme.test"]


def due_with(house: House, hostname: str, days_left: float, *, moved: bool = False) -> None:
    """The host has a certificate of 90 days with so many left, and has just become due."""
    with house.plane.database.writing() as session:
        host = session.query(VirtualHost).filter_by(hostname=hostname).one()
        assert host.certificate
        host.certificate.not_after = house.clock() + timedelta(days=days_left)
        host.certificate.not_before = host.certificate.not_after - timedelta(days=90)
        host.moved_since = house.clock() - timedelta(days=30) if moved else None
        host.due_at = house.clock()
    house.clock.forward(seconds=1)


def order_of_claims(house: House) -> list[str]:
    """Who is claimed, one at a time: the first label of each hostname."""
    order = []
    while claimed := claim(house.plane.database, "w", house.clock(), 1):
        order.append(claimed[0].hostname.split(".")[0])
    return order


@both_databases
def test_ending_certificates_come_first_then_ended_ones_new_hosts_and_other_renewals(
    house: House,
) -> None:
    days_left = {"other": 29.0, "dead": -40.0, "ended": -1.0, "late": 3.0, "soon": 14.0}
    for name in (*days_left, "moved"):
        house.add(f"{name}.acme.test")
    house.work()
    due_with(house, "moved.acme.test", -1.0, moved=True)
    for name, left in days_left.items():
        due_with(house, f"{name}.acme.test", left)
    house.add("new.acme.test")
    expected = ["late", "soon", "dead", "ended", "new", "moved", "other"]
    assert order_of_claims(house) == expected, "within a turn, the longest waiting first"


@both_databases
def test_who_waits_until_its_certificate_is_about_to_end_moves_to_the_front(house: House) -> None:
    for name in ("first", "second", "moved"):
        house.add(f"{name}.acme.test")
    house.work()
    due_with(house, "moved.acme.test", 29, moved=True)
    due_with(house, "first.acme.test", 88)
    due_with(house, "second.acme.test", 29)
    house.add("new.acme.test")
    house.clock.forward(minutes=2)
    assert hasten(house.plane.database, house.clock()) == 0
    house.clock.forward(days=20)
    assert hasten(house.plane.database, house.clock()) == 1
    assert hasten(house.plane.database, house.clock()) == 0, "it was moved before"
    assert order_of_claims(house) == ["second", "new", "moved", "first"]


def test_a_lease_that_ended_may_be_taken_and_its_former_holder_writes_nothing(house: House) -> None:
    house.add()
    former = house.take()
    house.clock.forward(seconds=LEASE.total_seconds() + 1)
    house.take()
    with pytest.raises(Lost), owned(house.plane.database, former):
        pass
    release(house.plane.database, former)
    assert claim(house.plane.database, "three", house.clock(), 1) == []


def test_a_lease_that_is_kept_does_not_end(house: House) -> None:
    house.add()
    held = house.take()
    house.clock.forward(seconds=20)
    keep(house.plane.database, {held.lease}, house.clock())
    house.clock.forward(seconds=20)
    assert claim(house.plane.database, "two", house.clock(), 1) == []


def test_what_a_dead_process_held_is_free_at_once(house: House) -> None:
    house.add()
    machine, _, _, unique = identity().split("/")
    dead = f"{machine}/{2**22 + 1}/1/{unique}"
    claim(house.plane.database, dead, house.clock(), 1)
    free_dead(house.plane.database, is_dead)
    assert len(claim(house.plane.database, identity(), house.clock(), 1)) == 1
    assert free_dead(house.plane.database, is_dead) == [], "we live"


def test_a_process_of_another_machine_is_not_judged() -> None:
    assert not is_dead("other-machine/1/1/abc")
    assert not is_dead("nonsense")
    machine, pid, started, unique = identity().split("/")
    assert pid == str(os.getpid())
    assert is_dead(f"{machine}/{pid}/{int(started) - 1}/{unique}"), "the pid was used again"


def test_a_released_host_that_is_not_due_is_left_alone(house: House) -> None:
    house.add()
    held = house.take()
    with owned(house.plane.database, held) as (_, host):
        host.due_at = house.clock() + timedelta(hours=1)
    release(house.plane.database, held)
    assert claim(house.plane.database, "two", house.clock(), 1) == []
