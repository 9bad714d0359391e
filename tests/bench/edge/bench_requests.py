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
    SAME_HEADERS,
    Contender,
    Field,
    compare,
    name_of,
    ratio,
)
from tests.bench.row import Row, at_least, at_most

REQUESTS = 6000
IDLE = 1500
ROUNDS = 15


def requests(protocol: str) -> Callable[[int], int]:
    """Work: so many requests with h2load, every one of which must be answered 200."""

    def work(port: int) -> int:
        flags = ["--h1", "-c8"] if protocol == "HTTP/1.1" else ["-c8", "-m4"]
        argv = ["taskset", "-c", str(CLIENT_CORE), "h2load", *flags, "-n", str(REQUESTS)]
        argv += [f"--connect-to=127.0.0.1:{port}", f"https://{name_of(1)}/api/v2/x"]
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
        prepared = field.edge(
            upstream=upstream, client_limits="off"
        )  # (1) plain proxy_pass has none
        prepared.publish_all()
        edge = prepared.start()
        static = field.static("static-same", SAME_TICKETS, upstream)
        alike = field.static("static-alike", SAME_TICKETS, upstream, SAME_HEADERS)
        rows, asked = [], (ROUNDS + 1) * REQUESTS
        for protocol in ("HTTP/1.1", "HTTP/2"):
            with prepared.counting('edge_requests_total{result="ok"}', asked, asked):
                costs = compare([edge, static, alike], requests(protocol), ROUNDS)
            label = f"proxied {protocol} requests on keep-alive, edge against proxy_pass"
            note = f"{statistics.median(costs['edge']) * 1e6:.1f} µs each; no limits per client on either"
            rows.append(at_least(label, ratio(costs, "static-same"), 0.97, note=note))
            note = "that sends the edge's headers, both ways"
            rows.append(at_least(label, ratio(costs, "static-alike"), 0.97, note=note))
        theirs = idle(static) / 1000
        ours = idle(edge) / 1000
        rows.append(
            at_most("an idle TLS connection", ours, 15.5, unit="kB", note=f"static {theirs:.1f} kB")
        )
        return rows
