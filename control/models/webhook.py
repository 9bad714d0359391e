"""Webhook: who is told of events, how far, and when it is tried again; its secret only sealed."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import BigInteger
from sqlalchemy.orm import Mapped, mapped_column

from control.models.record import Record

# Seconds until the next try, by the number of tries that failed in a row; the last one repeats.
_PAUSES = (5, 30, 120, 600, 3600)


class Webhook(Record):
    """Where events go; `told` is the id of the last one that was taken, `kinds` empty means every kind."""

    __tablename__ = "webhooks"

    name: Mapped[str] = mapped_column(primary_key=True)
    url: Mapped[str]
    sealed_secret: Mapped[str] = mapped_column(repr=False)
    created_at: Mapped[datetime]
    kinds: Mapped[list[str]] = mapped_column(default_factory=list)
    told: Mapped[int] = mapped_column(BigInteger, default=0)
    attempts: Mapped[int] = mapped_column(default=0)
    next_attempt_at: Mapped[datetime | None] = mapped_column(default=None)
    error: Mapped[str | None] = mapped_column(default=None)
    lease_until: Mapped[datetime | None] = mapped_column(default=None)

    def succeed(self, told: int) -> None:
        """Everything up to this event was taken, or not asked for."""
        self.told, self.attempts = max(self.told, told), 0
        self.error = self.next_attempt_at = None

    def fail(self, error: str, now: datetime) -> None:
        """It did not take the next one."""
        pause = _PAUSES[min(self.attempts, len(_PAUSES) - 1)]
        self.attempts += 1
        self.error, self.next_attempt_at = error, now + timedelta(seconds=pause)
