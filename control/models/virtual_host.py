"""VirtualHost: the record, its state machine, and what edges are to know of it.

Longer than other modules because every rule about a virtual host stands here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, Select, bindparam, select, text
from sqlalchemy.orm import (
    InstrumentedAttribute,
    Mapped,
    Session,
    mapped_column,
    relationship,
    validates,
)

from control import reasons, urgency
from control.models.certificate import Certificate, Order
from control.models.record import Record

THEME_FIELDS = {
    "primary": "theme_primary_color",
    "primary_light": "theme_primary_color_light",
    "primary_dark": "theme_primary_color_dark",
    "secondary": "theme_secondary_color",
    "label": "theme_label_color",
}
LOGO_FIELDS = {
    "login": "theme_login_logo_url",
    "menu": "theme_menu_logo_url",
    "creation_form": "theme_creation_form_logo_url",
}
LOGO_PATH = "/_edge/logos/"


class NotFailed(Exception):
    """Only a failed virtual host can be retried."""


class DomainTaken(Exception):
    """A domain is linked to another virtual host."""


class OwnedElsewhere(Exception):
    """The virtual host has another owner, who is named in the text."""


class OlderGeneration(Exception):
    """The owner has already written a newer generation."""


class PrimaryFixed(Exception):
    """The primary hostname is published by the control plane itself."""


class NotRenewable(Exception):
    """An uploaded certificate is replaced by its owner, not by a CA."""


class Domain(Record):
    """A mail domain, linked to at most one virtual host."""

    __tablename__ = "domains"

    name: Mapped[str] = mapped_column(primary_key=True)
    virtual_host_id: Mapped[int] = mapped_column(
        ForeignKey("virtual_hosts.id", ondelete="CASCADE"), index=True, init=False
    )


class VirtualHost(Record):
    """One hostname with its certificate, theme and domains; the row is also its place in the queue.

    `change` counts what edges are to see, `published` is the change they were last given. `due_at`
    is when a worker should look at it again, and `urgency` whose turn it then is; `lease` names the
    claim under which one does now; `tokens` are those of challenges that the edges may still hold.
    """

    __tablename__ = "virtual_hosts"
    __table_args__ = (
        Index(
            "ix_virtual_hosts_turn",
            "urgency",
            "due_at",
            postgresql_where=text("due_at IS NOT NULL"),
        ),
        Index("ix_virtual_hosts_revision", "revision"),
        Index("ix_virtual_hosts_unpublished", "unpublished_since"),
        Index("ix_virtual_hosts_status", "status"),
        Index("ix_virtual_hosts_deleted", "deleted_at"),
        Index("ix_virtual_hosts_lease_until", "lease_until"),
    )

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    hostname: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    kind: Mapped[str] = mapped_column(default="tenant")
    enabled: Mapped[bool] = mapped_column(default=True)
    owner: Mapped[str | None] = mapped_column(default=None)
    generation: Mapped[int] = mapped_column(BigInteger, default=0)
    hsts_max_age: Mapped[int | None] = mapped_column(default=None)

    status: Mapped[str] = mapped_column(default="pending")
    step: Mapped[str] = mapped_column(default="bootstrap")
    error_step: Mapped[str | None] = mapped_column(default=None)
    error_reason: Mapped[str | None] = mapped_column(default=None)
    error_detail: Mapped[str | None] = mapped_column(default=None)
    error_record: Mapped[str | None] = mapped_column(default=None)
    next_attempt_at: Mapped[datetime | None] = mapped_column(default=None)
    attempts: Mapped[int] = mapped_column(default=0)

    theme: Mapped[dict[str, str]] = mapped_column(default_factory=dict)
    logos: Mapped[dict[str, str]] = mapped_column(default_factory=dict)

    certificate_id: Mapped[int | None] = mapped_column(
        ForeignKey("certificates.id", ondelete="SET NULL"), index=True, init=False, default=None
    )
    certificate: Mapped[Certificate | None] = relationship(default=None, lazy="joined")
    order: Mapped[Order | None] = relationship(
        default=None, cascade="all, delete-orphan", uselist=False, lazy="joined"
    )
    domains: Mapped[list[Domain]] = relationship(
        default_factory=list, cascade="all, delete-orphan", order_by=Domain.name
    )
    renew_requested: Mapped[bool] = mapped_column(default=False)
    moved_since: Mapped[datetime | None] = mapped_column(default=None)
    tokens: Mapped[list[str]] = mapped_column(default_factory=list)

    change: Mapped[int] = mapped_column(BigInteger, default=1)
    published: Mapped[int] = mapped_column(BigInteger, default=0)
    unpublished_since: Mapped[datetime | None] = mapped_column(default=None)
    revision: Mapped[int] = mapped_column(BigInteger, default=0)

    urgency: Mapped[int] = mapped_column(default=urgency.NEW)
    due_at: Mapped[datetime | None] = mapped_column(default=None)
    lease: Mapped[str | None] = mapped_column(default=None)
    lease_until: Mapped[datetime | None] = mapped_column(default=None)

    deleted_at: Mapped[datetime | None] = mapped_column(default=None)
    purged_at: Mapped[datetime | None] = mapped_column(default=None)

    # What its owner may do.

    @classmethod
    def create(cls, hostname: str, now: datetime, *, kind: str = "tenant") -> VirtualHost:
        """A new virtual host: `pending` and due at once."""
        host = cls(hostname=hostname, kind=kind, created_at=now, updated_at=now, due_at=now)
        host.unpublished_since = now
        return host

    def belongs_to(self, owner: str | None) -> None:
        """Raise OwnedElsewhere unless it has no owner or this one."""
        if self.owner is not None and self.owner != owner and self.deleted_at is None:
            raise OwnedElsewhere(
                f"{self.hostname} belongs to {self.owner}: "
                "name that owner, or take it over with ?force=true (edgectl: --force)"
            )

    def accept_generation(self, generation: int | None) -> None:
        """Remember the owner's generation; raise OlderGeneration for one that came too late."""
        if generation is None:
            return
        if generation < self.generation:
            raise OlderGeneration(
                f"generation {generation} of {self.hostname} is older than {self.generation}, "
                "which was already written: read it again"
            )
        self.generation = generation

    def own(self, owner: str | None, now: datetime) -> None:
        """Hand it to `owner`."""
        if owner != self.owner:
            self.owner, self.updated_at = owner, now

    def enable(self, enabled: bool, now: datetime) -> None:
        """Let edges serve it, or refuse it while its certificate goes on being renewed."""
        if enabled != self.enabled:
            self.enabled = enabled
            self.changed(now)

    def set_hsts(self, seconds: int | None, now: datetime) -> None:
        """Its own Strict-Transport-Security max-age in seconds, None for the general one."""
        if seconds != self.hsts_max_age:
            self.hsts_max_age = seconds
            self.changed(now)

    def link(self, names: Iterable[str], now: datetime) -> None:
        """Make exactly these mail domains its own."""
        wanted = set(names)
        kept = {domain.name: domain for domain in self.domains}
        if wanted != kept.keys():
            self.domains = [kept.get(name) or Domain(name=name) for name in sorted(wanted)]
            self.changed(now)

    def paint(self, colours: dict[str, str | None], now: datetime) -> None:
        """Set colours by field of THEME_FIELDS; None takes one away."""
        theme = {field: value for field, value in {**self.theme, **colours}.items() if value}
        if theme != self.theme:
            self.theme = theme
            self.changed(now)

    def set_logo(self, place: str, file: str | None, now: datetime) -> None:
        """Show `<sha256>.<ext>` at a place of LOGO_FIELDS, or nothing."""
        logos = {key: value for key, value in {**self.logos, place: file}.items() if value}
        if logos != self.logos:
            self.logos = logos
            self.changed(now)

    def delete(self, now: datetime) -> None:
        """Leave a tombstone: no keys, no domains, no lease; only the name and its generation."""
        self.deleted_at, self.enabled, self.owner = now, False, None
        self.domains, self.theme, self.logos = [], {}, {}
        self.order = None
        self.lease = self.lease_until = self.due_at = None
        self._clear_error()
        self.changed(now)

    def revive(self, now: datetime) -> None:
        """Create it again where its tombstone stands; nothing of its former life comes back."""
        self.deleted_at = self.purged_at = None
        self.enabled, self.kind, self.hsts_max_age = True, "tenant", None
        self.status, self.step, self.attempts = "pending", "bootstrap", 0
        self.renew_requested, self.moved_since = False, None
        self.created_at = self.due_at = now
        self._clear_error()
        self.changed(now)

    # The state machine.

    def succeed(self, now: datetime, renew_at: datetime | None) -> None:
        """Every live edge serves it: `ready`, to be looked at again at `renew_at`."""
        self.status, self.step, self.attempts = "ready", "served", 0
        self.moved_since = None
        self.due_at, self.updated_at = renew_at, now
        self._clear_error()

    def fail(
        self,
        step: str,
        reason: str,
        detail: str,
        now: datetime,
        next_attempt_at: datetime | None,
        record: str | None = None,
    ) -> None:
        """A step failed: `failed` while nothing was ever served; a renewal leaves `ready`, with the error beside it."""
        self.attempts += 1
        if self.status != "ready":
            self.status = "failed"
        self._set_error(step, reason, detail, next_attempt_at, record)
        self.due_at, self.updated_at = next_attempt_at, now

    def wait(
        self, step: str, reason: str, detail: str, now: datetime, until: datetime | None
    ) -> None:
        """Not a failure: something else must come first. `pending` stays, with the reason."""
        if self.status != "ready":
            self.status = "pending"
            if self.error_reason != reason:
                self.updated_at = now
            self._set_error(step, reason, detail, until, None)
        self.due_at = until

    def retry(self, now: datetime) -> None:
        """Try again now; raise NotFailed when there is nothing to try again."""
        if self.status != "failed":
            raise NotFailed(f"{self.hostname} is {self.status}: only a failed one can be retried")
        self.status, self.step = "pending", "bootstrap"
        self.due_at = self.updated_at = now
        self._clear_error()

    def renew(self, now: datetime) -> None:
        """Issue again as soon as the CA's limits allow; raise NotRenewable for an uploaded certificate."""
        uploaded = self.certificate is not None and self.certificate.source == "uploaded"
        if uploaded and not self.renew_requested:
            raise NotRenewable(
                f"{self.hostname} has an uploaded certificate: upload the next one, or delete it "
                "to go back to the CA"
            )
        self.reissue(now)

    def reissue(self, now: datetime) -> None:
        """Ask the CA for a certificate whatever is in use; the request stands until there is another one."""
        self.renew_requested = True
        self.due_at = self.updated_at = now
        if self.status == "failed":
            self.retry(now)

    def certify(self, certificate: Certificate | None, now: datetime) -> None:
        """Use this certificate from now on; None goes back to having none."""
        self.certificate = certificate
        self.order = None
        self.renew_requested = False
        self.changed(now)

    def release(self) -> None:
        """The work on it is done for now."""
        self.lease = self.lease_until = None

    def interrupt(self, now: datetime) -> None:
        """Take it from the worker that holds it, which then writes nothing more, and start anew."""
        self.release()
        self.due_at = now

    def changed(self, now: datetime) -> None:
        """Edges have something new to learn."""
        self.change += 1
        self.updated_at = now
        self.unpublished_since = self.unpublished_since or now

    @validates("due_at")
    def _takes_its_turn(self, _: str, due_at: datetime | None) -> datetime | None:
        """What it is due for decides whose turn it is then; a name that points elsewhere hurries nobody."""
        current = self.certificate
        if due_at is not None and current is None:
            self.urgency = urgency.NEW
        elif due_at is not None and current is not None:
            life = {"not_before": current.not_before, "not_after": current.not_after}
            moved = self.moved_since is not None
            self.urgency = urgency.OTHER if moved else urgency.urgency(due_at, **life)
        return due_at

    # What others want to know.

    @property
    def edge_state(self) -> str:
        """`deleted`, `disabled`, `pending` (no certificate yet) or `active` (docs/redis.md)."""
        if self.deleted_at is not None:
            return "deleted"
        if not self.enabled:
            return "disabled"
        return "active" if self.certificate is not None else "pending"

    @property
    def edge_theme(self) -> dict[str, str]:
        """Colours and logos under Modoboa's own field names, blanks left out."""
        colours = {THEME_FIELDS[field]: value for field, value in self.theme.items()}
        logos = {LOGO_FIELDS[place]: LOGO_PATH + file for place, file in self.logos.items()}
        return colours | logos

    @property
    def error(self) -> dict[str, Any] | None:
        """Why it is not ready or not renewed, for whoever does not know the edge's addresses."""
        return self.explained(())

    def explained(self, addresses: Sequence[str]) -> dict[str, Any] | None:
        """Why it is not ready, or why it could not be renewed, in the API's shape; None when nothing is wrong.

        `addresses` are the edge's public ones, for the hint to name; none where they are not known.
        """
        if self.error_reason is None:
            return None
        known = reasons.known(self.hostname, addresses, self.next_attempt_at)
        return {
            "step": self.error_step,
            "reason": self.error_reason,
            "actor": reasons.actor(self.error_reason),
            "detail": self.error_detail,
            "hint": reasons.hint(self.error_reason, **known),
            "next_attempt_at": self.next_attempt_at,
            "record": self.error_record,
        }

    def _set_error(
        self, step: str, reason: str, detail: str, until: datetime | None, record: str | None
    ) -> None:
        self.step = self.error_step = step
        self.error_reason, self.error_detail = reason, detail
        self.next_attempt_at, self.error_record = until, record

    def _clear_error(self) -> None:
        self.error_step = self.error_reason = self.error_detail = self.error_record = None
        self.next_attempt_at = None


def locked(
    session: Session, *, host_id: int | None = None, hostname: str | None = None
) -> VirtualHost | None:
    """The one record of that id or hostname, which nobody else changes until this transaction ends.

    Locked first and read afterwards: PostgreSQL answers a locking read that had to wait with the new
    row, but with the joined rows (certificate, order) of before the wait.
    """
    lock, read = (_LOCK_ID, _READ_ID) if hostname is None else (_LOCK_NAME, _READ_NAME)
    which = {"sought": host_id if hostname is None else hostname}
    if session.get_bind().dialect.name == "postgresql":
        session.execute(lock, which)
    found: VirtualHost | None = session.scalar(read, which)
    return found


def _by(column: InstrumentedAttribute[Any]) -> tuple[Select[Any], Select[Any]]:
    """The statements of `locked`, built once: putting them together costs as much as running them."""
    sought = column == bindparam("sought")
    read = select(VirtualHost).where(sought).execution_options(populate_existing=True)
    return select(VirtualHost.id).where(sought).with_for_update(), read


_LOCK_ID, _READ_ID = _by(VirtualHost.id)
_LOCK_NAME, _READ_NAME = _by(VirtualHost.hostname)
