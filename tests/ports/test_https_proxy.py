"""A CA that is reached through the machine's HTTPS proxy."""

from __future__ import annotations

import socket
import ssl
import threading
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from control.adapters.acme_authority import AcmeAuthority
from control.ports import AuthorityError
from deploy.process import free_port
from tests.fakes.ca_server import CaServer
from tests.fakes.csr import new_account
from tests.fakes.issuer import Issuer

NAME = "ca.example"


def tls(server: CaServer, directory: Path) -> Path:
    """Let the server speak TLS as `ca.example`; returns what a client must trust."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    certificate = Issuer()._sign(name, name, key.public_key(), key, ca=True, sans=[NAME])
    pem = directory / "server.pem"
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    pem.write_bytes(certificate.public_bytes(Encoding.PEM) + secret)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server.server.socket = context.wrap_socket(
        server.server.socket, server_side=True, do_handshake_on_connect=False
    )
    server.base, server.directory_url = f"https://{NAME}", f"https://{NAME}/directory"
    return pem


class ConnectProxy:
    """Answers CONNECT by joining the client to `port` of this machine; remembers what was asked."""

    def __init__(self, port: int) -> None:
        self.asked: list[str] = []
        self._port = port
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            client, _ = self._socket.accept()
            head = b""
            while b"\r\n\r\n" not in head:
                head += client.recv(4096)
            self.asked.append(head.split(b"\r\n")[0].decode())
            upstream = socket.create_connection(("127.0.0.1", self._port))
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            for one, other in ((client, upstream), (upstream, client)):
                threading.Thread(target=self._pump, args=(one, other), daemon=True).start()

    @staticmethod
    def _pump(one: socket.socket, other: socket.socket) -> None:
        try:
            while data := one.recv(65536):
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)
        except OSError:
            other.close()


def test_the_machine_s_proxy_is_used_and_the_ca_s_own_name_is_checked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server = CaServer(free_port())
    proxy = ConnectProxy(server.server.server_address[1])
    bundle = tls(server, tmp_path)
    monkeypatch.setenv("https_proxy", proxy.url)
    monkeypatch.setenv("no_proxy", "")
    authority = AcmeAuthority(server.directory_url, ca_bundle=str(bundle))
    assert authority.register(new_account(server.directory_url), None).uri
    assert {line.split()[:2] == ["CONNECT", f"{NAME}:443"] for line in proxy.asked} == {True}

    other = AcmeAuthority("https://other.example/directory", ca_bundle=str(bundle))
    with pytest.raises(AuthorityError) as caught:
        other.meta()
    assert caught.value.reason == "ca_untrusted"
    server.close()
