"""Stands where Modoboa does: answers every request with what it was told, as JSON."""

from __future__ import annotations

import json
import socketserver
import struct
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class _Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        self.rfile.read(size)
        told = {"path": self.path, "headers": [[n, v] for n, v in self.headers.items()]}
        body = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = _answer  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Say nothing: a client that goes away is no news."""


class Echo:
    """The echo on a port, in a thread."""

    def __init__(self, port: int) -> None:
        self.server = _Server(("127.0.0.1", port), _Echo)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Close the port."""
        self.server.shutdown()
        self.server.server_close()


class _UwsgiEcho(socketserver.StreamRequestHandler):
    """One request of the uwsgi protocol: header, variables; answered with every variable."""

    def handle(self) -> None:
        """Answer and close."""
        _, size, _ = struct.unpack("<BHB", self.rfile.read(4))
        block = self.rfile.read(size)
        pairs = list(_variables(block))
        body = json.dumps({"variables": pairs}).encode()
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + body)


def _variables(block: bytes) -> Iterator[tuple[str, str]]:
    while block:
        parts = []
        for _ in range(2):
            (size,) = struct.unpack("<H", block[:2])
            parts.append(block[2 : 2 + size].decode("latin-1"))
            block = block[2 + size :]
        yield parts[0], parts[1]


class UwsgiEcho:
    """The same over a uWSGI unix socket."""

    def __init__(self, path: str) -> None:
        self.server = socketserver.ThreadingUnixStreamServer(path, _UwsgiEcho)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Close the socket."""
        self.server.shutdown()
        self.server.server_close()
