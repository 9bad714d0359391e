"""A small CA's signing half: a root, an intermediate, a second root for alternate chains."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Issuer:
    """Signs leaves that live for `life` from `now()` on; `chains` gives the default chain and the alternate."""

    def __init__(
        self, life: timedelta = timedelta(days=90), now: Callable[[], datetime] = _utc_now
    ) -> None:
        self.life = life
        self.now = now
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.roots = [self._root("Fake Root X1"), self._root("Fake Root X2")]
        self.intermediates = [self._certify(root, key) for root, key in self.roots]

    def _root(self, text: str) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        key = ec.generate_private_key(ec.SECP256R1())
        return self._sign(_name(text), _name(text), key.public_key(), key, ca=True), key

    def _certify(self, root: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
        return self._sign(
            _name("Fake Intermediate E1"), root.subject, self.key.public_key(), key, ca=True
        )

    def _sign(
        self,
        subject: x509.Name,
        issuer: x509.Name,
        public: ec.EllipticCurvePublicKey,
        key: ec.EllipticCurvePrivateKey,
        *,
        ca: bool,
        sans: list[str] | None = None,
        life: timedelta = timedelta(days=3650),
    ) -> x509.Certificate:
        start = self.now().replace(microsecond=0) - timedelta(minutes=5)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + life)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False
            )
        )
        if sans:
            names = x509.SubjectAlternativeName([x509.DNSName(name) for name in sans])
            builder = builder.add_extension(names, critical=True)
        return builder.sign(key, hashes.SHA256())

    def issue(self, csr: bytes, life: timedelta | None = None) -> x509.Certificate:
        """A leaf for the SANs of a DER request; ValueError when the request is not signed by its key."""
        request = x509.load_der_x509_csr(csr)
        if not request.is_signature_valid:
            raise ValueError("bad signature")
        public = request.public_key()
        assert isinstance(public, ec.EllipticCurvePublicKey)
        sans = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return self._sign(
            x509.Name([]),
            self.intermediates[0].subject,
            public,
            self.key,
            ca=False,
            sans=sans.get_values_for_type(x509.DNSName),
            life=life or self.life,
        )

    def chain(self, leaf: x509.Certificate, alternate: int = 0) -> str:
        """The leaf with the intermediate that chains to root `alternate`, as PEM."""
        both = (leaf, self.intermediates[alternate])
        return "".join(one.public_bytes(Encoding.PEM).decode() for one in both)

    def root_pem(self, alternate: int = 0) -> bytes:
        """What a client trusts."""
        return self.roots[alternate][0].public_bytes(Encoding.PEM)


def names_of(csr: bytes) -> set[str]:
    """The DNS names that a DER request asks for."""
    request = x509.load_der_x509_csr(csr)
    sans = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return set(sans.get_values_for_type(x509.DNSName))
