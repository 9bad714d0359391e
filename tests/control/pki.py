"""Certificates made to order: good ones, and each way in which an upload can be wrong."""

from __future__ import annotations

import base64
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


def pem(certificate: x509.Certificate) -> str:
    """As text."""
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def key_pem(key: CertificateIssuerPrivateKeyTypes, passphrase: bytes | None = None) -> str:
    """PKCS#8 text, encrypted where a passphrase is given."""
    how: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        how = serialization.BestAvailableEncryption(passphrase)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how
    ).decode()


@dataclass
class Pair:
    """A chain and its key, in PEM."""

    chain: str
    private_key: str

    def body(self) -> dict[str, str]:
        """As the API takes it."""
        return {"chain": self.chain, "private_key": self.private_key}


def spoiled(pair: Pair, before: bytes, after: bytes) -> Pair:
    """The pair with one run of bytes of its leaf's DER exchanged; no signature fits it any more."""
    certificate = x509.load_pem_x509_certificates(pair.chain.encode())[0]
    der = certificate.public_bytes(serialization.Encoding.DER)
    assert der.count(before) == 1
    lines = base64.encodebytes(der.replace(before, after)).decode()
    return Pair(
        f"-----BEGIN CERTIFICATE-----\n{lines}-----END CERTIFICATE-----\n", pair.private_key
    )


class Ca:
    """A root and an intermediate of our own."""

    def __init__(self) -> None:
        self.root_key = ec.generate_private_key(ec.SECP256R1())
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.root = self._sign("Root", "Root", self.root_key, self.root_key, ca=True)
        self.intermediate = self._sign("Intermediate", "Root", self.key, self.root_key, ca=True)

    def pair(
        self,
        *names: str,
        key: CertificateIssuerPrivateKeyTypes | None = None,
        days: float = 30,
        begin: float = -1,
        server: bool = True,
        extension: x509.UnrecognizedExtension | None = None,
    ) -> Pair:
        """A leaf for `names`, valid from `begin` for `days`, with the intermediate."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        leaf = self._sign(
            "leaf",
            "Intermediate",
            key,
            self.key,
            names=names,
            days=days,
            begin=begin,
            server=server,
            extension=extension,
        )
        return Pair(pem(leaf) + pem(self.intermediate), key_pem(key))

    def weak(self, name: str) -> Pair:
        """With an RSA key of 1024 bits."""
        return self.pair(name, key=rsa.generate_private_key(65537, 1024))

    @classmethod
    def weak_above(cls, name: str) -> Pair:
        """With such a key in the certificate above."""
        ca = cls()
        ca.key = rsa.generate_private_key(65537, 1024)
        ca.intermediate = ca._sign("Intermediate", "Root", ca.key, ca.root_key, ca=True)
        return ca.pair(name)

    @classmethod
    def weakly_signed_above(cls, name: str) -> Pair:
        """With a SHA-1 signature in the certificate above, which only openssl(1) still makes."""
        ca = cls()
        with TemporaryDirectory() as folder:
            alone = ca._sign("Intermediate", "Intermediate", ca.key, ca.key, ca=True)
            Path(folder, "above").write_text(pem(alone))
            Path(folder, "root").write_text(pem(ca.root))
            Path(folder, "key").write_text(key_pem(ca.root_key))
            argv = ["openssl", "x509", "-in", "above", "-CA", "root", "-CAkey", "key", "-sha1"]
            argv += ["-CAcreateserial", "-days", "365"]
            made = subprocess.run(argv, cwd=folder, check=True, stdout=subprocess.PIPE).stdout
        ca.intermediate = x509.load_pem_x509_certificate(made)
        return ca.pair(name)

    def _sign(
        self,
        subject: str,
        issuer: str,
        key: CertificateIssuerPrivateKeyTypes,
        signer: CertificateIssuerPrivateKeyTypes,
        *,
        ca: bool = False,
        names: tuple[str, ...] = (),
        days: float = 3650,
        begin: float = -1,
        server: bool = True,
        extension: x509.UnrecognizedExtension | None = None,
    ) -> x509.Certificate:
        start = datetime.now(UTC) + timedelta(days=begin)
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(subject))
            .issuer_name(_name(issuer))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if names:
            sans = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
            builder = builder.add_extension(sans, critical=False)
        if not server:
            usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
            builder = builder.add_extension(usage, critical=False)
        if extension is not None:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(signer, hashes.SHA256())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
