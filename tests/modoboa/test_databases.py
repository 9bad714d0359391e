"""The suite of this folder once more, on PostgreSQL and on MariaDB, with the tables that the migrations make."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.mariadb import Server
from deploy.postgresql import Cluster

pytestmark = pytest.mark.long
HERE = Path(__file__).parent
# These deploy an instance of their own, with a database of their own.
ELSEWHERE = ("test_instance.py", "test_lifecycle.py", Path(__file__).name)


@pytest.mark.parametrize("make", [Cluster, Server], ids=["postgresql", "mariadb"])
def test_the_suite_passes_with_real_migrations(make: type[Cluster] | type[Server]) -> None:
    argv = [sys.executable, "-m", "pytest", str(HERE), "-q"]
    argv += [f"--ignore={HERE / name}" for name in ELSEWHERE]
    database = make()
    try:
        env = {**os.environ, "DBURL": database.start().url, "MIGRATIONS": "1"}
        done = subprocess.run(argv, env=env, capture_output=True, text=True)
    finally:
        database.stop()
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    [passed] = re.findall(r"(\d+) passed", done.stdout)
    assert int(passed) > 300
    print(f"{passed} passed")
