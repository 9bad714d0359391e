"""When a certificate is due and when a failure is tried again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control import reasons, renewal
from control.ports import RenewalInfo
from control.urgency import urgency

START = datetime(2026, 11, 20, tzinfo=UTC)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


def info(start: datetime, end: datetime) -> RenewalInfo:
    """What ARI says, to be asked again in six hours."""
    return RenewalInfo(start, end, START + 6 * HOUR)


@pytest.mark.parametrize(
    ("life", "day_from", "day_to"),
    [
        (90 * DAY, 57, 60),
        (64 * DAY, 40.5, 42.7),
        (45 * DAY, 28.5, 30),
        (160 * HOUR, 2.7, 3.4),
    ],
)
def test_a_third_of_the_life_is_left_and_half_of_a_short_one(
    life: timedelta, day_from: float, day_to: float
) -> None:
    due = renewal.due_at(START, START + life, "mail.acme.test")
    assert day_from <= (due - START) / DAY <= day_to


def test_hosts_onboarded_together_are_not_due_together() -> None:
    dues = [renewal.due_at(START, START + 90 * DAY, f"h{n}") for n in range(1000)]
    assert max(dues) - min(dues) > 2.9 * DAY
    assert dues == [renewal.due_at(START, START + 90 * DAY, f"h{n}") for n in range(1000)]


def test_the_ca_s_window_wins_over_the_rule_and_gives_one_stable_moment() -> None:
    window = info(START + 50 * DAY, START + 52 * DAY)
    due = renewal.due_at(START, START + 90 * DAY, "h", info=window)
    assert window.start <= due <= window.end
    later_answer = RenewalInfo(window.start, window.end, START + 9 * DAY)
    assert renewal.due_at(START, START + 90 * DAY, "h", info=later_answer) == due
    moved = info(window.start + DAY, window.end + DAY)
    assert renewal.due_at(START, START + 90 * DAY, "h", info=moved) != due


def test_moments_are_spread_over_the_whole_window() -> None:
    window = info(START, START + 100 * HOUR)
    buckets = [0] * 10
    for n in range(2000):
        buckets[int((renewal.by_window(window, f"h{n}") - START) / HOUR / 10)] += 1
    assert min(buckets) > 140


def test_the_operator_s_threshold_wins_over_the_window() -> None:
    window = info(START + 59 * DAY, START + 61 * DAY)
    due = renewal.due_at(START, START + 90 * DAY, "h", info=window, threshold_days=10)
    assert 79 <= (due - START) / DAY <= 80


def test_a_revoked_certificate_is_due_now_whatever_the_threshold() -> None:
    now = START + 5 * DAY
    gone = info(now - HOUR, now - HOUR / 2)
    assert renewal.due_at(START, START + 90 * DAY, "h", info=gone, threshold_days=10) < now


def test_a_threshold_longer_than_the_life_does_not_order_every_day() -> None:
    due = renewal.due_at(START, START + 160 * HOUR, "h", threshold_days=30)
    assert due == START + 80 * HOUR


def test_a_window_after_the_end_is_not_waited_for() -> None:
    late = info(START + 95 * DAY, START + 99 * DAY)
    assert renewal.due_at(START, START + 80 * DAY, "h", info=late) == START + 70 * DAY


@given(st.integers(1, 400), st.integers(0, 400), st.integers(0, 400), st.integers(1, 90))
def test_a_certificate_is_due_before_it_ends(life: int, start: int, wide: int, days: int) -> None:
    end = START + life * DAY
    window = info(START + start * DAY, START + (start + wide) * DAY + HOUR)
    for threshold in (None, days):
        for suggestion in (None, window):
            due = renewal.due_at(START, end, "h", info=suggestion, threshold_days=threshold)
            assert due < end


def test_refusals_are_tried_again_after_a_minute_ten_a_hundred_and_then_daily() -> None:
    minutes = [
        (renewal.next_attempt(n, "port80_wrong_answer", "h", START) - START) / timedelta(minutes=1)
        for n in range(1, 7)
    ]
    for got, want in zip(minutes, (1, 10, 100, 1440, 1440, 1440), strict=True):
        assert want <= got <= want * 1.1


def minutes_between(reason: str, tries: int) -> list[float]:
    """The waits after each of so many failures in a row, in minutes."""
    return [
        (renewal.next_attempt(n, reason, "h", START) - START) / timedelta(minutes=1)
        for n in range(1, tries + 1)
    ]


def test_dns_that_is_corrected_is_noticed_within_a_quarter_of_an_hour_for_a_day() -> None:
    waits = minutes_between("dns_points_elsewhere", 101)
    assert max(waits[:100]) <= 15 * 1.1
    assert sum(waits[:100]) > 24 * 60
    assert 60 <= waits[100] <= 66
    hour = [wait for wait in waits[4:20] if wait < 15]
    assert hour == [], "a CA that judged CAA itself is asked less than five times an hour"


def test_what_an_operator_corrects_is_noticed_within_the_hour() -> None:
    assert max(minutes_between("eab_required", 50)) <= 66


def test_while_the_ca_is_away_it_is_looked_for_at_least_once_a_minute_for_ten_minutes() -> None:
    now, failures = START, 0
    while now < START + timedelta(minutes=10):
        failures += 1
        after = renewal.next_attempt(failures, "ca_unavailable", "h", now)
        assert after - now < timedelta(seconds=60)
        now = after


def test_never_earlier_than_the_ca_asked() -> None:
    asked = START + 3 * DAY
    for reason in reasons.REASONS:
        for failures in (1, 2, 9):
            when = renewal.next_attempt(
                failures, reason, "h", START, not_before=asked, not_after=START + DAY
            )
            assert when >= asked


def test_failed_validations_stay_under_five_an_hour_even_for_a_certificate_about_to_end() -> None:
    tries, failures = [START], 0
    end = START + 3 * HOUR
    while tries[-1] < end:
        failures += 1
        tries.append(
            renewal.next_attempt(failures, "port80_unreachable", "h", tries[-1], not_after=end)
        )
    assert all(sixth - first > HOUR for first, sixth in zip(tries, tries[5:], strict=False))
    assert len(tries) > 6


def test_waiting_grows_and_never_shrinks() -> None:
    for reason in reasons.REASONS:
        waits = [renewal.next_attempt(n, reason, "h", START) for n in range(1, 30)]
        assert all(b >= a - (a - START) / 10 for a, b in pairwise(waits))


def test_expiring_certificates_come_first_then_ended_ones_new_hosts_and_other_renewals() -> None:
    end = START + 90 * DAY
    moments = (END_SOON, end, START + 61 * DAY)
    ending, ended, other = (urgency(m, not_before=START, not_after=end) for m in moments)
    assert ending < ended < urgency(START) < other


END_SOON = START + 80 * DAY


def test_a_host_has_moved_after_seven_days_elsewhere() -> None:
    assert not renewal.has_moved(None, START)
    assert not renewal.has_moved(START, START + 7 * DAY - HOUR)
    assert renewal.has_moved(START, START + 7 * DAY)


def test_the_second_ca_is_for_new_hosts_after_minutes_and_for_renewals_after_a_day() -> None:
    life = {"not_before": START, "not_after": START + 90 * DAY}
    now = START + 60 * DAY
    assert not renewal.use_fallback(None, now)
    assert not renewal.use_fallback(now - timedelta(minutes=14), now)
    assert renewal.use_fallback(now - timedelta(minutes=15), now)
    assert not renewal.use_fallback(now - 23 * HOUR, now, **life)
    assert renewal.use_fallback(now - 24.5 * HOUR, now, **life)
    assert renewal.use_fallback(END_SOON - HOUR / 2, END_SOON, **life)


def test_the_first_ca_is_asked_again_for_a_minute_of_each_hour() -> None:
    minutes = [
        renewal.use_fallback(START, START + n * timedelta(minutes=1)) for n in range(15, 315)
    ]
    assert minutes.count(False) == 5


def test_the_longer_the_ca_is_away_the_less_often_each_host_asks() -> None:
    def wait(away: timedelta, end: datetime | None) -> timedelta:
        when = renewal.next_attempt(
            1, "ca_unavailable", "h", START, not_after=end, away_since=START - away
        )
        return when - START

    far = START + 60 * DAY
    assert wait(timedelta(seconds=20), far) < timedelta(seconds=6)
    assert HOUR <= wait(8 * HOUR, far) <= 1.1 * HOUR
    assert 6 * HOUR <= wait(9 * DAY, far) <= 6.6 * HOUR
    assert wait(9 * DAY, None) <= 1.1 * HOUR, "somebody waits for a first certificate"
    assert wait(9 * DAY, START + 10 * HOUR) <= 1.1 * HOUR, "a certificate is about to end"
