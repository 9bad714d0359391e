"""A clock that a test turns: `sleep` passes at once and moves `now` on."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta


class Clock:
    """Real time plus everything that was slept; `slept` remembers each sleep in seconds."""

    def __init__(self) -> None:
        self.offset = timedelta(0)
        self.slept: list[float] = []
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """The moment that this clock shows, in UTC."""
        return datetime.now(UTC) + self.offset

    def sleep(self, seconds: float) -> None:
        """Let `seconds` pass; ValueError for less than none, as `time.sleep` does."""
        if seconds < 0:
            raise ValueError("sleep length must be non-negative")
        with self._lock:
            self.slept.append(seconds)
            self.offset += timedelta(seconds=seconds)
