"""A whole stack of the tests' own: `deploy.stack` on free ports, with what a test wants to ask of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import redis

from deploy.process import Process
from deploy.stack import Stack


@dataclass
class RunningStack(Stack):
    """A stack whose processes the test may kill and start again."""

    processes: dict[str, Process] = field(default_factory=dict)

    def begin(self, process: Process) -> None:
        """Start one process and remember it by name."""
        self.processes[process.name] = process.start(seconds=60)

    def end(self) -> None:
        """Kill everything, last started first."""
        for process in reversed(list(self.processes.values())):
            process.stop(5)

    @contextmanager
    def without(self, name: str) -> Iterator[None]:
        """The named process killed for the body, and started again after it."""
        self.processes[name].kill()
        try:
            yield
        finally:
            self.processes[name].start()

    @property
    def redis(self) -> redis.Redis:
        """The edges' Redis with all rights, decoding to text."""
        return redis.Redis(port=self.ports.redis, decode_responses=True, socket_timeout=5)

    def nginx_pids(self) -> set[int]:
        """The master and its workers."""
        master = int(self.nginx_pid.read_text())
        children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
        return {master, *map(int, children)}
