"""One line of the table that `make bench` prints."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """What was measured, the figure in its unit, the aim as text, and whether the aim was met (None: no aim)."""

    what: str
    value: float
    unit: str
    aim: str = ""
    met: bool | None = None
    note: str = ""


def at_least(what: str, value: float, aim: float, *, unit: str = "x", note: str = "") -> Row:
    """A row whose aim is a lower bound."""
    return Row(what, value, unit, f"≥ {aim:g}", value >= aim, note)


def at_most(what: str, value: float, aim: float, *, unit: str, note: str = "") -> Row:
    """A row whose aim is an upper bound."""
    return Row(what, value, unit, f"≤ {aim:g}", value <= aim, note)
