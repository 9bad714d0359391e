"""Preflight of one virtual host: what is expected of its DNS and port 80, and what a failure means for it."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from sqlalchemy import select

from control.models import Account, VirtualHost
from control.plane import Plane
from control.ports import (
    AddressAnswer,
    AuthorityError,
    CaaAnswer,
    Challenge,
    PortError,
    Resolver,
    StoreUnavailable,
)
from control.preflight import Check, Expected, blocking, examine, points_elsewhere, undecided
from control.publishing import NotApplied, forget_token, publish, wait_applied

PROBE_WAIT_SECONDS = 3.0


class NotFit(PortError):
    """Preflight says that an order would be wasted; `record` is the DNS record to set.

    `away` is whether the name points elsewhere, None where DNS left that open.
    """

    def __init__(self, check: Check, away: bool | None) -> None:
        super().__init__(check.reason or "internal_error", check.evidence)
        self.record = check.record
        self.away = away


class Remembering:
    """A Resolver that asks each question once, for the length of one run."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self._addresses: dict[str, AddressAnswer] = {}
        self._caa: dict[str, CaaAnswer] = {}

    def addresses(self, hostname: str) -> AddressAnswer:
        """See the port."""
        if hostname not in self._addresses:
            self._addresses[hostname] = self._resolver.addresses(hostname)
        return self._addresses[hostname]

    def caa(self, hostname: str) -> CaaAnswer:
        """See the port."""
        if hostname not in self._caa:
            self._caa[hostname] = self._resolver.caa(hostname)
        return self._caa[hostname]


def expected(plane: Plane, directory_url: str, account_uri: str) -> Expected:
    """What a tenant's DNS should say; what a CA that cannot be asked would want is left out."""
    settings = plane.settings
    try:
        identities = plane.authority(directory_url).meta().caa_identities
    except AuthorityError:
        identities = ()
    return Expected(
        addresses=settings.edge_public_addresses,
        port=settings.preflight_port,
        caa_identities=identities,
        account_uri=account_uri,
        allow_private=settings.allow_private_addresses,
    )


def _account_uri(plane: Plane, directory_url: str) -> str:
    with plane.database.reading() as session:
        found = select(Account.uri).where(Account.directory_url == directory_url)
        return session.scalar(found) or ""


def require_dns(
    plane: Plane, hostname: str, resolver: Resolver, wanted: Expected, *, moved: bool = False
) -> None:
    """Before an order: raise NotFit when DNS or CAA make it pointless.

    One that has `moved` away must be seen to point here: DNS that does not answer is enough for others.
    """
    _require(examine(hostname, resolver, plane.probe, replace(wanted, token="")), moved)


def require_port80(
    plane: Plane,
    challenge: Challenge,
    resolver: Resolver,
    wanted: Expected,
    *,
    moved: bool = False,
) -> None:
    """Before the CA looks: raise NotFit when our own look does not find the challenge; `moved` as above."""
    asked = replace(wanted, token=challenge.token, answer=challenge.key_authorization)
    _require(examine(challenge.hostname, resolver, plane.probe, asked), moved)


def report(plane: Plane, host: VirtualHost) -> Sequence[Check]:
    """Every check, with a challenge of its own that edges answer meanwhile; never raises for what it finds."""
    url = plane.runtime().acme_directory_url
    wanted = expected(plane, url, _account_uri(plane, url))
    token = secrets.token_urlsafe(32)
    probe = Challenge(host.hostname, "", token, f"{token}.{secrets.token_urlsafe(16)}")
    try:
        wait_applied(plane, publish(plane, host.id, challenges=[probe]), PROBE_WAIT_SECONDS)
        wanted = replace(wanted, token=probe.token, answer=probe.key_authorization)
        return examine(host.hostname, plane.resolver, plane.probe, wanted)
    except NotApplied as problem:
        checks = examine(host.hostname, plane.resolver, plane.probe, wanted)
        return [*checks, Check("port80", "warn", problem.detail, problem.reason, "operator")]
    finally:
        _forget(plane, host.id, probe)


def _require(checks: Sequence[Check], moved: bool) -> None:
    found = blocking(checks) or (undecided(checks) if moved else None)
    if found is not None:
        raise NotFit(found, points_elsewhere(checks))


def _forget(plane: Plane, host_id: int, probe: Challenge) -> None:
    """The key ends by itself within the hour if Redis is away now; the next publish forgets the token then."""
    with suppress(StoreUnavailable):
        plane.store.drop_challenge(probe.hostname, probe.token)
        forget_token(plane, host_id, probe.token)
