"""Who works on which virtual host: a claim is one UPDATE and a lease, and every write checks it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, or_, select, update
from sqlalchemy.orm import Session

from control.database import Database
from control.models import Certificate, VirtualHost, locked

LEASE = timedelta(seconds=30)


class Lost(Exception):
    """The lease is gone: the host was deleted, changed hands, or another worker has it now."""


@dataclass(frozen=True)
class Claim:
    """One virtual host that one worker may work on until its lease ends."""

    host_id: int
    hostname: str
    lease: str


def claim(database: Database, worker: str, now: datetime, limit: int) -> list[Claim]:
    """Take up to `limit` of the virtual hosts that are due: certificates about to end, then the longest waiting."""
    lease = f"{worker}/{uuid.uuid4().hex[:12]}"
    with database.reading() as session:
        ending = _ending(session, now)
    taken: list[Claim] = []
    with database.writing() as session:
        if ending:
            taken += _take(session, lease, now, limit, VirtualHost.certificate_id.in_(ending))
        if len(taken) < limit:
            taken += _take(session, lease, now, limit - len(taken))
    return taken


def _ending(session: Session, now: datetime) -> Sequence[int]:
    """Certificates within a day of their end, or past it by less than a week; the first to end first."""
    return session.scalars(
        select(Certificate.id)
        .where(Certificate.not_after.between(now - timedelta(days=7), now + timedelta(days=1)))
        .order_by(Certificate.not_after)
        .limit(500)
    ).all()


def _take(
    session: Session, lease: str, now: datetime, limit: int, *further: ColumnElement[bool]
) -> list[Claim]:
    """Lease what is due and free, the longest waiting first."""
    due = (
        select(VirtualHost.id)
        .where(VirtualHost.due_at <= now, *further)
        .where(or_(VirtualHost.lease_until.is_(None), VirtualHost.lease_until < now))
        .order_by(VirtualHost.due_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    taken = (
        update(VirtualHost)
        .where(VirtualHost.id.in_(due.scalar_subquery()))
        .values(lease=lease, lease_until=now + LEASE)
        .returning(VirtualHost.id, VirtualHost.hostname)
        .execution_options(synchronize_session=False)
    )
    return [Claim(row.id, row.hostname, lease) for row in session.execute(taken)]


def anything_due(database: Database, now: datetime) -> bool:
    """Whether a claim would find something; a read only, so that idle workers write nothing."""
    due = (
        select(VirtualHost.id)
        .where(VirtualHost.due_at <= now)
        .where(or_(VirtualHost.lease_until.is_(None), VirtualHost.lease_until < now))
        .limit(1)
    )
    with database.reading() as session:
        return session.scalar(due) is not None


def keep(database: Database, leases: Collection[str], now: datetime) -> None:
    """Extend the leases of work under way."""
    if leases:
        with database.writing() as session:
            session.execute(
                update(VirtualHost)
                .where(VirtualHost.lease.in_(leases))
                .values(lease_until=now + LEASE)
            )


def release(database: Database, held: Claim) -> None:
    """Let others take it; nothing happens when the lease was lost before."""
    with database.writing() as session:
        session.execute(
            update(VirtualHost)
            .where(VirtualHost.id == held.host_id, VirtualHost.lease == held.lease)
            .values(lease=None, lease_until=None)
        )


def free_dead(database: Database, is_dead: Callable[[str], bool]) -> Sequence[str]:
    """Free what workers held that are known to have died, so that a restart goes on at once."""
    with database.reading() as session:
        held = session.scalars(
            select(VirtualHost.lease).where(VirtualHost.lease_until.is_not(None)).distinct()
        )
        dead = [lease for lease in held if lease and is_dead(lease.rsplit("/", 1)[0])]
    if dead:
        with database.writing() as session:
            session.execute(
                update(VirtualHost)
                .where(VirtualHost.lease.in_(dead))
                .values(lease=None, lease_until=None)
            )
    return dead


@contextmanager
def owned(database: Database, held: Claim) -> Iterator[tuple[Session, VirtualHost]]:
    """A write transaction on a claimed host; Lost when the claim does not hold any more."""
    with database.writing() as session:
        host = locked(session, VirtualHost.id == held.host_id)
        if host is None or host.lease != held.lease or host.deleted_at is not None:
            raise Lost(held.hostname)
        yield session, host
