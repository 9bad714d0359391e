"""What may be done to a virtual host: each deed one transaction with its event, then told to edges and worker.

Longer than other modules because it is the one list of all deeds.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from control import hostname as hostnames
from control import sealing
from control.certificates import Facts
from control.database import after_collision
from control.issuance import certificate_of
from control.models import (
    Domain,
    DomainTaken,
    PrimaryFixed,
    VirtualHost,
    locked,
)
from control.models.runtime import load
from control.plane import Plane, Who, audit
from control.ports import PublishRefused, StoreUnavailable
from control.publishing import publish


class NoSuchHost(LookupError):
    """There is no virtual host of this name."""


@dataclass(frozen=True)
class Unset:
    """A field that was not sent: it keeps its value."""


UNSET = Unset()


@dataclass(frozen=True)
class Wish:
    """What a PUT or PATCH asks for; UNSET fields keep their value."""

    domains: list[str] | Unset = UNSET
    enabled: bool | Unset = UNSET
    owner: str | Unset | None = UNSET
    generation: int | None = None
    hsts_max_age: int | Unset | None = UNSET

    def fields(self) -> dict[str, Any]:
        """What was sent, for the event."""
        return {name: value for name, value in vars(self).items() if value not in (UNSET, None)}


@dataclass
class Deed:
    """One change under way: the session, the record, and what is to be told afterwards."""

    session: Session
    host: VirtualHost
    now: datetime
    who: Who
    before: int = 0
    due_before: datetime | None = None

    def note(self, kind: str, **detail: object) -> None:
        """Add an event to the transaction."""
        audit(self.session, kind, self.now, self.who, hostname=self.host.hostname, **detail)


def parse(plane: Plane, text: str) -> str:
    """The canonical hostname that somebody may take; raises InvalidHostname."""
    if text == plane.settings.primary_hostname:
        raise hostnames.InvalidHostname(
            f"hostname is reserved: {text} is the primary hostname, choose another"
        )
    return hostnames.parse(text, plane.settings.reserved_hostnames)


def find(session: Session, name: str) -> VirtualHost:
    """The virtual host of that name; NoSuchHost when there is none, or only its tombstone."""
    host: VirtualHost | None = session.scalar(_LIVE, {"sought": name})
    if host is None:
        raise NoSuchHost(f"there is no virtual host {name}")
    _ = host.domains
    return host


# Built once: putting a statement together costs more than running it.
_LIVE = select(VirtualHost).where(
    VirtualHost.hostname == bindparam("sought"), VirtualHost.deleted_at.is_(None)
)


@after_collision
def put(
    plane: Plane, name: str, wish: Wish, who: Who, *, force: bool = False
) -> tuple[VirtualHost, bool]:
    """Create or update; returns the record and whether it is new. docs/api.md says what is refused."""
    parse(plane, name)
    with plane.database.writing() as session:
        now = plane.clock()
        host = locked(session, hostname=name)
        created = host is None or host.deleted_at is not None
        if host is None:
            host = VirtualHost.create(name, now)
            session.add(host)
        host.accept_generation(wish.generation)
        if host.deleted_at is not None:
            host.certify(None, now)
            host.revive(now)
        deed = Deed(session, host, now, who)
        _authorize(host, wish.owner, force)
        _apply(deed, wish)
        if created:
            runtime = load(session, plane.settings)
            if not (runtime.acme_enabled or runtime.edge_enabled):
                host.succeed(now, None)
            deed.note("created", **wish.fields())
        elif session.is_modified(host):
            deed.note("updated", **wish.fields())
        _load(session, host)
    _tell(plane, host, publish_now=not created or host.status == "ready")
    return host, created


@after_collision
def ensure_primary(plane: Plane) -> None:
    """The primary hostname is a record like any other, but of kind `primary` and nobody's to change.

    When PRIMARY_HOSTNAME changes, the former one becomes a tenant without domains, to be deleted by hand.
    """
    name = plane.settings.primary_hostname
    if not name:
        return
    hostnames.parse(name)
    now = plane.clock()
    with plane.database.writing() as session:
        for former in session.scalars(
            select(VirtualHost).where(VirtualHost.kind == "primary", VirtualHost.hostname != name)
        ):
            former.kind = "tenant"
            former.changed(now)
        host = locked(session, hostname=name)
        if host is None:
            session.add(VirtualHost.create(name, now, kind="primary"))
        elif host.deleted_at is not None:
            host.revive(now)
            host.kind = "primary"
        elif host.kind != "primary" or not host.enabled:
            host.kind, host.enabled, host.owner = "primary", True, None
            host.changed(now)
    plane.store.nudge()


def change(
    plane: Plane,
    name: str,
    wish: Wish,
    who: Who,
    *,
    owner: str | Unset | None = UNSET,
    force: bool = False,
) -> VirtualHost:
    """PATCH: what was sent is set, the rest stays; `owner` is who asks."""
    with _doing(plane, name, who) as deed:
        _tenant_only(deed.host, "changed")
        _authorize(deed.host, owner, force)
        _apply(deed, wish)
        deed.note("updated", **wish.fields())
    return deed.host


def delete(
    plane: Plane,
    name: str,
    who: Who,
    *,
    owner: str | Unset | None = UNSET,
    generation: int | None = None,
    force: bool = False,
) -> None:
    """Gone from the list at once; a tombstone stays until every live edge has dropped it."""
    with _doing(plane, name, who) as deed:
        host = deed.host
        _tenant_only(host, "deleted")
        _authorize(host, owner, force)
        host.accept_generation(generation)
        certificate = host.certificate
        host.certificate = None
        host.delete(deed.now)
        deed.session.flush()
        if certificate is not None:
            deed.session.delete(certificate)
        deed.note("deleted", generation=host.generation)


def retry(plane: Plane, name: str, who: Who) -> VirtualHost:
    """Try a failed one again now; NotFailed otherwise."""
    with _doing(plane, name, who) as deed:
        deed.host.retry(deed.now)
        deed.note("retried")
    return deed.host


def renew(plane: Plane, name: str, who: Who) -> VirtualHost:
    """Issue again now, as far as the CA's limits allow. Raises NotRenewable."""
    with _doing(plane, name, who) as deed:
        deed.host.renew(deed.now)
        deed.note("renewal_requested")
    return deed.host


def paint(
    plane: Plane,
    name: str,
    colours: dict[str, str | None],
    who: Who,
    *,
    check: Callable[[VirtualHost], None] = lambda host: None,
) -> VirtualHost:
    """Set colours; None takes one away. `check` sees the host before, and raises to change nothing."""
    with _doing(plane, name, who) as deed:
        check(deed.host)
        deed.host.paint(colours, deed.now)
        deed.note("theme_changed", **colours)
    return deed.host


def set_logo(plane: Plane, name: str, place: str, file: str | None, who: Who) -> VirtualHost:
    """Show a stored logo (`<sha256>.<ext>`) at a place, or none."""
    with _doing(plane, name, who) as deed:
        deed.host.set_logo(place, file, deed.now)
        deed.note("logo_changed", place=place, file=file)
    return deed.host


def upload(plane: Plane, name: str, facts: Facts, who: Who) -> VirtualHost:
    """Serve this pair from now on instead of asking a CA; `facts` come from certificates.check."""
    sealed = plane.keyring.seal(
        sealing.private_key_der(facts.key), sealing.for_hostname(name, facts.spki)
    )
    with _doing(plane, name, who) as deed:
        former = deed.host.certificate
        deed.host.certify(certificate_of(facts, "uploaded", sealed, deed.now), deed.now)
        deed.host.interrupt(deed.now)
        _drop(deed.session, former)
        deed.note(
            "certificate_uploaded",
            sha256=facts.sha256,
            issuer=facts.issuer,
            not_after=facts.not_after.isoformat(),
        )
    return deed.host


def back_to_acme(plane: Plane, name: str, who: Who) -> VirtualHost:
    """Stop using an uploaded certificate once the CA has given one; until then it stays in use."""
    with _doing(plane, name, who) as deed:
        certificate = deed.host.certificate
        if certificate is not None and certificate.source == "uploaded":
            deed.host.reissue(deed.now)
            deed.note("certificate_given_up", sha256=certificate.sha256)
    return deed.host


@contextlib.contextmanager
def _doing(plane: Plane, name: str, who: Who) -> Iterator[Deed]:
    """A transaction on one live record; afterwards edges and worker are told what is new for them."""
    with plane.database.writing() as session:
        host = locked(session, hostname=name)
        if host is None or host.deleted_at is not None:
            raise NoSuchHost(f"there is no virtual host {name}")
        deed = Deed(session, host, plane.clock(), who)
        yield deed
        _load(session, host)
    _tell(plane, host, publish_now=True)


def _load(session: Session, host: VirtualHost) -> None:
    """Write it, and read what will be shown of it while the session still lives."""
    session.flush()
    _ = host.certificate, host.order, host.domains


def _authorize(host: VirtualHost, owner: str | Unset | None, force: bool) -> None:
    if not force:
        host.belongs_to(None if isinstance(owner, Unset) else owner)


def _tenant_only(host: VirtualHost, deed: str) -> None:
    if host.kind == "primary":
        raise PrimaryFixed(
            f"{host.hostname} is the primary hostname and cannot be {deed}: it is set by "
            "PRIMARY_HOSTNAME"
        )


def _apply(deed: Deed, wish: Wish) -> None:
    host, now = deed.host, deed.now
    if not isinstance(wish.owner, Unset):
        host.own(wish.owner, now)
    if not isinstance(wish.domains, Unset):
        _check_free(deed.session, host, wish.domains)
        host.link(wish.domains, now)
    if not isinstance(wish.enabled, Unset):
        host.enable(wish.enabled, now)
    if not isinstance(wish.hsts_max_age, Unset):
        host.set_hsts(wish.hsts_max_age, now)


def _check_free(session: Session, host: VirtualHost, domains: list[str]) -> None:
    taken = session.execute(
        select(Domain.name, VirtualHost.hostname)
        .join(VirtualHost, VirtualHost.id == Domain.virtual_host_id)
        .where(Domain.name.in_(domains), VirtualHost.hostname != host.hostname)
        .order_by(Domain.name)
    ).first()
    if taken is not None:
        raise DomainTaken(
            f"domain {taken.name} is linked to {taken.hostname}: take it away there first"
        )


def _drop(session: Session, certificate: Any) -> None:
    if certificate is not None:
        session.flush()
        session.delete(certificate)


def _tell(plane: Plane, host: VirtualHost, *, publish_now: bool) -> None:
    """What cannot be told now, the worker tells: the truth is committed already."""
    if publish_now and host.change > host.published:
        with contextlib.suppress(StoreUnavailable, PublishRefused):
            publish(plane, host.id, forget=[] if host.order else host.tokens)
    if host.due_at is not None and host.due_at <= plane.clock():
        plane.store.nudge()
