"""A TLS client that says exactly what it is told: any bytes as SNI, any Host, any session, HTTP/1.1 or 2."""

from __future__ import annotations

import hashlib
import socket
import time
from dataclasses import dataclass, field

from OpenSSL import SSL


@dataclass
class Answer:
    """Status, headers (lower-case names) and body; status 0 when the server just closed."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class Refused(Exception):
    """The handshake did not complete."""


class Visit:
    """One connection; `resumed` and `sha256` say what the handshake gave."""

    def __init__(
        self,
        port: int,
        sni: bytes | str | None,
        *,
        version: int = SSL.TLS1_3_VERSION,
        session: SSL.Session | None = None,
        alpn: bytes = b"http/1.1",
        seconds: float = 5,
        ciphers: bytes | None = None,
        address: str = "127.0.0.1",
        source: str = "",
        over: socket.socket | None = None,
    ) -> None:
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_min_proto_version(version)
        context.set_max_proto_version(version)
        context.set_alpn_protos([alpn])
        if ciphers:
            context.set_cipher_list(ciphers)
        self.socket = over or socket.create_connection((address, port), seconds, (source, 0))
        self.socket.settimeout(None)
        self.seconds = seconds
        self.connection = SSL.Connection(context, self.socket)
        if sni is not None:
            self.connection.set_tlsext_host_name(sni.encode() if isinstance(sni, str) else sni)
        if session is not None:
            session._context = context  # the library wants the very same context, OpenSSL does not
            self.connection.set_session(session)
        self.socket.setsockopt(
            socket.SOL_SOCKET, socket.SO_RCVTIMEO, int(seconds).to_bytes(8, "little") + bytes(8)
        )
        self.connection.set_connect_state()
        try:
            self.connection.do_handshake()
        except (SSL.Error, OSError) as problem:
            self.close()
            raise Refused(str(problem)) from None

    @property
    def sha256(self) -> str:
        """Hex digest of the leaf that the server showed (of the first handshake, when resumed)."""
        certificate = self.connection.get_peer_certificate(as_cryptography=True)
        from cryptography.hazmat.primitives.serialization import Encoding

        return hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest()

    @property
    def resumed(self) -> bool:
        """Whether the handshake was a resumption."""
        return bool(SSL._lib.SSL_session_reused(self.connection._ssl))

    @property
    def session(self) -> SSL.Session:
        """What another visit can resume; complete only after a first answer under TLS 1.3."""
        session = self.connection.get_session()
        assert session is not None
        return session

    def send(self, request: bytes) -> None:
        """Send raw bytes."""
        self.connection.sendall(request)

    def get(
        self,
        path: str = "/",
        host: str | None = "",
        *,
        method: str = "GET",
        headers: dict[str, str] | None = None,
        body: bytes = b"",
        version: str = "HTTP/1.1",
    ) -> Answer:
        """One request; `host` None sends none."""
        lines = [f"{method} {path} {version}"]
        if host is not None:
            lines.append(f"Host: {host}")
        if body:
            lines.append(f"Content-Length: {len(body)}")
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        return self.read(method)

    def read(self, method: str = "GET") -> Answer:
        """Read one HTTP/1.1 answer."""
        data = b""
        while b"\r\n\r\n" not in data:
            piece = self._receive()
            if not piece:
                return Answer(0, {}, data)
            data += piece
        head, _, body = data.partition(b"\r\n\r\n")
        status_line, *rest = head.decode("latin-1").split("\r\n")
        headers: dict[str, str] = {}
        for line in rest:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        status = int(status_line.split()[1])
        if method != "HEAD" and status not in (204, 304):
            body = self._body(headers, body)
        return Answer(status, headers, body)

    def _body(self, headers: dict[str, str], body: bytes) -> bytes:
        if "content-length" in headers:
            while len(body) < int(headers["content-length"]):
                piece = self._receive()
                if not piece:
                    break
                body += piece
            return body
        if headers.get("transfer-encoding") == "chunked":
            while not body.endswith(b"0\r\n\r\n"):
                piece = self._receive()
                if not piece:
                    break
                body += piece
            return _unchunk(body)
        return body

    def _receive(self) -> bytes:
        try:
            return self.connection.recv(65536)
        except (SSL.ZeroReturnError, SSL.SysCallError):
            return b""

    def close(self) -> None:
        """Close the socket; the session stays good for another visit."""
        self.connection.set_shutdown(SSL.SENT_SHUTDOWN | SSL.RECEIVED_SHUTDOWN)
        self.socket.close()

    def __enter__(self) -> Visit:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _unchunk(data: bytes) -> bytes:
    body = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        if not length:
            break
        body, data = body + data[:length], data[length + 2 :]
    return body


def plain(port: int, path: str, host: str | None, method: str = "GET", **headers: str) -> Answer:
    """One request on port 80's stand-in, on a connection of its own."""
    lines = [f"{method} {path} HTTP/1.1", "Connection: close"]
    if host is not None:
        lines.append(f"Host: {host}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n")
        data = b""
        while piece := connection.recv(65536):
            data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    status_line, *rest = head.decode("latin-1").split("\r\n")
    found = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in rest)}
    return Answer(int(status_line.split()[1]), found, body)


def eventually(check, seconds: float = 5):
    """Call `check` until it returns something true (and return that); its last failure otherwise."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            result = check()
            if result:
                return result
            problem = AssertionError(f"still {result!r}")
        except (AssertionError, Refused, OSError) as error:
            problem = error
        if time.monotonic() > deadline:
            raise problem
        time.sleep(0.02)
