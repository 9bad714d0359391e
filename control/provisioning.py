"""The chain: bootstrap, issue, publish, served; each step asks for its own result first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from control import pauses, renewal
from control.allowance import Exhausted, away_since
from control.claims import Claim, Lost, owned
from control.inspection import NotFit
from control.issuance import issue
from control.metrics import ISSUANCES, count
from control.models import Certificate, RuntimeSettings, VirtualHost
from control.models.runtime import load
from control.plane import Plane, record
from control.ports import (
    AuthorityError,
    EdgeReport,
    PortError,
    PublishRefused,
    RenewalInfo,
    StoreUnavailable,
)
from control.publishing import (
    NotApplied,
    Published,
    give,
    looked,
    publish,
    read,
    wait_applied,
)
from control.sealing import KeyringError

SOON = timedelta(seconds=2)
LATER = timedelta(seconds=15)
DAILY = timedelta(days=1)
FIRST_POLL = timedelta(hours=1)
POLL_WITHOUT_ARI = timedelta(days=1)
WARN_DAYS = (30, 14, 7, 3, 1)
"""Days before its end at which an uploaded certificate is warned of."""
ROUNDS = 5
"""How often a host that changes while it is being served is published again in one run."""


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
        _wait(plane, held, step, Waiting("limit_reserved", str(limit), limit.until))
    except pauses.Paused as pause:
        _wait(plane, held, step, Waiting(pause.reason, str(pause), pause.until))
    except PortError as problem:
        _failed(plane, held, step, problem)


def _patience(run: _Run) -> timedelta:
    """How soon to look again for edges or Redis: soon at first, more slowly the longer it lasts."""
    with run.plane.database.reading() as session:
        waited = run.plane.clock() - looked(session, run.held.host_id).updated_at
    return min(max(waited / 4, SOON), LATER)


def _bootstrap(run: _Run) -> None:
    """Edges know the name, so that port 80 answers for it; no order is spent while no edge lives.

    A new host whose order can begin at once is published with its first challenge instead.
    """
    absent = run.runtime.edge_enabled and not run.plane.store.edges()
    if absent or not (run.host.revision == 0 and run.runtime.acme_enabled):
        _publish(run)
    if absent:
        raise NotApplied("edge_absent", "no edge has sent a heartbeat in the last 30 s")


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
    return renew_at(run.plane, run.held, certificate, run.runtime) <= run.plane.clock()


def renew_at(
    plane: Plane, held: Claim, certificate: Certificate, runtime: RuntimeSettings
) -> datetime:
    """When it is due, the CA asked again if it wants to be (RFC 9773 §4.3)."""
    now = plane.clock()
    if certificate.ari_next_poll is not None and certificate.ari_next_poll <= now:
        _ask_renewal_info(plane, held, certificate, now)
    with owned(plane.database, held) as (_, host):
        if host.certificate is None:
            raise Lost(held.hostname)
        host.certificate.renew_at = _due(host, host.certificate, runtime)
        return host.certificate.renew_at


def _ask_renewal_info(plane: Plane, held: Claim, certificate: Certificate, now: datetime) -> None:
    """Store what ARI says; an answer that does not come changes nothing but the next question."""
    info, following = _renewal_info(plane, held, certificate, now)
    with owned(plane.database, held) as (session, host):
        current = host.certificate
        if current is None or current.sha256 != certificate.sha256:
            raise Lost(held.hostname)
        if info is not None:
            if renewal.moved_earlier(current.not_before, current.not_after, info) and (
                current.ari_end is None or info.end < current.ari_end
            ):
                explanation = info.explanation_url or "no explanation given"
                record(
                    session, "renewal_moved", now, actor="ca", hostname=host.hostname,
                    start=info.start.isoformat(), explanation=explanation,
                )  # fmt: skip
            current.ari_start, current.ari_end = info.start, info.end
            current.ari_explanation = info.explanation_url
        current.ari_next_poll = following


def _renewal_info(
    plane: Plane, held: Claim, certificate: Certificate, now: datetime
) -> tuple[RenewalInfo | None, datetime]:
    """What the CA suggests, None where it says nothing, and when to ask it again."""
    url = certificate.directory_url or plane.settings.acme_directory_url
    try:
        with plane.database.reading() as session:
            what = pauses.of_renewal_info()
            pauses.require_none(session, url, what, held.hostname, now)
        info = plane.authority(url).renewal_info(certificate.chain)
    except pauses.Paused as pause:
        return None, pause.until
    except AuthorityError as problem:
        unavailable = problem.reason == "ca_unavailable"
        what_next = pauses.EVERYTHING if unavailable else pauses.RENEWAL_INFO
        pauses.keep(plane, url, what_next, problem)
        again = renewal.next_poll(3, now, f"{held.hostname} {certificate.sha256}")
        return None, max(again, problem.not_before or again)
    return info, info.next_poll if info else now + POLL_WITHOUT_ARI


def _due(host: VirtualHost, certificate: Certificate, runtime: RuntimeSettings) -> datetime:
    info = None
    if certificate.ari_start is not None and certificate.ari_end is not None:
        info = RenewalInfo(certificate.ari_start, certificate.ari_end, certificate.ari_end)
    return renewal.due_at(
        certificate.not_before,
        certificate.not_after,
        f"{host.hostname} {certificate.sha256}",
        info=info,
        threshold_days=runtime.renewal_threshold_days,
    )


def _next_look(host: VirtualHost, runtime: RuntimeSettings, now: datetime) -> datetime | None:
    """When a ready host is due again: for renewal, or to ask the CA about it.

    None while issuance is off: `registry.configure` makes all due when it is switched on.
    """
    certificate = host.certificate
    if host.renew_requested and runtime.acme_enabled:
        return now
    if certificate is not None and certificate.source == "uploaded":
        return _next_warning(certificate, now)
    if certificate is None or not runtime.acme_enabled:
        return None
    certificate.ari_next_poll = certificate.ari_next_poll or now + FIRST_POLL * (
        1 + renewal.fraction("first poll", host.hostname)
    )
    certificate.renew_at = _due(host, certificate, runtime)
    return min(certificate.renew_at, certificate.ari_next_poll)


def _next_warning(certificate: Certificate, now: datetime) -> datetime | None:
    """When to say again that an uploaded certificate is about to end: nobody else renews it."""
    moments = (certificate.not_after - timedelta(days=days) for days in WARN_DAYS)
    return next((moment for moment in moments if moment > now), None)


def _warn(session: Session, host: VirtualHost, now: datetime) -> None:
    """An event for an uploaded certificate that ends within the month."""
    certificate = host.certificate
    if certificate is None or certificate.source != "uploaded":
        return
    if certificate.not_after - now <= timedelta(days=WARN_DAYS[0]):
        left = max(0, (certificate.not_after - now).days)
        record(
            session, "certificate_expiring", now, actor="worker", hostname=host.hostname,
            reason="certificate_expiring", days_left=left,
            not_after=certificate.not_after.isoformat(),
        )  # fmt: skip


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
        _warn(session, host, now)
        host.succeed(now, _next_look(host, load(session, plane.settings), now))
        host.release()
        return True


def _wait(plane: Plane, held: Claim, step: str, wait: Waiting) -> None:
    """Record what comes first, and let go; at once due again where it was switched on meanwhile."""
    now = plane.clock()
    with owned(plane.database, held) as (session, host):
        until = wait.until
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
    """Record why, and when it is tried again; a name that has moved away is only looked at daily."""
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
        kind = "renewal_failed" if host.status == "ready" else "failed"
        host.fail(step, reason, problem.detail, now, following, record_to_set)
        host.release()
        count(session, ISSUANCES, reason)
        never_published = host.revision == 0
        record(
            session, kind, now, actor="worker", hostname=host.hostname, step=step,
            reason=reason, detail=problem.detail, next_attempt_at=following.isoformat(),
            **_said(problem),
        )  # fmt: skip
    if never_published:
        with suppress(StoreUnavailable, PublishRefused):
            publish(plane, held.host_id)


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
