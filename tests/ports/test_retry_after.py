"""Retry-After in every spelling, and in none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.adapters.acme_authority import retry_after

NOW = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("60", NOW + MINUTE),
        (" 60 ", NOW + MINUTE),
        ("0", NOW),
        ("Fri, 20 Nov 2026 12:01:00 GMT", NOW + MINUTE),
        ("Friday, 20-Nov-26 12:01:00 GMT", NOW + MINUTE),
        ("Fri Nov 20 12:01:00 2026", NOW + MINUTE),
        ("Fri, 20 Nov 2026 13:01:00 +0100", NOW + MINUTE),
        ("Fri, 20 Nov 2026 11:00:00 GMT", NOW),
        ("99999999999999999999", NOW + retry_after.LONGEST),
        ("Fri, 20 Nov 9999 12:00:00 GMT", NOW + retry_after.LONGEST),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        (None, None),
        ("²", None),
        ("Fri, 99 Nov 2026 99:00:00 GMT", None),
    ],
)
def test_spellings(header: str | None, expected: datetime | None) -> None:
    assert retry_after.parse(header, NOW) == expected


def test_a_time_zone_of_the_machine_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        assert retry_after.parse("Fri, 20 Nov 2026 12:01:00 GMT", NOW) == NOW + MINUTE
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_date_is_a_distance_from_the_ca_s_own_clock() -> None:
    ours_is_slow = NOW - timedelta(hours=3)
    header, sent = "Fri, 20 Nov 2026 12:01:00 GMT", "Fri, 20 Nov 2026 12:00:00 GMT"
    assert retry_after.parse(header, ours_is_slow, sent) == ours_is_slow + MINUTE


@given(st.text(max_size=40), st.text(max_size=40))
def test_nothing_that_a_header_can_hold_breaks_it(header: str, sent: str) -> None:
    moment = retry_after.parse(header, NOW, sent)
    assert moment is None or NOW <= moment <= NOW + retry_after.LONGEST


@given(st.integers(0, 30 * 86400))
def test_seconds_and_date_mean_the_same(seconds: int) -> None:
    moment = NOW + timedelta(seconds=seconds)
    date = format_datetime(moment, usegmt=True)
    assert retry_after.parse(str(seconds), NOW) == retry_after.parse(date, NOW) == moment


def test_looks_start_small_and_never_grow_past_two_seconds() -> None:
    pauses = list(islice(retry_after.looks(), 40))
    assert pauses[0] == 0.004
    assert pauses == sorted(pauses)
    assert pauses[-1] == 2.0
