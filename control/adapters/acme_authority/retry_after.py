"""When the CA asks us to come back: Retry-After as a moment in UTC, and how long to wait without one."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

# Nobody publishes a longer wait than a week; a typing error at the CA must not stop us for years.
LONGEST = timedelta(days=30)


def parse(header: str | None, now: datetime, sent: str | None = None) -> datetime | None:
    """The moment that `Retry-After` names (RFC 9110 §10.2.3: seconds or HTTP date), never before `now`.

    `sent` is the answer's own Date header: with it a date is read as a distance, so that a clock
    that differs from the CA's does no harm. None for no header, or one that cannot be read.
    """
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        return now + min(timedelta(seconds=int(text[:12])), LONGEST)
    moment = http_date(text)
    if moment is None:
        return None
    distance = moment - (http_date(sent) or now)
    return now + min(max(distance, timedelta(0)), LONGEST)


def http_date(text: str | None) -> datetime | None:
    """An HTTP date of any of its three spellings (RFC 9110 §5.6.7), aware and in UTC; else None."""
    try:
        moment = parsedate_to_datetime(text or "")
        if moment.tzinfo is None:
            return moment.replace(tzinfo=UTC)
        return moment.astimezone(UTC)
    except (ValueError, OverflowError, IndexError, TypeError):
        return None


def backoff() -> Iterator[float]:
    """Seconds to wait before each further try of one request.

    The first is zero, since a kept-alive connection that the CA has closed meanwhile is no trouble
    of its own; the others double from a quarter of a second, with a little jitter.
    """
    yield 0.0
    for step in range(4):
        yield 0.25 * 2**step * random.uniform(0.8, 1.2)  # noqa: S311 - spreads load, keeps no secret


def looks() -> Iterator[float]:
    """Seconds before each look at an order: 4 ms growing to 2 s; used where the CA names no time."""
    pause = 0.004
    while True:
        yield pause
        pause = min(pause * 1.6, 2.0)
