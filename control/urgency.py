"""Whose turn it is among those that are due: one rule for the workers and for the simulated year; pure functions."""

from __future__ import annotations

from datetime import datetime

ENDING, ENDED, NEW, OTHER = range(4)
"""Lowest first: a certificate about to end, one that has ended, a host without one, any other renewal."""


def urgency(
    now: datetime, *, not_before: datetime | None = None, not_after: datetime | None = None
) -> int:
    """Whose turn it is, lowest first; the dates are those of the certificate in use, None for a new host."""
    if not_before is None or not_after is None:
        return NEW
    if not_after <= now:
        return ENDED
    return ENDING if ends_soon(now, not_before, not_after) else OTHER


def ends_soon(now: datetime, not_before: datetime, not_after: datetime) -> bool:
    """Whether less than a sixth of the life is left."""
    return not_after - now < (not_after - not_before) / 6
