"""Publishes hosts to Redis exactly as docs/redis.md says: what an edge sees of the control plane."""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
import os
import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path

import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)
NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)

PUBLISH = """
local rev = redis.call('INCR', 'vh:rev')
local host = cjson.decode(ARGV[2])
host['rev'] = tostring(rev)
redis.call('DEL', 'vh:host:' .. ARGV[1])
for name, value in pairs(host) do redis.call('HSET', 'vh:host:' .. ARGV[1], name, value) end
if ARGV[3] ~= '' then
  local cert = cjson.decode(ARGV[3])
  cert['rev'] = tostring(rev)
  redis.call('DEL', 'vh:cert:' .. ARGV[1])
  for name, value in pairs(cert) do redis.call('HSET', 'vh:cert:' .. ARGV[1], name, value) end
  redis.call('ZADD', 'vh:expiry', cert['not_after'], ARGV[1])
end
redis.call('ZADD', 'vh:hosts', rev, ARGV[1])
redis.call('PUBLISH', 'vh:changed', rev)
return rev
"""


@dataclass
class Authority:
    """A root and an intermediate of our own that sign leaves."""

    root_key: ec.EllipticCurvePrivateKey = field(repr=False)
    root: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)
    intermediate: x509.Certificate

    @classmethod
    def make(cls) -> Authority:
        """A fresh one, good for a year."""
        root_key = ec.generate_private_key(ec.SECP256R1())
        root = sign("Edge Test Root", root_key.public_key(), "Edge Test Root", root_key, ca=True)
        key = ec.generate_private_key(ec.SECP256R1())
        middle = sign("Edge Test CA", key.public_key(), "Edge Test Root", root_key, ca=True)
        return cls(root_key, root, key, middle)

    def leaf(
        self,
        hostname: str,
        *,
        kind: str = "ec",
        not_before: datetime.datetime = NOW - DAY,
        not_after: datetime.datetime = NOW + 90 * DAY,
    ) -> Leaf:
        """A leaf for `hostname`, its key of a `kind` that `make_key` has."""
        key = make_key(kind)
        certificate = sign(
            hostname, key.public_key(), "Edge Test CA", self.key, False, not_before, not_after
        )
        return Leaf(hostname, key, certificate, [self.intermediate])


def make_key(kind: str) -> ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey:
    """A private key of `kind` `ec`, `rsa`, `p384` or `weak` (RSA of 1024 bits)."""
    if kind in ("rsa", "weak"):
        return rsa.generate_private_key(65537, 2048 if kind == "rsa" else 1024)
    return ec.generate_private_key(ec.SECP384R1() if kind == "p384" else ec.SECP256R1())


def sign(
    subject: str,
    public_key,
    issuer: str,
    issuer_key,
    ca: bool = False,
    not_before: datetime.datetime = NOW - DAY,
    not_after: datetime.datetime = NOW + 365 * DAY,
    has_san: bool = True,
) -> x509.Certificate:
    """One certificate; leaves carry their subject as SAN, unless told otherwise."""
    builder = x509.CertificateBuilder(
        issuer_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]),
        subject_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject[:64])]),
        public_key=public_key,
        serial_number=x509.random_serial_number(),
        not_valid_before=not_before,
        not_valid_after=not_after,
    ).add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    if ca:
        builder = builder.add_extension(
            x509.KeyUsage(False, False, False, False, False, True, True, False, False), True
        )
    elif has_san:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.DNSName(subject)]), critical=False
        )
    return builder.sign(issuer_key, hashes.SHA256())


@dataclass
class Leaf:
    """A certificate with its key and what stands above it."""

    hostname: str
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey = field(repr=False)
    certificate: x509.Certificate
    above: list[x509.Certificate]

    @property
    def sha256(self) -> str:
        """Hex digest of the leaf's DER."""
        return hashlib.sha256(self.der).hexdigest()

    @property
    def der(self) -> bytes:
        """The leaf's DER."""
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def pem(self) -> str:
        """The leaf's PEM."""
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def chain(self) -> str:
        """PEM, leaf first."""
        return self.pem + self.above_pem

    @property
    def above_pem(self) -> str:
        """PEM of what stands above it."""
        return "".join(c.public_bytes(serialization.Encoding.PEM).decode() for c in self.above)

    @property
    def key_der(self) -> bytes:
        """SEC 1 for EC keys, PKCS#8 for others (docs/redis.md)."""
        is_ec = isinstance(self.key, ec.EllipticCurvePrivateKey)
        form = (
            serialization.PrivateFormat.TraditionalOpenSSL
            if is_ec
            else serialization.PrivateFormat.PKCS8
        )
        return self.key.private_bytes(
            serialization.Encoding.DER, form, serialization.NoEncryption()
        )

    @property
    def key_pem(self) -> str:
        """PKCS#8 PEM in the clear, for servers that we are compared with."""
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode()

    @property
    def spki(self) -> str:
        """Hex digest of the public key's SubjectPublicKeyInfo."""
        der = self.key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return hashlib.sha256(der).hexdigest()


@dataclass
class Keyring:
    """A keyring file as `edgectl keyring add` writes it."""

    path: Path
    keys: dict[str, bytes] = field(default_factory=dict, repr=False)

    @classmethod
    def make(cls, path: Path) -> Keyring:
        """A file with one key, `k1`."""
        ring = cls(path)
        ring.add("k1")
        return ring

    def add(self, kid: str) -> None:
        """Append a key."""
        self.keys[kid] = secrets.token_bytes(32)
        self.path.touch(mode=0o640)
        lines = [f"{k} {base64.b64encode(v).decode()}\n" for k, v in self.keys.items()]
        self.path.write_text("".join(lines))

    def seal(
        self, leaf: Leaf, kid: str = "k1", hostname: str | None = None, spki: str | None = None
    ) -> str:
        """`v1:<kid>:<base64>`, bound to hostname and public key (docs/redis.md)."""
        nonce = os.urandom(12)
        aad = f"v1|{hostname or leaf.hostname}|{spki or leaf.spki}".encode()
        sealed = AESGCM(self.keys[kid]).encrypt(nonce, leaf.key_der, aad)
        return f"v1:{kid}:{base64.b64encode(nonce + sealed).decode()}"


@dataclass
class Publisher:
    """Writes one data set to one Redis."""

    redis: redis.Redis
    keyring: Keyring
    authority: Authority
    leaves: dict[str, Leaf] = field(default_factory=dict)

    def begin(self, epoch: str = "e1", *, complete: bool = True) -> None:
        """A fresh, by default complete, data set."""
        self.redis.set("vh:epoch", epoch)
        self.redis.setnx("vh:rev", 0)
        self.redis.setnx("vh:floor", 0)
        if complete:
            self.complete()

    def complete(self) -> None:
        """Mark the data set as whole."""
        hosts = self.redis.zcard("vh:hosts")
        epoch = self.redis.get("vh:epoch")
        self.redis.hset("vh:complete", mapping={"epoch": epoch, "hosts": hosts})

    def certificate_fields(self, leaf: Leaf, sealed: str | None = None) -> dict[str, str]:
        """`vh:cert:*` of one leaf."""
        certificate = leaf.certificate
        return {
            "chain": leaf.chain,
            "key": sealed or self.keyring.seal(leaf),
            "spki": leaf.spki,
            "sha256": leaf.sha256,
            "not_before": str(int(certificate.not_valid_before_utc.timestamp())),
            "not_after": str(int(certificate.not_valid_after_utc.timestamp())),
            "issuer": certificate.issuer.rfc4514_string(),
            "serial": f"{certificate.serial_number:x}",
            "sans": leaf.hostname,
        }

    def publish(
        self,
        hostname: str,
        *,
        leaf: Leaf | None = None,
        state: str = "active",
        kind: str = "tenant",
        domains: str = "",
        theme: dict[str, str] | None = None,
        hsts: str = "",
        generation: int = 1,
        with_certificate: bool = True,
        kid: str = "k1",
    ) -> int:
        """Publish one host, with a certificate of its own unless told otherwise; its revision."""
        if with_certificate:
            leaf = leaf or self.leaves.get(hostname) or self.authority.leaf(hostname)
            self.leaves[hostname] = leaf
        host = {
            "state": state,
            "kind": kind,
            "domains": domains,
            "cert": leaf.sha256 if leaf else "",
            "theme": json.dumps(theme or {}),
            "hsts": hsts,
            "generation": str(generation),
            "updated_at": str(time.time()),
        }
        fields = ""
        if leaf:
            sealed = self.keyring.seal(leaf, kid, hostname=hostname)
            fields = json.dumps(self.certificate_fields(leaf, sealed))
        return int(self.redis.eval(PUBLISH, 0, hostname, json.dumps(host), fields))

    def withdraw(self, hostname: str, generation: int = 1) -> int:
        """Leave a tombstone."""
        revision = self.publish(
            hostname, state="deleted", generation=generation, with_certificate=False
        )
        self.redis.delete(f"vh:cert:{hostname}")
        self.redis.zrem("vh:expiry", hostname)
        return revision

    def challenge(self, hostname: str, token: str, authorization: str) -> None:
        """One key authorization."""
        self.redis.set(f"vh:challenge:{hostname}:{token}", authorization, ex=3600)
