"""Bearer tokens: who may ask, who may only read, and how often."""

from __future__ import annotations

import math
import threading
import time
from datetime import timedelta

from flask import abort, g, request
from sqlalchemy import bindparam, select, update

from control.api.context import plane
from control.api.errors import TooMany
from control.models import Token

READS = frozenset({"GET", "HEAD", "OPTIONS"})
INSTALLATION = frozenset({"settings", "webhooks"})
"""What concerns everybody and not one host."""
PER_SECOND = 200.0
BURST = 1000.0
SEEN_EVERY = timedelta(minutes=1)


class Buckets:
    """A bucket of requests for each token: `BURST` at once, `PER_SECOND` in the long run."""

    def __init__(self, per_second: float = PER_SECOND, burst: float = BURST) -> None:
        self._per_second, self._burst = per_second, burst
        self._levels: dict[str, tuple[float, float]] = {}
        self._lock = threading.Lock()

    def take(self, name: str, now: float) -> float:
        """Take one; returns 0, or the seconds until there is one."""
        with self._lock:
            level, since = self._levels.get(name, (self._burst, now))
            level = min(self._burst, level + (now - since) * self._per_second)
            if level < 1:
                self._levels[name] = (level, now)
                return (1 - level) / self._per_second
            self._levels[name] = (level - 1, now)
            return 0.0


buckets = Buckets()


def authenticate() -> None:
    """Before every request below /api/v1 but logos and documentation."""
    token = _token()
    if token is None:
        abort(401, "a token is needed: send `Authorization: Bearer …` (edgectl token create NAME)")
    g.token = token.name
    wait = buckets.take(token.name, time.monotonic())
    if wait:
        raise TooMany(math.ceil(wait))
    if token.read_only and request.method not in READS:
        abort(403, f"token {token.name} may only read")
    if token.hosts_only and request.method not in READS and request.blueprint in INSTALLATION:
        abort(403, f"token {token.name} may change hosts, not {request.blueprint}")


def has_token() -> bool:
    """Whether the request carries a live token."""
    return _token() is not None


def _token() -> Token | None:
    scheme, _, text = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not text:
        return None
    digest = Token.digest(text.strip())
    with plane().database.reading() as session:
        token: Token | None = session.scalar(_LIVE, {"digest": digest})
    if token is not None:
        _seen(token)
    return token


_LIVE = select(Token).where(Token.sha256 == bindparam("digest"), Token.revoked_at.is_(None))


def _seen(token: Token) -> None:
    now = plane().clock()
    if token.last_used_at is None or now - token.last_used_at > SEEN_EVERY:
        with plane().database.writing() as session:
            session.execute(update(Token).where(Token.id == token.id).values(last_used_at=now))
