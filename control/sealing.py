"""Seal and open private keys with AES-256-GCM; the keyring file (docs/redis.md)."""

from __future__ import annotations

import base64
import binascii
import os
import re
import stat
import threading
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256, Hash

VERSION = "v1"
NONCE = 12
FORMER = "# former keys: they open, and seal nothing any more\n"
_KID = re.compile(r"[A-Za-z0-9_.-]{1,32}")


class KeyringError(Exception):
    """The keyring file cannot be used; the text says what is wrong with it and what to do."""


class CannotOpen(Exception):
    """A sealed key does not open: its kid is not in the keyring, or it was sealed for another purpose."""


class Keyring:
    """The keys that seal private keys: the first line seals, all lines open.

    Read again whenever the file changes, so that `edgectl keyring add` reaches running processes.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._stamp: tuple[int, int, int] | None = None
        self._keys: dict[str, bytes] = {}
        self._refresh()

    @property
    def kids(self) -> tuple[str, ...]:
        """The ids of all keys, the sealing one first."""
        return tuple(self._refresh())

    def seal(self, der: bytes, purpose: str) -> str:
        """Return `v1:<kid>:<base64>` of `der`, bound to `purpose` (a `for_…` of this module)."""
        kid, key = next(iter(self._refresh().items()))
        nonce = os.urandom(NONCE)
        box = nonce + AESGCM(key).encrypt(nonce, der, purpose.encode())
        return f"{VERSION}:{kid}:{base64.b64encode(box).decode()}"

    def open(self, sealed: str, purpose: str) -> bytes:
        """Return the DER that was sealed for `purpose`; raise CannotOpen."""
        kid = kid_of(sealed)
        key = self._refresh().get(kid)
        if key is None:
            raise CannotOpen(f"the keyring has no key {kid!r}: put its line back into {self._path}")
        try:
            box = base64.b64decode(sealed.split(":", 2)[2], validate=True)
            return AESGCM(key).decrypt(box[:NONCE], box[NONCE:], purpose.encode())
        except (InvalidTag, ValueError) as problem:
            raise CannotOpen(f"sealed key does not open for {purpose.split('|')[1]}") from problem

    def _refresh(self) -> dict[str, bytes]:
        with self._lock:
            try:
                found = self._path.stat()
            except OSError as problem:
                raise KeyringError(missing(self._path)) from problem
            stamp = (found.st_mtime_ns, found.st_ino, found.st_size)
            if stamp != self._stamp:
                self._keys, self._stamp = read(self._path), stamp
            return self._keys


def missing(path: Path) -> str:
    """The sentence for a keyring that is not there."""
    return f"no keyring at {path}: make one with `edgectl keyring add`, or set EDGE_KEYRING to its path"


def read(path: Path) -> dict[str, bytes]:
    """Return the keys in the file by kid, in its order; raise KeyringError."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        text = path.read_text(encoding="ascii")
    except FileNotFoundError:
        raise KeyringError(missing(path)) from None
    except PermissionError:
        raise KeyringError(
            f"keyring {path} cannot be read: run as its owner or its group"
        ) from None
    except (OSError, UnicodeDecodeError) as problem:
        raise KeyringError(f"keyring {path} cannot be read: {problem}") from problem
    if mode & 0o137:
        raise KeyringError(
            f"keyring {path} has mode {mode:04o}: run `chmod 0640 {path}` (0600 where nginx is not here)"
        )
    keys: dict[str, bytes] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip() and not line.startswith("#"):
            kid, key = _parse_line(path, number, line)
            if kid in keys:
                raise KeyringError(f"keyring {path} line {number}: kid {kid} is there twice")
            keys[kid] = key
    if not keys:
        raise KeyringError(f"keyring {path} is empty: make a key with `edgectl keyring add`")
    return keys


def _parse_line(path: Path, number: int, line: str) -> tuple[str, bytes]:
    kid, _, encoded = line.strip().partition(" ")
    try:
        key = base64.b64decode(encoded.strip(), validate=True)
    except binascii.Error:
        key = b""
    if not _KID.fullmatch(kid) or len(key) != 32:
        raise KeyringError(
            f"keyring {path} line {number} must be `kid base64-of-32-bytes`: "
            "make keys with `edgectl keyring add`"
        )
    return kid, key


def newest(path: Path) -> str:
    """The kid that is to seal: the last key's, or the first's where no key was added since it became that."""
    kids = list(read(path))
    return kids[0] if FORMER in path.read_text(encoding="ascii") else kids[-1]


def write(path: Path, keys: dict[str, bytes], *, rotated: bool = False) -> None:
    """Replace the file atomically, keeping its group; a new file is 0600. `rotated`: only the first is in use."""
    lines = [f"{kid} {base64.b64encode(key).decode()}\n" for kid, key in keys.items()]
    if rotated:
        lines.insert(1, FORMER)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())
    if path.exists():
        found = path.stat()
        if found.st_gid != temporary.stat().st_gid:
            os.chown(temporary, -1, found.st_gid)
        temporary.chmod(stat.S_IMODE(found.st_mode) & 0o640)
    temporary.replace(path)


def kid_of(sealed: str) -> str:
    """The kid that a sealed text names; raise CannotOpen when it is no sealed text of ours."""
    version, _, rest = sealed.partition(":")
    kid, separator, _box = rest.partition(":")
    if version != VERSION or not separator:
        raise CannotOpen("not a sealed key of version v1")
    return kid


def for_hostname(hostname: str, spki: str) -> str:
    """The purpose of a certificate's key: this hostname and this public key."""
    return f"{VERSION}|{hostname}|{spki}"


def for_account(directory_url: str) -> str:
    """The purpose of an ACME account's key."""
    return f"{VERSION}|account|{directory_url}"


def for_webhook(name: str) -> str:
    """The purpose of the secret that signs what a webhook is sent."""
    return f"{VERSION}|webhook|{name}"


def private_key_der(key: PrivateKeyTypes) -> bytes:
    """SEC 1 ECPrivateKey for EC keys (RFC 5915), which opens fastest; PKCS#8 for the others."""
    form = serialization.PrivateFormat.PKCS8
    if isinstance(key, ec.EllipticCurvePrivateKey):
        form = serialization.PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(serialization.Encoding.DER, form, serialization.NoEncryption())


def spki_sha256(key: PrivateKeyTypes) -> str:
    """Hex SHA-256 of the public key's SubjectPublicKeyInfo (RFC 5280 §4.1.2.7)."""
    digest = Hash(SHA256())
    digest.update(
        key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return digest.finalize().hex()
