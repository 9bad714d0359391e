"""The TLS client of tests and measurements: `handshakes.c`, and what it reports; C files compiled when they changed."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("handshakes.c")
BINARIES = Path(__file__).resolve().parents[2] / "var" / "bench"


@dataclass(frozen=True)
class Run:
    """What one run did; times in microseconds, `seconds` for the whole."""

    completed: int
    failed: int
    reused: int
    p50: float
    p90: float
    p99: float
    longest: float
    seconds: float


def compiled(source: Path) -> Path:
    """The program of one C file that uses OpenSSL and threads."""
    program = BINARIES / source.stem
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        program.parent.mkdir(parents=True, exist_ok=True)
        flags = ["-O2", "-D_GNU_SOURCE", "-pthread", "-lssl", "-lcrypto"]
        subprocess.run(["gcc", "-o", str(program), str(source), *flags], check=True)
    return program


class Load:
    """A run in the background, on its own core where `core` is given."""

    def __init__(
        self,
        port: int,
        name: str,
        *,
        count: int = 10_000_000,
        threads: int = 4,
        version: int = 13,
        mode: str = "full",
        hosts: int = 0,
        rate: float = 0,
        seconds: float = 0,
        core: int | None = None,
    ) -> None:
        words = [compiled(SOURCE), port, version, threads, count, mode, name, hosts, rate, seconds]
        pinned = [] if core is None else ["taskset", "-c", str(core)]
        self.process = subprocess.Popen(
            [*pinned, *map(str, words)], stdout=subprocess.PIPE, text=True
        )

    def result(self) -> Run:
        """Wait for its end."""
        out, _ = self.process.communicate()
        numbers = out.split()
        return Run(*map(int, numbers[:3]), *map(float, numbers[3:]))


def run(port: int, name: str, **options: object) -> Run:
    """One run, waited for."""
    return Load(port, name, **options).result()  # type: ignore[arg-type]
