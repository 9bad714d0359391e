"""Requests a second to the REST API under gunicorn, over kept-alive connections: alone, and while the worker issues."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from deploy import control
from tests.bench.control.bench_issuance import names, put_all, wait_ready
from tests.bench.control.issuers import Api, Edge
from tests.bench.row import Row

CLIENTS = 4
"""Connections at a time, each with a token of its own: the limit of requests is one for each token."""
EACH, WRITES = 300, 75
"""Reads and writes on each connection."""
MEANWHILE = 400
"""Hosts that the worker has to bring online while others read and write."""

Deed = Callable[[Api, int], object]


def run() -> list[Row]:
    """All rows of the table."""
    with Edge() as edge:
        apis = [client(edge, number) for number in range(CLIENTS)]
        put_all(edge, names("there", 100))
        wait_ready(edge)
        rows = reading(apis, "nothing else to do")
        edge.worker.stop()
        rows += writing(apis, "no worker")
        edge.worker.start()
        wait_ready(edge)
        return rows + meanwhile(edge, apis)


def client(edge: Edge, number: int) -> Api:
    """A connection with its own token."""
    return Api(edge.stack.ports.control, control.token(edge.stack.control_env, f"bench{number}"))


def reading(apis: Sequence[Api], when: str) -> list[Row]:
    """One host shown, and a page of a hundred."""
    one = many(apis, lambda api, number: api.request("GET", f"/h{number % 100}.there.bench.test"))
    page = many(apis, lambda api, _: api.request("GET", "?limit=100"), EACH // 5)
    return [
        rate(f"API, {when}: show a host", one),
        rate(f"API, {when}: a page of 100 hosts", page),
    ]


def writing(apis: Sequence[Api], when: str) -> list[Row]:
    """Hosts created, and changed."""
    created = many(apis, lambda api, number: api.put(f"w{number}.api.bench.test"), WRITES)
    changed = many(
        apis,
        lambda api, number: api.request("PUT", f"/w{number}.api.bench.test", '{"hsts_max_age": 9}'),
        WRITES,
    )
    return [
        rate(f"API, {when}: create a host", created),
        rate(f"API, {when}: change a host", changed),
    ]


def meanwhile(edge: Edge, apis: Sequence[Api]) -> list[Row]:
    """The same while the worker is busy with hosts of its own."""
    time.sleep(EACH / 100)  # the tokens' buckets fill up again
    put_all(edge, names("busy", MEANWHILE))
    read = many(apis, lambda api, number: api.request("GET", f"/h{number % 100}.there.bench.test"))
    written = many(apis, lambda api, number: api.put(f"m{number}.api.bench.test"), WRITES)
    with edge.api() as api:
        busy = b'"hostname"' in api.request("GET", "?status=pending&limit=1")
    wait_ready(edge, 0.25)
    note = "" if busy else "the worker had finished before"
    return [
        rate("API, while the worker issues: show a host", read, note),
        rate("API, while the worker issues: create a host", written, note),
    ]


def many(apis: Sequence[Api], deed: Deed, each: int = EACH) -> tuple[float, list[float]]:
    """Do it `each` times on every connection at once: deeds a second, and the milliseconds of each."""

    def some(which: int) -> list[float]:
        taken = []
        apis[which].close()  # the server has closed what was idle for long
        for number in range(which, each * len(apis), len(apis)):
            started = time.perf_counter()
            deed(apis[which], number)
            taken.append((time.perf_counter() - started) * 1000)
        return taken

    started = time.perf_counter()
    with ThreadPoolExecutor(len(apis)) as pool:
        taken = [one for part in pool.map(some, range(len(apis))) for one in part]
    return len(taken) / (time.perf_counter() - started), taken


def rate(what: str, found: tuple[float, list[float]], note: str = "") -> Row:
    """A row with the median and the 99th percentile beside it."""
    per_second, taken = found
    p99 = sorted(taken)[int(len(taken) * 0.99) - 1]
    told = f"p50 {statistics.median(taken):.1f} ms, p99 {p99:.1f} ms"
    return Row(what, per_second, "per s", note=f"{told}; {note}" if note else told)
