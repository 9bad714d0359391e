"""How much we still ask of each CA: its rate limits in stored buckets, and whether it is down."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import bindparam, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from control import limits, renewal
from control.models import Account, LimitLevel, RuntimeSettings, VirtualHost
from control.pauses import Paused
from control.plane import Plane
from control.ports import AuthorityError
from control.urgency import ends_soon

AWAY = frozenset(
    {"ca_unavailable", "ca_unreachable", "ca_timeout", "ca_untrusted", "ca_unreadable"}
)


LONGEST_TURN = timedelta(hours=1)
"""Who waits for a limit asks again at least so often: it may have been raised, or others have gone."""
PAUSED_STEP = timedelta(seconds=0.05)
"""How far those part who have waited for the same pause: about as fast as a worker orders."""


class Exhausted(Exception):
    """A published limit, `charge`'s, leaves no room before `until` for those who may have `share` of it."""

    def __init__(self, until: datetime, charge: limits.Charge, share: float) -> None:
        super().__init__(f"the CA's limits leave no room before {until:%Y-%m-%d %H:%M:%S} UTC")
        self.until, self.charge, self.share = until, charge, share


def table(runtime: RuntimeSettings) -> limits.Table:
    """The limits of every CA that we know of, those that the operator gives included."""
    return limits.table(runtime.acme_directory_url, runtime.acme_limits)


def spend_order(
    session: Session,
    host: VirtualHost,
    directory_url: str,
    account_uri: str,
    known: limits.Table,
    now: datetime,
) -> None:
    """Take one order's worth out of every bucket, in this transaction; raise Exhausted."""
    kind = _kind(host, now)
    charges = limits.order_charges(directory_url, account_uri, host.hostname, kind, known)
    failures = limits.failure_charges(directory_url, account_uri, host.hostname, known)
    every = [*charges, *failures]
    levels = _levels(session, [charge.key for charge in every])
    urgent = host.certificate is None or ends_soon(
        now, host.certificate.not_before, host.certificate.not_after
    )
    share = limits.SHARE if urgent else limits.BULK_SHARE
    until, fullest = limits.bottleneck(every, levels, now, share=share)
    if fullest is not None:
        raise Exhausted(until, fullest, share)
    _store(session, limits.spend(charges, levels, now))


def turn(limit: Exhausted, session: Session, _: VirtualHost) -> datetime:
    """When one of those who wait for the same limit is to ask again: one after the other as it leaves room.

    Thousands would otherwise ask at the same moment, each time, for the one order that there is room for.
    """
    if limit.charge.limit.per == "hostname":
        return limit.until
    queue = f"{limit.share}|{limit.charge.key}"
    return _queued(session, queue, limit.until, limits.step(limit.charge.limit))


def turn_after(pause: Paused, session: Session, host: VirtualHost) -> datetime:
    """The same for those whom a CA asks to wait, those of one urgency one after the other.

    Thousands would otherwise be looked at after each pause, most of them to find that the next one stands.
    """
    if pause.of_one:
        return pause.until
    return _queued(session, f"{host.urgency}|{pause.key}", pause.ends, PAUSED_STEP)


def _queued(session: Session, queue: str, until: datetime, step: timedelta) -> datetime:
    """The next place, `until` or later; more than there are within LONGEST_TURN begin at the front again."""
    queue = f"turn {queue}"
    last = _levels(session, [queue]).get(queue, until - step)
    end = until + max(step, LONGEST_TURN)
    following = last + step
    mine = following if until <= following < end else until
    _store(session, {queue: mine})
    return mine


def spend_failure(
    plane: Plane, hostname: str, directory_url: str, account_uri: str, known: limits.Table
) -> None:
    """Remember a failed validation."""
    charges = limits.failure_charges(directory_url, account_uri, hostname, known)
    if charges:
        with plane.database.writing() as session:
            levels = _levels(session, [charge.key for charge in charges])
            _store(session, limits.spend(charges, levels, plane.clock()))


def choose_directory(
    session: Session, host: VirtualHost, first: str, second: str | None, now: datetime
) -> str:
    """The CA of a new order: the second only after the first has stayed down."""
    if second is None:
        return first
    down_since = _down_since(session, first)
    return second if renewal.use_fallback(down_since, now, **_life(host)) else first


def unless_second(
    session: Session,
    host: VirtualHost,
    first: str,
    second: str | None,
    until: datetime,
    now: datetime,
) -> datetime:
    """`until`, when the first CA may be asked again, or earlier, when the second is asked in its place."""
    down_since = _down_since(session, first)
    if second is None or down_since is None:
        return until
    moment = renewal.fallback_at(down_since, now, **_life(host))
    return min(until, moment) if moment > now else until


def _life(host: VirtualHost) -> dict[str, datetime]:
    """Of the certificate in use; {} where there is none."""
    if host.certificate is None:
        return {}
    return {"not_before": host.certificate.not_before, "not_after": host.certificate.not_after}


def note_answer(plane: Plane, directory_url: str, problem: AuthorityError | None) -> None:
    """Remember since when a CA has been down; any answer of it ends that, and who waited is due."""
    away = problem is not None and problem.reason in AWAY
    with plane.database.reading() as session:
        known = session.execute(_DOWN_SINCE, {"directory": directory_url}).first()
    if known is None or (known.down_since is not None) == away:
        return
    now = plane.clock()
    with plane.database.writing() as session:
        session.get_one(Account, directory_url).down_since = now if away else None
        if not away:
            waited = (VirtualHost.error_reason.in_(AWAY), VirtualHost.due_at > now)
            session.execute(update(VirtualHost).where(*waited).values(due_at=now))


_DOWN_SINCE = select(Account.down_since).where(Account.directory_url == bindparam("directory"))


def away_since(session: Session, host: VirtualHost) -> datetime | None:
    """Since when the CA of the order under way has answered nobody; None while it answers."""
    return _down_since(session, host.order.directory_url) if host.order else None


def _down_since(session: Session, directory_url: str) -> datetime | None:
    account = session.get(Account, directory_url)
    return account.down_since if account else None


def _kind(host: VirtualHost, now: datetime) -> str:
    """Exempt from most limits: same names as before; from all: an ARI replacement inside its window."""
    certificate = host.certificate
    if certificate is None or certificate.source != "acme":
        return limits.NEW
    start, end = certificate.ari_start, certificate.ari_end
    inside = start is not None and end is not None and start <= now <= end
    return limits.REPLACEMENT if inside else limits.SAME_SET


def _levels(session: Session, keys: Sequence[str]) -> dict[str, datetime]:
    if not keys:
        return {}
    rows = session.scalars(select(LimitLevel).where(LimitLevel.key.in_(keys)).with_for_update())
    return {row.key: row.empty_at for row in rows}


def _store(session: Session, levels: dict[str, datetime]) -> None:
    """Two workers may draw on a new bucket at the same moment."""
    insert = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    for key, moment in sorted(levels.items()):
        statement = insert.insert(LimitLevel).values(key=key, empty_at=moment)
        session.execute(
            statement.on_conflict_do_update(index_elements=["key"], set_={"empty_at": moment})
        )
