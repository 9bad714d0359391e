"""CPU for each proxied request on keep-alive connections, HTTP/1.1 and HTTP/2, and memory of an idle connection."""

from __future__ import annotations

import re
import socket
import ssl
import statistics
import subprocess
import time
from collections.abc import Callable

from tests.bench.edge.bench_handshakes import SAME_TICKETS
from tests.bench.edge.contenders import (
    CLIENT_CORE,
    INSTANCES,
    SAME_HEADERS,
    Contender,
    Field,
    compare,
    counting,
    name_of,
    ratio,
)
from tests.bench.row import Row, at_least, at_most

REQUESTS = 6000
IDLE = 1500
ROUNDS = 6
BROWSER = (
    "accept: application/json, text/plain, */*",
    "accept-language: en-GB,en;q=0.9",
    "authorization: Bearer 8dD2zQm4tqvJf0PZbXw1c7aY5nKs3R",
    "user-agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
)


def requests(protocol: str) -> Callable[[int], int]:
    """Work: so many requests as the frontend makes them, with h2load; every one must be answered 200."""

    def work(port: int) -> int:
        flags = ["--h1", "-c8"] if protocol == "HTTP/1.1" else ["-c8", "-m4"]
        argv = ["taskset", "-c", str(CLIENT_CORE), "h2load", *flags, "-n", str(REQUESTS)]
        argv += [word for header in BROWSER for word in ("-H", header)]
        argv += [f"--connect-to=127.0.0.1:{port}", f"https://{name_of(1)}/api/v2/domains/"]
        out = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
        good = re.search(r"status codes: (\d+) 2xx", out)
        if not good or int(good[1]) != REQUESTS:
            raise RuntimeError(out)
        return REQUESTS

    return work


def idle(contender: Contender) -> float:
    """Bytes of private memory that one more idle TLS connection costs.

    The largest of three batches, since the first ones fill holes in the heap.
    """
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    figures, kept = [], []
    for _ in range(3):
        before = contender.resident()
        for _ in range(IDLE):
            raw = socket.create_connection(("127.0.0.1", contender.port))
            kept.append(context.wrap_socket(raw, server_hostname=name_of(1)))
        time.sleep(0.2)
        figures.append((contender.resident() - before) / IDLE)
    for connection in kept:
        connection.close()
    return max(figures)


def run() -> list[Row]:
    """Rows for both protocols, and for idle connections."""
    with Field() as field:
        upstream = field.upstream()
        prepared, contenders = [], []
        for _ in range(INSTANCES):
            prepared.append(
                field.edge(upstream=upstream, client_limits="off")
            )  # (1) others have none
            contenders += [
                prepared[-1].running(),
                field.static("static-same", SAME_TICKETS, upstream),
                field.static("static-alike", SAME_TICKETS, upstream, SAME_HEADERS),
            ]
        rows, asked = [], (ROUNDS + 1) * REQUESTS
        for protocol in ("HTTP/1.1", "HTTP/2"):
            with counting(prepared, 'edge_requests_total{result="ok"}', asked, asked):
                costs = compare(contenders, requests(protocol), ROUNDS)
            label = f"proxied {protocol} requests on keep-alive, edge against proxy_pass"
            note = f"{statistics.median(costs['edge']) * 1e6:.1f} µs each; no limits per client on either"
            rows.append(at_least(label, ratio(costs, "static-same"), 0.97, note=note))
            note = "that sends the edge's headers, both ways"
            rows.append(at_least(label, ratio(costs, "static-alike"), 0.97, note=note))
        edge, static, *_ = contenders
        theirs = idle(static) / 1000
        ours = idle(edge) / 1000
        rows.append(
            at_most("an idle TLS connection", ours, 15.5, unit="kB", note=f"static {theirs:.1f} kB")
        )
        return rows
