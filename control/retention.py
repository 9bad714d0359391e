"""Retention: what is kept for a time only, and forgotten some at a time."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import delete, select

from control.models import Event, VirtualHost
from control.plane import Plane

GENERATIONS = timedelta(days=7)
"""How long a purged row keeps its generation, so that a late retry revives nothing."""
JOURNAL = timedelta(days=400)
"""How long events are kept: a year can be looked back on."""
BATCH = 500


def forget_old(plane: Plane) -> None:
    """What has outlived its time, at most BATCH of each kind."""
    now = plane.clock()
    _forget_hosts(plane, now)
    _forget_events(plane, now)


def _forget_hosts(plane: Plane, now: datetime) -> None:
    with plane.database.reading() as session:
        old = session.scalars(
            select(VirtualHost.id).where(VirtualHost.purged_at < now - GENERATIONS).limit(BATCH)
        ).all()
    if old:
        with plane.database.writing() as session:
            for host_id in old:
                host = session.get(VirtualHost, host_id)
                if host is not None and host.purged_at is not None:
                    session.delete(host)


def _forget_events(plane: Plane, now: datetime) -> None:
    with plane.database.reading() as session:
        old = session.scalars(select(Event.id).where(Event.at < now - JOURNAL).limit(BATCH)).all()
    if old:
        with plane.database.writing() as session:
            session.execute(delete(Event).where(Event.id.in_(old)))
