"""Who works on which virtual host: a claim is one UPDATE and a lease, and every write checks it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

from sqlalchemy import Row, Select, Table, bindparam, or_, select, update
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import ReturningUpdate

from control.database import Database
from control.models import Certificate, Moment, VirtualHost, locked

LEASE = timedelta(seconds=30)
SOON, PASSED = timedelta(days=1), timedelta(days=7)
"""Certificates that end so soon come first; one that ended so long ago hurries nobody any more."""


class Lost(Exception):
    """The lease is gone: the host was deleted, changed hands, or another worker has it now."""


@dataclass(frozen=True)
class Claim:
    """One virtual host that one worker may work on until its lease ends."""

    host_id: int
    hostname: str
    lease: str

    def require(self, host: VirtualHost | None) -> None:
        """Raise Lost when that record was deleted, or is another worker's by now."""
        if host is None or host.lease != self.lease or host.deleted_at is not None:
            raise Lost(self.hostname)


# Built once: putting a statement together costs more than running it. `moment` is now.
_HOSTS = cast(Table, VirtualHost.__table__)
_MOMENT = bindparam("moment", type_=Moment())
_IS_DUE = (
    _HOSTS.c.due_at <= _MOMENT,
    or_(_HOSTS.c.lease_until.is_(None), _HOSTS.c.lease_until < _MOMENT),
)
_DUE = select(_HOSTS.c.id).where(*_IS_DUE)
_ANY_DUE = _DUE.limit(1)
_ENDING = (
    select(Certificate.__table__.c.id)
    .where(
        Certificate.__table__.c.not_after.between(
            bindparam("passed", type_=Moment()), bindparam("soon", type_=Moment())
        )
    )
    .order_by(Certificate.__table__.c.not_after)
    .limit(500)
)


def _taking(due: Select[tuple[int]]) -> ReturningUpdate[tuple[int, str]]:
    """Lease at most `most` of those hosts, the longest waiting first."""
    first = due.order_by(_HOSTS.c.due_at).limit(bindparam("most")).with_for_update(skip_locked=True)
    return (
        update(_HOSTS)
        .where(_HOSTS.c.id.in_(first.scalar_subquery()))
        .values(lease=bindparam("under"), lease_until=bindparam("until"))
        .returning(_HOSTS.c.id, _HOSTS.c.hostname)
    )


_TAKE = _taking(_DUE)
_TAKE_ENDING = _taking(_DUE.where(_HOSTS.c.certificate_id.in_(bindparam("ending", expanding=True))))
_KEEP = (
    update(_HOSTS)
    .where(_HOSTS.c.lease.in_(bindparam("leases", expanding=True)))
    .values(lease_until=bindparam("until"))
)
_RELEASE = (
    update(_HOSTS)
    .where(_HOSTS.c.id == bindparam("of"), _HOSTS.c.lease == bindparam("under"))
    .values(lease=None, lease_until=None)
)


def claim(database: Database, worker: str, now: datetime, limit: int) -> list[Claim]:
    """Take up to `limit` of the virtual hosts that are due: certificates about to end, then the longest waiting."""
    lease = f"{worker}/{uuid.uuid4().hex[:12]}"
    wish = {"moment": now, "under": lease, "until": now + LEASE}
    with database.reading() as session:
        ending = session.scalars(_ENDING, {"passed": now - PASSED, "soon": now + SOON}).all()
    taken: list[Row[tuple[int, str]]] = []
    with database.writing(lasting=False) as session:
        if ending:
            first = {**wish, "most": limit, "ending": ending}
            taken += session.execute(_TAKE_ENDING, first)
        if len(taken) < limit:
            taken += session.execute(_TAKE, {**wish, "most": limit - len(taken)})
    return [Claim(row.id, row.hostname, lease) for row in taken]


def anything_due(database: Database, now: datetime) -> bool:
    """Whether a claim would find something; a read only, so that idle workers write nothing."""
    with database.reading() as session:
        return session.scalar(_ANY_DUE, {"moment": now}) is not None


def keep(database: Database, leases: Collection[str], now: datetime) -> None:
    """Extend the leases of work under way."""
    if leases:
        with database.writing(lasting=False) as session:
            session.execute(_KEEP, {"leases": list(leases), "until": now + LEASE})


def release(database: Database, held: Claim) -> None:
    """Let others take it; nothing happens when the lease was lost before."""
    with database.writing(lasting=False) as session:
        session.execute(_RELEASE, {"of": held.host_id, "under": held.lease})


def free_dead(database: Database, is_dead: Callable[[str], bool]) -> Sequence[str]:
    """Free what workers held that are known to have died, so that a restart goes on at once."""
    with database.reading() as session:
        held = session.scalars(
            select(VirtualHost.lease).where(VirtualHost.lease_until.is_not(None)).distinct()
        )
        dead = [lease for lease in held if lease and is_dead(lease.rsplit("/", 1)[0])]
    if dead:
        with database.writing(lasting=False) as session:
            session.execute(
                update(VirtualHost)
                .where(VirtualHost.lease.in_(dead))
                .values(lease=None, lease_until=None)
            )
    return dead


@contextmanager
def owned(
    database: Database, held: Claim, *, lasting: bool = True
) -> Iterator[tuple[Session, VirtualHost]]:
    """A write transaction on a claimed host; Lost when the claim does not hold any more."""
    with database.writing(lasting=lasting) as session:
        host = locked(session, host_id=held.host_id)
        held.require(host)
        yield session, cast(VirtualHost, host)
