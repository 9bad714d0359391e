"""100,000 hosts: start, memory, cost of growth; and what a host costs that is cold."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable

from deploy import edge as deployed
from tests.bench.client import run as client_run
from tests.bench.edge.bench_handshakes import SAME_TICKETS
from tests.bench.edge.contenders import (
    CLIENT_CORE,
    INSTANCES,
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

MANY = 100_000
LOADS = 'edge_certificate_loads_total{{source="{}"}}'
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


def memory(edge: EdgeContender, contender: Contender, base: int) -> list[Row]:
    """Redis, shared memory a host held, a parsed host, a worker with its cache at its bound."""
    used = edge.publisher.redis.info("memory")["used_memory"] / 1e6
    free = 'edge_memory_free_bytes{zone="edge_held"}'
    before = edge.metric(free)
    held = int(edge.metric("edge_certificates_cached"))
    client_run(edge.port, PATTERN, count=9000, threads=8, hosts=-MANY, core=CLIENT_CORE)
    time.sleep(12)
    more = edge.metric("edge_certificates_cached") - held
    a_host = (before - edge.metric(free)) / more / 1000
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
    with edge.counting(LOADS.format("redis"), count, count):
        outcome = client_run(
            edge.port, PATTERN, count=count, threads=1, hosts=-2000, core=CLIENT_CORE
        )
    warm = client_run(static.port, PATTERN, count=count, threads=1, hosts=10, core=CLIENT_CORE)
    note = f"static warm {warm.p50 / 1000:.2f} and {warm.p99 / 1000:.2f}"
    client_run(edge.port, PATTERN, count=2000, threads=1, hosts=-2000, core=CLIENT_CORE)
    contender.name = "edge"
    times = 16 * 200
    with edge.counting(LOADS.format("memory"), times, times):
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


def growth(field: Field, hundred_thousand: Contender) -> list[Row]:
    """What a warm handshake costs at 100, 10,000 and 100,000 hosts in the index: three processes of each."""
    contenders = [hundred_thousand]
    for hosts in [100, 10_000] * INSTANCES + [MANY] * (INSTANCES - 1):
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
        rows = cold(field, static)
        edge = field.edge("edge-100000")
        edge.publisher.begin()
        fill(edge, 0, MANY)
        contender, started = start_up(edge)
        base = contender.resident()
        rows += started + memory(edge, contender, base)
        return rows + growth(field, contender)
