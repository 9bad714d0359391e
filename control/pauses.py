"""When a CA wants to be asked again (Retry-After): stored, so that no retry, restart or other worker comes earlier."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta

from sqlalchemy import bindparam, delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from control.limits import registered_domain
from control.models import Pause
from control.plane import Plane
from control.ports import AuthorityError, Problem
from control.renewal import fraction

EVERYTHING, NEW_ORDERS, RENEWAL_INFO = "everything", "new orders", "renewal information"
SPREAD = timedelta(seconds=10)
"""How far those part who have waited for the same moment."""

_URL = re.compile(r"https?://\S+")
_OF_NAMES = re.compile(
    r"exact set|duplicate certificate|failed (authorization|validation)", re.IGNORECASE
)
"""How Let's Encrypt words the limits that one set of names has by itself."""


class Paused(Exception):
    """The CA asked for quiet; `reason` is why, and `key` what is meant.

    It `ends` for everybody at the same moment; `until`, somewhat later, is for `hostname`.
    """

    def __init__(self, reason: str, ends: datetime, key: str, hostname: str) -> None:
        super().__init__(f"the CA asked us to wait until {ends:%Y-%m-%d %H:%M:%S} UTC")
        self.reason, self.ends, self.key = reason, ends, key
        self.until = ends + SPREAD * fraction("pause", hostname)
        self.of_one = key.endswith(_hostname(hostname))


def of_order(hostname: str, *, new: bool) -> Sequence[str]:
    """What may stand in the way of an order: a `new` one, or one that is gone on with."""
    if not new:
        return EVERYTHING, _hostname(hostname)
    return EVERYTHING, NEW_ORDERS, _domain(hostname), _hostname(hostname)


def of_renewal_info() -> Sequence[str]:
    """What may stand in the way of a question about a renewal."""
    return EVERYTHING, RENEWAL_INFO


def meant(problem: AuthorityError, hostname: str, *, ordering: bool) -> str:
    """What a refusal asks to leave alone; `ordering` is an account or an order being asked for.

    1. A 5xx with Retry-After is meant for the whole client (RFC 9110 §15.6.4).
    2. A 429 is meant for new orders at large while one is asked for, since CAs count them by account and
       address; but for this hostname or its registered domain, where the CA's words are about these.
    3. Anything else is meant for this hostname.
    """
    if problem.reason == "ca_unavailable":
        return EVERYTHING
    if problem.reason != "ca_rate_limited" or not ordering:
        return _hostname(hostname)
    words = _URL.sub("", problem.detail)
    domain = registered_domain(hostname)
    if _OF_NAMES.search(words) or (hostname != domain and _names(words, hostname)):
        return _hostname(hostname)
    if _names(words, domain):
        return _domain(hostname)
    return _hostname(hostname) if _identifies(problem.problem, hostname) else NEW_ORDERS


def require_none(
    session: Session, directory_url: str, what: Sequence[str], hostname: str, now: datetime
) -> None:
    """Raise Paused while the CA wants one of these left alone; hosts that wait part by some seconds."""
    keys = [_key(directory_url, one) for one in what]
    standing = session.execute(_STANDING, {"keys": keys, "moment": now}).first()
    if standing is not None:
        raise Paused(standing.reason, standing.until, standing.key, hostname)


@contextmanager
def kept(plane: Plane, directory_url: str, hostname: str, *, ordering: bool) -> Iterator[None]:
    """Keep what a refusal in here asks for; see `meant`."""
    try:
        yield
    except AuthorityError as problem:
        keep(plane, directory_url, meant(problem, hostname, ordering=ordering), problem)
        raise


def keep(plane: Plane, directory_url: str, what: str, problem: AuthorityError) -> None:
    """Remember until when; a pause that lasts longer stands. Those that are over go."""
    if problem.not_before is None:
        return
    with plane.database.writing() as session:
        session.execute(delete(Pause).where(Pause.until <= plane.clock()))
        dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
        given = {"until": problem.not_before, "reason": problem.reason}
        statement = dialect.insert(Pause).values(key=_key(directory_url, what), **given)
        shorter = Pause.until < problem.not_before
        session.execute(
            statement.on_conflict_do_update(index_elements=["key"], set_=given, where=shorter)
        )


_STANDING = (
    select(Pause.until, Pause.reason, Pause.key)
    .where(Pause.key.in_(bindparam("keys", expanding=True)), Pause.until > bindparam("moment"))
    .order_by(Pause.until.desc())
    .limit(1)
)


def _key(directory_url: str, what: str) -> str:
    return f"{directory_url}|{what}"


def _hostname(hostname: str) -> str:
    return f"hostname {hostname}"


def _domain(hostname: str) -> str:
    return f"domain {registered_domain(hostname)}"


def _names(words: str, name: str) -> bool:
    """Whether the words name exactly this, not a name below or beside it."""
    return re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w-]|\.\w)", words) is not None


def _identifies(problem: Problem | None, hostname: str) -> bool:
    """Whether the problem or a part of it is marked as one of this name (RFC 8555 §6.7.1)."""
    return problem is not None and (
        problem.identifier == hostname
        or any(_identifies(part, hostname) for part in problem.subproblems)
    )
