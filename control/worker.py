"""Claim what is due, run it, again; and keep the copy equal to the truth meanwhile."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from control import accounts, claims
from control.claims import Claim
from control.plane import Plane, Who
from control.ports import Heard, PortError
from control.provisioning import give_up, provision
from control.reconcile import next_offset, reconcile, take_turn
from control.sealing import CannotOpen
from control.seats import Seats

IDLE_SECONDS = 1.0
KEEP_SECONDS = 10.0
RECONCILE_SECONDS = 15.0
ROLL_OVER_SECONDS = 60.0
STOP_SECONDS = 60.0

log = logging.getLogger("control.worker")


class Worker:
    """Many orders at once in threads; `stop` ends it after the work under way, or `patience` seconds.

    It claims half as many hosts again as it has threads, so that one claim serves several of them. Who of
    them begins is said by Seats; while those that wait may not, it looks for others.
    """

    def __init__(self, plane: Plane, threads: int, patience: float = STOP_SECONDS) -> None:
        self._plane = plane
        self._seats = Seats(threads)
        self._patience = patience
        self._most = threads + threads // 2
        self._name = identity()
        self._stop = threading.Event()
        self._awake = threading.Event()
        self._compare = threading.Event()
        self._waiting: list[Claim] = []
        self._running: dict[Future[None], Claim] = {}
        self._lock = threading.RLock()
        self._no_others_until = 0.0

    def run(self) -> int:
        """Work until `stop` is called; blocks. Returns how many hosts it did not wait for.

        Their orders are stored step by step: the next worker goes on with them.
        """
        helpers = [
            threading.Thread(target=run, name=run.__name__, daemon=True)
            for run in (self._listen, self._keep, self._reconcile)
        ]
        for helper in helpers:
            helper.start()
        freed = claims.free_dead(self._plane.database, is_dead)
        if not self._rolled_over():
            threading.Thread(target=self._roll_over_later, daemon=True).start()
        log.info("worker started", extra={"threads": self._seats.threads, "freed": len(freed)})
        pool = ThreadPoolExecutor(self._seats.threads, thread_name_prefix="order")
        while not self._stop.is_set():
            self._round(pool)
        return self._end(pool)

    def _end(self, pool: ThreadPoolExecutor) -> int:
        """Wait for what is under way, as long as patience lasts."""
        self._let_go()
        pool.shutdown(wait=False)
        with self._lock:
            held = dict(self._running)
        log.info("worker stopping", extra={"under_way": len(held)})
        left = [held[future].hostname for future in wait(held, self._patience).not_done]
        log.info("worker stopped", extra={"left_to_the_next": left})
        return len(left)

    def stop(self) -> None:
        """Claim nothing more; work under way is ended first."""
        self._stop.set()
        self._awake.set()
        self._compare.set()

    def _round(self, pool: ThreadPoolExecutor) -> None:
        self._awake.clear()
        try:
            claimed = self._claim()
        except SQLAlchemyError as problem:
            log.error("the database does not answer", extra={"problem": str(problem)})
            self._stop.wait(IDLE_SECONDS)
            return
        with self._lock:
            self._waiting += claimed
        self._begin(pool)
        if not claimed:
            self._awake.wait(IDLE_SECONDS)

    def _claim(self) -> list[Claim]:
        with self._lock:
            waiting, running = len(self._waiting), list(self._running.values())
        held = waiting + len(running)
        if held <= self._seats.threads:
            wanted = max(1, self._most - held)
            return claims.claim(self._plane.database, self._name, self._plane.clock(), wanted)
        if len(running) < self._seats.threads and time.monotonic() >= self._no_others_until:
            return self._claim_others(running)
        return []

    def _claim_others(self, running: Sequence[Claim]) -> list[Claim]:
        """For the threads that nobody of those that wait may have; looked for once a second in vain."""
        plane, than = self._plane, self._seats.crowded(running)
        found: list[Claim] = []
        for against in (0, 1):
            free = self._seats.room(against) - len(running) - len(found)
            if free > 0:
                found += claims.claim_others(
                    plane.database, self._name, plane.clock(), free, than=than, untried=not against
                )
        self._no_others_until = 0.0 if found else time.monotonic() + IDLE_SECONDS
        return found

    def _begin(self, pool: ThreadPoolExecutor) -> None:
        """Give threads to those that wait, first come first served among those that may have one."""
        with self._lock:
            while held := self._next():
                future = pool.submit(self._work, held)
                self._running[future] = held
                future.add_done_callback(lambda done: self._done(pool, done))

    def _next(self) -> Claim | None:
        """The first of those that wait that may begin, not waiting any more; None when stopped."""
        running = self._running.values()
        for place, held in enumerate([] if self._stop.is_set() else self._waiting):
            if self._seats.may_begin(held, running):
                return self._waiting.pop(place)
        return None

    def _let_go(self) -> None:
        """What was claimed and not begun is free for other workers."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        for claimed in waiting:
            claims.release(self._plane.database, claimed)

    def _work(self, held: Claim) -> None:
        """One host; whatever goes wrong is recorded, and the worker goes on."""
        try:
            provision(self._plane, held)
        except Exception as problem:
            log.exception("provisioning failed", extra={"hostname": held.hostname})
            give_up(self._plane, held, problem)

    def _done(self, pool: ThreadPoolExecutor, future: Future[None]) -> None:
        with self._lock:
            self._running.pop(future, None)
            self._begin(pool)
        self._awake.set()

    def _listen(self) -> None:
        """The API nudges when something became due; without Redis the idle second is enough.

        Behind a new connection there may be another Redis, or one that has lost something: it is compared.
        """
        while not self._stop.is_set():
            heard = self._plane.store.listen(5)
            if heard is Heard.NUDGE:
                self._awake.set()
            elif heard is Heard.CONNECTED:
                self._compare.set()

    def _keep(self) -> None:
        while not self._stop.wait(KEEP_SECONDS):
            with self._lock:
                leases = {held.lease for held in (*self._waiting, *self._running.values())}
            try:
                claims.keep(self._plane.database, leases, self._plane.clock())
                claims.free_dead(self._plane.database, is_dead)
            except SQLAlchemyError as problem:
                log.error("leases could not be extended", extra={"problem": str(problem)})

    def _rolled_over(self) -> bool:
        """End a change of an account's key that was cut off, before an order is signed by the old one."""
        try:
            accounts.finish(self._plane, Who("worker"))
        except (PortError, CannotOpen, SQLAlchemyError) as problem:
            log.error(
                "an account's new key cannot be put in place", extra={"problem": str(problem)}
            )
            return False
        return True

    def _roll_over_later(self) -> None:
        while not self._stop.wait(ROLL_OVER_SECONDS) and not self._rolled_over():
            pass

    def _reconcile(self) -> None:
        """Every 15 s, at each new connection to the store, and every second while it is away."""
        offset, away = 0, False
        while not self._stop.is_set():
            started = time.monotonic()
            self._compare.clear()
            try:
                if take_turn(self._plane, self._name, is_dead):
                    claims.hasten(self._plane.database, self._plane.clock())
                    done = reconcile(self._plane, offset=offset)
                    offset = next_offset(self._plane, offset)
                    if done.changed:
                        log.info("reconciled", extra={"changes": vars(done)})
                    if done.woken or away:
                        self._awake.set()
                away = False
            except (PortError, SQLAlchemyError) as problem:
                if not away:
                    log.error("cannot reconcile", extra={"problem": str(problem)})
                away = True
            pause = 1.0 if away else RECONCILE_SECONDS
            self._compare.wait(max(0.0, pause - (time.monotonic() - started)))


def identity() -> str:
    """Who this process is, so that another on the same machine can tell when it has died."""
    return f"{_machine()}/{os.getpid()}/{_started(os.getpid())}/{uuid.uuid4().hex[:8]}"


def is_dead(worker: str) -> bool:
    """Whether `worker` was a process of this machine that is gone; False for those we cannot see."""
    machine, pid, started, _ = [*worker.split("/"), "", "", ""][:4]
    if machine != _machine() or not pid.isdecimal():
        return False
    return _started(int(pid)) != started


def _machine() -> str:
    """This boot and this process namespace: within them a pid with its start time is unique."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}.{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return socket.gethostname()


def _started(pid: int) -> str:
    """When the process started, in ticks since boot; empty when there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[19]
