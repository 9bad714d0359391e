"""Who works on which virtual host: a claim is one UPDATE and a lease, and every write checks it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, cast

from sqlalchemy import (
    ColumnElement,
    Row,
    Select,
    Table,
    and_,
    bindparam,
    false,
    not_,
    or_,
    select,
    update,
)
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import ReturningUpdate

from control.database import Database
from control.limits import registered_domain
from control.models import Certificate, Moment, VirtualHost, locked
from control.urgency import ENDED, ENDING, NEW, OTHER, urgency

LEASE = timedelta(seconds=30)
TURNS = (ENDING, ENDED, NEW, OTHER)
OVERDUE = timedelta(minutes=1)
"""Who waits for so long may have become more urgent than when it became due."""


class Lost(Exception):
    """The lease is gone: the host was deleted, changed hands, or another worker has it now."""


@dataclass(frozen=True)
class Claim:
    """One virtual host that one worker may work on until its lease ends; `tried`: it has failed before."""

    host_id: int
    hostname: str
    lease: str
    tried: bool = False

    @cached_property
    def domain(self) -> str:
        """Its registered domain."""
        return registered_domain(self.hostname)

    def require(self, host: VirtualHost | None) -> None:
        """Raise Lost when that record was deleted, or is another worker's by now."""
        if host is None or host.lease != self.lease or host.deleted_at is not None:
            raise Lost(self.hostname)


# Built once: putting a statement together costs more than running it. `moment` is now.
_HOSTS = cast(Table, VirtualHost.__table__)
_CERTIFICATES = cast(Table, Certificate.__table__)
_MOMENT = bindparam("moment", type_=Moment())
_IS_DUE = (
    _HOSTS.c.due_at <= _MOMENT,
    or_(_HOSTS.c.lease_until.is_(None), _HOSTS.c.lease_until < _MOMENT),
)
_DUE = select(_HOSTS.c.id).where(*_IS_DUE)
_BY_TURN = [_DUE.where(_HOSTS.c.urgency == turn).order_by(_HOSTS.c.due_at) for turn in TURNS]
# Ordered, so that PostgreSQL goes by the index; with EXISTS it may read the table.
_TURNS_DUE = select(*(those.limit(1).scalar_subquery() for those in _BY_TURN))
_THESE = _DUE.where(_HOSTS.c.id.in_(bindparam("these", expanding=True)))
_TURN = _DUE.where(_HOSTS.c.urgency == bindparam("turn")).order_by(_HOSTS.c.due_at)


def _taking(due: Select[tuple[int]]) -> ReturningUpdate[tuple[int, str, int]]:
    """Lease those hosts."""
    return (
        update(_HOSTS)
        .where(_HOSTS.c.id.in_(due.with_for_update(skip_locked=True).scalar_subquery()))
        .values(lease=bindparam("under"), lease_until=bindparam("until"))
        .returning(_HOSTS.c.id, _HOSTS.c.hostname, _HOSTS.c.attempts)
    )


_TAKE = _taking(_TURN.limit(bindparam("most")))
_TAKE_THESE = _taking(_THESE)
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
    """Take up to `limit` of the virtual hosts that are due, by urgency and then the longest waiting.

    One UPDATE for each urgency that is met, so that each reads from the index just what it takes, however
    many are due; nothing is written when none is.
    """
    wish = _wish(worker, now)
    taken: list[Row[tuple[int, str, int]]] = []
    turns = turns_due(database, now)
    if not turns:
        return []
    with database.writing(lasting=False) as session:
        for turn in turns:
            if len(taken) < limit:
                taken += session.execute(_TAKE, {**wish, "turn": turn, "most": limit - len(taken)})
    return _claims(taken, wish)


def claim_others(
    database: Database,
    worker: str,
    now: datetime,
    limit: int,
    *,
    than: Collection[str],
    untried: bool,
) -> list[Claim]:
    """Take up to `limit` that would wait behind the many hosts of these registered domains.

    `untried` leaves out both those domains' and whatever has failed before; else only what is both.
    """
    there = or_(*(_below(domain) for domain in than)) if than else false()
    before = _HOSTS.c.attempts > 0
    fit = not_(or_(there, before) if untried else and_(there, before))
    found: list[int] = []
    with database.reading() as session:
        for those in _BY_TURN:
            wanted = those.where(fit).limit(limit - len(found))
            found += session.scalars(wanted, {"moment": now}) if len(found) < limit else ()
    if not found:
        return []
    wish = _wish(worker, now)
    with database.writing(lasting=False) as session:
        taken = session.execute(_TAKE_THESE, {**wish, "these": found}).all()
    return _claims(taken, wish)


def _below(domain: str) -> ColumnElement[bool]:
    """Whether a hostname is in that registered domain."""
    return or_(_HOSTS.c.hostname == domain, _HOSTS.c.hostname.like(f"%.{domain}"))


def _wish(worker: str, now: datetime) -> dict[str, Any]:
    """The parameters of a claim, with a lease of its own."""
    return {"moment": now, "under": f"{worker}/{uuid.uuid4().hex[:12]}", "until": now + LEASE}


def _claims(taken: Iterable[Row[tuple[int, str, int]]], wish: dict[str, Any]) -> list[Claim]:
    return [Claim(row.id, row.hostname, wish["under"], row.attempts > 0) for row in taken]


def hasten(database: Database, now: datetime) -> int:
    """Move those to the front whose certificate has come near its end while they waited; how many."""
    with database.reading() as session:
        waiting = session.execute(_OVERDUE, {"moment": now - OVERDUE, "most": 1000}).all()
    turns = [(row.id, urgency(now, not_before=row[1], not_after=row[2])) for row in waiting]
    nearer = [{"of": host_id, "turn": turn} for host_id, turn in turns if turn != OTHER]
    if nearer:
        with database.writing(lasting=False) as session:
            session.connection().execute(_HASTEN, nearer)
    return len(nearer)


_OVERDUE = (
    select(_HOSTS.c.id, _CERTIFICATES.c.not_before, _CERTIFICATES.c.not_after)
    .join(_CERTIFICATES, _CERTIFICATES.c.id == _HOSTS.c.certificate_id)
    .where(_HOSTS.c.urgency == OTHER, *_IS_DUE, _HOSTS.c.moved_since.is_(None))
    .order_by(_CERTIFICATES.c.not_after)
    .limit(bindparam("most"))
)
_HASTEN = (
    update(_HOSTS)
    .where(_HOSTS.c.id == bindparam("of"), _HOSTS.c.urgency == OTHER)
    .values(urgency=bindparam("turn"))
)


def turns_due(database: Database, now: datetime) -> list[int]:
    """Of which urgencies something is due; a read only, so that idle workers write nothing."""
    with database.reading() as session:
        met = session.execute(_TURNS_DUE, {"moment": now}).one()
    return [turn for turn, is_met in zip(TURNS, met, strict=True) if is_met is not None]


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
