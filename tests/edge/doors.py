"""Connections that wait at a chosen worker: who will make a handshake is known before it begins."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.edge.visitor import Visit, eventually


@contextlib.contextmanager
def alone(pids: Sequence[int], pid: int) -> Iterator[None]:
    """Of the workers `pids` only this one runs; the others stand still."""
    others = [other for other in pids if other != pid]
    for other in others:
        os.kill(other, signal.SIGSTOP)
    try:
        eventually(lambda: all(_state(other) == "T" for other in others))
        yield
    finally:
        for other in others:
            os.kill(other, signal.SIGCONT)


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def not_accepted(port: int) -> int:
    """How many connections to 127.0.0.1:`port` wait for a worker (the listening socket's receive queue, proc(5))."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, _, state, queues, *_ = line.split()
        if state == "0A" and local == f"0100007F:{port:04X}":
            return int(queues.partition(":")[2], 16)
    raise AssertionError(f"nobody listens on {port}")


class Doors:
    """So many connections accepted by each worker, which has yet to hear a ClientHello (15 s at most)."""

    def __init__(self, port: int, pids: Sequence[int], each: int) -> None:
        self.port = port
        self.waiting: dict[int, list[socket.socket]] = {}
        for pid in pids:
            with alone(pids, pid):
                self.waiting[pid] = [self._connect() for _ in range(each)]
                eventually(lambda: not_accepted(port) == 0)

    def _connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=5)

    def through(self, pid: int, hostname: str) -> Visit:
        """A handshake with this worker, now."""
        return Visit(self.port, hostname, over=self.waiting[pid].pop())

    def close(self) -> None:
        """Give up what was not used."""
        for connections in self.waiting.values():
            for connection in connections:
                connection.close()
