"""The control plane's events in Modoboa's log: each once, oldest first, whatever happens to the cache."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.cache import cache
from django.utils import timezone

from modoboa_ext import jobs, journal
from modoboa_ext.control_plane import connect
from modoboa_ext.models import Remembered
from tests.modoboa.town import ACME

pytestmark = pytest.mark.django_db


def event(
    id: int, kind: str = "certificate_renewed", ago: timedelta = timedelta(minutes=1), **detail
):
    """What the control plane tells of something that happened a while ago."""
    at = (timezone.now() - ago).isoformat()
    return {"id": id, "at": at, "kind": kind, "hostname": ACME, "actor": "worker", "detail": detail}


def told(jobs_log) -> list[str]:
    """The lines since the last time, without the name of the host."""
    lines = [
        record.getMessage().removeprefix(f"virtual host {ACME}: ") for record in jobs_log.records
    ]
    jobs_log.clear()
    return lines


def tell() -> None:
    journal.tell(connect())


def test_the_very_first_issuance_is_told(control_plane, jobs_log):
    tell()
    control_plane.events = [event(1, "certificate_issued")]
    tell()
    assert told(jobs_log) == ["certificate issued"]


def test_each_is_told_once_oldest_first_by_the_job_of_every_minute(town, control_plane, jobs_log):
    control_plane.events = [
        event(1, "theme_changed"),
        event(2, "certificate_issued"),
        event(3, "renewal_failed", reason="ca_unavailable"),
    ]
    for _ in range(2):
        jobs.every_minute()
    lines = [line for line in told(jobs_log) if "confirmed" not in line]
    assert lines == ["certificate issued", "renewal failed (reason: ca_unavailable)"]


def test_an_emptied_cache_loses_and_repeats_nothing(control_plane, jobs_log):
    control_plane.events = [event(1, "certificate_issued")]
    tell()
    cache.clear()
    control_plane.events += [event(2, "renewal_failed")]
    tell()
    assert told(jobs_log) == ["certificate issued", "renewal failed"]


def test_the_first_time_the_last_day_is_told_and_not_years_of_history(control_plane, jobs_log):
    years = [event(id, ago=timedelta(days=800)) for id in range(1, 1100)]
    control_plane.events = [*years, event(1100, "certificate_issued")]
    tell()
    assert told(jobs_log) == ["certificate issued"]


def test_of_more_events_than_a_page_holds_each_is_told(control_plane, jobs_log):
    control_plane.events = [event(id, number=id) for id in range(1, 1203)]
    for _ in range(2):
        tell()
    assert told(jobs_log) == [f"certificate renewed (number: {id})" for id in range(1, 1203)]


def test_what_happened_this_very_moment_waits_for_one_of_a_lower_id(control_plane, jobs_log):
    """As PostgreSQL commits them: the second is there before the first."""
    control_plane.events = [event(2, "ready", ago=timedelta(0))]
    tell()
    assert told(jobs_log) == []
    control_plane.events = [event(1, "certificate_issued"), event(2, "ready")]
    tell()
    assert told(jobs_log) == ["certificate issued", "ready"]


def test_what_another_worker_told_meanwhile_is_not_told_again(control_plane, jobs_log):
    control_plane.events = [event(1, "certificate_issued")]

    class ToldByAnother:
        """A control plane whose answer comes when another worker has told it."""

        def call(self, *args, **options):
            answer = connect().call(*args, **options)
            Remembered.objects.update(last_event=1)
            return answer

    assert journal.tell(ToldByAnother()) == 0
    assert told(jobs_log) == []


def test_the_journal_of_another_database_is_told_too(control_plane, jobs_log):
    """As after the control plane was set up anew: its events are counted from one again."""
    Remembered.load()
    Remembered.objects.update(last_event=5000)
    control_plane.events = [event(1, "certificate_issued")]
    for _ in range(2):
        tell()
    assert told(jobs_log) == ["certificate issued"]
