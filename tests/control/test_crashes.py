"""A worker killed with -9 at any point: everything ends served, and nothing is ordered twice."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from control import registry
from tests.control.dying import POINTS
from tests.control.running import TEST, Installation, installation


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installation(tmp_path_factory.mktemp("crashes")) as made:
        yield made


def test_killed_at_every_point_everything_ends_served(running: Installation) -> None:
    names = [f"h{number}.acme.test" for number in range(len(POINTS))]
    running.add("renewed.acme.test", "deleted.acme.test", "other.acme.test")
    first = running.worker()
    running.all_ready()
    first.stop()
    orders = running.ca.count("newOrder")
    for name, point in zip(names, POINTS, strict=True):
        prepare(running, name, point)
        words = ["1", "deleted.acme.test"] if point == "during delete" else []
        running.dying(point, *words)
    worker = running.worker()
    running.all_ready()
    running.no_orphans()
    ordered = running.ca.count("newOrder") - orders
    assert ordered <= len(names) + len(POINTS), "orders ≤ hosts + kills"
    worker.stop()


def prepare(running: Installation, name: str, point: str) -> None:
    """Give the worker something to do that leads through the point."""
    if point == "after account":
        running.ca.accounts.clear()
    if point == "during renewal swap":
        registry.renew(running.plane, "renewed.acme.test", TEST)
    elif point not in ("during delete", "during reconcile"):
        running.add(name)
