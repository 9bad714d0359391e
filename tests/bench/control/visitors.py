"""Visitors: handshakes that verify name and chain, one, many at once, or steadily in the background."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

LONGEST = 180.0
"""Seconds after which a measurement gives up."""


@dataclass
class Steadily:
    """What visitors of hosts that are there already met meanwhile."""

    good: int = 0
    failed: int = 0


class Visitors:
    """Clients of the server on `port` who trust `root` (PEM) and nobody else."""

    def __init__(self, port: int, root: Path) -> None:
        self._address = ("127.0.0.1", port)
        self._context = ssl.create_default_context(cafile=str(root))

    def handshake(self, hostname: str, seconds: float = 30) -> bool:
        """Whether one handshake succeeds within `seconds`, name and chain verified."""
        try:
            with (
                socket.create_connection(self._address, seconds) as connection,
                self._context.wrap_socket(connection, server_hostname=hostname),
            ):
                return True
        except OSError:
            return False

    def first(self, hostname: str, pause: float = 0.002) -> int:
        """Try until a handshake succeeds; how many were refused or cut before. TimeoutError."""
        deadline = time.monotonic() + LONGEST
        refused = 0
        while not self.handshake(hostname):
            refused += 1
            if time.monotonic() > deadline:
                raise TimeoutError(f"{hostname} is not served after {LONGEST:g} s")
            time.sleep(pause)
        return refused

    def all_at_once(self, hostnames: Sequence[str]) -> int:
        """A visitor for each at the same time; how many of their handshakes were refused or cut."""
        with ThreadPoolExecutor(len(hostnames)) as pool:
            return sum(pool.map(lambda name: self.first(name, 1.0), hostnames))

    @contextmanager
    def meanwhile(self, hostnames: Sequence[str], pause: float = 0.05) -> Iterator[Steadily]:
        """One visitor after another of `hostnames` while the body runs."""
        found, stop = Steadily(), threading.Event()

        def visit() -> None:
            while not stop.is_set():
                for hostname in hostnames:
                    good = self.handshake(hostname, 5)
                    found.good += good
                    found.failed += not good
                    stop.wait(pause)

        thread = threading.Thread(target=visit)
        thread.start()
        try:
            yield found
        finally:
            stop.set()
            thread.join()
