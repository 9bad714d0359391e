"""The suite of this folder once more, on PostgreSQL and with the tables that the migrations make."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from deploy.postgresql import Cluster

pytestmark = pytest.mark.long
HERE = Path(__file__).parent
# These deploy an instance of their own, with a database of their own.
ELSEWHERE = ("test_instance.py", "test_lifecycle.py")


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A PostgreSQL of this test's own."""
    cluster = Cluster()
    try:
        yield cluster.start()
    finally:
        cluster.stop()


def test_the_suite_passes_on_postgresql_with_real_migrations(cluster: Cluster) -> None:
    argv = [sys.executable, "-m", "pytest", str(HERE), "-q", "--reuse-db"]
    argv += [f"--ignore={HERE / name}" for name in ELSEWHERE]
    env = {**os.environ, "DBURL": cluster.url, "MIGRATIONS": "1"}
    done = subprocess.run(argv, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    print(re.findall(r"^\d+ passed.*", done.stdout, re.MULTILINE))
    with psycopg.connect(cluster.url.replace("/control", "/test_control")) as connection:
        query = "SELECT count(*) FROM django_migrations WHERE app = 'modoboa_ext'"
        ours = len(list((HERE.parents[1] / "modoboa_ext" / "migrations").glob("0*.py")))
        assert connection.execute(query).fetchone() == (ours,)
