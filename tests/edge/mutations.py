"""Broken ClientHellos and broken requests, made from good ones with a seed."""

from __future__ import annotations

import contextlib
import random
import socket
import ssl
from collections.abc import Iterator

from tests.edge.visitor import Refused, Visit


def client_hello(hostname: str) -> bytes:
    """A real ClientHello record."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    client = context.wrap_bio(incoming, outgoing, server_hostname=hostname)
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def mutated(original: bytes, rng: random.Random) -> bytes:
    """The bytes with a few changes: flipped, cut, doubled, random, a length made wrong."""
    data = bytearray(original)
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(data)) if data else 0
        kind = rng.randrange(6)
        if kind == 0 and data:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and data:
            data[at] = rng.randrange(256)
        elif kind == 2:
            del data[at : at + rng.randint(1, 20)]
        elif kind == 3:
            data[at:at] = rng.randbytes(rng.randint(1, 20))
        elif kind == 4:
            data[at:at] = data[at : at + rng.randint(1, 40)]
        else:
            data[at : at + 2] = b"\xff\xff"
    return bytes(data)


def throw_hellos(port: int, hostname: str, count: int, seed: int) -> None:
    """Send `count` mutated ClientHellos, each on a connection of its own, and do not wait for answers."""
    rng, original = random.Random(seed), client_hello(hostname)
    for _ in range(count):
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            try:
                connection.sendall(mutated(original, rng))
                connection.shutdown(socket.SHUT_WR)
                connection.recv(100)
            except OSError:
                continue


def requests(hostname: str, rng: random.Random) -> Iterator[bytes]:
    """Mutated HTTP/1.1 requests without end."""
    paths = [
        "/",
        "/api/",
        "/api/o/token/",
        "/config.json",
        "/_edge/logos/x",
        "/media/x",
        "/accounts/",
    ]
    while True:
        head = f"GET {rng.choice(paths)} HTTP/1.1\r\nHost: {hostname}\r\nX-Virtual-Host: x\r\n"
        yield mutated(head.encode(), rng) + b"\r\n\r\n"


def throw_requests(port: int, hostname: str, count: int, seed: int) -> int:
    """Send `count` mutated requests over TLS; how many connections that took."""
    rng, connections = random.Random(seed), 0
    source = requests(hostname, rng)
    visit: Visit | None = None
    for _ in range(count):
        if visit is None:
            visit, connections = Visit(port, hostname, seconds=1), connections + 1
        try:
            visit.send(next(source))
            if visit.read().status in (0, 400, 404, 405, 408, 413, 414, 421, 501, 505):
                visit.close()
                visit = None
        except (Refused, OSError, ValueError, IndexError, Exception):
            visit.close()
            visit = None
    return connections
