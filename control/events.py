"""An event as others read it: by the API and by webhooks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from control import reasons
from control.models import Event


def shown(record: Event, addresses: Sequence[str]) -> dict[str, Any]:
    """One event; where it has a reason, who must act (`must_act`) and what to do (`hint`) stand beside it.

    `addresses` are the edge's public ones, none where they are not known.
    """
    fields = ("id", "at", "kind", "hostname", "actor", "detail", "request_id", "remote")
    found = {name: getattr(record, name) for name in fields}
    reason = record.detail.get("reason")
    if record.hostname and isinstance(reason, str) and reason in reasons.REASONS:
        when = record.detail.get("next_attempt_at")
        words = reasons.known(record.hostname, addresses, when and datetime.fromisoformat(when))
        found["must_act"], found["hint"] = reasons.actor(reason), reasons.hint(reason, **words)
    return found
