"""Publishing makes the copy: one virtual host from the truth to the edges, and who has applied it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import case, func, select, update
from sqlalchemy.orm import Session

from control.models import Certificate, EdgeState, VirtualHost, locked
from control.plane import Plane
from control.ports import Challenge, EdgeCertificate, EdgeHost, EdgeReport, PortError

LOOK_SECONDS = 0.004
SLOWEST_LOOK_SECONDS = 0.1


class NotApplied(PortError):
    """No edge lives (`edge_absent`), or one has not applied the revision in time (`edge_lagging`)."""


@dataclass(frozen=True)
class Published:
    """Which revision of which epoch edges must have applied."""

    epoch: str
    revision: int


def edge_host(host: VirtualHost) -> EdgeHost:
    """What edges are to know of a record."""
    return EdgeHost(
        hostname=host.hostname,
        kind=host.kind,
        state=host.edge_state,
        domains=tuple(domain.name for domain in host.domains),
        theme=host.edge_theme,
        hsts_max_age=host.hsts_max_age,
        generation=host.generation,
        change=host.change,
        updated_at=host.updated_at,
        certificate=None if host.deleted_at else edge_certificate(host.certificate),
    )


def edge_certificate(certificate: Certificate | None) -> EdgeCertificate | None:
    """What edges are to know of a certificate; the key stays sealed."""
    if certificate is None:
        return None
    return EdgeCertificate(
        chain=certificate.chain,
        sealed_key=certificate.sealed_key,
        spki=certificate.spki,
        sha256=certificate.sha256,
        not_before=certificate.not_before,
        not_after=certificate.not_after,
        issuer=certificate.issuer,
        serial=certificate.serial,
        sans=tuple(certificate.sans),
    )


def known_epoch(session: Session) -> str:
    """The epoch that the truth gave to the copy; empty before the first rebuild."""
    return session.scalar(select(EdgeState.epoch)) or ""


def last_revision(session: Session) -> int:
    """The highest revision that the truth knows of, rows that are gone included."""
    return _epoch_and_revision(session)[1]


def _epoch_and_revision(session: Session) -> tuple[str, int]:
    highest = select(func.max(VirtualHost.revision)).scalar_subquery()
    row = session.execute(select(EdgeState.epoch, EdgeState.floor, highest)).first()
    return (row[0], max(row[1], row[2] or 0)) if row else ("", 0)


def publish(
    plane: Plane,
    host_id: int,
    *,
    challenges: Sequence[Challenge] = (),
    forget: Sequence[str] = (),
) -> Published:
    """Give edges the record as it is committed now. Raises StoreUnavailable, PublishRefused."""
    with plane.database.reading() as session:
        host = edge_host(session.get_one(VirtualHost, host_id))
        epoch, at_least = _epoch_and_revision(session)
    revision = plane.store.publish(
        host, epoch=epoch, at_least=at_least, challenges=challenges, forget=forget
    )
    with plane.database.writing() as session:
        note_published(session, host_id, host.change, revision)
        if challenges or forget:
            _note_tokens(session, host_id, [c.token for c in challenges], forget)
    return Published(epoch, revision)


def note_published(session: Session, host_id: int, change: int, revision: int) -> None:
    """Remember what edges were given; an answer that comes late takes nothing back."""
    session.execute(
        update(VirtualHost)
        .where(VirtualHost.id == host_id)
        .values(
            revision=case((VirtualHost.revision < revision, revision), else_=VirtualHost.revision),
            published=case((VirtualHost.published < change, change), else_=VirtualHost.published),
            unpublished_since=case(
                (VirtualHost.change > change, VirtualHost.unpublished_since), else_=None
            ),
        )
    )


def _note_tokens(
    session: Session, host_id: int, given: Sequence[str], forgotten: Sequence[str]
) -> None:
    """Which challenges edges may still hold; one noted too late ends by itself within the hour."""
    host = locked(session, VirtualHost.id == host_id)
    if host is not None:
        host.tokens = sorted({*host.tokens, *given} - set(forgotten))


def applied(edges: Sequence[EdgeReport], wanted: Published) -> bool:
    """Whether there are live edges and all of them have applied it."""
    return bool(edges) and not behind(edges, wanted)


def behind(edges: Sequence[EdgeReport], wanted: Published) -> list[str]:
    """The edges that have not applied it."""
    return [e.edge for e in edges if e.epoch != wanted.epoch or e.revision < wanted.revision]


def wait_applied(plane: Plane, wanted: Published, seconds: float = 10) -> Sequence[EdgeReport]:
    """The live edges, once each has applied it; raise NotApplied after `seconds`, at once with no edge."""
    deadline = time.monotonic() + seconds
    pause = LOOK_SECONDS
    while True:
        edges = plane.store.edges()
        if not edges:
            raise NotApplied("edge_absent", "no edge has sent a heartbeat in the last 30 s")
        late = behind(edges, wanted)
        if not late:
            return edges
        if time.monotonic() > deadline:
            raise NotApplied("edge_lagging", f"not applied after {seconds:g} s: {', '.join(late)}")
        time.sleep(pause)
        pause = min(pause * 1.3, SLOWEST_LOOK_SECONDS)
