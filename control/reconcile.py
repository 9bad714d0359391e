"""Make Redis equal SQL, and notice when it is not."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, bindparam, case, func, select, update
from sqlalchemy.orm import Session, selectinload

from control import tombstones
from control.database import after_collision
from control.models import VirtualHost, edge_state
from control.plane import Plane, record
from control.ports import EdgeHost, EdgeReport, PublishRefused, StoreSummary
from control.publishing import (
    Published,
    behind,
    edge_host,
    general_hsts,
    known_epoch,
    last_revision,
    publish,
)
from control.retention import forget_old

TURN = timedelta(seconds=45)
SLICE = 500
BATCH = 500


@dataclass
class Reconciled:
    """What one reconcile found and changed; `rebuilt` says why the whole was written anew."""

    rebuilt: str | None = None
    published: int = 0
    removed: int = 0
    purged: int = 0
    woken: int = 0

    @property
    def changed(self) -> bool:
        """Whether anything was not as it should be."""
        return any(asdict(self).values())


@after_collision
def take_turn(plane: Plane, who: str, is_dead: Callable[[str], bool] = lambda _: False) -> bool:
    """Whether `who` is the one worker that compares now; a turn ends after 45 s, or when its holder died."""
    now = plane.clock()
    with plane.database.writing() as session:
        state = edge_state(session)
        free = state.reconciler_until is None or state.reconciler_until < now
        if free or state.reconciler in (None, who) or is_dead(state.reconciler or ""):
            state.reconciler, state.reconciler_until = who, now + TURN
            return True
        return False


def reconcile(plane: Plane, *, offset: int = 0) -> Reconciled:
    """Compare the copy with the truth and repair it. Raises StoreUnavailable.

    In this order: the whole when epoch, completeness or revision say that it is not our copy; what
    was committed but not published; the index; a slice of hosts from `offset` in detail; tombstones.
    """
    done = Reconciled()
    edges = (
        plane.store.edges()
    )  # (1) before the summary: none can be ahead of it by what comes between
    summary = plane.store.summary()
    with plane.database.reading() as session:
        done.rebuilt = _foreign(session, summary, edges)
    if done.rebuilt:
        done.published, done.removed = rebuild(plane, done.rebuilt)
    else:
        done.published = publish_pending(plane)
        published, done.removed = _repair_index(plane)
        done.published += published
        done.published += _repair_slice(plane, offset)
    if done.published:
        publish_pending(plane)
    done.purged = tombstones.purge(plane)
    forget_old(plane, whole=offset == 0)
    done.woken = wake_waiting(plane)
    return done


def _foreign(session: Session, summary: StoreSummary, edges: Sequence[EdgeReport]) -> str | None:
    """Why this is not the copy that we made, or None."""
    epoch = known_epoch(session)
    if not epoch:
        return "the first copy"
    if summary.epoch is None:
        return "the copy was emptied"
    if summary.epoch != epoch:
        return "the copy has another epoch"
    if summary.complete != epoch:
        return "the last rebuild was not finished"
    if summary.revision < last_revision(session):
        return "the copy went back to an older revision"
    ahead = [e.edge for e in edges if e.epoch == epoch and e.revision > summary.revision]
    if ahead:
        return f"{', '.join(ahead)} is ahead of the copy, and would not follow it"
    return None


def rebuild(plane: Plane, why: str) -> tuple[int, int]:
    """Write the whole copy under a new epoch; returns how many hosts were written and removed.

    The truth learns of the epoch first, so that a crash in the middle is seen as unfinished. Edges
    go on serving what they have until `complete`.
    """
    epoch = uuid.uuid4().hex
    with plane.database.writing() as session:
        edge_state(session).epoch = epoch
        record(session, "copy_rebuilt", plane.clock(), actor="worker", why=why)
    plane.store.begin(epoch)
    with plane.database.reading() as session:
        hosts = list(
            session.execute(select(VirtualHost.id, VirtualHost.hostname).where(_in_copy()))
        )
    names = {row.hostname for row in hosts}
    stale = [name for name in plane.store.index() if name not in names]
    if stale:
        plane.store.remove(stale)
    ids = [row.id for row in hosts]
    for start in range(0, len(ids), BATCH):
        _rewrite(plane, ids[start : start + BATCH], epoch)
    plane.store.complete(epoch, len(ids))
    return len(ids), len(stale)


def publish_pending(plane: Plane) -> int:
    """Publish what was committed but not published yet, the longest waiting first.

    Whose copy is newer than the truth, as after an older backup of it, is left to the comparison that follows.
    """
    with plane.database.reading() as session:
        ids = session.scalars(
            select(VirtualHost.id)
            .where(VirtualHost.unpublished_since.is_not(None), _in_copy())
            .order_by(VirtualHost.unpublished_since)
            .limit(BATCH)
        ).all()
    for host_id in ids:
        with suppress(PublishRefused):
            publish_now(plane, host_id)
    return len(ids)


def publish_now(plane: Plane, host_id: int) -> None:
    """Publish one host, and take back what its tombstone or its last order left behind."""
    with plane.database.reading() as session:
        host = session.get(VirtualHost, host_id)
        if host is None:
            return
        forget = [] if host.order else list(host.tokens)
    publish(plane, host_id, forget=forget)


def _repair_index(plane: Plane) -> tuple[int, int]:
    """Every hostname and its revision on both sides; what differs is written, what is foreign goes."""
    found = plane.store.index()
    with plane.database.reading() as session:
        rows = session.execute(
            select(VirtualHost.id, VirtualHost.hostname, VirtualHost.revision).where(_in_copy())
        ).all()
        epoch = known_epoch(session)
    known = {row.hostname for row in rows}
    wrong = [row.id for row in rows if found.get(row.hostname) != row.revision]
    for start in range(0, len(wrong), BATCH):
        _rewrite(plane, wrong[start : start + BATCH], epoch)
    absent = {name: revision for name, revision in found.items() if name not in known}
    return len(wrong), _withdraw(plane, absent, epoch)


def _withdraw(plane: Plane, absent: Mapping[str, int], epoch: str) -> int:
    """Take foreign hosts away, but not those that are created while we look; how many changed."""
    known = _known(plane, list(absent))
    foreign = {name: revision for name, revision in absent.items() if name not in known}
    if not foreign:
        return 0
    removed = tombstones.withdraw(plane, foreign, epoch)
    created = list(_known(plane, list(foreign)).values())
    if created:
        _rewrite(plane, created, epoch)
    return removed


def _known(plane: Plane, names: Sequence[str]) -> dict[str, int]:
    """Which of these names the truth has now, each with its id."""
    known: dict[str, int] = {}
    for start in range(0, len(names), BATCH):
        with plane.database.reading() as session:
            rows = session.execute(
                select(VirtualHost.hostname, VirtualHost.id)
                .where(VirtualHost.hostname.in_(names[start : start + BATCH]))
                .where(_in_copy())
            )
            known |= {row.hostname: row.id for row in rows}
    return known


def _repair_slice(plane: Plane, offset: int) -> int:
    """Look into the data of some hosts; over many rounds into all."""
    with plane.database.reading() as session:
        rows = session.execute(
            select(VirtualHost.id, VirtualHost.hostname, VirtualHost.published)
            .where(_in_copy(), VirtualHost.id > offset)
            .order_by(VirtualHost.id)
            .limit(SLICE)
        ).all()
        epoch = known_epoch(session)
    found = plane.store.changes([row.hostname for row in rows])
    wrong = [
        row.id
        for row, change in zip(rows, found, strict=True)
        if row.published and change != row.published
    ]
    if wrong:
        _rewrite(plane, wrong, epoch)
    return len(wrong)


def next_offset(plane: Plane, offset: int) -> int:
    """Where the next slice begins."""
    with plane.database.reading() as session:
        ids = session.scalars(
            select(VirtualHost.id)
            .where(VirtualHost.id > offset)
            .order_by(VirtualHost.id)
            .limit(SLICE)
        ).all()
    return ids[-1] if len(ids) == SLICE else 0


def _rewrite(plane: Plane, ids: Sequence[int], epoch: str) -> None:
    """Write these hosts whatever the copy holds, and remember their revisions."""
    with plane.database.reading() as session:
        hosts = session.scalars(
            select(VirtualHost)
            .options(selectinload(VirtualHost.domains))
            .where(VirtualHost.id.in_(ids))
            .order_by(VirtualHost.id)
        ).all()
        general = general_hsts(session)
        copies = [edge_host(host, general) for host in hosts]
        at_least = last_revision(session)
    revisions = plane.store.republish(copies, epoch=epoch, at_least=at_least)
    _note(plane, [host.id for host in hosts], copies, revisions)


def _note(
    plane: Plane, ids: Sequence[int], copies: Sequence[EdgeHost], revisions: Sequence[int]
) -> None:
    table = VirtualHost.__table__
    rows = [
        {"of": host_id, "given": copy.change, "rev": revision}
        for host_id, copy, revision in zip(ids, copies, revisions, strict=True)
    ]
    statement = (
        update(table)  # type: ignore[arg-type] # a declarative table is a Table
        .where(table.c.id == bindparam("of"))
        .values(
            revision=bindparam("rev"),
            published=bindparam("given"),
            unpublished_since=case(
                (
                    table.c.change > bindparam("given"),
                    func.coalesce(table.c.unpublished_since, table.c.updated_at),
                ),
                else_=None,
            ),
        )
    )
    with plane.database.writing() as session:
        session.connection().execute(statement, rows)


def wake_waiting(plane: Plane) -> int:
    """Hosts that wait for edges go on as soon as one lives, or as each has applied what they wait for."""
    edges = plane.store.edges()
    if not edges:
        return 0
    now = plane.clock()
    with plane.database.reading() as session:
        awaited = Published(known_epoch(session), session.scalar(_LAST_AWAITED) or 0)
        reasons = [*_WAITING, *([] if behind(edges, awaited) else [_LAGGING])]
        waiting = (*_waits_for(reasons), VirtualHost.due_at > now)
        if session.scalar(select(VirtualHost.id).where(*waiting).limit(1)) is None:
            return 0
    with plane.database.writing() as session:
        woken: Any = session.execute(update(VirtualHost).where(*waiting).values(due_at=now))
        return int(woken.rowcount)


_WAITING, _LAGGING = ("edge_absent", "redis_unavailable", "publish_refused"), "edge_lagging"


def _waits_for(reasons: Sequence[str]) -> tuple[ColumnElement[bool], ...]:
    """Who is not served for one of these reasons, and not worked on now."""
    return (
        VirtualHost.status == "pending",
        VirtualHost.error_reason.in_(reasons),
        VirtualHost.lease.is_(None),
    )


_LAST_AWAITED = select(func.max(VirtualHost.revision)).where(*_waits_for([_LAGGING]))


def _in_copy() -> ColumnElement[bool]:
    return VirtualHost.purged_at.is_(None)
