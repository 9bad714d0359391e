"""Bring the control plane's events into Modoboa's log: `modoboa.jobs` tells what happened to certificates."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from modoboa_ext.control_plane import OWNER, ControlPlane
from modoboa_ext.models import Remembered

FIRST_LOOK = timedelta(days=1)
SETTLED = timedelta(seconds=2)
TOLD = {
    "certificate_issued": logging.INFO,
    "certificate_renewed": logging.INFO,
    "certificate_uploaded": logging.INFO,
    "certificate_expiring": logging.WARNING,
    "certificate_revoked": logging.WARNING,
    "renewal_requested": logging.INFO,
    "renewal_moved": logging.INFO,
    "renewal_failed": logging.ERROR,
    "ready": logging.INFO,
    "waiting": logging.WARNING,
    "failed": logging.ERROR,
}
log = logging.getLogger("modoboa.jobs")


def tell(control: ControlPlane) -> int:
    """Log what happened since the last time, oldest first; how many lines. Raises ControlPlaneError.

    1. The first time, the last day is told, and not years of history.
    2. What is younger than two seconds waits: on PostgreSQL one of a lower id may still be committed.
    3. Where another worker told them meanwhile, nothing is told twice.
    """
    seen, now = Remembered.load().last_event, timezone.now()
    happened = [event for event in since(seen, now, control) if time_of(event) <= now - SETTLED]
    fresh = [event for event in reversed(happened) if event["kind"] in TOLD]
    if not happened:
        return 0
    with transaction.atomic():
        if not Remembered.objects.filter(last_event=seen).update(last_event=happened[0]["id"]):
            return 0
        for event in fresh:
            log.log(TOLD[event["kind"]], "%s", sentence(event))
    return len(fresh)


def since(seen: int | None, now: datetime, control: ControlPlane) -> list[dict[str, Any]]:
    """The events after the one called `seen`, newest first; those of the last day where it is None.

    So too where the journal ends before `seen`: the control plane's database is then another one.
    """
    query = {"limit": 500}
    page = control.call("GET", "/events", "items", params=query)
    if seen is not None and page["items"] and page["items"][0]["id"] < seen:
        seen = None
    events = []
    while True:
        new = [event for event in page["items"] if is_new(event, seen, now)]
        events += new
        if page.get("next") is None or len(new) < len(page["items"]):
            return events
        page = control.call("GET", "/events", "items", params={**query, "after": page["next"]})


def is_new(event: dict[str, Any], seen: int | None, now: datetime) -> bool:
    """Whether an event comes after the one called `seen`, or, without one, is of the last day."""
    return time_of(event) > now - FIRST_LOOK if seen is None else event["id"] > seen


def time_of(event: dict[str, Any]) -> datetime:
    """When it happened."""
    return parse_datetime(event["at"])


def sentence(event: dict[str, Any]) -> str:
    """One line for one event."""
    detail = event.get("detail") or {}
    said = ", ".join(f"{name}: {value}" for name, value in sorted(detail.items()) if value)
    what = event["kind"].replace("_", " ")
    host = event.get("hostname") or OWNER
    return f"virtual host {host}: {what}" + (f" ({said})" if said else "")
