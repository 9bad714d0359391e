"""From "serve this hostname" to a good handshake: one at a time, a hundred at once, a thousand; memory meanwhile."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.bench.control.issuers import Caddy, Certbot, Edge, Issuer
from tests.bench.row import Row, at_least, at_most

IDLE = 100
"""Hosts one after another, ours; of the others as many as they take in about ten seconds."""
AT_ONCE = 100
SUSTAINED = 1000
IN_FLIGHT = 64
CLIENTS = 4
"""Connections that send the PUTs."""


def run() -> list[Row]:
    """All rows of the table, ours and theirs."""
    with Edge() as edge:
        rows = idle(edge) + at_once(edge) + sustained(edge)
    rows += memory()
    with Caddy() as caddy:
        rows += others_idle(caddy, 8) + caddy_at_once(caddy)
    with Certbot() as certbot:
        rows += others_idle(certbot, 4)
    return rows


def names(what: str, count: int) -> list[str]:
    """Hostnames that nobody has used before."""
    return [f"h{number}.{what}.bench.test" for number in range(count)]


def first_handshakes(issuer: Issuer, hostnames: Sequence[str], pause: float) -> list[float]:
    """Milliseconds from asking to the first good handshake, one hostname after another."""
    taken, visitors = [], issuer.visitors
    for hostname in hostnames:
        started = time.perf_counter()
        issuer.ask(hostname)
        visitors.first(hostname)
        taken.append((time.perf_counter() - started) * 1000)
        time.sleep(pause)
    return sorted(taken)


def idle(edge: Edge) -> list[Row]:
    """One host at a time; the first few of a new installation open connections and do not count."""
    first_handshakes(edge, names("warm", 3), 0.2)
    taken = first_handshakes(edge, names("idle", IDLE), 0.1)
    note = f"{IDLE} hosts, longest {taken[-1]:.0f} ms"
    what = "PUT to first good handshake, idle, edge"
    return [
        at_most(f"{what}, p50", statistics.median(taken), 100, unit="ms", note=note),
        at_most(f"{what}, p99", taken[int(IDLE * 0.99) - 1], 400, unit="ms"),
    ]


def others_idle(issuer: Issuer, count: int) -> list[Row]:
    """The same for a contender."""
    first_handshakes(issuer, names("warm", 1), 0)
    taken = first_handshakes(issuer, names("idle", count), 0.1)
    what = f"asked for to first good handshake, idle, {issuer.name}, p50"
    note = f"{count} hosts, longest {taken[-1]:.0f} ms"
    return [Row(what, statistics.median(taken), "ms", note=note)]


def put_all(edge: Edge, hostnames: Sequence[str]) -> None:
    """PUT them over a few connections at once."""

    def some(part: Sequence[str]) -> None:
        with edge.api() as api:
            for hostname in part:
                api.put(hostname)

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(some, [hostnames[start::CLIENTS] for start in range(CLIENTS)]))


def wait_ready(edge: Edge, pause: float = 0.05) -> None:
    """Until no host is pending; RuntimeError when one has failed."""
    with edge.api() as api:
        while b'"hostname"' in api.request("GET", "?status=pending&limit=1"):
            time.sleep(pause)
        failed = api.request("GET", "?status=failed&limit=1")
        if b'"hostname"' in failed:
            raise RuntimeError(f"a host failed: {failed.decode()}")


def at_once(edge: Edge) -> list[Row]:
    """`ready` means served; a handshake with each proves it, while others visit what is there already."""
    hostnames, visitors = names("hundred", AT_ONCE), edge.visitors
    with visitors.meanwhile(names("idle", 5)) as others:
        started = time.perf_counter()
        put_all(edge, hostnames)
        wait_ready(edge)
        seconds = time.perf_counter() - started
    refused = sum(not visitors.handshake(hostname) for hostname in hostnames)
    what = f"{AT_ONCE} hosts at once, edge"
    return [
        at_most(f"{what}: all served", seconds, 3, unit="s"),
        at_most(f"{what}: first handshakes refused once ready", refused, 0, unit=""),
        at_most(
            f"{what}: failed handshakes of existing hosts meanwhile", others.failed, 0, unit="",
            note=f"of {others.good + others.failed}",
        ),
    ]  # fmt: skip


def caddy_at_once(caddy: Caddy) -> list[Row]:
    """A visitor of each of them at the same time, who comes again after a second when cut off."""
    time.sleep(10)  # what it asked for before is out of its own rate limiter's window
    started = time.perf_counter()
    cut = caddy.visitors.all_at_once(names("hundred", AT_ONCE))
    what = f"{AT_ONCE} hosts at once, caddy"
    return [
        Row(f"{what}: all served", time.perf_counter() - started, "s"),
        Row(f"{what}: handshakes cut meanwhile", cut, "", note="visitors wait 30 s"),
    ]


def sustained(edge: Edge) -> list[Row]:
    """A thousand: hosts each second from the first PUT to the last `ready`, and the worker's CPU for each."""
    before, started = cpu(edge.worker.pid), time.perf_counter()
    put_all(edge, names("thousand", SUSTAINED))
    put = time.perf_counter() - started
    wait_ready(edge, 0.25)
    seconds = time.perf_counter() - started
    each = (cpu(edge.worker.pid) - before) * 1000 / SUSTAINED
    note = f"PUTs took {put:.1f} s of {seconds:.1f} s"
    return [
        at_least(f"{SUSTAINED} hosts, edge", SUSTAINED / seconds, 50, unit="per s", note=note),
        at_most("CPU of the worker for each of them", each, 20, unit="ms"),
    ]


def memory() -> list[Row]:
    """The worker's peak with many orders in flight."""
    with Edge({"WORKER_THREADS": str(IN_FLIGHT)}) as edge:
        put_all(edge, names("memory", 4 * IN_FLIGHT))
        wait_ready(edge)
        peak = resident(edge.worker.pid)
    what = f"resident memory of a worker with {IN_FLIGHT} orders in flight, peak"
    return [at_most(what, peak / 1e6, 150, unit="MB")]


def cpu(pid: int) -> float:
    """CPU seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(pid: int) -> int:
    """Bytes of RAM at its highest."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
