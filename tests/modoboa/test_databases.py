"""This folder's suite on PostgreSQL and MariaDB with the tables that migrations make; races in each run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.mariadb import Server
from deploy.postgresql import Cluster

HERE = Path(__file__).parent
# These deploy an instance of their own, with a database of their own.
ELSEWHERE = ("test_instance.py", "test_lifecycle.py", Path(__file__).name)


def passed(make: type[Cluster] | type[Server], *argv: str, **env: str) -> int:
    """How many tests pass on a database of that kind, made for them; all do."""
    database = make()
    try:
        env = {**os.environ, "DBURL": database.start().url, **env}
        command = [sys.executable, "-m", "pytest", "-q", *argv]
        done = subprocess.run(command, env=env, capture_output=True, text=True)
    finally:
        database.stop()
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    [found] = re.findall(r"(\d+) passed", done.stdout)
    return int(found)


@pytest.mark.long
@pytest.mark.parametrize("make", [Cluster, Server], ids=["postgresql", "mariadb"])
def test_the_suite_passes_with_real_migrations(make: type[Cluster] | type[Server]) -> None:
    others = [f"--ignore={HERE / name}" for name in ELSEWHERE]
    assert passed(make, str(HERE), *others, MIGRATIONS="1") > 300


def test_two_at_the_same_moment_where_rows_are_locked() -> None:
    assert passed(Cluster, str(HERE / "test_races.py")) > 10
