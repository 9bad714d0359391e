"""Keyring rotation: the newest key seals from now on, and everything is sealed again without a pause."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Select, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from control import sealing
from control.models import Account, Certificate, Order, VirtualHost, Webhook, locked
from control.plane import Plane, record
from control.publishing import Published, known_epoch, last_revision, wait_applied
from control.reconcile import publish_pending


class NotEverywhere(Exception):
    """An edge does not have the new key yet; the text names it."""


class StillNeeded(Exception):
    """A key cannot be taken out: something is sealed by it; the text says what."""


def rotate(
    plane: Plane, path: Path, seconds: float, say: Callable[[str], object]
) -> tuple[str, int]:
    """Make the newest key of the file the sealing one; returns its kid and how many keys were sealed anew.

    1. Wait until every live edge lists the kid, so that none meets a key it cannot open.
    2. Put it first in the file; running processes read it within moments. Run again, it stays there.
    3. Seal again: accounts, orders, webhooks, certificates; each is published as it is done.
    """
    keys = sealing.read(path)
    kid = sealing.newest(path)
    _wait_for_edges(plane, kid, seconds, say)
    if next(iter(keys)) != kid:
        sealing.write(path, {kid: keys[kid], **keys}, rotated=True)
        say(f"{kid} seals from now on")
    sealed = _accounts(plane, kid) + _orders(plane, kid) + _webhooks(plane, kid)
    sealed += _certificates(plane, kid)
    with plane.database.writing() as session:
        record(session, "keyring_rotated", plane.clock(), actor="edgectl", kid=kid, sealed=sealed)
    return kid, sealed


def drop_old(plane: Plane, path: Path, seconds: float) -> list[str]:
    """Leave only the sealing key in the file; what was taken out. Backups sealed by those stay shut.

    Raises StillNeeded where something is sealed by one of them, NotApplied where an edge may hold such a seal.
    """
    keys = sealing.read(path)
    first = next(iter(keys))
    with plane.database.reading() as session:
        left = [name for name, query in _uses(first).items() if session.scalar(query.limit(1))]
        wanted = Published(known_epoch(session), last_revision(session))
    if left:
        raise StillNeeded(
            f"there are {' and '.join(left)} sealed by another key than {first}: rotate again"
        )
    if plane.store.edges():
        wait_applied(plane, wanted, seconds)
    sealing.write(path, {first: keys[first]})
    return [kid for kid in keys if kid != first]


def _other(column: InstrumentedAttribute[Any], kid: str) -> ColumnElement[bool]:
    """Whether a sealed text names another kid, letter for letter: LIKE has wildcards and may ignore case."""
    prefix = f"{sealing.VERSION}:{kid}:"
    return func.substr(column, 1, len(prefix)) != prefix


def _certified(kid: str) -> Select[Any]:
    """Hosts whose certificate's key is sealed by another."""
    return (
        select(VirtualHost.id)
        .join(Certificate, Certificate.id == VirtualHost.certificate_id)
        .where(_other(Certificate.sealed_key, kid))
    )


def _uses(kid: str) -> dict[str, Select[Any]]:
    """What is sealed by other keys than this, by what it is called."""
    return {
        "certificates": _certified(kid),
        "orders": select(Order.virtual_host_id).where(_other(Order.sealed_key, kid)),
        "webhooks": select(Webhook.name).where(_other(Webhook.sealed_secret, kid)),
        "accounts": select(Account.directory_url).where(
            or_(_other(Account.sealed_key, kid), _other(Account.sealed_next_key, kid))
        ),
    }


def _wait_for_edges(plane: Plane, kid: str, seconds: float, say: Callable[[str], object]) -> None:
    deadline = time.monotonic() + seconds
    told: list[str] = []
    while lacking := [edge.edge for edge in plane.store.edges() if kid not in edge.kids]:
        if lacking != told:
            say(f"waiting for {', '.join(lacking)} to have {kid}")
            told = lacking
        if time.monotonic() > deadline:
            raise NotEverywhere(
                f"{', '.join(lacking)} does not have key {kid} after {seconds:g} s: "
                "copy the keyring there and reload nginx, then rotate again"
            )
        time.sleep(0.5)


def _again(plane: Plane, sealed: str, purpose: str) -> str:
    return plane.keyring.seal(plane.keyring.open(sealed, purpose), purpose)


def _accounts(plane: Plane, kid: str) -> int:
    with plane.database.writing() as session:
        others = or_(_other(Account.sealed_key, kid), _other(Account.sealed_next_key, kid))
        rows = session.scalars(select(Account).where(others)).all()
        for account in rows:
            purpose = sealing.for_account(account.directory_url)
            account.sealed_key = _again(plane, account.sealed_key, purpose)
            if account.sealed_next_key is not None:
                account.sealed_next_key = _again(plane, account.sealed_next_key, purpose)
        return len(rows)


def _orders(plane: Plane, kid: str) -> int:
    with plane.database.writing() as session:
        rows = session.execute(
            select(Order, VirtualHost.hostname)
            .join(VirtualHost, VirtualHost.id == Order.virtual_host_id)
            .where(_other(Order.sealed_key, kid))
        ).all()
        for order, hostname in rows:
            purpose = sealing.for_hostname(hostname, order.spki)
            order.sealed_key = _again(plane, order.sealed_key, purpose)
        return len(rows)


def _webhooks(plane: Plane, kid: str) -> int:
    with plane.database.writing() as session:
        rows = session.scalars(select(Webhook).where(_other(Webhook.sealed_secret, kid))).all()
        for hook in rows:
            hook.sealed_secret = _again(plane, hook.sealed_secret, sealing.for_webhook(hook.name))
        return len(rows)


def _certificates(plane: Plane, kid: str) -> int:
    done = 0
    while batch := _some_certificates(plane, kid):
        with plane.database.writing() as session:
            for host_id in batch:
                done += _seal_certificate(plane, session, host_id, kid)
        publish_pending(plane)
    return done


def _some_certificates(plane: Plane, kid: str) -> list[int]:
    with plane.database.reading() as session:
        return list(session.scalars(_certified(kid).limit(200)))


def _seal_certificate(plane: Plane, session: Session, host_id: int, kid: str) -> int:
    host = locked(session, host_id=host_id)
    if host is None or host.certificate is None:
        return 0
    certificate = host.certificate
    if sealing.kid_of(certificate.sealed_key) == kid:
        return 0
    purpose = sealing.for_hostname(host.hostname, certificate.spki)
    certificate.sealed_key = _again(plane, certificate.sealed_key, purpose)
    host.changed(plane.clock())
    return 1
