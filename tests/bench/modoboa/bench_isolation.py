"""What isolation costs on each request, on SQLite and on PostgreSQL."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from deploy.postgresql import Cluster
from tests.bench.row import Row, at_most


def run() -> list[Row]:
    """All rows of the table."""
    cluster = Cluster()
    try:
        return [*rows("SQLite", None), *rows("PostgreSQL", cluster.start().url)]
    finally:
        cluster.stop()


def rows(database: str, url: str | None) -> list[Row]:
    """Median and 99th percentile of 2,000 requests each; the process is one of its own for each database."""
    env = {name: value for name, value in os.environ.items() if name != "DBURL"}
    env |= {"DBURL": url} if url else {}
    argv = [sys.executable, "-m", "tests.bench.modoboa.cost"]
    done = subprocess.run(argv, env=env, stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    return [
        row
        for state, (middle, high) in found.items()
        for row in (
            Row(f"isolation a request, {database}, {state}, median", middle, "ms"),
            at_most(f"isolation a request, {database}, {state}, p99", high, 1, unit="ms"),
        )
    ]
