"""One tenant's names that fail, and fail slowly, leave threads to everybody else's."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest

from control import registry
from control.claims import Claim, claim, claim_others
from control.models import VirtualHost
from control.ports import Account, AuthorityError, Order
from control.seats import Seats
from control.worker import Worker
from deploy.process import wait_until
from tests.control.conftest import TEST, House, both_databases

SLOW = "slow.example"
THREADS = 8


class Verdicts:
    """A CA whose verdict on names below SLOW does not come until `given` is set, and then is no."""

    def __init__(self, house: House) -> None:
        self.given = threading.Event()
        self.waiting: set[str] = set()
        self._real = house.authority.wait_ready
        house.authority.wait_ready = self.wait_ready  # type: ignore[method-assign]

    def wait_ready(self, account: Account, order: Order, seconds: float = 90) -> Order:
        """See the port."""
        (hostname,) = order.hostnames
        if not hostname.endswith(SLOW):
            return self._real(account, order, seconds)
        self.waiting.add(hostname)
        self.given.wait(60)
        raise AuthorityError("validation_slow", "no verdict in 90 s")


@contextmanager
def working(house: House) -> Iterator[None]:
    """A worker at work."""
    worker = Worker(house.plane, THREADS)
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        yield
    finally:
        worker.stop()
        thread.join(60)


def seat(hostname: str, *, tried: bool = False) -> Claim:
    """A claimed host."""
    return Claim(1, hostname, "w/1", tried)


@pytest.mark.parametrize("threads", [4, 8, 16, 256])
def test_a_quarter_of_the_threads_is_kept_from_a_domain_whose_many_names_have_failed(
    threads: int,
) -> None:
    seats = Seats(threads)
    running: list[Claim] = []
    for tried, free in ((True, threads // 4), (False, threads // 8)):
        while seats.may_begin(seat(f"h{len(running)}.{SLOW}", tried=tried), running):
            running.append(seat(f"h{len(running)}.{SLOW}", tried=tried))
        assert threads - len(running) == max(free, 2 if tried else 1)
    assert not seats.may_begin(seat("tried.fine.example", tried=True), running)
    while seats.may_begin(seat(f"new.d{len(running)}.example"), running):
        running.append(seat(f"new.d{len(running)}.example"))
    assert len(running) == threads


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_few_threads_are_for_everybody(threads: int) -> None:
    running = [seat(f"h{number}.{SLOW}", tried=True) for number in range(threads - 1)]
    assert Seats(threads).may_begin(seat(SLOW, tried=True), running)


@pytest.mark.parametrize("tried", [False, True], ids=["never tried", "tried before"])
def test_another_tenant_s_host_is_ready_while_a_hundred_names_hold_up_their_threads(
    house: House, tried: bool
) -> None:
    verdicts = Verdicts(house)
    for number in range(100):
        house.add(f"h{number}.{SLOW}")
    with house.plane.database.writing() as session:
        session.query(VirtualHost).update({"attempts": int(tried)})
    house.clock.forward(seconds=1)
    with working(house):
        wait_until(lambda: len(verdicts.waiting) >= THREADS // 2, 30, "threads are held up")
        house.add("mail.fine.example")
        wait_until(lambda: house.host("mail.fine.example").status == "ready", 30, "it is ready")
        assert len(verdicts.waiting) < THREADS, "none of the others has come to its end"
        verdicts.given.set()
        wait_until(lambda: house.authority.count("new_order") > THREADS, 30, "others go on")


def test_a_host_that_failed_once_is_ready_while_another_tenant_s_failed_names_hold_up_theirs(
    house: House,
) -> None:
    verdicts = Verdicts(house)
    house.authority.refuse("new_order", AuthorityError("ca_refused", "no"))
    house.add("mail.fine.example")
    house.work(rounds=1)
    for number in range(100):
        house.add(f"h{number}.{SLOW}")
    with house.plane.database.writing() as session:
        session.query(VirtualHost).update({"attempts": 3})
    with working(house):
        wait_until(lambda: len(verdicts.waiting) >= THREADS // 2, 30, "threads are held up")
        registry.retry(house.plane, "mail.fine.example", TEST)
        wait_until(lambda: house.host("mail.fine.example").status == "ready", 30, "it is ready")
        verdicts.given.set()


@both_databases
def test_others_are_found_behind_however_many_names_of_a_domain(house: House) -> None:
    for number in range(30):
        house.add(f"h{number}.{SLOW}")
    for name in (SLOW, "tried.fine.example", "new.fine.example", f"not{SLOW}"):
        house.clock.forward(seconds=1)
        house.add(name)
    with house.plane.database.writing() as session:
        tried = session.query(VirtualHost).filter(VirtualHost.hostname.like("tried.%"))
        tried.update({"attempts": 1}, synchronize_session=False)
        one = session.query(VirtualHost).filter_by(hostname=f"h7.{SLOW}")
        one.update({"attempts": 1}, synchronize_session=False)
    now = house.clock() + timedelta(seconds=1)

    def others(untried: bool, than: tuple[str, ...] = (SLOW,)) -> set[str]:
        database = house.plane.database
        claimed = claim_others(database, "w", now, 3, than=than, untried=untried)
        return {held.hostname for held in claimed}

    assert others(untried=True) == {"new.fine.example", f"not{SLOW}"}
    assert others(untried=False) == {f"h{number}.{SLOW}" for number in (0, 1, 2)}
    assert f"h7.{SLOW}" not in others(untried=False) | others(untried=False)
    assert others(untried=True, than=()) == {f"h{number}.{SLOW}" for number in (10, 11, 12)}
    rest = {held.hostname: held.tried for held in claim(house.plane.database, "w", now, 100)}
    assert rest["tried.fine.example"]
    assert not rest[SLOW]
