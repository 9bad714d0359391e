"""A stand-in for the edge's port 80: answers challenges that a test published, 404 for the rest."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from control.ports import Challenge

Look = Callable[[str, str], str | None]
PREFIX = "/.well-known/acme-challenge/"


class Port80:
    """Listens on `port` until closed; `asked` remembers every (Host, path) in order.

    It answers what was published, or what `look(hostname, token)` finds.
    """

    def __init__(self, port: int = 0, look: Look | None = None) -> None:
        self.answers: dict[tuple[str, str], str] = {}
        self.look: Look = look or (lambda hostname, token: self.answers.get((hostname, token)))
        self.asked: list[tuple[str, str]] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def publish(self, challenge: Challenge) -> None:
        """Answer this challenge from now on."""
        self.answers[challenge.hostname, challenge.token] = challenge.key_authorization

    def close(self) -> None:
        """Stop listening."""
        self.server.shutdown()
        self.server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                host = self.headers.get("Host", "").split(":")[0]
                outer.asked.append((host, self.path))
                body = outer.look(host, self.path.removeprefix(PREFIX))
                data = (body or "not here").encode()
                self.send_response(200 if body else 404)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args: object) -> None:
                """Say nothing."""

        return Handler
