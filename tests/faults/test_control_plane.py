"""The long forms of the control plane's fault tests: crash matrix, random kills, interleavings, fuzzing."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest

from tests.control import conftest
from tests.control.conftest import House
from tests.control.dying import POINTS
from tests.control.running import Installation, installation
from tests.control.test_crashes import prepare
from tests.control.test_interleavings import interleave

database, house, keyring_path = conftest.database, conftest.house, conftest.keyring_path
template, postgresql = conftest.template, conftest.postgresql

ROUNDS = 3
HOSTS = 100
KILLS = 200
PENDING_AT_MOST = 120  # seconds after the last kill
INTERLEAVINGS = 500
DEEDS = 60
FUZZ_CASES = 600

pytestmark = pytest.mark.long


def test_killed_three_times_at_every_point(tmp_path: Path) -> None:
    with installation(tmp_path) as running:
        running.add("renewed.acme.test", "other.acme.test")
        first = running.worker()
        running.all_ready()
        first.stop()
        before = running.ca.count("newOrder")
        kills = 0
        for turn in range(ROUNDS):
            for number, point in enumerate(POINTS):
                delete(running, turn, point)
                prepare(running, f"h{turn}-{number}.acme.test", point)
                words = ["1", f"deleted{turn}.acme.test"] if point == "during delete" else []
                running.dying(point, *words)
                kills += 1
        running.worker()
        running.all_ready(PENDING_AT_MOST)
        running.no_orphans()
        hosts = ROUNDS * (len(POINTS) + 1)
        assert running.ca.count("newOrder") - before <= hosts + kills


def delete(running: Installation, turn: int, point: str) -> None:
    """Something to be deleted, where that is the point."""
    if point == "during delete":
        running.add(f"deleted{turn}.acme.test")
        worker = running.worker()
        running.all_ready()
        worker.stop()


def test_killed_at_random_over_many_hosts(tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    arrivals = Counter(rng.randrange(KILLS) for _ in range(HOSTS))
    names = (f"h{number}.acme.test" for number in range(HOSTS))
    met = 0
    with installation(tmp_path) as running:
        running.ca.pause = 0.05
        for kill in range(KILLS):
            running.add(*islice(names, arrivals[kill]))
            worker = running.worker()
            time.sleep(rng.random() * 0.6)
            worker.kill()
            running.running.remove(worker)
            met += running.orders_under_way() > 0
        ordered = running.ca.count("newOrder")
        running.worker()
        running.all_ready(PENDING_AT_MOST)
        running.no_orphans()
        last = running.ca.count("newOrder")
        print(
            f"{KILLS} kills, {met} of them with orders under way; {last} orders, {ordered} before"
        )
        assert met >= KILLS // 10, "the kills met nothing"
        assert running.hosts() == HOSTS
        assert HOSTS <= last <= HOSTS + KILLS


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
@pytest.mark.parametrize("turn", range(INTERLEAVINGS))
def test_two_workers_never_order_twice(house: House, turn: int) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    interleave(house, seed, DEEDS)


def test_many_more_cases_of_fuzzing() -> None:
    root = Path(__file__).parents[2]
    fuzz = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-s", "tests/control/test_fuzz.py"],
        env={**os.environ, "FUZZ_CASES": str(FUZZ_CASES)},
        cwd=root,
        capture_output=True,
        text=True,
    )
    print(fuzz.stdout[-2000:])
    assert fuzz.returncode == 0
