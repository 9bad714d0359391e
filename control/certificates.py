"""What makes a chain and a key usable for a hostname; the facts of a certificate."""

from __future__ import annotations

import itertools
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from control.sealing import spki_sha256

SMALLEST_RSA = 2048
SMALLEST_CURVE = 224
LONGEST_CHAIN = 10
CLOCK_SKEW = timedelta(minutes=5)
CURVES = (ec.SECP256R1, ec.SECP384R1)


class Unusable(ValueError):
    """The chain or the key cannot serve this hostname; the text says why and what to send instead."""


@dataclass(frozen=True)
class Facts:
    """A checked chain, normalised to PEM with the leaf first, and what its leaf says."""

    chain: str
    key: PrivateKeyTypes = field(repr=False)
    spki: str
    sha256: str
    issuer: str
    serial: str
    sans: tuple[str, ...]
    not_before: datetime
    not_after: datetime


@dataclass(frozen=True)
class Link:
    """One certificate of a chain: whom it names, who signed it, until when."""

    subject: str
    issuer: str
    not_after: datetime
    sha256: str


def new_key() -> ec.EllipticCurvePrivateKey:
    """A leaf key: ECDSA P-256, one for each order."""
    return ec.generate_private_key(ec.SECP256R1())


def request(hostname: str, key: ec.EllipticCurvePrivateKey) -> bytes:
    """The DER CSR of one hostname: an empty subject, the name in the SAN only (RFC 8555 §7.4)."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    names = x509.SubjectAlternativeName([x509.DNSName(hostname)])
    request = builder.add_extension(names, critical=True).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.DER)


def load_key(pem: str) -> PrivateKeyTypes:
    """The private key in a PEM text; Unusable when there is none, or it is encrypted."""
    try:
        return serialization.load_pem_private_key(pem.encode(), password=None)
    except TypeError:
        raise Unusable("private_key is encrypted: send it without a passphrase") from None
    except (ValueError, UnsupportedAlgorithm):
        raise Unusable("private_key is not a PEM private key") from None


def check(chain: str, key: PrivateKeyTypes, hostname: str, now: datetime) -> Facts:
    """Return the facts when `hostname` can be served with this pair now; raise Unusable.

    In this order: parses, key fits and is strong enough, so is the chain, dates, SAN, purpose, each
    certificate is signed by the next.
    """
    certificates = _parse(chain)
    leaf = certificates[0]
    _check_key(leaf, key, certificates)
    _check_strength(certificates)
    _check_dates(leaf, now)
    sans = _names(leaf)
    if not covers(sans, hostname):
        listed = ", ".join(sans[:5]) or "no DNS name"
        raise Unusable(f"the certificate is for {listed}, not for {hostname}")
    _check_purpose(leaf)
    _check_order(certificates, now)
    return Facts(
        chain="".join(c.public_bytes(serialization.Encoding.PEM).decode() for c in certificates),
        key=key,
        spki=spki_sha256(key),
        sha256=leaf.fingerprint(hashes.SHA256()).hex(),
        issuer=_issuer(leaf),
        serial=f"{leaf.serial_number:x}",
        sans=sans,
        not_before=leaf.not_valid_before_utc.astimezone(UTC),
        not_after=leaf.not_valid_after_utc.astimezone(UTC),
    )


def covers(sans: tuple[str, ...], hostname: str) -> bool:
    """Whether a name equals the hostname, or is a wildcard over its first label (RFC 6125 §6.4.3)."""
    parent = "*." + hostname.split(".", 1)[1]
    return any(name.lower() in (hostname, parent) for name in sans)


def signed_by(chain: str, root: str) -> bool:
    """Whether the last certificate of a chain is, or was signed by, a certificate in `root` (PEM)."""
    last = _parse(chain)[-1]
    for candidate in x509.load_pem_x509_certificates(root.encode()):
        if candidate == last or _issued(last, candidate):
            return True
    return False


def links(chain: str) -> list[Link]:
    """What each certificate of a PEM chain says, in its order; Unusable where it cannot be read."""
    return [
        Link(
            subject=_subject(certificate),
            issuer=_issuer(certificate),
            not_after=certificate.not_valid_after_utc.astimezone(UTC),
            sha256=certificate.fingerprint(hashes.SHA256()).hex(),
        )
        for certificate in _parse(chain)
    ]


def _parse(chain: str) -> list[x509.Certificate]:
    try:
        certificates = x509.load_pem_x509_certificates(chain.encode())
    except _UNREADABLE:
        raise Unusable("chain is not a sequence of PEM certificates, leaf first") from None
    if len(certificates) > LONGEST_CHAIN:
        raise Unusable(f"chain has {len(certificates)} certificates: send at most {LONGEST_CHAIN}")
    for number, certificate in enumerate(certificates, start=1):
        try:
            _read(certificate)
        except _UNREADABLE as problem:
            raise Unusable(
                f"certificate {number} of the chain cannot be read ({problem}): "
                "ask its issuer for another"
            ) from problem
    return certificates


_UNREADABLE = (
    ValueError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What the library raises for a part that it cannot read; it reads most parts when they are asked for."""


def _read(certificate: x509.Certificate) -> None:
    """Ask for each part that is looked at later."""
    _ = certificate.public_key(), certificate.extensions, certificate.subject, certificate.issuer
    _ = certificate.not_valid_before_utc, certificate.not_valid_after_utc


def _check_key(
    leaf: x509.Certificate, key: PrivateKeyTypes, certificates: list[x509.Certificate]
) -> None:
    if leaf.public_key() != key.public_key():
        if any(other.public_key() == key.public_key() for other in certificates[1:]):
            raise Unusable(
                "chain is in the wrong order: the certificate of the key must come first"
            )
        raise Unusable("private_key does not belong to the first certificate of the chain")
    if isinstance(key, rsa.RSAPrivateKey):
        if key.key_size < SMALLEST_RSA:
            raise Unusable(
                f"RSA key of {key.key_size} bits is too weak: use {SMALLEST_RSA} bits or P-256"
            )
    elif not (isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, CURVES)):
        raise Unusable(
            "key must be ECDSA P-256 or P-384, or RSA: others are not served by all edges"
        )


def _check_strength(certificates: list[x509.Certificate]) -> None:
    """What OpenSSL does not hand out at its security level 2, which is Debian's: edges would refuse it."""
    for number, certificate in enumerate(certificates, start=1):
        why = _weakness(certificate)
        if why:
            raise Unusable(
                f"certificate {number} of the chain is too weak ({why}): ask its issuer for a newer one"
            )


def _weakness(certificate: x509.Certificate) -> str | None:
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < SMALLEST_RSA:
        return f"an RSA key of {key.key_size} bits"
    if isinstance(key, ec.EllipticCurvePublicKey) and key.key_size < SMALLEST_CURVE:
        return f"an ECDSA key of {key.key_size} bits"
    if certificate.issuer == certificate.subject:
        return None  # nobody goes by the signature of a root
    with suppress(UnsupportedAlgorithm):
        algorithm = certificate.signature_hash_algorithm
        if isinstance(algorithm, hashes.SHA1 | hashes.MD5):
            return f"signed with {algorithm.name.upper()}"
    return None


def _check_dates(leaf: x509.Certificate, now: datetime) -> None:
    if leaf.not_valid_after_utc <= now:
        raise Unusable(f"the certificate expired on {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC")
    if leaf.not_valid_before_utc > now + CLOCK_SKEW:
        raise Unusable(
            f"the certificate is not valid before {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
        )


def _check_purpose(leaf: x509.Certificate) -> None:
    try:
        usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return
    if not {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE} & set(
        usage
    ):
        raise Unusable("the certificate is not meant for servers (extended key usage)")


def _check_order(certificates: list[x509.Certificate], now: datetime) -> None:
    for number, (child, parent) in enumerate(itertools.pairwise(certificates), start=1):
        if not _issued(child, parent):
            raise Unusable(
                f"chain is broken: certificate {number} is not signed by certificate {number + 1}"
            )
        if parent.not_valid_after_utc <= now:
            raise Unusable(
                f"certificate {number + 1} of the chain expired on {parent.not_valid_after_utc:%Y-%m-%d}"
            )


def _issued(child: x509.Certificate, parent: x509.Certificate) -> bool:
    try:
        child.verify_directly_issued_by(parent)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _names(leaf: x509.Certificate) -> tuple[str, ...]:
    try:
        extension = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return ()
    return tuple(extension.value.get_values_for_type(x509.DNSName))


def _issuer(leaf: x509.Certificate) -> str:
    return _called(leaf.issuer)


def _subject(certificate: x509.Certificate) -> str:
    """Its name; CAs that leave the subject empty put the names into the SAN only (RFC 5280 §4.1.2.6)."""
    return _called(certificate.subject) or next(iter(_names(certificate)), "")


def _called(name: x509.Name) -> str:
    common = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(common[0].value) if common else name.rfc4514_string()
