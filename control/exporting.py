"""A certificate as PEM files, so that Dovecot and Postfix can use the same one."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from control import registry, sealing
from control.certificates import Unusable
from control.plane import Plane


def export(plane: Plane, hostname: str, directory: Path) -> str:
    """Write the files whole or not at all; returns the certificate's SHA-256. Raises NoSuchHost, Unusable.

    `privkey.pem`, `fullchain.pem`, and both in `combined.pem` (key first), which a reader never sees
    half changed; all 0600.
    """
    with plane.database.reading() as session:
        certificate = registry.find(session, hostname).certificate
    if certificate is None:
        raise Unusable(f"{hostname} has no certificate yet: see `edgectl host show {hostname}`")
    der = plane.keyring.open(
        certificate.sealed_key, sealing.for_hostname(hostname, certificate.spki)
    )
    key = serialization.load_der_private_key(der, password=None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    chain = certificate.chain.encode()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, content in (
        ("combined.pem", key + chain),
        ("privkey.pem", key),
        ("fullchain.pem", chain),
    ):
        _replace(directory / name, content)
    return certificate.sha256


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
