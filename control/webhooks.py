"""Webhooks: every event in order, signed, to whoever asked to be told; tried again until it is taken.

One worker at a time tells one webhook (a lease), and each has a thread of its own there, so that a receiver
that is slow or at fault delays nobody else. What was taken is remembered after each batch, so that a crash in
between tells some twice, never none: `X-Edge-Delivery` is the same each time.
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

from sqlalchemy import ColumnElement, CursorResult, Select, func, or_, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from control import endpoint, events, sealing
from control.database import after_collision
from control.endpoint import BadUrl
from control.models import Event, Webhook
from control.plane import Plane, Who, audit
from control.ports import Messenger, NotTold
from control.sealing import CannotOpen, KeyringError

SETTLED = timedelta(seconds=2)
"""How old an event is before it is told: on PostgreSQL one of a lower id may be committed after it."""
LEASE = timedelta(minutes=2)
BATCH = 20
MOST_AT_ONCE = 16
"""Webhooks that one worker tells at a time; who is furthest behind comes first."""
PAUSE_SECONDS = 2.0

log = logging.getLogger("control.webhooks")


class NoSuchWebhook(LookupError):
    """There is no webhook of this name."""


@after_collision
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
    telling: dict[str, threading.Thread] = {}
    while not stop.is_set():
        telling = {name: thread for name, thread in telling.items() if thread.is_alive()}
        try:
            idle = [name for name in due(plane) if name not in telling]
        except SQLAlchemyError as problem:
            log.error("webhooks cannot be told", extra={"problem": str(problem)})
            idle = []
        for name in idle[: MOST_AT_ONCE - len(telling)]:
            words = (plane, messenger, name, stop)
            telling[name] = threading.Thread(target=_tell_all, args=words, daemon=True)
            telling[name].start()
        stop.wait(PAUSE_SECONDS)


def _tell_all(plane: Plane, messenger: Messenger, name: str, stop: threading.Event) -> None:
    """Batch after batch as long as they are taken; whatever goes wrong, it is looked at again."""
    try:
        while tell(plane, messenger, name) and not stop.is_set():
            pass
    except Exception:
        log.exception("a webhook cannot be told", extra={"webhook": name})


def due(plane: Plane) -> Sequence[str]:
    """Which webhooks have something to be told now, those furthest behind first."""
    now = plane.clock()
    with plane.database.reading() as session:
        newest = _settled(session, now)
        return session.scalars(
            select(Webhook.name).where(Webhook.told < newest, *_free(now)).order_by(Webhook.told)
        ).all()


def tell(plane: Plane, messenger: Messenger, name: str) -> int:
    """Tell one webhook the next batch, if it is due and nobody else does; how many events were taken."""
    now = plane.clock()
    with plane.database.reading() as session:
        newest = _settled(session, now)
    return _tell(plane, messenger, name, newest) if _lease(plane, name, now) else 0


def _settled(session: Session, now: datetime) -> int:
    """The id of the last event that may be told."""
    return session.scalar(select(func.max(Event.id)).where(Event.at <= now - SETTLED)) or 0


def _free(now: datetime) -> tuple[ColumnElement[bool], ...]:
    """What makes a webhook due, but for events."""
    return (
        or_(Webhook.next_attempt_at.is_(None), Webhook.next_attempt_at <= now),
        or_(Webhook.lease_until.is_(None), Webhook.lease_until < now),
    )


def _lease(plane: Plane, name: str, now: datetime) -> bool:
    with plane.database.writing() as session:
        taken = session.execute(
            update(Webhook).where(Webhook.name == name, *_free(now)).values(lease_until=now + LEASE)
        )
        return cast("CursorResult[Any]", taken).rowcount == 1


def _tell(plane: Plane, messenger: Messenger, name: str, newest: int) -> int:
    """One batch of one webhook, up to the first event that it does not take, or half the lease."""
    begun = plane.clock()
    with plane.database.reading() as session:
        hook = session.get_one(Webhook, name)
        rows = session.scalars(_wanted(hook, newest)).all()
    told, taken, error = hook.told, 0, None
    for row in rows:
        if plane.clock() - begun > LEASE / 2:
            break
        error = _send(plane, messenger, hook, row)
        if error is not None:
            break
        taken, told = taken + 1, row.id
    if taken == len(rows) < BATCH:
        told = newest
    with plane.database.writing() as session:
        stored = session.get(Webhook, name)
        if stored is not None:
            stored.lease_until = None
            if told > stored.told:
                stored.succeed(told)
            if error is not None:
                stored.fail(error, plane.clock())
    return taken


def _wanted(hook: Webhook, newest: int) -> Select[Any]:
    """The next events that it asked for; what lies between is passed over at once, however much it is."""
    kinds = [Event.kind.in_(hook.kinds)] if hook.kinds else []
    since = (Event.id > hook.told, Event.id <= newest)
    return select(Event).where(*since, *kinds).order_by(Event.id).limit(BATCH)


def _send(plane: Plane, messenger: Messenger, hook: Webhook, row: Event) -> str | None:
    """None when it was taken, else why not."""
    shown = events.shown(row, plane.settings.edge_public_addresses)
    try:
        status = messenger.post(hook.url, *_signed(plane, hook, shown))
    except (NotTold, KeyringError, CannotOpen) as problem:
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
        endpoint.check(url, plain=endpoint.anywhere if allow_plain else endpoint.nowhere)
    except BadUrl as problem:
        raise BadUrl(f"url {problem}") from problem


def _without_path(url: str) -> str:
    """What may be read by everybody: some receivers put their secret into the path."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}"
