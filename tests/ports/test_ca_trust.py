"""Whom we believe to be a CA: the system's roots, and those of ACME_CA_BUNDLE besides."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from control.adapters.acme_authority import AcmeAuthority
from control.ports import AuthorityError
from deploy.process import free_port
from tests.fakes.ca_server import CaServer
from tests.fakes.issuer import Issuer

Serve = Callable[[str], tuple[str, Path]]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start a CA whose own certificate comes from a root of its own; its directory URL and that root."""
    servers = []

    def start(name: str) -> tuple[str, Path]:
        server = CaServer(free_port())
        servers.append(server)
        pem = tmp_path / name
        speak_tls(server, pem)
        return server.directory_url, pem

    yield start
    for server in servers:
        server.close()


def speak_tls(server: CaServer, pem: Path) -> None:
    """From now on it answers https only, with a self-signed certificate of its own that is put into `pem`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, pem.name)])
    certificate = Issuer()._sign(name, name, key.public_key(), key, ca=True, sans=["localhost"])
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    pem.write_bytes(certificate.public_bytes(Encoding.PEM) + secret)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server.server.socket = context.wrap_socket(
        server.server.socket, server_side=True, do_handshake_on_connect=False
    )
    server.base = f"https://localhost:{server.server.server_address[1]}"
    server.directory_url = f"{server.base}/directory"


def test_a_private_ca_and_a_public_second_one_are_both_believed(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    (public, system), (private, bundle), (unknown, _) = map(serve, ("public", "private", "other"))
    monkeypatch.setenv("SSL_CERT_FILE", str(system))  # where OpenSSL finds the system's roots
    for url in (public, private):
        assert AcmeAuthority(url, ca_bundle=str(bundle)).meta().profiles
    with pytest.raises(AuthorityError) as caught:
        AcmeAuthority(unknown, ca_bundle=str(bundle)).meta()
    assert caught.value.reason == "ca_untrusted"
