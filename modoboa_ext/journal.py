"""Bring the control plane's events into Modoboa's log: `modoboa.jobs` tells what happened to certificates."""

from __future__ import annotations

import logging
from typing import Any

from django.core.cache import cache

from modoboa_ext.control_plane import OWNER, ControlPlane

LAST_SEEN = "virtualhosts.last_event"
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
    """Log what happened since the last time, oldest first; how many lines. The first time, nothing."""
    seen = cache.get(LAST_SEEN)
    happened = since(seen, control)
    fresh = [event for event in reversed(happened) if event["kind"] in TOLD and seen is not None]
    for event in fresh:
        log.log(TOLD[event["kind"]], "%s", sentence(event))
    if happened:
        cache.set(LAST_SEEN, happened[0]["id"], timeout=None)
    return len(fresh)


def since(seen: int | None, control: ControlPlane) -> list[dict[str, Any]]:
    """The events after the one called `seen`, newest first; one page of them where it is None."""
    query = {"limit": 500}
    events: list[dict[str, Any]] = []
    while True:
        page = control.call("GET", "/events", params=query)
        events += [event for event in page["items"] if seen is None or event["id"] > seen]
        query["after"] = page.get("next")
        if seen is None or query["after"] is None or query["after"] <= seen:
            return events


def sentence(event: dict[str, Any]) -> str:
    """One line for one event."""
    detail = event.get("detail") or {}
    said = ", ".join(f"{name}: {value}" for name, value in sorted(detail.items()) if value)
    what = event["kind"].replace("_", " ")
    host = event.get("hostname") or OWNER
    return f"virtual host {host}: {what}" + (f" ({said})" if said else "")
