"""Certificate, Order and Account: what a CA gave us, what we ask it for, and when not; keys only sealed."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from control.models.record import Record


class Certificate(Record):
    """A chain (PEM, leaf first) with its sealed key; `source` is `acme` or `uploaded`."""

    __tablename__ = "certificates"

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    source: Mapped[str]
    chain: Mapped[str] = mapped_column(repr=False)
    sealed_key: Mapped[str] = mapped_column(repr=False)
    spki: Mapped[str]
    sha256: Mapped[str]
    issuer: Mapped[str]
    serial: Mapped[str]
    sans: Mapped[list[str]]
    not_before: Mapped[datetime]
    not_after: Mapped[datetime] = mapped_column(index=True)
    created_at: Mapped[datetime]
    directory_url: Mapped[str | None] = mapped_column(default=None)
    ari_start: Mapped[datetime | None] = mapped_column(default=None)
    ari_end: Mapped[datetime | None] = mapped_column(default=None)
    ari_next_poll: Mapped[datetime | None] = mapped_column(default=None)
    ari_explanation: Mapped[str | None] = mapped_column(default=None)
    renew_at: Mapped[datetime | None] = mapped_column(default=None)


class Order(Record):
    """An order under way: the leaf key is stored before the CA hears of it, the URL before it is used."""

    __tablename__ = "orders"

    virtual_host_id: Mapped[int] = mapped_column(
        ForeignKey("virtual_hosts.id", ondelete="CASCADE"), primary_key=True, init=False
    )
    directory_url: Mapped[str]
    sealed_key: Mapped[str] = mapped_column(repr=False)
    spki: Mapped[str]
    created_at: Mapped[datetime]
    url: Mapped[str | None] = mapped_column(default=None)


class Account(Record):
    """Our account at one CA; `next_key` is set while a key rollover is under way."""

    __tablename__ = "accounts"

    directory_url: Mapped[str] = mapped_column(primary_key=True)
    sealed_key: Mapped[str] = mapped_column(repr=False)
    created_at: Mapped[datetime]
    uri: Mapped[str] = mapped_column(default="")
    sealed_next_key: Mapped[str | None] = mapped_column(default=None, repr=False)
    down_since: Mapped[datetime | None] = mapped_column(default=None)


class LimitLevel(Record):
    """One bucket of a CA's rate limit: when it will be empty of debt (see `control.limits`)."""

    __tablename__ = "limit_levels"

    key: Mapped[str] = mapped_column(primary_key=True)
    empty_at: Mapped[datetime]


class Pause(Record):
    """What a CA wants left alone `until` then, and the reason it gave (see `control.pauses`)."""

    __tablename__ = "pauses"

    key: Mapped[str] = mapped_column(primary_key=True)
    until: Mapped[datetime]
    reason: Mapped[str]
