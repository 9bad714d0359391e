"""Claim what is due, run it, again; and keep the copy equal to the truth meanwhile."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import uuid
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

IDLE_SECONDS = 1.0
KEEP_SECONDS = 10.0
RECONCILE_SECONDS = 15.0
ROLL_OVER_SECONDS = 60.0
STOP_SECONDS = 60.0

log = logging.getLogger("control.worker")


class Worker:
    """Many orders at once in threads; `stop` ends it after the work under way, or `patience` seconds.

    It claims half as many hosts again as it has threads, so that one claim serves several of them.
    """

    def __init__(self, plane: Plane, threads: int, patience: float = STOP_SECONDS) -> None:
        self._plane = plane
        self._threads = threads
        self._patience = patience
        self._most = threads + threads // 2
        self._name = identity()
        self._stop = threading.Event()
        self._awake = threading.Event()
        self._compare = threading.Event()
        self._held: dict[Future[None], Claim] = {}
        self._lock = threading.Lock()

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
        log.info("worker started", extra={"threads": self._threads, "freed": len(freed)})
        pool = ThreadPoolExecutor(self._threads, thread_name_prefix="order")
        while not self._stop.is_set():
            self._round(pool)
        return self._end(pool)

    def _end(self, pool: ThreadPoolExecutor) -> int:
        """Wait for what is under way, as long as patience lasts."""
        self._let_go()
        pool.shutdown(wait=False)
        with self._lock:
            held = dict(self._held)
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
        for held in claimed:
            future = pool.submit(self._work, held)
            with self._lock:
                self._held[future] = held
            future.add_done_callback(self._done)
        if not claimed:
            self._awake.wait(IDLE_SECONDS)

    def _claim(self) -> list[Claim]:
        with self._lock:
            held = len(self._held)
        if held > self._threads:
            return []
        wanted = max(1, self._most - held)
        return claims.claim(self._plane.database, self._name, self._plane.clock(), wanted)

    def _let_go(self) -> None:
        """What was claimed and not begun is free for other workers."""
        with self._lock:
            held = list(self._held.items())
        for future, claimed in held:
            if future.cancel():
                claims.release(self._plane.database, claimed)

    def _work(self, held: Claim) -> None:
        """One host; whatever goes wrong is recorded, and the worker goes on."""
        try:
            provision(self._plane, held)
        except Exception as problem:
            log.exception("provisioning failed", extra={"hostname": held.hostname})
            give_up(self._plane, held, problem)

    def _done(self, future: Future[None]) -> None:
        with self._lock:
            self._held.pop(future, None)
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
                leases = {held.lease for held in self._held.values()}
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
