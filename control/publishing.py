"""Publishing makes the copy: one virtual host from the truth to the edges, and who has applied it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from sqlalchemy import BigInteger, BindParameter, Table, bindparam, case, func, select, update
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import set_committed_value

from control.models import Certificate, Domain, EdgeState, Setting, VirtualHost
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


@dataclass(frozen=True)
class Committed:
    """A record and what else was so when it was read: the copy's epoch and highest revision, the general HSTS."""

    host: VirtualHost
    epoch: str
    at_least: int
    hsts_max_age: int | None


def edge_host(host: VirtualHost, hsts_max_age: int | None) -> EdgeHost:
    """What edges are to know of a record; `hsts_max_age` (seconds) where it has none of its own."""
    return EdgeHost(
        hostname=host.hostname,
        kind=host.kind,
        state=host.edge_state,
        domains=tuple(domain.name for domain in host.domains),
        theme=host.edge_theme,
        hsts_max_age=hsts_max_age if host.hsts_max_age is None else host.hsts_max_age,
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
    return _known(session)[1]


def general_hsts(session: Session) -> int | None:
    """The run-time setting `hsts_max_age` in seconds."""
    return session.scalar(_HSTS)


def _known(session: Session) -> tuple[str, int, int | None]:
    """Epoch, highest revision and general HSTS; one statement, since each publish asks."""
    row = session.execute(_KNOWN).first()
    return (row[0], max(row[1], row[2] or 0), row[3]) if row else ("", 0, None)


def read(plane: Plane, host_id: int) -> Committed:
    """The record as it is committed now."""
    with plane.database.reading() as session:
        host = looked(session, host_id)
        linked = session.scalars(_DOMAINS, {"sought": host_id}).all()
        set_committed_value(host, "domains", list(linked))
        return Committed(host, *_known(session))


def looked(session: Session, host_id: int) -> VirtualHost:
    """The record by its id, with certificate and order."""
    return session.scalars(_RECORD, {"sought": host_id}).one()


def publish(
    plane: Plane,
    host_id: int,
    *,
    challenges: Sequence[Challenge] = (),
    forget: Sequence[str] = (),
) -> Published:
    """Give edges the record as it is committed now. Raises StoreUnavailable, PublishRefused."""
    return give(plane, read(plane, host_id), challenges=challenges, forget=forget)


def give(
    plane: Plane,
    found: Committed,
    *,
    challenges: Sequence[Challenge] = (),
    forget: Sequence[str] = (),
) -> Published:
    """Give edges a record that was read just now. Raises StoreUnavailable, PublishRefused."""
    host = edge_host(found.host, found.hsts_max_age)
    revision = plane.store.publish(
        host, epoch=found.epoch, at_least=found.at_least, challenges=challenges, forget=forget
    )
    with plane.database.writing(lasting=False) as session:
        given = {"sought": found.host.id, "given": host.change, "under": revision}
        session.execute(_NOTE, given)
        if challenges or forget:
            _note_tokens(session, found.host.id, [c.token for c in challenges], forget)
    return Published(found.epoch, revision)


def forget_token(plane: Plane, host_id: int, token: str) -> None:
    """Edges hold this challenge no longer; nothing of it is left on the row."""
    with plane.database.writing(lasting=False) as session:
        session.execute(_LOCK, {"sought": host_id})
        _note_tokens(session, host_id, (), [token])


def _note_tokens(
    session: Session, host_id: int, given: Sequence[str], forgotten: Sequence[str]
) -> None:
    """Which challenges edges may still hold; one noted too late ends by itself within the hour.

    The row is ours since `_NOTE` or `_LOCK`.
    """
    known = session.scalar(_TOKENS, {"sought": host_id})
    if known is not None:
        tokens = sorted({*known, *given} - set(forgotten))
        session.execute(_SET_TOKENS, {"sought": host_id, "held": tokens})


# Built once: putting a statement together costs more than running it.
_HOSTS = cast(Table, VirtualHost.__table__)
_SOUGHT: BindParameter[int] = bindparam("sought")
_HSTS = select(Setting.value).where(Setting.name == "hsts_max_age")
_KNOWN = select(
    EdgeState.epoch,
    EdgeState.floor,
    select(func.max(VirtualHost.revision)).scalar_subquery(),
    _HSTS.scalar_subquery(),
)
_RECORD = select(VirtualHost).where(VirtualHost.id == _SOUGHT)
_DOMAINS = select(Domain).where(Domain.virtual_host_id == _SOUGHT).order_by(Domain.name)
_LOCK = select(_HOSTS.c.id).where(_HOSTS.c.id == _SOUGHT).with_for_update()
_TOKENS = select(_HOSTS.c.tokens).where(_HOSTS.c.id == _SOUGHT)
_SET_TOKENS = update(_HOSTS).where(_HOSTS.c.id == _SOUGHT).values(tokens=bindparam("held"))
_GIVEN, _UNDER = bindparam("given", type_=BigInteger()), bindparam("under", type_=BigInteger())
_NOTE = (
    update(_HOSTS)
    .where(_HOSTS.c.id == _SOUGHT)
    .values(
        revision=case((_HOSTS.c.revision < _UNDER, _UNDER), else_=_HOSTS.c.revision),
        published=case((_HOSTS.c.published < _GIVEN, _GIVEN), else_=_HOSTS.c.published),
        unpublished_since=case((_HOSTS.c.change > _GIVEN, _HOSTS.c.unpublished_since), else_=None),
    )
)
"""Remember what edges were given; an answer that comes late takes nothing back."""


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
