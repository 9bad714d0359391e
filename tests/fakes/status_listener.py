"""FakeStatus: status listeners that say what a test put there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class FakeStatus:
    """`reports` by hostname; who is not there is unknown to the edge; `away` in words when nobody answers."""

    def __init__(self, **reports: Mapping[str, Any]) -> None:
        self.reports = reports
        self.away = ""
        self.asked: list[tuple[str, str]] = []

    def report(self, url: str, hostname: str) -> Mapping[str, Any]:
        """See control.explanation.Status."""
        self.asked.append((url, hostname))
        if self.away:
            raise ConnectionError(self.away)
        return self.reports.get(hostname, {"state": "unknown", "index_complete": True})
