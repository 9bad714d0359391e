"""Event, Counter, Token, Setting, Logo and EdgeState: what happened, who may ask, what is set."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Index, LargeBinary
from sqlalchemy.orm import Mapped, Session, mapped_column

from control.models.record import Record

TOKEN_PREFIX = "edge_"  # noqa: S105 # what every token begins with, so that a leaked one is recognised


class Event(Record):
    """One thing that happened: to whom, by whom, from where."""

    __tablename__ = "events"
    __table_args__ = (Index("ix_events_hostname", "hostname", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    at: Mapped[datetime] = mapped_column(index=True)
    kind: Mapped[str]
    actor: Mapped[str]
    hostname: Mapped[str | None] = mapped_column(default=None)
    detail: Mapped[dict[str, Any]] = mapped_column(default_factory=dict)
    request_id: Mapped[str | None] = mapped_column(default=None)
    remote: Mapped[str | None] = mapped_column(default=None)


class Counter(Record):
    """A number that only grows, shared by all workers: `name` and its Prometheus `label`."""

    __tablename__ = "counters"

    name: Mapped[str] = mapped_column(primary_key=True)
    label: Mapped[str] = mapped_column(primary_key=True, default="")
    value: Mapped[float] = mapped_column(default=0.0)


class Token(Record):
    """A bearer token, of which only the SHA-256 is kept; `create` shows it once.

    One that is `read_only` changes nothing, one of `hosts_only` neither settings nor webhooks.
    """

    __tablename__ = "tokens"

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    name: Mapped[str] = mapped_column(unique=True)
    sha256: Mapped[str] = mapped_column(unique=True, repr=False)
    created_at: Mapped[datetime]
    read_only: Mapped[bool] = mapped_column(default=False)
    hosts_only: Mapped[bool] = mapped_column(default=False)
    last_used_at: Mapped[datetime | None] = mapped_column(default=None)
    revoked_at: Mapped[datetime | None] = mapped_column(default=None)

    @classmethod
    def create(
        cls, name: str, now: datetime, *, read_only: bool = False, hosts_only: bool = False
    ) -> tuple[Token, str]:
        """Return the record and the token itself, which nobody can learn again."""
        text = TOKEN_PREFIX + secrets.token_urlsafe(32)
        made = cls(name=name, sha256=cls.digest(text), created_at=now)
        made.read_only, made.hosts_only = read_only, hosts_only
        return made, text

    @property
    def scope(self) -> str:
        """`read-only`, `hosts` or `full`."""
        if self.read_only:
            return "read-only"
        return "hosts" if self.hosts_only else "full"

    def rotate(self, now: datetime) -> tuple[Token, str]:
        """Another of the same name and rights; this one stays valid under `<name>.old` until it is revoked."""
        rights = {"read_only": self.read_only, "hosts_only": self.hosts_only}
        made = self.create(self.name, now, **rights)
        self.name = f"{self.name}.old"
        return made

    @staticmethod
    def digest(text: str) -> str:
        """What is stored of a token; 256 random bits need no salt."""
        return hashlib.sha256(text.encode()).hexdigest()


class Setting(Record):
    """One setting changed at run time; it wins over the environment."""

    __tablename__ = "settings"

    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[Any] = mapped_column(JSON)


class Logo(Record):
    """An image by the SHA-256 of its re-encoded bytes."""

    __tablename__ = "logos"

    sha256: Mapped[str] = mapped_column(primary_key=True)
    extension: Mapped[str]
    content: Mapped[bytes] = mapped_column(LargeBinary, repr=False)
    created_at: Mapped[datetime]


class EdgeState(Record):
    """What we know of the copy: the epoch we gave it, the highest revision whose row is gone.

    One row; `reconciler` names who compares the copy with the truth, until `reconciler_until`.
    """

    __tablename__ = "edge_state"

    id: Mapped[int] = mapped_column(primary_key=True, default=1)
    epoch: Mapped[str] = mapped_column(default="")
    floor: Mapped[int] = mapped_column(BigInteger, default=0)
    reconciler: Mapped[str | None] = mapped_column(default=None)
    reconciler_until: Mapped[datetime | None] = mapped_column(default=None)


def edge_state(session: Session) -> EdgeState:
    """That one row, which nobody else changes until this transaction ends; made where there is none."""
    state = session.get(EdgeState, 1, with_for_update=True)
    if state is None:
        state = EdgeState(id=1)
        session.add(state)
        session.flush()
    return state
