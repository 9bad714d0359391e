"""Retention: what is kept for a time only, and forgotten some at a time."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import delete, select

from control.models import Event, LimitLevel, Logo, VirtualHost
from control.plane import Plane

GENERATIONS = timedelta(days=7)
"""How long a purged row keeps its generation, so that a late retry revives nothing."""
JOURNAL = timedelta(days=400)
"""How long events are kept: a year can be looked back on."""
LEVELS = timedelta(hours=1)
"""How long the bucket of a limit is kept without debt: it then says the same as none."""
LOGOS = timedelta(days=1)
"""How long a logo is kept that nobody shows: it is stored before it is shown."""
BATCH = 500


def forget_old(plane: Plane, *, whole: bool) -> None:
    """What has outlived its time, at most BATCH of each kind; `whole` also what takes a look at every host."""
    now = plane.clock()
    _forget_hosts(plane, now)
    _forget_events(plane, now)
    _forget_levels(plane, now)
    if whole:
        _forget_logos(plane, now)


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


def _forget_levels(plane: Plane, now: datetime) -> None:
    paid = LimitLevel.empty_at < now - LEVELS
    with plane.database.reading() as session:
        old = session.scalars(select(LimitLevel.key).where(paid).limit(BATCH)).all()
    if old:
        with plane.database.writing() as session:
            session.execute(delete(LimitLevel).where(LimitLevel.key.in_(old), paid))


def _forget_logos(plane: Plane, now: datetime) -> None:
    outlived = Logo.created_at < now - LOGOS
    with plane.database.reading() as session:
        unseen = set(session.scalars(select(Logo.sha256).where(outlived)))
        if not unseen:
            return
        for logos in session.scalars(select(VirtualHost.logos)):
            unseen -= {file.partition(".")[0] for file in logos.values()}
    if unseen:
        with plane.database.writing() as session:
            some = sorted(unseen)[:BATCH]
            session.execute(delete(Logo).where(Logo.sha256.in_(some), outlived))
