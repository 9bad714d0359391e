"""What the system is made of on loopback: each function writes one service's configuration and returns its Process."""

from __future__ import annotations

import datetime
import ipaddress
import json
import ssl
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import redis as redis_client
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from deploy.process import Process, listening


def redis_server(
    directory: Path, port: int, *, name: str = "redis", persistent: bool = False
) -> Process:
    """A Redis on `port`; `persistent` keeps an append-only file in `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    argv = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(directory)]
    argv += ["--appendonly", "yes" if persistent else "no", "--save", ""]

    def ready() -> bool:
        try:
            return bool(redis_client.Redis(port=port, socket_timeout=1).ping())
        except redis_client.RedisError:
            return False

    return Process(name, argv, directory / f"{name}.log", ready)


def dns_server(directory: Path, dns_port: int, management_port: int) -> Process:
    """Pebble's DNS stub: every name is 127.0.0.1 until `management_port` is told otherwise."""
    argv = ["pebble-challtestsrv", "-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""]
    argv += ["-dns01", f"127.0.0.1:{dns_port}", "-http01", "", "-https01", "", "-tlsalpn01", ""]
    argv += ["-management", f"127.0.0.1:{management_port}"]
    return Process("dns", argv, directory / "dns.log", lambda: listening(management_port))


@dataclass(frozen=True)
class PebbleFiles:
    """Where Pebble's own TLS certificate lives; `ca` is what an ACME client must trust."""

    ca: Path
    certificate: Path
    key: Path


def pebble_files(directory: Path) -> PebbleFiles:
    """Make, once, a self-signed certificate for 127.0.0.1 that Pebble's API listens with."""
    directory.mkdir(parents=True, exist_ok=True)
    files = PebbleFiles(directory / "ca.pem", directory / "server.pem", directory / "server.key")
    if files.ca.exists() and files.certificate.exists() and files.key.exists():
        return files
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Pebble's own API")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=3650))
        .add_extension(
            x509.SubjectAlternativeName(
                [
                    x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
                    x509.DNSName("localhost"),
                ]
            ),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    files.ca.write_bytes(pem)
    files.certificate.write_bytes(pem)
    files.key.touch(mode=0o600)
    files.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return files


def pebble(
    directory: Path,
    port: int,
    management_port: int,
    *,
    dns_port: int,
    http_port: int,
    validity_seconds: int = 90 * 86400,
    nonce_reject: int = 5,
    authz_reuse: int = 50,
    blocklist: tuple[str, ...] = ("blocked.example",),
    external_account_binding: dict[str, str] | None = None,
) -> Process:
    """Pebble as the CA; its directory is https://127.0.0.1:`port`/dir, trusted by `pebble_files().ca`.

    `http_port` is where it looks for HTTP-01 answers; `nonce_reject` and `authz_reuse` are percentages.
    """
    files = pebble_files(directory)
    configuration = {
        "pebble": {
            "listenAddress": f"127.0.0.1:{port}",
            "managementListenAddress": f"127.0.0.1:{management_port}",
            "certificate": str(files.certificate),
            "privateKey": str(files.key),
            "httpPort": http_port,
            "tlsPort": 5001,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": external_account_binding is not None,
            "externalAccountMACKeys": external_account_binding or {},
            "certificateValidityPeriod": validity_seconds,
            "domainBlocklist": list(blocklist),
        }
    }
    config = directory / f"pebble-{port}.json"
    config.write_text(json.dumps(configuration, indent=1))
    argv = ["pebble", "-config", str(config), "-dnsserver", f"127.0.0.1:{dns_port}"]
    environment = {
        "PEBBLE_VA_NOSLEEP": "1",
        "PEBBLE_WFE_NONCEREJECT": str(nonce_reject),
        "PEBBLE_AUTHZREUSE": str(authz_reuse),
    }
    return Process(
        "pebble",
        [*argv, "-strict=false"],
        directory / "pebble.log",
        lambda: listening(port) and listening(management_port),
        environment,
    )


def pebble_root(directory: Path, management_port: int) -> bytes:
    """The PEM of the root that Pebble signs with; a new one at each of its starts."""
    context = ssl.create_default_context(cafile=str(pebble_files(directory).ca))
    url = f"https://127.0.0.1:{management_port}/roots/0"
    with urllib.request.urlopen(url, context=context, timeout=10) as answer:
        pem: bytes = answer.read()
        return pem
