"""A private MariaDB on a free port, for the tests that MySQL's users rely on."""

from __future__ import annotations

import getpass
import shutil
import subprocess
import tempfile
from pathlib import Path

from deploy.process import Process, free_port


class Server:
    """`url` is its one database, `modoboa`; anybody on loopback may do everything with it."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="modoboa-edge-mariadb-"))
        self.port = free_port()
        self.url = f"mysql://modoboa:modoboa@127.0.0.1:{self.port}/modoboa?charset=utf8mb4"
        self._client = ["mariadb", f"--socket={self.directory / 'socket'}"]
        self._process: Process | None = None

    def start(self) -> Server:
        """Make the server's files and its database, and wait until it answers."""
        data = f"--datadir={self.directory / 'data'}"
        owner = f"--user={getpass.getuser()}"
        make = ["mariadb-install-db", "--no-defaults", data, owner, "--skip-test-db"]
        subprocess.run(make, check=True, capture_output=True)
        argv = ["/usr/sbin/mariadbd", "--no-defaults", data, owner, f"--port={self.port}"]
        argv += ["--bind-address=127.0.0.1", f"--socket={self.directory / 'socket'}"]
        argv += ["--character-set-server=utf8mb4", "--innodb-flush-log-at-trx-commit=0"]
        log = self.directory / "mariadb.log"
        self._process = Process("mariadb", argv, log, self._answers).start(60)
        self._run("CREATE DATABASE modoboa")
        self._run("CREATE USER modoboa@'127.0.0.1' IDENTIFIED BY 'modoboa'")
        self._run("GRANT ALL ON *.* TO modoboa@'127.0.0.1'")
        return self

    def stop(self) -> None:
        """End it and take its files away."""
        if self._process is not None:
            self._process.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _run(self, sql: str) -> None:
        subprocess.run([*self._client, "-e", sql], check=True, capture_output=True)

    def _answers(self) -> bool:
        return (
            subprocess.run([*self._client, "-e", "SELECT 1"], capture_output=True).returncode == 0
        )
