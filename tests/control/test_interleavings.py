"""Two workers on PostgreSQL never order twice for one host, whatever its owner does meanwhile."""

from __future__ import annotations

import random
import threading
import traceback
from collections import Counter

import pytest

from control import registry
from control.claims import claim
from control.ports import PortError
from control.provisioning import provision
from control.reconcile import reconcile
from control.registry import NoSuchHost, Wish
from tests.control.conftest import TEST, House

NAMES = [f"h{number}.acme.test" for number in range(4)]


def owner(house: House, rng: random.Random, name: str) -> None:
    """One deed of an owner; those that make no sense now are refused and change nothing."""
    deed = rng.choice(("create", "create", "delete", "renew", "disable", "enable"))
    try:
        if deed == "create":
            registry.put(house.plane, name, Wish(), TEST)
        elif deed == "delete":
            registry.delete(house.plane, name, TEST)
        elif deed == "renew":
            registry.renew(house.plane, name, TEST)
        else:
            registry.change(house.plane, name, Wish(enabled=deed == "enable"), TEST)
    except NoSuchHost:
        return


def work(house: House, worker: str, stop: threading.Event, faults: list[Exception]) -> None:
    """What a worker does, without its pauses."""
    while not stop.is_set():
        for held in claim(house.plane.database, worker, house.clock(), 2):
            try:
                provision(house.plane, held)
            except Exception as problem:
                problem.add_note(traceback.format_exc())
                faults.append(problem)


def interleave(house: House, seed: int, deeds: int) -> None:
    """Random deeds against two workers; then everything must come to rest in the right state."""
    rng = random.Random(seed)
    stop, faults = threading.Event(), list[Exception]()
    workers = [
        threading.Thread(target=work, args=(house, name, stop, faults)) for name in ("one", "two")
    ]
    for thread in workers:
        thread.start()
    for _ in range(deeds):
        owner(house, rng, rng.choice(NAMES))
        house.clock.forward(seconds=0.01)
        if rng.random() < 0.5:
            stop.wait(rng.random() * 0.02)
    stop.set()
    for thread in workers:
        thread.join(30)
    assert not faults, f"seed {seed}: {faults[0].__notes__}"
    settle(house)
    judge(house, seed)


def settle(house: House) -> None:
    """Let what is left be done."""
    for _ in range(10):
        house.clock.forward(seconds=40)
        try:
            reconcile(house.plane)
        except PortError:
            continue
        if not house.work():
            return


def judge(house: House, seed: int) -> None:
    """No two orders for one certificate, and the copy is what the truth says."""
    from control.models import Event, Order, VirtualHost

    with house.plane.database.reading() as session:
        hosts = {host.hostname: host for host in session.query(VirtualHost)}
        orders_left = session.query(Order).count()
        wanted = Counter(
            event.hostname
            for event in session.query(Event)
            if event.kind in ("created", "renewal_requested")
        )
        for host in hosts.values():
            _ = host.certificate
    ordered = Counter(name for method, name in house.authority.asked if method == "new_order")
    assert orders_left == 0, f"seed {seed}"
    for name, host in hosts.items():
        assert ordered[name] <= wanted[name], f"seed {seed}: {name} ordered more often than asked"
        state = house.store.state(name)
        if host.deleted_at is not None:
            assert state in ("deleted", None), f"seed {seed}"
            assert host.certificate is None, f"seed {seed}"
        else:
            assert host.status == "ready", f"seed {seed}: {host.error}"
            assert state == ("active" if host.enabled else "disabled"), f"seed {seed}"


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_two_workers_never_order_twice(house: House) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    interleave(house, seed, deeds=60)
