"""When a host that is served is looked at again: its renewal, the CA's word on it (ARI), warnings of uploaded ones.

The rules are those of `renewal`; here they meet the record.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from control import pauses, renewal
from control.claims import Claim, Lost, owned
from control.models import Certificate, RuntimeSettings, VirtualHost
from control.plane import Plane, record
from control.ports import AuthorityError, RenewalInfo

FIRST_POLL = timedelta(hours=1)
POLL_WITHOUT_ARI = timedelta(days=1)
WARN_DAYS = (30, 14, 7, 3, 1)
"""Days before its end at which an uploaded certificate is warned of."""


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


def next_look(host: VirtualHost, runtime: RuntimeSettings, now: datetime) -> datetime | None:
    """When a ready host is due again: for renewal, or to ask the CA about it.

    None while issuance is off: `configuration.configure` makes all due when it is switched on.
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


def warn(session: Session, host: VirtualHost, now: datetime) -> None:
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
