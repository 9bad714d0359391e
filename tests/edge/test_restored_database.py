"""An older database comes back: what it does not know is dropped by every live edge, and by those that were away."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from control import schema
from control.models import EdgeState
from control.plane import Plane
from control.reconcile import reconcile
from control.settings import from_environment
from control.wiring import connect
from tests.edge.conftest import A, Edge, Edges
from tests.edge.visitor import eventually


@pytest.fixture
def plane(edge: Edge, tmp_path: Path) -> Plane:
    """A control plane whose database is from before the edge's hosts, but of their epoch."""
    environment = {
        "DATABASE_URL": f"sqlite:///{tmp_path}/control.sqlite3",
        "REDIS_URL": f"redis://127.0.0.1:{edge.redis_port}/0",
        "EDGE_KEYRING": edge.env["EDGE_KEYRING"],
    }
    plane = connect(from_environment(environment), lambda: datetime.now(UTC))
    schema.upgrade(plane.database)
    with plane.database.writing() as session:
        session.add(EdgeState(id=1, epoch="e1"))
    return plane


def test_a_host_that_the_database_does_not_know_is_refused_before_long(
    edges: Edges, edge: Edge, plane: Plane
) -> None:
    assert not edge.refuses(A)
    assert reconcile(plane).removed == 3
    eventually(lambda: edge.refuses(A))
    assert edge.redis.exists(f"vh:cert:{A}") == 0
    eventually(lambda: reconcile(plane).removed == 3)
    assert edge.redis.zcard("vh:hosts") == 0
    assert int(edge.redis.get("vh:floor")) > 0
    assert edge.refuses(A)
