"""RuntimeSettings: what an administrator changes while it runs; the stored value wins over the environment."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from control.models.journal import Setting
from control.settings import Settings


@dataclass(frozen=True)
class RuntimeSettings:
    """docs/parameters.md; `renewal_threshold_days` None means by CA and lifetime.

    `acme_limits` are rate limits that the operator gives (`control.limits.parse`), `acme_preferred_issuer`
    is the common name at the top of the chain to take where the CA offers several (RFC 8555 §7.4.2).
    """

    acme_enabled: bool = True
    edge_enabled: bool = True
    acme_directory_url: str = ""
    acme_email: str | None = None
    acme_profile: str | None = None
    acme_preferred_issuer: str | None = None
    acme_limits: str | None = None
    renewal_threshold_days: int | None = None
    preflight_enabled: bool = True
    hsts_max_age: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """The API's shape."""
        return asdict(self)


def first_values(settings: Settings) -> RuntimeSettings:
    """What the environment says."""
    return RuntimeSettings(
        acme_directory_url=settings.acme_directory_url,
        acme_email=settings.acme_email,
        acme_profile=settings.acme_profile,
        preflight_enabled=settings.preflight,
    )


def alone(session: Session) -> None:
    """Be the only one to change settings until the transaction's end; others read on. On SQLite writers are alone."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text(f"LOCK TABLE {Setting.__tablename__} IN SHARE ROW EXCLUSIVE MODE"))


def load(session: Session, settings: Settings) -> RuntimeSettings:
    """What holds now."""
    names = {field.name for field in fields(RuntimeSettings)}
    stored = {row.name: row.value for row in session.execute(_STORED) if row.name in names}
    return replace(first_values(settings), **stored)


_STORED = select(Setting.name, Setting.value)


def store(session: Session, changes: dict[str, Any]) -> None:
    """Remember these values; the caller has validated them."""
    for name, value in changes.items():
        session.merge(Setting(name=name, value=value))
