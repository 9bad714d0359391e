"""The chain: bootstrap, issue, publish, served; each step asks for its own result first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import partial

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from control import pauses, renewal, schedule
from control.allowance import AWAY, Exhausted, away_since, turn, turn_after, unless_second
from control.claims import Claim, Lost, owned
from control.inspection import NotFit
from control.issuance import issue
from control.metrics import ISSUANCES, count
from control.models import Event, RuntimeSettings, VirtualHost
from control.models.runtime import load
from control.plane import Plane, record
from control.ports import (
    AuthorityError,
    EdgeReport,
    PortError,
    PublishRefused,
    StoreUnavailable,
)
from control.publishing import (
    NotApplied,
    Published,
    give,
    known_epoch,
    looked,
    publish,
    read,
    wait_applied,
)
from control.sealing import KeyringError

SOON = timedelta(seconds=2)
CLOSE = timedelta(seconds=15)
LATER = timedelta(hours=1)
LAG_SECONDS = 1.0
"""How long an order under way waits for edges that have not applied what was published of it before."""
DAILY = timedelta(days=1)
ROUNDS = 5
"""How often a host that changes while it is being served is published again in one run."""


Due = Callable[[Session, VirtualHost], datetime]


class Waiting(Exception):
    """Nothing failed, but something must come first; `until` None waits for a change."""

    def __init__(self, reason: str, detail: str, until: datetime | None) -> None:
        super().__init__(reason)
        self.reason, self.detail, self.until = reason, detail, until


def provision(plane: Plane, held: Claim) -> None:
    """Bring one claimed virtual host as far as it gets, record how that ended, and release it."""
    with suppress(Lost):
        _run(plane, held)


def give_up(plane: Plane, held: Claim, problem: Exception) -> None:
    """Record a fault of our own, or a keyring that cannot be read, so that it is seen and tried again."""
    fault = PortError("internal_error", repr(problem))
    if isinstance(problem, KeyringError):
        fault = PortError("key_unopenable", str(problem))
    with suppress(Lost):
        _failed(plane, held, "internal", fault)


@dataclass
class _Run:
    """One claimed host on its way: what is set, the record as it was last read, what edges were given."""

    plane: Plane
    held: Claim
    runtime: RuntimeSettings
    host: VirtualHost
    published: Published | None = None

    def seen(self, host: VirtualHost) -> None:
        """Go on with this state of the record; Lost when it is not ours any more."""
        self.held.require(host)
        self.host = host


def _begin(plane: Plane, held: Claim) -> _Run:
    """What is set and the record, read together; a failed one is tried again."""
    with plane.database.reading() as session:
        run = _Run(plane, held, load(session, plane.settings), looked(session, held.host_id))
    run.seen(run.host)
    if run.host.status == "failed":
        with owned(plane.database, held) as (_, host):
            host.retry(plane.clock())
        run.seen(host)
    return run


def _run(plane: Plane, held: Claim) -> None:
    run = _begin(plane, held)
    step = "bootstrap"
    try:
        for step, do in _STEPS:  # noqa: B007 # the step that raised is told below
            do(run)
    except Waiting as wait:
        _wait(plane, held, step, wait)
    except (NotApplied, StoreUnavailable, PublishRefused) as problem:
        until = plane.clock() + _patience(run)
        _wait(plane, held, step, Waiting(problem.reason, problem.detail, until))
    except Exhausted as limit:
        reserved = Waiting("limit_reserved", str(limit), limit.until)
        _wait(plane, held, step, reserved, partial(turn, limit))
    except pauses.Paused as pause:
        asked = Waiting(pause.reason, str(pause), pause.until)
        _wait(plane, held, step, asked, partial(_after_pause, plane, pause))
    except PortError as problem:
        _failed(plane, held, step, problem)


def _patience(run: _Run) -> timedelta:
    """How soon to look again for edges or Redis: soon at first, more slowly the longer it lasts.

    Their return is noticed without that (`reconcile.wake_waiting`), but not for those that are served: these
    look again the sooner the nearer the end of their certificate is.
    """
    now = run.plane.clock()
    with run.plane.database.reading() as session:
        host = looked(session, run.held.host_id)
    longest = LATER
    if host.status == "ready" and host.certificate is not None:
        longest = min(LATER, max((host.certificate.not_after - now) / 10, CLOSE))
    return min(max((now - host.updated_at) / 4, SOON), longest)


def _bootstrap(run: _Run) -> None:
    """Edges know the name, so that port 80 answers for it; no order is spent while no edge lives.

    A new host whose order can begin at once is published with its first challenge instead. Of an order under
    way the CA is not asked while an edge lags.
    """
    absent = run.runtime.edge_enabled and not run.plane.store.edges()
    if absent or not (run.host.revision == 0 and run.runtime.acme_enabled):
        _publish(run)
    if absent:
        raise NotApplied("edge_absent", "no edge has sent a heartbeat in the last 30 s")
    if run.runtime.edge_enabled and run.host.order is not None:
        with run.plane.database.reading() as session:
            before = Published(known_epoch(session), run.host.revision)
        wait_applied(run.plane, run.published or before, LAG_SECONDS)


def _issue(run: _Run) -> None:
    if _wants_certificate(run):
        issue(run.plane, run.held, run.runtime)


def _publish(run: _Run) -> None:
    """Give edges what they have not been given; tokens of answered challenges go with it."""
    found = read(run.plane, run.held.host_id)
    run.seen(found.host)
    done = [] if run.host.order else run.host.tokens
    run.published = Published(found.epoch, run.host.revision)
    if run.host.published < run.host.change or done:
        run.published = give(run.plane, found, forget=done)


def _served(run: _Run) -> None:
    """`ready` once every live edge has applied the last revision and refuses nothing of it."""
    for _ in range(ROUNDS):
        if run.runtime.edge_enabled and run.published is not None:
            _require_taken(run.host, wait_applied(run.plane, run.published))
        if _succeed(run.plane, run.held, run.host.change):
            return
        _publish(run)
    until = run.plane.clock() + SOON
    raise Waiting("edge_lagging", "it changes faster than it is published", until)


def _require_taken(host: VirtualHost, edges: Sequence[EdgeReport]) -> None:
    """An edge applies the revision of a certificate that it cannot use, and says that it refused it."""
    refusing = [report.edge for report in edges if report.takes(host.hostname) is False]
    if refusing:
        words = f"{', '.join(refusing)} cannot use what was published and keeps what it had"
        raise PortError("edge_refused", words)
    silent = [report.edge for report in edges if report.takes(host.hostname) is None]
    if silent:
        words = f"{', '.join(silent)} refuses more hosts than it names: this may be one of them"
        raise NotApplied("edge_lagging", words)


_STEPS: tuple[tuple[str, Callable[[_Run], None]], ...] = (
    ("bootstrap", _bootstrap),
    ("issue", _issue),
    ("publish", _publish),
    ("served", _served),
)


def _wants_certificate(run: _Run) -> bool:
    """Whether an order is to be made, or one under way to be ended."""
    host, certificate = run.host, run.host.certificate
    if not run.runtime.acme_enabled:
        if certificate is None and run.runtime.edge_enabled:
            raise Waiting("certificate_absent", "issuance is switched off", None)
        return False
    if certificate is None or host.renew_requested:
        return True
    if certificate.source != "acme":
        return False
    if host.order is not None:
        return True
    return schedule.renew_at(run.plane, run.held, certificate, run.runtime) <= run.plane.clock()


def _succeed(plane: Plane, held: Claim, change: int) -> bool:
    """Say `ready`, unless the record changed since edges applied it.

    The settings are read again, behind the lock: what was switched meanwhile counts for the next look.
    """
    now = plane.clock()
    with owned(plane.database, held, lasting=False) as (session, host):
        if host.change != change or host.published < change:
            return False
        if host.status != "ready":
            record(session, "ready", now, actor="worker", hostname=host.hostname)
        schedule.warn(session, host, now)
        host.succeed(now, schedule.next_look(host, load(session, plane.settings), now))
        host.release()
        return True


def _wait(plane: Plane, held: Claim, step: str, wait: Waiting, due: Due | None = None) -> None:
    """Record what comes first, and let go; at once due again where it was switched on meanwhile.

    `due` says in the same transaction until when, where that depends on others who wait.
    """
    now = plane.clock()
    with owned(plane.database, held) as (session, host):
        until = due(session, host) if due else wait.until
        if until is None and load(session, plane.settings).acme_enabled:
            until = now
        if host.status != "ready" and host.error_reason != wait.reason:
            record(
                session, "waiting", now, actor="worker", hostname=host.hostname,
                step=step, reason=wait.reason, detail=wait.detail,
            )  # fmt: skip
        host.wait(step, wait.reason, wait.detail, now, until)
        host.release()


def _failed(plane: Plane, held: Claim, step: str, problem: PortError) -> None:
    """Record why, and when it is tried again; a name that has moved away is only looked at daily.

    The same again is an event once a day: thousands may fail for months.
    """
    now = plane.clock()
    with owned(plane.database, held) as (session, host):
        reason, record_to_set = problem.reason, None
        if isinstance(problem, NotFit):
            record_to_set = problem.record
            if problem.away is not None:
                host.moved_since = (host.moved_since or now) if problem.away else None
            if renewal.has_moved(host.moved_since, now):
                reason = "dns_moved"
        following = _next_attempt(session, host, reason, problem, now)
        if reason in AWAY:
            following = _unless_second(plane, following, session, host)
        kind = "renewal_failed" if host.status == "ready" else "failed"
        host.fail(step, reason, problem.detail, now, following, record_to_set)
        host.release()
        count(session, ISSUANCES, reason)
        never_published = host.revision == 0
        if not _told(session, host.hostname, kind, reason, now):
            record(
                session, kind, now, actor="worker", hostname=host.hostname, step=step,
                reason=reason, detail=problem.detail, next_attempt_at=following.isoformat(),
                **_said(problem),
            )  # fmt: skip
    if never_published:
        with suppress(StoreUnavailable, PublishRefused):
            publish(plane, held.host_id)


def _told(session: Session, hostname: str, kind: str, reason: str, now: datetime) -> bool:
    """Whether its last event says the same, and is less than a day old."""
    last = session.execute(_LAST_EVENT, {"name": hostname}).first()
    if last is None or last.at <= now - DAILY:
        return False
    return (last.kind, last.detail.get("reason")) == (kind, reason)


_LAST_EVENT = (
    select(Event.kind, Event.detail, Event.at)
    .where(Event.hostname == bindparam("name"))
    .order_by(Event.id.desc())
    .limit(1)
)


def _after_pause(
    plane: Plane, pause: pauses.Paused, session: Session, host: VirtualHost
) -> datetime:
    """When its turn comes after the pause, unless the second CA is to be asked before."""
    return _unless_second(plane, turn_after(pause, session, host), session, host)


def _unless_second(plane: Plane, until: datetime, session: Session, host: VirtualHost) -> datetime:
    """`until`, unless the second CA is to be asked before; those whom the first keeps waiting part by some seconds."""
    first = load(session, plane.settings).acme_directory_url
    second = plane.settings.acme_fallback_directory_url
    moment = unless_second(session, host, first, second, until, plane.clock())
    return min(until, moment + pauses.SPREAD * renewal.fraction("second", host.hostname))


def _said(problem: PortError) -> dict[str, object]:
    """What else an event tells: the CA's problem document (RFC 8555 §6.7), the DNS record to set."""
    if isinstance(problem, AuthorityError) and problem.problem is not None:
        return {"problem": asdict(problem.problem)}
    if isinstance(problem, NotFit) and problem.record is not None:
        return {"record": problem.record}
    return {}


def _next_attempt(
    session: Session, host: VirtualHost, reason: str, problem: PortError, now: datetime
) -> datetime:
    if reason == "dns_moved":
        return now + DAILY
    return renewal.next_attempt(
        host.attempts + 1,
        reason,
        host.hostname,
        now,
        not_before=problem.not_before,
        not_after=host.certificate.not_after if host.certificate else None,
        away_since=away_since(session, host),
    )
