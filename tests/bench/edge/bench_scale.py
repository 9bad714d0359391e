"""100,000 hosts: start, memory, cost of growth; cold hosts; and how soon a publish is served."""

from __future__ import annotations

import json
import os
import signal
import socket
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from deploy import edge as deployed
from tests.bench.client import run as client_run
from tests.bench.edge.bench_handshakes import SAME_TICKETS
from tests.bench.edge.contenders import (
    CLIENT_CORE,
    PATTERN,
    Contender,
    EdgeContender,
    Field,
    compare,
    handshakes,
    like_public,
    name_of,
    ratio,
    workers_of,
)
from tests.bench.row import Row, at_least, at_most
from tests.edge.publisher import NOW
from tests.edge.visitor import Visit, plain

MANY = 100_000
THEME = json.dumps(
    {"theme_primary_color": "#112233", "theme_login_logo_url": f"/_edge/logos/{'a' * 64}.png"}
)


def fill(edge: EdgeContender, start: int, end: int) -> None:
    """Publish hosts number `start` to `end` as the script would; they share one certificate for *.bench.test."""
    publisher = edge.publisher
    leaf = edge.field.leaves.get("*") or like_public(edge.field.authority, "*.bench.test")
    edge.field.leaves.setdefault("*", leaf)
    fields = publisher.certificate_fields(leaf)
    expires = int(fields["not_after"])
    for first in range(start, end, 1000):
        pipeline = publisher.redis.pipeline(transaction=False)
        for number in range(first, min(first + 1000, end)):
            name, revision = name_of(number), number + 1
            sealed = publisher.keyring.seal(leaf, hostname=name)
            host = {
                "rev": revision,
                "state": "active",
                "kind": "tenant",
                "domains": f"d{number}.test",
            }
            host |= {"cert": leaf.sha256, "theme": THEME, "hsts": "31536000", "generation": "1"}
            pipeline.hset(f"vh:host:{name}", mapping={**host, "updated_at": NOW.isoformat()})
            pipeline.hset(f"vh:cert:{name}", mapping={**fields, "key": sealed, "rev": revision})
            pipeline.zadd("vh:hosts", {name: revision})
            pipeline.zadd("vh:expiry", {name: expires})
        pipeline.set("vh:rev", end)
        pipeline.execute()
    publisher.complete()


def timed(check: Callable[[], object]) -> float:
    """Seconds until `check` holds."""
    began = time.perf_counter()
    while not check():
        time.sleep(0.005)
    return time.perf_counter() - began


def handshake_works(port: int, number: int) -> bool:
    """Whether one full handshake for a host completes."""
    return client_run(port, name_of(number), count=1, threads=1).completed == 1


def start_up(edge: EdgeContender) -> tuple[Contender, list[Row]]:
    """Start with everything already in Redis: first handshake of the last host, then the whole index."""
    process = deployed.edge(edge.directory, edge.env, name=edge.name)
    status = int(edge.env["EDGE_STATUS_PORT"])
    began = time.perf_counter()
    edge.field.processes.append(process)
    process.ready = lambda: True
    process.start()
    timed(lambda: _quietly(lambda: handshake_works(edge.port, MANY - 1)))
    first = time.perf_counter() - began
    timed(lambda: _quietly(lambda: deployed.health(status)["index"] == "complete"))
    whole = time.perf_counter() - began
    contender = Contender(edge.name, edge.port, process, lambda: workers_of(process)).pin()
    return contender, [
        at_most(f"{MANY:,} hosts: start to the first handshake", first, 1, unit="s"),
        at_most(f"{MANY:,} hosts: start to the whole index", whole, 3, unit="s"),
    ]


def _quietly(check: Callable[[], object]) -> object:
    try:
        return check()
    except OSError:
        return False


def metric(edge: EdgeContender, name: str) -> float:
    """A metric of the edge."""
    body = plain(int(edge.env["EDGE_STATUS_PORT"]), "/metrics", "127.0.0.1").body.decode()
    return next(
        float(line.split()[-1]) for line in body.splitlines() if line.startswith(name + " ")
    )


def memory(edge: EdgeContender, contender: Contender, base: int) -> list[Row]:
    """Redis, shared memory a host held, a parsed host, a worker with its cache at its bound."""
    used = edge.publisher.redis.info("memory")["used_memory"] / 1e6
    free = 'edge_memory_free_bytes{zone="edge_held"}'
    before = metric(edge, free)
    held = int(metric(edge, "edge_certificates_cached"))
    client_run(edge.port, PATTERN, count=9000, threads=8, hosts=-MANY, core=CLIENT_CORE)
    time.sleep(12)
    more = metric(edge, "edge_certificates_cached") - held
    a_host = (before - metric(edge, free)) / more / 1000
    worker = contender.resident()
    bound = int(edge.env.get("EDGE_CACHED_HOSTS", "6000"))
    return [
        at_most(f"{MANY:,} hosts: Redis with readable PEM", used, 450, unit="MB"),
        at_most("shared memory for a host held", a_host, 2.5, unit="kB", note=f"{more:,.0f} hosts"),
        at_most("a parsed host in a worker", (worker - base) / bound / 1000, 14.5, unit="kB"),
        at_most("a worker with its cache at its bound", worker / 1e6, 100, unit="MB"),
    ]


def cold(field: Field, static: Contender) -> list[Row]:
    """First handshake ever of a host, alone, and from shared memory only."""
    edge = field.edge("edge-cold", cached_hosts="10")
    edge.publisher.begin()
    fill(edge, 0, 2000)
    contender = edge.start()
    count = 800
    outcome = client_run(edge.port, PATTERN, count=count, threads=1, hosts=-2000, core=CLIENT_CORE)
    warm = client_run(static.port, PATTERN, count=count, threads=1, hosts=10, core=CLIENT_CORE)
    note = f"static warm {warm.p50 / 1000:.2f} and {warm.p99 / 1000:.2f}"
    client_run(edge.port, PATTERN, count=2000, threads=1, hosts=-2000, core=CLIENT_CORE)
    contender.name = "edge"
    costs = compare([contender, static], shared_only, 15)
    return [
        at_most(
            "first handshake ever of a host, p50", outcome.p50 / 1000, 1.2, unit="ms", note=note
        ),
        at_most("first handshake ever of a host, p99", outcome.p99 / 1000, 6.5, unit="ms"),
        at_least(
            "handshakes from shared memory only, against static", ratio(costs, static.name), 0.60
        ),
    ]


def shared_only(port: int) -> int:
    """Full handshakes for 2,000 hosts in turn: the edge's worker remembers ten of them."""
    if port == shared_only.static:  # type: ignore[attr-defined]
        return handshakes(200, threads=4, hosts=10)(port)
    return handshakes(200, threads=4, hosts=-2000)(port)


class Teller:
    """A keep-alive connection to the status listener of one worker, which it asks for a host's revision."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=5)

    def ask(self, path: str) -> None:
        """Send a request; `answer` reads what comes back."""
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())

    def answer(self) -> dict[str, Any]:
        """The JSON of the answer."""
        data = b""
        while not data.endswith(b"}\n"):
            piece = self.socket.recv(65536)
            if not piece:
                raise ConnectionError("the status listener closed")
            data += piece
        found: dict[str, Any] = json.loads(data.partition(b"\r\n\r\n")[2])
        return found

    def __call__(self, path: str) -> dict[str, Any]:
        """Ask and read."""
        self.ask(path)
        return self.answer()


def tellers(port: int, pids: Sequence[int]) -> list[Teller]:
    """One connection to each worker, the syncer's last; the others are held still while one accepts."""
    found: dict[int, Teller] = {}
    for pid in pids:
        others = [other for other in pids if other != pid]
        for other in others:
            os.kill(other, signal.SIGSTOP)
        time.sleep(0.01)  # (1) a signal takes a moment to stop what runs on the other core
        try:
            teller = Teller(port)
            health = teller("/healthz")
        finally:
            for other in others:
                os.kill(other, signal.SIGCONT)
        found[health["worker"]] = teller
    syncer = health["syncer"]
    return sorted(found.values(), key=lambda teller: teller is found.get(syncer))


def until_served(workers: Sequence[Teller], path: str, revision: int) -> tuple[float, int]:
    """Milliseconds until a worker beside the syncer says `revision`, and how many of all then do not."""
    began = time.perf_counter()
    while workers[0](path)["rev"] < revision:
        if time.perf_counter() - began > 2:
            break
        time.sleep(0.00005)
    took = (time.perf_counter() - began) * 1000
    for teller in workers:
        teller.ask(path)
    return took, sum(teller.answer()["rev"] < revision for teller in workers)


def publishes(field: Field) -> list[Row]:
    """From Redis' answer to a publish until every worker's index has it, 1,000 times, and what a handshake then shows.

    Heartbeats come after that, and a worker's first handshake with it parses the certificate (0.3 ms) once.
    """
    edge = field.edge("edge-publish", workers="4")
    edge.publish_all()
    contender = edge.start()
    for pid in contender.pids():
        subprocess.run(["taskset", "-acp", "0-1", str(pid)], check=True, capture_output=True)
    hostname, status = name_of(1), int(edge.env["EDGE_STATUS_PORT"])
    leaves = [like_public(field.authority, hostname) for _ in range(2)]
    pids = [pid for pid in contender.pids() if is_worker(pid)]
    times, lost, stale = [], 0, 0
    for number in range(1000):
        if number % 20 == 0:  # (1) before nginx closes a connection for the number of its requests
            workers = tellers(status, pids)
        leaf = leaves[number % 2]
        took, late = until_served(
            workers, f"/hosts/{hostname}", edge.publisher.publish(hostname, leaf=leaf)
        )
        times.append(took)
        lost += late
        with Visit(edge.port, hostname) as visit:
            stale += visit.sha256 != leaf.sha256
    times.sort()
    what, note = "publish until in the index of 4 workers", "from Redis' answer; asked every 0.1 ms"
    return [
        at_most(f"{what}, p50", statistics.median(times), 0.5, unit="ms", note=note),
        at_most(f"{what}, p99", times[989], 3, unit="ms", note=f"longest {times[-1]:.1f}"),
        at_most("publishes lost, of 1,000", lost, 0, unit="publishes"),
        at_most("handshakes right after them with the old one", stale, 0, unit="handshakes"),
    ]


def is_worker(pid: int) -> bool:
    """Whether a process of nginx serves connections."""
    return b"worker process" in Path(f"/proc/{pid}/cmdline").read_bytes()


def growth(field: Field, hundred_thousand: Contender) -> list[Row]:
    """What a warm handshake costs at 100, 10,000 and 100,000 hosts in the index."""
    contenders = [hundred_thousand]
    for hosts in (100, 10_000):
        edge = field.edge(f"edge-{hosts}")
        edge.publisher.begin()
        fill(edge, 0, hosts)
        contenders.append(edge.start())
    costs = compare(contenders, handshakes(200, threads=4, hosts=10), 15)
    middle = {name: statistics.median(values) for name, values in costs.items()}
    spread = (max(middle.values()) / min(middle.values()) - 1) * 100
    note = ", ".join(f"{n} {v * 1e6:.0f} µs" for n, v in middle.items())
    return [
        at_most(
            "growth of a handshake's cost, 100 to 100,000 hosts", spread, 5, unit="%", note=note
        )
    ]


def run() -> list[Row]:
    """Everything that depends on how many hosts there are."""
    with Field() as field:
        static = field.static("static-same", SAME_TICKETS)
        shared_only.static = static.port  # type: ignore[attr-defined]
        rows = cold(field, static) + publishes(field)
        edge = field.edge("edge-100000")
        edge.publisher.begin()
        fill(edge, 0, MANY)
        contender, started = start_up(edge)
        base = contender.resident()
        rows += started + memory(edge, contender, base)
        return rows + growth(field, contender)
