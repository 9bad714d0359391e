"""Broken ClientHellos and broken requests by `mutations.c`, and the good ones that they are made from."""

from __future__ import annotations

import contextlib
import random
import ssl
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.bench.client import compiled
from tests.edge import http2
from tests.edge.conftest import A, Edge

SOURCE = Path(__file__).with_name("mutations.c")
PATHS = [
    "/",
    "/index.html",
    "/api/",
    "/api/o/token/",
    "/config.json",
    "/favicon.ico",
    "/_edge/logos/x",
    "/media/m.txt",
    "/accounts/",
]
HEADERS = [
    "X-Virtual-Host: x\r\nX-Forwarded-For: 1.2.3.4",
    "If-Match: 1\r\nIf-Unmodified-Since: Mon, 01 Jan 1990 00:00:00 GMT",
    "Range: bytes=0-0,-1\r\nIf-Range: x",
    "Expect: 100-continue\r\nConnection: close",
    "Transfer-Encoding: chunked\r\nContent-Length: 0",
]


@dataclass(frozen=True)
class Thrown:
    """What became of so many: answered well, refused, closed without an answer, nothing for 300 ms."""

    sent: int
    connections: int
    served: int
    refused: int
    ended: int
    slow: int


def client_hello(hostname: str, version: ssl.TLSVersion | None = None) -> bytes:
    """A real ClientHello record, of at most `version`."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    if version:
        context.maximum_version = version
    client = context.wrap_bio(incoming, outgoing, server_hostname=hostname)
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def hellos(hostname: str) -> list[bytes]:
    """The good ClientHellos: TLS 1.3 and 1.2, of a live name and of a name that nobody has."""
    names = [hostname, "nobody." + hostname]
    return [client_hello(n, v) for n in names for v in (None, ssl.TLSVersion.TLSv1_2)]


def requests(hostname: str) -> list[bytes]:
    """The good requests: each path with headers that change how it is answered, a few over HTTP/2."""
    heads = [
        f"{'POST' if 'Transfer' in headers else 'GET'} {path} HTTP/1.1\r\nHost: {hostname}\r\n{headers}"
        for path in PATHS
        for headers in HEADERS
    ]
    return [head.encode() for head in heads] + [http2.opening(p, hostname) for p in PATHS]


def throw(
    kind: str, port: int, hostname: str, originals: list[bytes], count: int, threads: int = 24
) -> Thrown:
    """Send `count` mutations (`hellos` or `requests`) and say what became of them; prints the seed."""
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / str(number) for number in range(len(originals))]
        for file, original in zip(files, originals, strict=True):
            file.write_bytes(original)
        words = [compiled(SOURCE), kind, port, threads, count, seed, hostname, *files]
        done = subprocess.run([*map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return Thrown(*map(int, done.stdout.split()))


def resident(edge: Edge) -> int:
    """Private memory of all workers, in kB."""
    total = 0
    for pid in edge.workers():
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Private_Dirty"):
                total += int(line.split()[1])
    return total


def commands(edge: Edge) -> int:
    """How many commands its Redis has answered."""
    return int(edge.redis.info("stats")["total_commands_processed"])


def log_bytes(edge: Edge) -> int:
    """Size of nginx's logs: errors, and one line a request."""
    return sum(file.stat().st_size for file in (edge.directory / "logs").glob("*.log"))


def unharmed(edge: Edge, kind: str, originals: list[bytes], count: int) -> None:
    """Throw so many at an edge that has seen some: nobody dies, memory and log stay, Redis hears nothing of it."""
    throw(kind, edge.https, A, originals, count // 10)
    before, memory, log = commands(edge), resident(edge), log_bytes(edge)
    began = time.monotonic()
    thrown = throw(kind, edge.https, A, originals, count)
    polls = 12 * (time.monotonic() - began + 5)
    print(thrown, f"{time.monotonic() - began:.0f} s", resident(edge) - memory, "kB more")
    assert thrown.sent == count
    assert min(thrown.served, thrown.refused) > count // 100, "some are still understood"
    assert edge.exits() == 0
    assert resident(edge) < memory * 1.2 + 4000
    time.sleep(1.2)  # (1) lines are written up to a second late
    assert log_bytes(edge) - log < 10 * 1024**2
    assert commands(edge) - before < count // 100 + polls
    assert edge.serves(A) == edge.publisher.leaves[A].sha256
    assert edge.get(A).status == 200
