"""Keys and certificate requests as the control plane makes them."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from control.ports import Account


def key_der() -> bytes:
    """A fresh P-256 key as PKCS#8 DER."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def new_account(directory_url: str) -> Account:
    """An account that no CA knows yet."""
    return Account(directory_url, key_der())


def csr_der(hostname: str) -> bytes:
    """A request with a fresh key, an empty subject and the hostname as its only SAN."""
    return (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(hostname)]), critical=False)
        .sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
        .public_bytes(Encoding.DER)
    )
