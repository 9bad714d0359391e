"""What an administrator changes while everything runs: stored, noted, and told to those whom it concerns."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Any, cast

from sqlalchemy import ColumnElement, Table, bindparam, func, or_, true, update

from control.models import Moment, RuntimeSettings, VirtualHost
from control.models.runtime import alone, load, store
from control.plane import Plane, Who, audit


def configure(
    plane: Plane,
    changes: dict[str, Any],
    who: Who,
    *,
    check: Callable[[RuntimeSettings], None] = lambda before: None,
) -> RuntimeSettings:
    """Store run-time settings; whoever one of them concerns is looked at again. What stays the same is no change.

    `check` sees what holds before, and nobody changes it meanwhile; it raises to change nothing.
    """
    now = plane.clock()
    with plane.database.writing() as session:
        alone(session)
        held = load(session, plane.settings)
        check(held)
        before = held.as_dict()
        changes = {name: value for name, value in changes.items() if before[name] != value}
        store(session, changes)
        if changes:
            audit(session, "settings_changed", now, who, **changes)
        if "hsts_max_age" in changes:
            session.execute(_SEE_HSTS, {"moment": now})
        affected = _affected(changes)
        if affected is not None:
            session.execute(
                update(VirtualHost)
                .where(VirtualHost.deleted_at.is_(None), affected)
                .values(due_at=now)
                .execution_options(synchronize_session=False)
            )
    plane.store.nudge()
    return plane.runtime()


def _affected(changes: Container[str]) -> ColumnElement[bool] | None:
    """Whom a change of settings makes due at once. Who is switched is everybody, also who is being worked on now."""
    if "acme_enabled" in changes or "edge_enabled" in changes:
        return true()
    found = []
    if "acme_limits" in changes:
        found.append(VirtualHost.error_reason == "limit_reserved")
    if "renewal_threshold_days" in changes:
        found.append(VirtualHost.certificate_id.is_not(None))
    return or_(*found) if found else None


_HOSTS = cast(Table, VirtualHost.__table__)
_MOMENT = bindparam("moment", type_=Moment())
_SEE_HSTS = (
    update(_HOSTS)
    .where(_HOSTS.c.deleted_at.is_(None), _HOSTS.c.hsts_max_age.is_(None))
    .values(
        change=_HOSTS.c.change + 1,
        due_at=_MOMENT,
        updated_at=_MOMENT,
        unpublished_since=func.coalesce(_HOSTS.c.unpublished_since, _MOMENT),
    )
)
"""Whoever has no max-age of its own has something new to show."""
