"""A private PostgreSQL cluster on a free port, for tests and benchmarks."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

from deploy.process import Process, free_port


class Cluster:
    """`url` is its one database; PostgreSQL refuses to run as root, so root lends it to `postgres`."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="modoboa-edge-postgresql-"))
        self.port = free_port()
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/control"
        self._process: Process | None = None
        self._as_owner: list[str] = []
        if os.geteuid() == 0:
            self._as_owner = ["runuser", "-u", "postgres", "--"]
            owner = pwd.getpwnam("postgres")
            os.chown(self.directory, owner.pw_uid, owner.pw_gid)

    def start(self) -> Cluster:
        """Make the cluster and its database, and wait until it answers."""
        data = str(self.directory / "data")
        run = [*self._as_owner, _program("initdb"), "-D", data, "-U", "postgres"]
        subprocess.run([*run, "-A", "trust", "-N"], check=True, capture_output=True, cwd="/")
        argv = [*self._as_owner, _program("postgres"), "-D", data, "-p", str(self.port)]
        argv += ["-h", "127.0.0.1", "-k", "", "-c", "max_connections=200", "-c", "fsync=off"]
        log = self.directory / "postgresql.log"
        self._process = Process("postgresql", argv, log, self._answers, cwd=Path("/")).start(60)
        subprocess.run(
            [
                _program("createdb"),
                "-h",
                "127.0.0.1",
                "-p",
                str(self.port),
                "-U",
                "postgres",
                "control",
            ],
            check=True,
            capture_output=True,
            cwd="/",
        )
        return self

    def stop(self) -> None:
        """End it and take its files away."""
        if self._process is not None:
            self._process.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _answers(self) -> bool:
        argv = [_program("pg_isready"), "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(argv, capture_output=True).returncode == 0


def _program(name: str) -> str:
    """The newest installed PostgreSQL's program; Debian keeps them out of PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(found[-1]) if found else shutil.which(name) or name
