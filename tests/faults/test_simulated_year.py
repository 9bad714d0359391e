"""The short form of the simulated year; the long one is `python -m tests.faults.simulated_year`."""

from __future__ import annotations

import pytest

from tests.faults.simulated_year import OUTAGE, START, simulate

SEED = 20261120


@pytest.mark.parametrize("ari", [True, False], ids=["with ARI", "without ARI"])
def test_nothing_expires_needlessly_and_no_published_limit_is_exceeded(ari: bool) -> None:
    report = simulate(300, ari=ari, seed=SEED)
    print(f"\nseed {SEED}\n{report}")
    assert report.expired_needlessly == 0
    assert report.expired > 0, "the outage must be long enough to matter"
    assert not report.referee.refused
    before = [report.orders[day] for day in range((OUTAGE[0] - START).days)]
    assert min(before) > 0
    assert max(before) < 3 * sum(before) / len(before)
