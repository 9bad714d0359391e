"""How soon a publish is in the index that four workers share, and that each of them serves it from then on."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import socket
import statistics
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deploy.edge import health
from tests.bench.edge.contenders import (
    CLIENT_CORE,
    SERVER_CORE,
    EdgeContender,
    Field,
    like_public,
    name_of,
)
from tests.bench.row import Row, at_most
from tests.edge.doors import Doors, alone

PUBLISHES, WORKERS = 1000, 4
AT_ONCE = 20  # publishes before the connections are renewed: nginx closes one after 1,000 requests or 15 s


class Teller:
    """A keep-alive connection to the status listener at one worker, which it asks for a host's revision."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=5)

    def __call__(self, path: str) -> dict[str, Any]:
        """The JSON of an answer."""
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        data = b""
        while not data.endswith(b"}\n"):
            piece = self.socket.recv(65536)
            if not piece:
                raise ConnectionError("the status listener closed")
            data += piece
        found: dict[str, Any] = json.loads(data.partition(b"\r\n\r\n")[2])
        return found


def bystander(port: int, pids: list[int]) -> Teller:
    """A connection to a worker that does not follow Redis."""
    syncer = health(port)["syncer"]
    pid = next(pid for pid in pids if pid != syncer)
    with alone(pids, pid):
        teller = Teller(port)
        teller("/healthz")
    return teller


def until_indexed(ask: Teller, path: str, revision: int) -> float:
    """Milliseconds until a worker says `revision`; more than two seconds: it is lost."""
    began = time.perf_counter()
    time.sleep(0.0001)  # (1) who asks at once takes the edge's core away
    while ask(path)["rev"] < revision and time.perf_counter() - began < 2:
        time.sleep(0.00001)
    return (time.perf_counter() - began) * 1000


def is_worker(pid: int) -> bool:
    """Whether a process of nginx serves connections."""
    return b"worker process" in Path(f"/proc/{pid}/cmdline").read_bytes()


@contextlib.contextmanager
def watching() -> Iterator[None]:
    """This process on its core, with sleeps that end in time and not up to 50 µs late (prctl(2), PR_SET_TIMERSLACK)."""
    prctl, timer_slack = ctypes.CDLL(None).prctl, 29
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {CLIENT_CORE})
    prctl(timer_slack, 1)
    try:
        yield
    finally:
        prctl(timer_slack, 0)
        os.sched_setaffinity(0, cores)


def round_trip(edge: EdgeContender) -> float:
    """Milliseconds for the least that Redis can be asked when everybody has slept: what waking up costs here."""
    times = []
    for _ in range(300):
        time.sleep(0.005)
        began = time.perf_counter()
        edge.publisher.redis.ping()
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)


def started(field: Field) -> tuple[EdgeContender, list[int]]:
    """An edge with four workers, and their pids.

    Redis and the worker that follows it share a core, the others have the watcher's: what it takes to wake another
    core is the hypervisor's affair, 0.03 to 0.15 ms each time.
    """
    edge = field.edge("edge-publish", workers=str(WORKERS))
    contender = edge.running()
    follower = int(str(health(int(edge.env["EDGE_STATUS_PORT"]))["syncer"]))
    cores = dict.fromkeys(contender.pids(), CLIENT_CORE)
    cores |= {follower: SERVER_CORE, edge.publisher.redis.info()["process_id"]: SERVER_CORE}
    for pid, core in cores.items():
        subprocess.run(["taskset", "-acp", str(core), str(pid)], check=True, capture_output=True)
    return edge, [pid for pid in contender.pids() if is_worker(pid)]


def publish(edge: EdgeContender, pids: list[int]) -> tuple[list[float], int]:
    """Publish a thousand times: times until indexed, and how many of the handshakes after them showed the old one.

    The index is one word that all workers read. So after each publish every worker is asked for a handshake on a
    connection that it had accepted before, each worker first in its turn; the edge must count a parse for each.
    """
    hostname, status = name_of(1), int(edge.env["EDGE_STATUS_PORT"])
    leaves = [like_public(edge.field.authority, hostname) for _ in range(2)]
    times, stale = [], 0
    with edge.counting("edge_certificate_loads_total", PUBLISHES * WORKERS, PUBLISHES * WORKERS):
        for number in range(PUBLISHES):
            if number % AT_ONCE == 0:
                ask, doors = bystander(status, pids), Doors(edge.port, pids, AT_ONCE)
            leaf = leaves[number % 2]
            revision = edge.publisher.publish(hostname, leaf=leaf)
            times.append(until_indexed(ask, f"/hosts/{hostname}", revision))
            turn = number % WORKERS
            for pid in pids[turn:] + pids[:turn]:
                with doors.through(pid, hostname) as visit:
                    stale += visit.sha256 != leaf.sha256
    return sorted(times), stale


def run() -> list[Row]:
    """A thousand publishes to four workers."""
    with Field() as field, watching():
        edge, pids = started(field)
        least = round_trip(edge)
        times, stale = publish(edge, pids)
    what = "publish until all 4 workers serve it"
    note = f"from Redis' answer until in their index; a ping after a pause takes {least:.2f}"
    lost = sum(took > 2000 for took in times)
    shown = f"old ones in handshakes with each of {WORKERS} workers right after"
    return [
        at_most(f"{what}, p50", statistics.median(times), 0.5, unit="ms", note=note),
        at_most(f"{what}, p99", times[989], 3, unit="ms", note=f"longest {times[-1]:.1f}"),
        at_most("publishes lost, of 1,000", lost, 0, unit="publishes"),
        at_most(shown, stale, 0, unit="handshakes"),
    ]
