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
    newest = control.call("GET", "/events", params={"limit": 500})["items"]
    seen = cache.get(LAST_SEEN)
    if newest:
        cache.set(LAST_SEEN, newest[0]["id"], timeout=None)
    if seen is None:
        return 0
    fresh = [event for event in newest if event["id"] > seen and event["kind"] in TOLD]
    for event in reversed(fresh):
        log.log(TOLD[event["kind"]], "%s", sentence(event))
    return len(fresh)


def sentence(event: dict[str, Any]) -> str:
    """One line for one event."""
    detail = event.get("detail") or {}
    said = ", ".join(f"{name}: {value}" for name, value in sorted(detail.items()) if value)
    what = event["kind"].replace("_", " ")
    host = event.get("hostname") or OWNER
    return f"virtual host {host}: {what}" + (f" ({said})" if said else "")
