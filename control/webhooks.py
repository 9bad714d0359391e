"""Webhooks: every event in order, signed, to whoever asked to be told; tried again until it is taken.

One worker at a time tells one webhook (a lease). What was taken is remembered after each batch, so that
a crash in between tells some twice, never none: `X-Edge-Delivery` is the same each time.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import secrets
import threading
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, cast
from urllib.parse import urlsplit

from sqlalchemy import CursorResult, func, or_, select, update
from sqlalchemy.exc import SQLAlchemyError

from control import events, sealing
from control.models import Event, Webhook
from control.plane import Plane, Who, audit
from control.ports import Messenger, NotTold
from control.sealing import CannotOpen, KeyringError

SETTLED = timedelta(seconds=2)
"""How old an event is before it is told: on PostgreSQL one of a lower id may be committed after it."""
LEASE = timedelta(minutes=2)
BATCH = 20
PAUSE_SECONDS = 2.0

log = logging.getLogger("control.webhooks")


class NoSuchWebhook(LookupError):
    """There is no webhook of this name."""


class BadUrl(ValueError):
    """Events cannot be sent there; the text says what is wrong."""


def put(
    plane: Plane, name: str, url: str, kinds: Sequence[str], who: Who, secret: str | None = None
) -> tuple[Webhook, str | None]:
    """Create or change one; the secret comes back where it was made here. Raises BadUrl.

    A new one is told of what happens from now on, not of what happened before.
    """
    _check(url, allow_plain=plane.settings.allow_private_addresses)
    now = plane.clock()
    with plane.database.writing() as session:
        hook = session.get(Webhook, name)
        made = secrets.token_urlsafe(32) if hook is None and secret is None else None
        sealed = None
        if secret or made:
            purpose = sealing.for_webhook(name)
            sealed = plane.keyring.seal((secret or made or "").encode(), purpose)
        if hook is None:
            newest = session.scalar(select(func.max(Event.id))) or 0
            hook = Webhook(
                name=name, url=url, sealed_secret=sealed or "", created_at=now, told=newest
            )
            session.add(hook)
        hook.url, hook.kinds, hook.next_attempt_at = url, sorted(kinds), None
        hook.sealed_secret = sealed or hook.sealed_secret
        audit(session, "webhook_set", now, who, name=name, url=_without_path(url))
    return hook, made


def remove(plane: Plane, name: str, who: Who) -> None:
    """Tell it nothing more. Raises NoSuchWebhook."""
    with plane.database.writing() as session:
        session.delete(_find(session.get(Webhook, name), name))
        audit(session, "webhook_removed", plane.clock(), who, name=name)


def try_out(plane: Plane, name: str, messenger: Messenger) -> int:
    """Send one event of kind `test`; the status of the answer. Raises NoSuchWebhook, NotTold."""
    with plane.database.reading() as session:
        hook = _find(session.get(Webhook, name), name)
    event = {"id": 0, "at": plane.clock(), "kind": "test", "actor": "edgectl", "detail": {}}
    return messenger.post(hook.url, *_signed(plane, hook, event))


def keep_telling(plane: Plane, messenger: Messenger, stop: threading.Event) -> None:
    """Until `stop`: tell what there is to be told, and look again."""
    while not stop.is_set():
        try:
            told = tell(plane, messenger)
        except (SQLAlchemyError, KeyringError, CannotOpen) as problem:
            log.error("webhooks cannot be told", extra={"problem": str(problem)})
            told = 0
        if not told:
            stop.wait(PAUSE_SECONDS)


def tell(plane: Plane, messenger: Messenger) -> int:
    """Tell every webhook that is due the next batch; how many events were taken."""
    now = plane.clock()
    with plane.database.reading() as session:
        newest = session.scalar(select(func.max(Event.id)).where(Event.at <= now - SETTLED)) or 0
        names = session.scalars(
            select(Webhook.name).where(
                Webhook.told < newest,
                or_(Webhook.next_attempt_at.is_(None), Webhook.next_attempt_at <= now),
                or_(Webhook.lease_until.is_(None), Webhook.lease_until < now),
            )
        ).all()
    return sum(_tell(plane, messenger, name, newest) for name in names if _lease(plane, name, now))


def _lease(plane: Plane, name: str, now: datetime) -> bool:
    free = or_(Webhook.lease_until.is_(None), Webhook.lease_until < now)
    with plane.database.writing() as session:
        taken = session.execute(
            update(Webhook).where(Webhook.name == name, free).values(lease_until=now + LEASE)
        )
        return cast("CursorResult[Any]", taken).rowcount == 1


def _tell(plane: Plane, messenger: Messenger, name: str, newest: int) -> int:
    """One batch of one webhook, up to the first event that it does not take."""
    with plane.database.reading() as session:
        hook = session.get_one(Webhook, name)
        rows = session.scalars(
            select(Event)
            .where(Event.id > hook.told, Event.id <= newest)
            .order_by(Event.id)
            .limit(BATCH)
        ).all()
    told, taken, error = hook.told, 0, None
    for row in rows:
        if hook.wants(row.kind):
            error = _send(plane, messenger, hook, row)
            if error is not None:
                break
            taken += 1
        told = row.id
    with plane.database.writing() as session:
        stored = session.get(Webhook, name)
        if stored is not None:
            stored.lease_until = None
            if told > stored.told:
                stored.succeed(told)
            if error is not None:
                stored.fail(error, plane.clock())
    return taken


def _send(plane: Plane, messenger: Messenger, hook: Webhook, row: Event) -> str | None:
    """None when it was taken, else why not."""
    shown = events.shown(row, plane.settings.edge_public_addresses)
    try:
        status = messenger.post(hook.url, *_signed(plane, hook, shown))
    except NotTold as problem:
        return str(problem)
    return None if 200 <= status < 300 else f"it answers {status}"


def _signed(plane: Plane, hook: Webhook, event: dict[str, Any]) -> tuple[dict[str, str], bytes]:
    """Headers and body; the signature is HMAC-SHA256 of `<time>.<body>` under the webhook's secret."""
    body = json.dumps(event, default=datetime.isoformat, separators=(",", ":")).encode()
    moment = str(int(plane.clock().timestamp()))
    secret = plane.keyring.open(hook.sealed_secret, sealing.for_webhook(hook.name))
    digest = hmac.new(secret, moment.encode() + b"." + body, hashlib.sha256).hexdigest()
    headers = {
        "Content-Type": "application/json",
        "X-Edge-Event": str(event["kind"]),
        "X-Edge-Delivery": str(event["id"]),
        "X-Edge-Signature": f"t={moment},v1={digest}",
    }
    return headers, body


def _find(hook: Webhook | None, name: str) -> Webhook:
    if hook is None:
        raise NoSuchWebhook(f"there is no webhook {name}")
    return hook


def _check(url: str, *, allow_plain: bool) -> None:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as problem:
        raise BadUrl(f"url is no URL: {problem}") from problem
    schemes = ("https", "http") if allow_plain else ("https",)
    if parts.scheme not in schemes or not parts.hostname:
        raise BadUrl("url must be https://host/path")
    if parts.username or parts.password or parts.fragment:
        raise BadUrl("url must have neither a user nor a fragment")
    if not url.isascii() or not url.isprintable() or " " in url:
        raise BadUrl("url must be printable ASCII without blanks: percent-encode the rest")


def _without_path(url: str) -> str:
    """What may be read by everybody: some receivers put their secret into the path."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}"
