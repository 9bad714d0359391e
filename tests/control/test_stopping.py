"""SIGTERM to a busy worker: no order is abandoned half way, none is made twice, and it does end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Sequence
from pathlib import Path

from control.claims import free_dead
from control.ports import Account, Challenge, Order
from control.worker import Worker
from deploy.process import wait_until
from tests.control.conftest import House
from tests.control.running import installation

HOSTS = 20


def test_a_worker_that_is_stopped_ends_the_orders_under_way_and_begins_no_other(
    tmp_path: Path,
) -> None:
    with installation(tmp_path) as running:
        running.ca.pause = 0.05
        running.add(*(f"h{number}.acme.test" for number in range(HOSTS)))
        worker = running.worker()
        wait_until(lambda: running.ca.count("newOrder") >= 4, 30, "orders are under way")
        worker.signal(signal.SIGTERM)
        assert worker.running is not None
        assert worker.running.wait(60) == 0
        ordered = running.ca.count("newOrder")
        assert ordered < HOSTS, "it went on with what was not begun"
        assert running.orders_under_way() == 0
        assert running.certificates() == ordered, "an order was abandoned"
        running.worker()
        running.all_ready()
        running.no_orphans()
        assert running.ca.count("newOrder") == HOSTS, "each was ordered once"


def test_an_order_whose_ca_does_not_answer_does_not_hold_up_the_end(
    house: House,
) -> None:
    asked, answers = threading.Event(), threading.Event()
    real = house.authority.challenges

    def slow(account: Account, order: Order) -> Sequence[Challenge]:
        asked.set()
        answers.wait(60)
        return real(account, order)

    house.authority.challenges = slow  # type: ignore[method-assign]
    house.add()
    worker = Worker(house.plane, 1, patience=0.1)
    left: list[int] = []
    thread = threading.Thread(target=lambda: left.append(worker.run()))
    thread.start()
    assert asked.wait(20)
    worker.stop()
    thread.join(20)
    assert left == [1], "it says that one is left to the next worker"
    answers.set()
    wait_until(lambda: house.host().lease is None, 20, "its thread has ended")
    free_dead(house.plane.database, lambda _: True)
    house.work()
    assert house.host().status == "ready"
    assert house.authority.count("new_order") == 1


def test_what_was_claimed_ahead_and_not_begun_is_free_at_once(house: House) -> None:
    answers = threading.Event()
    begun: list[str] = []
    real = house.authority.challenges

    def slow(account: Account, order: Order) -> Sequence[Challenge]:
        begun.append(order.url)
        answers.wait(60)
        return real(account, order)

    house.authority.challenges = slow  # type: ignore[method-assign]
    names = [f"h{number}.acme.test" for number in range(3)]
    for name in names:
        house.add(name)
    worker = Worker(house.plane, 2, patience=0.1)
    thread = threading.Thread(target=worker.run)
    thread.start()
    wait_until(lambda: len(begun) == 2, 20, "two are under way")
    wait_until(lambda: all(house.host(name).lease for name in names), 20, "all are claimed")
    worker.stop()
    thread.join(20)
    assert sum(house.host(name).lease is None for name in names) == 1
    answers.set()
    wait_until(lambda: not any(house.host(name).lease for name in names), 20, "threads have ended")
