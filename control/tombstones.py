"""Tombstones: how a host leaves the copy. Left first, purged when every live edge has applied it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import select, update

from control.models import VirtualHost, edge_state
from control.plane import Plane
from control.ports import EdgeHost
from control.publishing import Published, applied, known_epoch, last_revision

BATCH = 500
"""How many are named in one statement: PostgreSQL takes no more than 65,535 at a time."""


def purge(plane: Plane) -> int:
    """Forget tombstones that every live edge has applied; their rows, with the generations, stay for now.

    With them go the challenges of orders that the delete overtook.
    """
    with plane.database.reading() as session:
        rows = session.execute(
            select(
                VirtualHost.id, VirtualHost.hostname, VirtualHost.revision, VirtualHost.tokens
            ).where(
                VirtualHost.deleted_at.is_not(None),
                VirtualHost.purged_at.is_(None),
                VirtualHost.unpublished_since.is_(None),
            )
        ).all()
        epoch = known_epoch(session)
    past = _past(plane, {row.hostname: row.revision for row in rows}, epoch)
    gone = [row for row in rows if row.hostname in past]
    for start in range(0, len(gone), BATCH):
        some = gone[start : start + BATCH]
        _forget(plane, {row.hostname: row.revision for row in some}, [row.id for row in some])
        for row in some:
            for token in row.tokens:
                plane.store.drop_challenge(row.hostname, token)
    return len(past)


def withdraw(plane: Plane, foreign: Mapping[str, int], epoch: str) -> int:
    """Take away hosts that the truth does not know, as after an older backup of it; how many changed.

    `foreign` are their revisions by hostname. An edge drops a host by its tombstone alone, so one is left
    first; a later round purges it.
    """
    deleted = {name for name in foreign if plane.store.show(name).get("state") == "deleted"}
    past = _past(plane, {name: foreign[name] for name in deleted}, epoch)
    if past:
        _forget(plane, past, [])
    live = [name for name in foreign if name not in deleted]
    with plane.database.reading() as session:
        at_least = last_revision(session)
    now = plane.clock()
    plane.store.republish([_tombstone(name, now) for name in live], epoch=epoch, at_least=at_least)
    return len(past) + len(live)


def _tombstone(hostname: str, now: datetime) -> EdgeHost:
    """One without a record; whoever creates the name comes after it."""
    return EdgeHost(
        hostname=hostname, kind="tenant", state="deleted", domains=(), theme={}, hsts_max_age=None,
        generation=0, change=0, updated_at=now,
    )  # fmt: skip


def _past(plane: Plane, revisions: Mapping[str, int], epoch: str) -> dict[str, int]:
    """Those that every live edge has applied; none while no edge lives."""
    edges = plane.store.edges() if revisions else []
    return {
        name: revision
        for name, revision in revisions.items()
        if applied(edges, Published(epoch, revision))
    }


def _forget(plane: Plane, past: Mapping[str, int], ids: Sequence[int]) -> None:
    """Take them out of the copy; the truth knows of it first, and from where on revisions go."""
    with plane.database.writing() as session:
        state = edge_state(session)
        state.floor = max(state.floor, *past.values())
        if ids:
            session.execute(
                update(VirtualHost)
                .where(VirtualHost.id.in_(ids), VirtualHost.deleted_at.is_not(None))
                .values(purged_at=plane.clock())
            )
    plane.store.purge(past)
