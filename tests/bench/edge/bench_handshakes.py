"""CPU for each handshake of a warm host, against static nginx, HAProxy and Caddy."""

from __future__ import annotations

import statistics

from tests.bench.client import run as client_run
from tests.bench.edge.contenders import (
    CLIENT_CORE,
    INSTANCES,
    NAMES,
    PATTERN,
    Contender,
    EdgeContender,
    Field,
    compare,
    counting,
    handshakes,
    ratio,
)
from tests.bench.row import Row, at_least, at_most

SERVED = 'edge_handshakes_total{result="served"}'
SAME_TICKETS = "ssl_session_tickets off; ssl_session_cache shared:s:32m;"
COUNT = 150
ROUNDS = 20


def run() -> list[Row]:
    """Rows for full and resumed handshakes of both versions, and latency at a rate."""
    with Field() as field:
        prepared, nginxes = [], []
        for _ in range(INSTANCES):
            prepared.append(field.edge())
            nginxes += [
                prepared[-1].running(),
                field.static("static-defaults", ""),
                field.static("static-same", SAME_TICKETS),
            ]
        rows = full(prepared, [*nginxes, field.haproxy(), field.caddy()])
        rows += resumed(prepared, nginxes)
        edge, _, same, *_ = nginxes
        return rows + latency(edge, same)


def full(prepared: list[EdgeContender], contenders: list[Contender]) -> list[Row]:
    """Full handshakes of both versions."""
    rows = []
    times = (ROUNDS + 1) * COUNT
    for version in (13, 12):
        work = handshakes(COUNT, threads=4, version=version, hosts=NAMES)
        with counting(prepared, SERVED, times, times):
            costs = compare(contenders, work, ROUNDS)
        label = f"full TLS 1.{version - 10} handshakes P-256, edge against"
        micro = statistics.median(costs["edge"]) * 1e6
        rows.append(Row(f"CPU of the edge's full TLS 1.{version - 10} handshake", micro, "µs"))
        rows.append(
            at_least(f"{label} static nginx's defaults", ratio(costs, "static-defaults"), 1.05)
        )
        rows.append(at_least(f"{label} static, same tickets", ratio(costs, "static-same"), 0.98))
        rows.append(at_least(f"{label} HAProxy", ratio(costs, "haproxy"), 1.15))
        rows.append(at_least(f"{label} Caddy", ratio(costs, "caddy"), 1.15))
    return rows


def resumed(prepared: list[EdgeContender], contenders: list[Contender]) -> list[Row]:
    """Resumed handshakes of both versions; the edge counts as served those few alone that were full."""
    rows = []
    full_ones = 0.1 * (ROUNDS + 1) * COUNT
    for version in (13, 12):
        work = handshakes(COUNT, threads=4, version=version, mode="resume")
        with counting(prepared, SERVED, 1, full_ones):
            costs = compare(contenders, work, ROUNDS)
        label = f"resumed TLS 1.{version - 10} handshakes, edge against"
        rows.append(at_least(f"{label} static, same tickets", ratio(costs, "static-same"), 1.0))
        if version == 13:
            rows.append(
                at_least(f"{label} static's defaults", ratio(costs, "static-defaults"), 1.0)
            )
    return rows


def latency(edge: Contender, static: Contender) -> list[Row]:
    """p99 at 1,000 handshakes a second, open loop; medians of interleaved rounds."""
    found: dict[str, list[float]] = {edge.name: [], static.name: []}
    for _ in range(9):
        for contender in (edge, static):
            outcome = client_run(
                contender.port,
                PATTERN,
                count=3000,
                threads=16,
                hosts=NAMES,
                rate=1000,
                core=CLIENT_CORE,
            )
            found[contender.name].append(outcome.p99)
    ours, theirs = (statistics.median(found[c.name]) / 1000 for c in (edge, static))
    note = f"static {theirs:.2f} ms"
    return [
        at_most(
            "handshake latency p99 at 1,000/s, warm", ours, round(theirs, 2), unit="ms", note=note
        )
    ]
