"""The CAs' published rate limits, and how far we go into them: token buckets at 80 %, pure functions.

A bucket is one stored moment (GCRA's "theoretical arrival time"): the time at which it will be empty of
debt. Keep `levels`, key → moment, in one small table; a key that is absent is an untouched bucket.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tldextract

Table = Mapping[str, tuple["Limit", ...]]
"""The limits of each CA by the URL of its directory; a CA that is not in it has none."""

SHARE = 0.8  # of each published limit
BULK_SHARE = 0.6  # for what nobody waits for, so that a new tenant always finds room

NEW, SAME_SET, REPLACEMENT = "new", "same_set", "replacement"
FAILURES = "failed_validations"


@dataclass(frozen=True)
class Limit:
    """`amount` per `period`, counted per account|domain|hostname; `spares` are orders that do not count."""

    name: str
    amount: int
    period: timedelta
    per: str
    spares: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Charge:
    """One bucket that a deed draws on."""

    key: str
    limit: Limit


_RENEWALS = frozenset({SAME_SET, REPLACEMENT})
_REPLACEMENTS = frozenset({REPLACEMENT})


def _lets_encrypt(orders: int, per_domain: int, per_set: int, failures: int) -> tuple[Limit, ...]:
    week = timedelta(days=7)
    return (
        Limit("new_orders", orders, timedelta(hours=3), "account", _RENEWALS),
        Limit("certificates_per_domain", per_domain, week, "domain", _RENEWALS),
        Limit("certificates_per_set", per_set, week, "hostname", _REPLACEMENTS),
        Limit(FAILURES, failures, timedelta(hours=1), "hostname"),
    )


# Read 2026-08-05 at letsencrypt.org/docs/rate-limits and /docs/staging-environment. A CA that is not
# here has none, unless the operator gives some.
PUBLISHED: Table = {
    "https://acme-v02.api.letsencrypt.org/directory": _lets_encrypt(300, 50, 5, 5),
    "https://acme-staging-v02.api.letsencrypt.org/directory": _lets_encrypt(
        1500, 30_000, 30_000, 200
    ),
}


PER = {
    "new_orders": "account",
    "certificates_per_domain": "domain",
    "certificates_per_set": "hostname",
    FAILURES: "hostname",
}
"""What an operator may limit, and per what it is counted."""
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
_GIVEN = re.compile(r"([a-z_]+)=([1-9][0-9]{0,7})/([1-9][0-9]{0,3})([mhd])")


def parse(text: str) -> tuple[Limit, ...]:
    """Limits as an operator writes them: `new_orders=300/3h failed_validations=5/1h`; ValueError.

    Every order counts, renewals too: what another CA spares nobody has told us.
    """
    found: dict[str, Limit] = {}
    for word in text.replace(",", " ").split():
        given = _GIVEN.fullmatch(word)
        if given is None:
            raise ValueError(f"{word!r} is not of the form new_orders=300/3h (units m, h, d)")
        name, amount, number, unit = given.groups()
        if name not in PER:
            raise ValueError(f"there is no limit {name!r}: use {', '.join(PER)}")
        found[name] = Limit(name, int(amount), int(number) * _UNITS[unit], PER[name])
    return tuple(found.values())


def table(directory_url: str, given: str | None) -> Table:
    """The published limits, with what the operator gives for the CA in use.

    A limit given for a CA that publishes it (an override that was granted) spares the same orders.
    """
    if not given:
        return PUBLISHED
    known = {limit.name: limit for limit in PUBLISHED.get(directory_url, ())}
    for limit in parse(given):
        spares = known[limit.name].spares if limit.name in known else limit.spares
        known[limit.name] = replace(limit, spares=spares)
    return {**PUBLISHED, directory_url: tuple(known.values())}


@cache
def _suffixes() -> tldextract.TLDExtract:
    """The public suffix list that the library carries, private section included; no network, no cache."""
    import tldextract  # it brings requests along, which nothing else here needs

    return tldextract.TLDExtract(
        suffix_list_urls=(), cache_dir=None, include_psl_private_domains=True
    )


def registered_domain(hostname: str) -> str:
    """What a CA counts names under: `acme.co.uk` for `mail.acme.co.uk`; a public suffix is its own.

    A top-level domain that the list does not have counts as a suffix, as the list's own rule says.
    """
    parts = _suffixes()(hostname)
    if parts.suffix:
        return parts.top_domain_under_public_suffix or hostname
    return ".".join(hostname.split(".")[-2:])


def order_charges(
    directory_url: str,
    account_uri: str,
    hostname: str,
    kind: str,
    known: Table = PUBLISHED,
) -> tuple[Charge, ...]:
    """What making an order draws on; `kind` is NEW, SAME_SET (a renewal) or REPLACEMENT (ARI, in its window)."""
    return tuple(
        _charge(limit, directory_url, account_uri, hostname)
        for limit in known.get(directory_url, ())
        if limit.name != FAILURES and kind not in limit.spares
    )


def failure_charges(
    directory_url: str,
    account_uri: str,
    hostname: str,
    known: Table = PUBLISHED,
) -> tuple[Charge, ...]:
    """What a failed validation draws on. Spent after the failure, asked before the next order."""
    return tuple(
        _charge(limit, directory_url, account_uri, hostname)
        for limit in known.get(directory_url, ())
        if limit.name == FAILURES
    )


def _charge(limit: Limit, directory_url: str, account_uri: str, hostname: str) -> Charge:
    domain = registered_domain(hostname) if limit.per == "domain" else ""
    subject = {"account": account_uri, "domain": domain, "hostname": hostname}[limit.per]
    return Charge(f"{directory_url}|{limit.name}|{subject}", limit)


def earliest(
    charges: Iterable[Charge],
    levels: Mapping[str, datetime],
    now: datetime,
    *,
    share: float = SHARE,
) -> datetime:
    """The first moment, `now` or later, at which every bucket has room for one more."""
    return bottleneck(charges, levels, now, share=share)[0]


def bottleneck(
    charges: Iterable[Charge],
    levels: Mapping[str, datetime],
    now: datetime,
    *,
    share: float = SHARE,
) -> tuple[datetime, Charge | None]:
    """The same with the bucket that has room last; None where all have room now."""
    moment, fullest = now, None
    for charge in charges:
        if charge.key in levels:
            room = levels[charge.key] + step(charge.limit) - _depth(charge.limit, share)
            moment, fullest = (room, charge) if room > moment else (moment, fullest)
    return moment, fullest


def spend(
    charges: Iterable[Charge], levels: Mapping[str, datetime], now: datetime
) -> dict[str, datetime]:
    """The new levels, to be stored in the same transaction that decided to go ahead."""
    return {
        charge.key: max(levels.get(charge.key, now), now) + step(charge.limit) for charge in charges
    }


def step(limit: Limit) -> timedelta:
    """How long one deed takes to be forgotten."""
    return limit.period / (limit.amount * SHARE)


def _depth(limit: Limit, share: float) -> timedelta:
    """How much may be spent at once, as time: whole deeds, at least one.

    A smaller share leaves room for others, so it means nothing where there are no others.
    """
    share = SHARE if limit.per == "hostname" else share
    return step(limit) * max(int(limit.amount * share), 1)
