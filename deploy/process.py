"""One process of ours: started with its log in a file, waited for until it answers, ended by pid."""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


class NotReady(RuntimeError):
    """A process ended, or did not answer in time; the message carries the end of its log."""


def _never_lent() -> list[int]:
    """The ports the kernel lends to no outgoing connection, begun anywhere, so that two runs differ."""
    lowest_lent = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    ports = list(range(16_384, max(lowest_lent, 20_480)))
    first = secrets.randbelow(len(ports))
    return ports[first:] + ports[:first]


PORTS = _never_lent()
_turn = itertools.cycle(PORTS)


def free_port() -> int:
    """Return a port of 127.0.0.1 that nothing has, TCP or UDP; no port twice until each had its turn.

    One that the kernel chooses (`bind` to 0) may be lent to a connection, or chosen once more, before
    who asked listens on it. NotReady where everything is in use.
    """
    for port in itertools.islice(_turn, len(PORTS)):
        with (
            contextlib.suppress(OSError),
            socket.socket() as stream,
            socket.socket(type=socket.SOCK_DGRAM) as datagram,
        ):
            stream.bind(("127.0.0.1", port))
            datagram.bind(("127.0.0.1", port))
            return port
    raise NotReady(f"every port of 127.0.0.1 from {min(PORTS)} to {max(PORTS)} is in use")


def listening(port: int, host: str = "127.0.0.1") -> bool:
    """Whether something accepts TCP connections on `port`."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, port)) == 0


def wait_until(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Poll `condition` every 20 ms; raise NotReady naming `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise NotReady(f"{what}: not within {seconds:g} s")
        time.sleep(0.02)


@dataclass
class Process:
    """`argv` run with `env` over the caller's environment; `ready()` says when it answers."""

    name: str
    argv: Sequence[str]
    log: Path
    ready: Callable[[], object]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    running: subprocess.Popen[bytes] | None = None

    def start(self, seconds: float = 30) -> Process:
        """Start and return when it is ready; NotReady (with the log's end) when it is not."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as out:
            self.running = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.env},
                cwd=self.cwd,
                start_new_session=True,
            )
        try:
            wait_until(lambda: not self.alive or self.ready(), seconds, f"{self.name} is not ready")
            if not self.alive:
                raise NotReady(f"{self.name} ended with status {self.running.returncode}")
        except NotReady as problem:
            self.kill()
            raise NotReady(f"{problem}\n{self.tail()}") from None
        return self

    @property
    def alive(self) -> bool:
        """Whether the process was started and has not ended."""
        return self.running is not None and self.running.poll() is None

    @property
    def pid(self) -> int:
        """The process id; only while it was started."""
        if self.running is None:
            raise RuntimeError(f"{self.name} was not started")
        return self.running.pid

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process itself (not to its children)."""
        os.kill(self.pid, number)

    def stop(self, seconds: float = 10) -> None:
        """SIGTERM, then SIGKILL to the whole group after `seconds`."""
        if self.running is None:
            return
        self.running.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.running.wait(seconds)
        self.kill()

    def kill(self) -> None:
        """SIGKILL to the process and everything it started."""
        if self.running is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.running.pid, signal.SIGKILL)
        self.running.wait()

    def tail(self, lines: int = 20) -> str:
        """The last lines of the log."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])
