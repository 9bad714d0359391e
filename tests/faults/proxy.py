"""A proxy before Pebble that does harm on demand: one fault, on one of the CA's calls, for a while."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from deploy.services import PebbleFiles

# Pebble's own paths, by the call that they stand for.
CALLS = {
    "newAccount": "/sign-me-up",
    "newOrder": "/order-plz",
    "authorization": "/authZ/",
    "challenge": "/chalZ/",
    "finalize": "/finalize-order/",
    "certificate": "/certZ/",
}
FAULTS = (
    "500",
    "503",
    "429",
    "timeout",
    "reset",
    "truncated",
    "html",
    "slow",
    "content-type",
    "duplicate",
    "account-unknown",
    "order-gone",
)
RETRY_AFTER = 17  # seconds, on 429 and 503
Answer = tuple[int, list[tuple[str, str]], bytes]
PROBLEM = "application/problem+json"


class FaultProxy:
    """Listens on loopback with the CA's own certificate and forwards to the CA at `port`.

    `clock` says when requests came. TLS, since Pebble expects its own https URL in what is signed.
    """

    def __init__(self, port: int, files: PebbleFiles, hang: float) -> None:
        """`hang` is how many seconds a request hangs or drips, more than the client waits."""
        self.port = port
        self.context = ssl.create_default_context(cafile=str(files.ca))
        self.clock: Callable[[], datetime] = lambda: datetime.now(UTC)
        self.hang = hang
        self.fault = ""
        self.path = ""
        self.left = 0
        self.ended: datetime | None = None
        self.asked: list[tuple[datetime, str]] = []
        self.lock = threading.Lock()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.server.daemon_threads = True
        served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        served.load_cert_chain(files.certificate, files.key)
        self.server.socket = served.wrap_socket(
            self.server.socket, server_side=True, do_handshake_on_connect=False
        )
        self.directory_url = f"https://127.0.0.1:{self.server.server_address[1]}/dir"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self.server.shutdown()
        self.server.server_close()

    def harm(self, fault: str, call: str, times: int) -> None:
        """Do `fault` to the next `times` requests of `call`."""
        self.fault, self.path, self.left, self.ended = fault, CALLS[call], times, None
        self.asked.clear()

    def requests(self) -> list[datetime]:
        """When requests of the harmed call came."""
        return [moment for moment, path in self.asked if path.startswith(self.path)]

    def next_fault(self, path: str) -> str:
        """The fault for a request that has just come; empty for none."""
        with self.lock:
            self.asked.append((self.clock(), path))
            if not self.left or not path.startswith(self.path):
                return ""
            self.left -= 1
            self.ended = self.clock()
            return self.fault

    def forward(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        """What Pebble answers; it takes the Host header for its own name."""
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self.port, context=self.context, timeout=20
        )
        kept = {n: v for n, v in headers.items() if n.lower() not in ("connection",)}
        connection.request(method, path, body, kept)
        response = connection.getresponse()
        data = response.read()
        dropped = ("content-length", "transfer-encoding", "connection")
        said = [(n, v) for n, v in response.getheaders() if n.lower() not in dropped]
        connection.close()
        return response.status, said, data


def _problem(status: int, kind: str, retry: bool = False) -> Answer:
    headers = [("Content-Type", PROBLEM)]
    if retry:
        headers.append(("Retry-After", str(RETRY_AFTER)))
    body = f'{{"type": "urn:ietf:params:acme:error:{kind}", "detail": "a fault"}}'
    return status, headers, body.encode()


# Faults that answer by themselves; the CA never hears of the request.
INSTEAD: dict[str, Answer] = {
    "500": (500, [("Content-Type", "text/plain")], b"internal server error"),
    "503": _problem(503, "serverInternal", retry=True),
    "429": _problem(429, "rateLimited", retry=True),
    "html": (200, [("Content-Type", "text/html")], b"<html><h1>Welcome to the proxy</h1></html>"),
    "account-unknown": _problem(400, "accountDoesNotExist"),
    "order-gone": _problem(404, "malformed"),
}


def _handler(proxy: FaultProxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            fault = proxy.next_fault(self.path)
            if fault in INSTEAD:
                self.answer(INSTEAD[fault])
                return
            answer = proxy.forward(self.command, self.path, dict(self.headers.items()), body)
            if fault == "duplicate":
                answer = proxy.forward(self.command, self.path, dict(self.headers.items()), body)
            self.spoil(fault, answer)

        def spoil(self, fault: str, answer: Answer) -> None:
            """Give the CA's answer, or harm it: the CA has done its part already."""
            status, headers, data = answer
            if fault == "timeout":
                time.sleep(proxy.hang)
                self.close_connection = True
            elif fault == "reset":
                linger = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self.connection.close()
                self.close_connection = True
            elif fault == "truncated":
                self.answer(answer, body=data[: len(data) // 2])
                self.close_connection = True
            elif fault == "slow":
                self.answer(answer, body=b"")
                self.drip(data)
                self.close_connection = True
            elif fault == "content-type":
                others = [(n, v) for n, v in headers if n.lower() != "content-type"]
                self.answer((status, [*others, ("Content-Type", "text/html")], data))
            else:
                self.answer(answer)

        def drip(self, data: bytes) -> None:
            pause = proxy.hang / max(len(data), 1)
            for position in range(len(data)):
                self.wfile.write(data[position : position + 1])
                time.sleep(pause)

        def answer(self, answer: Answer, body: bytes | None = None) -> None:
            """Send it; `body` is what of it is sent, while Content-Length promises all."""
            status, headers, data = answer
            self.send_response_only(status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data if body is None else body)

        def handle(self) -> None:
            try:
                super().handle()
            except OSError:
                self.close_connection = True

        def finish(self) -> None:
            with contextlib.suppress(OSError, ValueError):
                super().finish()

        do_GET = do_HEAD = do_POST = handle_any  # noqa: N815

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    return Handler
