"""The step `issue`: account, order, challenges, certificate; each stored before it is used.

In this order, each asking first for its own result, so that a crash, a retry and a renewal are one road:
  1. order row with its leaf key, sealed           (a later step never makes a second key)
  2. account, registered                           (again, when the CA has lost it)
  3. DNS and CAA looked at, limits asked, newOrder, its URL stored    (or the stored order fetched)
  4. challenges published, applied by every live edge, found on port 80, only then answered
  5. finalize with the stored key, download, check, commit
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar, cast

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import CursorResult, Table, bindparam, exists, update
from sqlalchemy.exc import IntegrityError

from control import pauses, ports, renewal, sealing
from control.allowance import choose_directory, note_answer, spend_failure, spend_order, table
from control.certificates import Facts, Unusable, check, new_key, request
from control.claims import Claim, owned
from control.inspection import Remembering, expected, require_dns, require_port80
from control.metrics import count_issuance
from control.models import Account, Certificate, Order, RuntimeSettings, VirtualHost
from control.plane import Plane, record
from control.ports import AccountUnknown, AuthorityError, OrderGone
from control.preflight import Expected
from control.publishing import give, looked, read, wait_applied
from control.settings import Settings

ATTEMPTS = 3
"""How often one run starts over because the CA has lost the account or the order."""

Result = TypeVar("Result")

_registering = threading.Lock()


@dataclass(frozen=True)
class _Work:
    """One run of the step: everything its parts need."""

    plane: Plane
    held: Claim
    runtime: RuntimeSettings
    started: _Started
    authority: ports.CertificateAuthority
    account: ports.Account
    resolver: ports.Resolver

    @property
    def expected(self) -> Expected:
        """What DNS and port 80 should say."""
        return expected(self.plane, self.started.directory_url, self.account.uri)


@dataclass(frozen=True)
class _Started:
    """An order row as it was read: what it takes to go on with it."""

    directory_url: str
    url: str | None
    key: ec.EllipticCurvePrivateKey
    spki: str
    replaces: str | None
    stored: Account | None
    moved: bool


def issue(plane: Plane, held: Claim, runtime: RuntimeSettings) -> None:
    """Get a certificate and commit it. Raises PortError, Lost, Exhausted, Paused."""
    for attempt in range(1, ATTEMPTS + 1):
        started = _start(plane, held, runtime)
        try:
            _issue(plane, held, runtime, started)
        except (AccountUnknown, OrderGone) as problem:
            if isinstance(problem, AccountUnknown):
                _forget_account(plane, started.directory_url)
            _forget_order(plane, held)
            if attempt == ATTEMPTS:
                raise
        except AuthorityError as problem:
            note_answer(plane, started.directory_url, problem)
            raise
        else:
            note_answer(plane, started.directory_url, None)
            return


def _issue(plane: Plane, held: Claim, runtime: RuntimeSettings, started: _Started) -> None:
    url = started.directory_url
    with pauses.kept(plane, url, held.hostname, ordering=started.url is None):
        work = _Work(
            plane,
            held,
            runtime,
            started,
            plane.authority(url),
            account_at(plane, url, runtime.acme_email, started.stored),
            Remembering(plane.resolver),
        )
        order = _order(work)
    with pauses.kept(plane, url, held.hostname, ordering=False):
        if order.status == "pending":
            order = _validate(work, order)
        if order.status != "valid":
            csr = request(held.hostname, started.key)
            order = work.authority.finalize(work.account, order, csr)
        chain = work.authority.download(work.account, order, runtime.acme_preferred_issuer)
    _keep(plane, held, started, chain)


def _start(plane: Plane, held: Claim, runtime: RuntimeSettings) -> _Started:
    """The order under way, or a new one with its leaf key sealed and committed."""
    with owned(plane.database, held) as (session, host):
        host.step = "issue"
        now = plane.clock()
        first, second = runtime.acme_directory_url, plane.settings.acme_fallback_directory_url
        directory_url = choose_directory(session, host, first, second, now)
        if host.order is not None and host.order.directory_url not in (directory_url, second):
            host.order = None  # its CA stays down, or is no longer the one to ask: never mixed
            session.flush()
        order = host.order
        what = pauses.of_order(host.hostname, new=order is None or order.url is None)
        going_to = order.directory_url if order else directory_url
        pauses.require_none(session, going_to, what, host.hostname, now)
        if order is None:
            key = new_key()
            spki = sealing.spki_sha256(key)
            purpose = sealing.for_hostname(host.hostname, spki)
            sealed = plane.keyring.seal(sealing.private_key_der(key), purpose)
            order = host.order = Order(
                directory_url=directory_url,
                sealed_key=sealed,
                spki=spki,
                created_at=now,
            )
        else:
            key = open_key(plane, host.hostname, order.spki, order.sealed_key)
        stored = session.get(Account, order.directory_url)
        replaces = _replaced(host, order)
        moved = renewal.has_moved(host.moved_since, now)
        return _Started(order.directory_url, order.url, key, order.spki, replaces, stored, moved)


def _replaced(host: VirtualHost, order: Order) -> str | None:
    """The certificate that a renewal replaces, if the same CA gave it (RFC 9773 §5)."""
    current = host.certificate
    if current is None or current.directory_url != order.directory_url:
        return None
    return current.chain


def open_key(plane: Plane, hostname: str, spki: str, sealed: str) -> ec.EllipticCurvePrivateKey:
    """A leaf key of ours; AuthorityError `key_unopenable` when the keyring lacks its line."""
    try:
        der = plane.keyring.open(sealed, sealing.for_hostname(hostname, spki))
    except sealing.CannotOpen as problem:
        raise AuthorityError("key_unopenable", str(problem)) from problem
    key = serialization.load_der_private_key(der, password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)  # noqa: S101 # we make no others
    return key


def account_at(
    plane: Plane, directory_url: str, email: str | None, stored: Account | None = None
) -> ports.Account:
    """Our account at a CA: its key stored before the CA hears of it, registered if it is not yet.

    `stored` is its row, where that was read just now.
    """
    account = _opened(plane, stored or _stored_account(plane, directory_url))
    if account.uri:
        return account
    with _registering:
        account = _opened(plane, _stored_account(plane, directory_url))
        if account.uri:
            return account
        binding = _binding(plane.settings, directory_url)
        registered = plane.authority(directory_url).register(account, email, binding)
        with plane.database.writing() as session:
            session.get_one(Account, directory_url).uri = registered.uri
            record(session, "account_registered", plane.clock(), actor="worker", uri=registered.uri)
        return registered


def _binding(settings: Settings, directory_url: str) -> ports.ExternalAccountBinding | None:
    """The external account of the environment's CA; another CA is never told of it."""
    kid, secret = settings.acme_eab_kid, settings.acme_eab_hmac_key
    if directory_url != settings.acme_directory_url or not (kid and secret):
        return None
    return ports.ExternalAccountBinding(kid, secret)


def _stored_account(plane: Plane, directory_url: str) -> Account:
    """The account's row, made with a new key if there is none."""
    with plane.database.reading() as session:
        stored = session.get(Account, directory_url)
    if stored is not None:
        return stored
    key = new_key().private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    made = Account(
        directory_url=directory_url,
        sealed_key=plane.keyring.seal(key, sealing.for_account(directory_url)),
        created_at=plane.clock(),
    )
    try:
        with plane.database.writing() as session:
            session.add(made)
    except IntegrityError:
        return _stored_account(plane, directory_url)
    return made


def _opened(plane: Plane, stored: Account) -> ports.Account:
    """The account with its key in the clear; AuthorityError `key_unopenable`."""
    try:
        key = plane.keyring.open(stored.sealed_key, sealing.for_account(stored.directory_url))
    except sealing.CannotOpen as problem:
        raise AuthorityError("key_unopenable", str(problem)) from problem
    return ports.Account(stored.directory_url, key, stored.uri)


def _forget_account(plane: Plane, directory_url: str) -> None:
    """The CA does not know it any more: the same key registers again."""
    with plane.database.writing() as session:
        session.get_one(Account, directory_url).uri = ""
        record(session, "account_lost", plane.clock(), actor="worker", directory=directory_url)


def _forget_order(plane: Plane, held: Claim) -> None:
    with owned(plane.database, held) as (_, host):
        host.order = None


def _order(work: _Work) -> ports.Order:
    """The order under way as the CA tells it, or a new one if preflight and limits let it be made."""
    plane, held, started = work.plane, work.held, work.started
    if started.url is not None:
        return work.authority.fetch_order(work.account, started.url)
    if work.runtime.preflight_enabled:
        require_dns(plane, held.hostname, work.resolver, work.expected, moved=started.moved)
    known, url = table(work.runtime), started.directory_url
    with plane.database.reading() as session:  # others may have been refused meanwhile
        what = pauses.of_order(held.hostname, new=True)
        pauses.require_none(session, url, what, held.hostname, plane.clock())
    if url in known:
        with owned(plane.database, held) as (session, host):
            spend_order(session, host, url, work.account.uri, known, plane.clock())
    order = _without_replaces_if_needed(
        started,
        lambda replaces: work.authority.new_order(
            work.account, held.hostname, profile=work.runtime.acme_profile, replaces=replaces
        ),
    )
    _remember_url(plane, held, started, order.url)
    return order


def _remember_url(plane: Plane, held: Claim, started: _Started, url: str) -> None:
    """Store it before it is used: one statement while all is as it was, else the reason why not."""
    ours = {"of": held.host_id, "begun": started.spki, "under": held.lease, "at": url}
    with plane.database.writing() as session:
        if cast(CursorResult[Any], session.execute(_REMEMBER_URL, ours)).rowcount:
            return
    with owned(plane.database, held) as (_, host):
        _own_order(host, started).url = url


_ORDERS, _HOSTS = cast(Table, Order.__table__), cast(Table, VirtualHost.__table__)
_REMEMBER_URL = (
    update(_ORDERS)
    .where(
        _ORDERS.c.virtual_host_id == bindparam("of"),
        _ORDERS.c.spki == bindparam("begun"),
        exists().where(
            _HOSTS.c.id == bindparam("of"),
            _HOSTS.c.lease == bindparam("under"),
            _HOSTS.c.deleted_at.is_(None),
        ),
    )
    .values(url=bindparam("at"))
)


def _without_replaces_if_needed(started: _Started, order: Callable[[str | None], Result]) -> Result:
    try:
        return order(started.replaces)
    except ports.AlreadyReplaced:
        return order(None)


def _own_order(host: VirtualHost, started: _Started) -> Order:
    """The order this run began with; OrderGone when somebody has put another in its place."""
    if host.order is None or host.order.spki != started.spki:
        raise OrderGone("order_gone", "the order was given up while it was under way")
    return host.order


def _validate(work: _Work, order: ports.Order) -> ports.Order:
    """Publish, wait until every live edge answers, look ourselves, and only then tell the CA to look.

    A host that was deleted meanwhile gets no challenge, and the CA is not told to look for it in vain.
    """
    plane, held = work.plane, work.held
    challenges = work.authority.challenges(work.account, order)
    if challenges:
        found = read(plane, held.host_id)
        held.require(found.host)
        published = give(plane, found, challenges=challenges)
        if work.runtime.edge_enabled:
            wait_applied(plane, published)
        with plane.database.reading() as session:
            held.require(looked(session, held.host_id))
    for challenge in challenges:
        if work.runtime.preflight_enabled:
            moved = work.started.moved
            require_port80(plane, challenge, work.resolver, work.expected, moved=moved)
        work.authority.answer(work.account, challenge)
    try:
        return work.authority.wait_ready(work.account, order)
    except AuthorityError as problem:
        if problem.problem is not None:
            url, known = work.started.directory_url, table(work.runtime)
            spend_failure(plane, held.hostname, url, work.account.uri, known)
        raise


def _keep(plane: Plane, held: Claim, started: _Started, chain: str) -> None:
    """Check what the CA gave and commit it; only then may it be published."""
    now = plane.clock()
    try:
        facts = check(chain, started.key, held.hostname, now)
    except Unusable as problem:
        _forget_order(plane, held)
        raise AuthorityError("certificate_unusable", str(problem)) from problem
    with owned(plane.database, held) as (session, host):
        order = _own_order(host, started)
        certificate = certificate_of(facts, "acme", order.sealed_key, now)
        certificate.directory_url = started.directory_url
        seconds = (now - order.created_at).total_seconds()
        former = host.certificate
        host.certify(certificate, now)
        if former is not None:
            session.flush()
            session.delete(former)
        host.step = "publish"
        count_issuance(session, seconds)
        record(
            session,
            "certificate_renewed" if former else "certificate_issued",
            now,
            actor="worker",
            hostname=host.hostname,
            sha256=facts.sha256,
            issuer=facts.issuer,
            not_after=facts.not_after.isoformat(),
            seconds=round(seconds, 3),
        )


def certificate_of(facts: Facts, source: str, sealed_key: str, now: datetime) -> Certificate:
    """The record of a checked certificate."""
    return Certificate(
        source=source,
        chain=facts.chain,
        sealed_key=sealed_key,
        spki=facts.spki,
        sha256=facts.sha256,
        issuer=facts.issuer,
        serial=facts.serial,
        sans=list(facts.sans),
        not_before=facts.not_before,
        not_after=facts.not_after,
        created_at=now,
    )
