"""When a certificate is due, when a failure is tried again, and by which CA; pure functions of `now`."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

from control.ports import RenewalInfo
from control.urgency import ends_soon

SHORT_LIFE = timedelta(days=10)
MOVED_AFTER = timedelta(days=7)

# Seconds until the next try, by the number of tries that failed in a row; the last one repeats.
#
# Nothing was judged: the CA, Redis or a name server was away. Short steps while the fault is young, so
# that its end is noticed within a minute; then longer ones,
# since a hundred thousand hosts may be waiting.
_AWAY = (5, 10, 20, 30, *(45,) * 12, 120, 300, 600, 1800, 3600)
_LONGEST_AWAY = timedelta(hours=6)
# The CA judged and refused, and counts it: 1 min, 10 min, 100 min, daily (Let's Encrypt's own advice).
_REFUSED = (60, 600, 6000, 86400)
# Our own look at DNS said no, and nothing was spent: a tenant who corrects it is served within minutes.
_UNSPENT = (60, 120, 300, 600, *(900,) * 96, 3600)
# An operator has something to correct that holds up everybody: seen within the hour, nobody flooded.
_MISCONFIGURED = (60, 300, 900, 3600)
# Something we know is gone and is made again at once.
_REMADE = (1, 5, 15, 45, 45, 300, 3600, 21600)
# A rate limit that names no end.
_LIMITED = (3600, 10800, 86400)

_SCHEDULES: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(
        (
            "ca_unavailable",
            "ca_unreachable",
            "ca_timeout",
            "ca_unreadable",
            "ca_bad_nonce",
            "ca_not_found",
            "dns_timeout",
            "edge_absent",
            "edge_lagging",
            "internal_error",
            "issuance_slow",
            "redis_unavailable",
            "validation_slow",
        ),
        _AWAY,
    ),
    **dict.fromkeys(
        ("account_unknown", "order_gone", "already_replaced", "publish_refused"), _REMADE
    ),
    **dict.fromkeys(("ca_rate_limited", "limit_reserved"), _LIMITED),
    **dict.fromkeys(
        (
            "address_private",
            "caa_account_forbidden",
            "caa_critical_unknown",
            "caa_forbids",
            "caa_method_forbidden",
            "dns_no_address",
            "dns_nxdomain",
            "dns_partly_elsewhere",
            "dns_points_elsewhere",
            "dns_servfail",
            "dns_too_many_addresses",
        ),
        _UNSPENT,
    ),
    **dict.fromkeys(
        (
            "ca_foreign_endpoint",
            "ca_profile_unknown",
            "ca_rejected_contact",
            "ca_rejected_key",
            "ca_terms_changed",
            "ca_unauthorized",
            "ca_untrusted",
            "eab_refused",
            "eab_required",
            "edge_refused",
            "key_unopenable",
        ),
        _MISCONFIGURED,
    ),
}

# The longest wait of a host that has no certificate yet, while nothing has judged it.
_LONGEST_UNSERVED = timedelta(hours=1)

# How close together refused tries may come for the sake of a certificate that is about to end: four an
# hour, under the five failed validations per name and hour that a CA grants.
_CLOSEST_REFUSED = timedelta(minutes=15)


def fraction(*words: str) -> float:
    """A number in [0, 1) that the words decide: the same today and tomorrow, spread over hosts."""
    digest = hashlib.sha256("\0".join(words).encode()).digest()
    return int.from_bytes(digest[:6], "big") / (1 << 48)


def usual(not_before: datetime, not_after: datetime, key: str) -> datetime:
    """When a third of the life is left, or half of one under 10 days; and somewhat earlier.

    `key` (hostname and certificate) decides how much earlier, up to a thirtieth (a twelfth of a short
    life), so that hosts which were onboarded or came back together part.
    """
    life = not_after - not_before
    left, earlier = (life / 2, life / 12) if life < SHORT_LIFE else (life / 3, life / 30)
    return not_after - left - earlier * fraction("usual", key)


def by_threshold(not_before: datetime, not_after: datetime, days: int, key: str) -> datetime:
    """`days` before the end, as the operator says, but never in the first half of the life.

    Without that floor a threshold of 30 days would order a 6-day certificate anew every day.
    """
    life = not_after - not_before
    asked = not_after - timedelta(days=days) - life / 100 * fraction("threshold", key)
    return max(asked, not_before + life / 2)


def by_window(info: RenewalInfo, key: str) -> datetime:
    """One uniform random moment of the CA's window: the same until the window moves (RFC 9773 §4.2)."""
    edges = (info.start.isoformat(), info.end.isoformat())
    return info.start + (info.end - info.start) * fraction("window", key, *edges)


def moved_earlier(not_before: datetime, not_after: datetime, info: RenewalInfo) -> bool:
    """Whether the CA wants the certificate gone before its time: revoked, or about to be."""
    life = not_after - not_before
    return info.end < not_before + life / 2 - life / 20


def due_at(
    not_before: datetime,
    not_after: datetime,
    key: str,
    *,
    info: RenewalInfo | None = None,
    threshold_days: int | None = None,
) -> datetime:
    """When a certificate is to be renewed; store it and scan for it.

    1. A window that the CA has moved to an earlier time counts above all.
    2. The operator's threshold, where there is one.
    3. The CA's window (ARI),
       but never later than an eighth of the life before the end.
    4. A third of the life left.
    """
    if info and moved_earlier(not_before, not_after, info):
        return by_window(info, key)
    if threshold_days is not None:
        return by_threshold(not_before, not_after, threshold_days, key)
    if info:
        return min(by_window(info, key), not_after - (not_after - not_before) / 8)
    return usual(not_before, not_after, key)


def next_poll(failures: int, now: datetime, key: str) -> datetime:
    """When to ask for renewal information again after `failures` questions in a row went wrong."""
    pause = min(timedelta(minutes=1 << min(failures, 10)), timedelta(hours=6))
    return now + pause * (1 + fraction("poll", key, str(failures)) / 4)


def next_attempt(
    failures: int,
    reason: str,
    key: str,
    now: datetime,
    *,
    not_before: datetime | None = None,
    not_after: datetime | None = None,
    away_since: datetime | None = None,
) -> datetime:
    """When to try again after `failures` (≥ 1) in a row, the last of them for `reason`.

    `not_before` is what the other side asked for: kept, and enough. `not_after` is the end of the
    certificate in use, which draws tries closer together while it is near. `away_since` is since when
    the CA has not answered anybody: the longer, the less often each host asks; whoever finds it back
    makes the others due at once. Later by up to a tenth, stable per `key`.
    """
    jitter = fraction("attempt", key, str(failures))
    if not_before and not_before > now:
        return not_before + timedelta(seconds=10 * jitter)
    schedule = _SCHEDULES.get(reason, _REFUSED)
    pause = timedelta(seconds=schedule[min(max(failures, 1), len(schedule)) - 1])
    if schedule is _AWAY and away_since:
        pause = max(pause, min((now - away_since) / 8, _LONGEST_AWAY))
    if not_after and not_after > now:
        floor = min(pause, _CLOSEST_REFUSED)
        pause = min(pause, max((not_after - now) / 10, floor))
    elif schedule is _AWAY and not not_after:
        pause = min(pause, _LONGEST_UNSERVED)
    return now + pause * (1 + jitter / 10)


def has_moved(elsewhere_since: datetime | None, now: datetime) -> bool:
    """Whether DNS has pointed elsewhere for so long that no order is worth making."""
    return elsewhere_since is not None and now - elsewhere_since >= MOVED_AFTER


def use_fallback(
    down_since: datetime | None,
    now: datetime,
    *,
    not_before: datetime | None = None,
    not_after: datetime | None = None,
) -> bool:
    """Whether a new order goes to the second CA, since the first has been down for too long."""
    if down_since is None:
        return False
    return fallback_at(down_since, now, not_before=not_before, not_after=not_after) <= now


def fallback_at(
    down_since: datetime,
    now: datetime,
    *,
    not_before: datetime | None = None,
    not_after: datetime | None = None,
) -> datetime:
    """From when on, `now` or later, a new order goes to the second CA if the first stays down.

    A new host waits 15 minutes for the first CA; a renewal 24 hours, or until a sixth of its life is
    left. For a minute of each hour the first is asked again: nobody else would notice that it is back.
    """
    urgent = not_before is None or not_after is None or ends_soon(now, not_before, not_after)
    moment = max(now, down_since + (timedelta(minutes=15) if urgent else timedelta(hours=24)))
    into_the_hour = (moment - down_since) % timedelta(hours=1)
    return moment + max(timedelta(minutes=1) - into_the_hour, timedelta(0))
