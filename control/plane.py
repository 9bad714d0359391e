"""Plane: the connected parts of the control plane, handed to whoever does the work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from sqlalchemy import Table, insert
from sqlalchemy.orm import Session

from control.database import Database
from control.models import Event, RuntimeSettings
from control.models.runtime import load
from control.ports import CertificateAuthority, EdgeStore, HttpProbe, Resolver
from control.sealing import Keyring
from control.settings import Settings


@dataclass(frozen=True)
class Plane:
    """Truth, copy, keys and the outside; `authority` gives the CA of a directory URL, `clock` the time."""

    settings: Settings
    database: Database
    store: EdgeStore
    keyring: Keyring
    authority: Callable[[str], CertificateAuthority]
    resolver: Resolver
    probe: HttpProbe
    clock: Callable[[], datetime]

    def runtime(self) -> RuntimeSettings:
        """What an administrator has set, now."""
        with self.database.reading() as session:
            return load(session, self.settings)


@dataclass(frozen=True)
class Who:
    """Who asks, from where and in which request; what the audit keeps."""

    name: str
    remote: str | None = None
    request_id: str | None = None


def record(
    session: Session,
    kind: str,
    now: datetime,
    *,
    actor: str,
    hostname: str | None = None,
    **detail: object,
) -> None:
    """Add an event to this transaction; `detail` holds JSON values and never a secret."""
    event = {"at": now, "kind": kind, "actor": actor, "hostname": hostname, "detail": detail}
    session.execute(_EVENT, event)


_EVENT = insert(cast(Table, Event.__table__))


def audit(
    session: Session,
    kind: str,
    now: datetime,
    who: Who,
    *,
    hostname: str | None = None,
    **detail: object,
) -> None:
    """The same for what somebody asked for: also from where, and in which request."""
    session.add(
        Event(
            at=now,
            kind=kind,
            actor=who.name,
            hostname=hostname,
            detail=detail,
            request_id=who.request_id,
            remote=who.remote,
        )
    )
