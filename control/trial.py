"""A CA tried before it is used: does its directory answer, does it know our account, what are its terms."""

from __future__ import annotations

from cryptography.hazmat.primitives import serialization

from control import ports, reasons, sealing
from control.certificates import new_key
from control.models import Account
from control.plane import Plane
from control.ports import AuthorityError, CertificateAuthority
from control.preflight import Check


def examine(plane: Plane, directory_url: str) -> tuple[Check, ...]:
    """The checks `directory`, `account` and, where the CA has any, `terms`. Never raises for what it finds.

    Nothing is made: where we have no account yet, the CA is asked for one under a key that nobody has
    (RFC 8555 §7.3.1), so that its directory, its nonces and its accounts have really answered.
    """
    authority = plane.authority(directory_url)
    try:
        meta = authority.meta()
        account = _account(plane, authority, meta)
    except AuthorityError as error:
        return (_problem("directory", "fail", error.reason, error.detail),)
    checks = [Check("directory", "pass", directory_url), account]
    if meta.terms_of_service:
        checks.append(Check("terms", "pass", meta.terms_of_service))
    return tuple(checks)


def _account(plane: Plane, authority: CertificateAuthority, meta: ports.DirectoryMeta) -> Check:
    """Our account there: its URI as evidence, nothing where it is made with the first order."""
    with plane.database.reading() as session:
        stored = session.get(Account, authority.directory_url)
    try:
        found = authority.find_account(_known(plane, authority.directory_url, stored))
    except sealing.CannotOpen as problem:
        return _problem("account", "fail", "key_unopenable", str(problem))
    if found:
        return Check("account", "pass", found)
    bound = plane.settings.acme_eab_kid and plane.settings.acme_eab_hmac_key
    if meta.external_account_required and not bound:
        words = f"{authority.directory_url} requires an external account"
        return _problem("account", "fail", "eab_required", words)
    if stored is not None and stored.uri:
        return _problem("account", "warn", "account_unknown", f"it does not know {stored.uri}")
    return Check("account", "pass", "")


def _known(plane: Plane, directory_url: str, stored: Account | None) -> ports.Account:
    """Our account with its key, or one that nobody has. Raises CannotOpen."""
    if stored is not None:
        key = plane.keyring.open(stored.sealed_key, sealing.for_account(directory_url))
    else:
        key = new_key().private_bytes(
            serialization.Encoding.DER,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    return ports.Account(directory_url, key)


def _problem(check: str, verdict: str, reason: str, detail: str) -> Check:
    """A finding with who must act and what to do."""
    return Check(check, verdict, detail, reason, reasons.actor(reason), reasons.hint(reason))
