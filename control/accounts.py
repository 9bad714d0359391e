"""What an operator may ask of a CA beyond issuing: a new key for our account, a certificate revoked."""

from __future__ import annotations

from collections.abc import Sequence

from cryptography.hazmat.primitives import serialization
from sqlalchemy import select

from control import registry, sealing
from control.certificates import new_key
from control.issuance import account_at
from control.models import Account, VirtualHost
from control.plane import Plane, Who, audit
from control.registry import NoSuchHost

# RFC 5280 §5.3.1, those that the subscriber of a web server's certificate may give.
REVOCATION_REASONS = {
    "unspecified": 0,
    "key-compromise": 1,
    "affiliation-changed": 3,
    "superseded": 4,
    "cessation-of-operation": 5,
}


class NothingToRevoke(Exception):
    """There is no certificate that a CA of ours has issued; the text says what there is."""


def roll_over(plane: Plane, directory_url: str, who: Who) -> str:
    """Give our account at a CA a new key; returns the account's URI. Raises AuthorityError.

    The new key is sealed and stored before the CA hears of it, so that a crash half way loses
    nothing: run it again, or let a worker start, and it goes on with the same key.
    """
    account_at(plane, directory_url, plane.runtime().acme_email)
    return _roll_over(plane, directory_url, _next_key(plane, directory_url), who)


def unfinished(plane: Plane) -> Sequence[tuple[str, str]]:
    """Rollovers that were cut off, whose CA may have either key: directory and sealed next key."""
    columns = select(Account.directory_url, Account.sealed_next_key)
    with plane.database.reading() as session:
        rows = session.execute(columns.where(Account.sealed_next_key.is_not(None)))
        return [(url, sealed) for url, sealed in rows if sealed]


def finish(plane: Plane, who: Who) -> None:
    """Go on with every rollover that was cut off. Raises AuthorityError, CannotOpen."""
    for url, sealed in unfinished(plane):
        _roll_over(plane, url, sealed, who)


def _roll_over(plane: Plane, directory_url: str, sealed: str, who: Who) -> str:
    """Tell the CA of the next key, which is stored as `sealed`, and use it from then on."""
    account = account_at(plane, directory_url, plane.runtime().acme_email)
    following = plane.keyring.open(sealed, sealing.for_account(directory_url))
    rolled = plane.authority(directory_url).roll_over(account, following)
    with plane.database.writing() as session:
        stored = session.get_one(Account, directory_url, with_for_update=True)
        if stored.sealed_next_key == sealed:
            stored.sealed_key, stored.sealed_next_key = sealed, None
        detail = {"directory": directory_url, "uri": rolled.uri}
        audit(session, "account_key_changed", plane.clock(), who, **detail)
    return rolled.uri


def _next_key(plane: Plane, directory_url: str) -> str:
    """The account's next key, sealed: the one of a rollover that was cut off, or a new one."""
    with plane.database.writing() as session:
        stored = session.get_one(Account, directory_url, with_for_update=True)
        if stored.sealed_next_key is None:
            key = new_key().private_bytes(
                serialization.Encoding.DER,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            stored.sealed_next_key = plane.keyring.seal(key, sealing.for_account(directory_url))
        return stored.sealed_next_key


def revoke(plane: Plane, hostname: str, reason: int, who: Who) -> str:
    """Revoke a hostname's certificate and ask for another; returns its SHA-256.

    Edges serve the old one until the new one is there: a visitor is better off with it than with none.
    Raises NoSuchHost, NothingToRevoke, AuthorityError.
    """
    with plane.database.reading() as session:
        host = session.scalar(
            select(VirtualHost).where(
                VirtualHost.hostname == hostname, VirtualHost.deleted_at.is_(None)
            )
        )
        if host is None:
            raise NoSuchHost(f"there is no virtual host {hostname}")
        certificate = host.certificate
    if certificate is None:
        raise NothingToRevoke(f"{hostname} has no certificate")
    if certificate.source != "acme" or not certificate.directory_url:
        raise NothingToRevoke(
            f"{hostname} has an uploaded certificate: revoke it where it was made"
        )
    account = account_at(plane, certificate.directory_url, plane.runtime().acme_email)
    plane.authority(certificate.directory_url).revoke(account, certificate.chain, reason)
    with plane.database.writing() as session:
        detail = {"sha256": certificate.sha256, "reason": reason}
        audit(session, "certificate_revoked", plane.clock(), who, hostname=hostname, **detail)
    registry.renew(plane, hostname, who)
    return certificate.sha256
