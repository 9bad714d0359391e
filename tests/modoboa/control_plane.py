"""A control plane in memory behind real HTTP: the part of its contract that the extension uses."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


class ControlPlaneInMemory:
    """Remembers each request in `asked`; `down` makes it drop connections, `hosts` is what it knows.

    `answers` scripts an answer by (method, path): a status and an object, or the bytes to send as they are.
    `loses` are those whose work is done and whose answer never arrives.
    """

    def __init__(self) -> None:
        self.hosts: dict[str, dict[str, Any]] = {}
        self.generations: dict[str, int] = {}
        self.reserved: list[str] = []
        self.events: list[dict[str, Any]] = []
        self.asked: list[tuple[str, str, Any]] = []
        self.answers: dict[tuple[str, str], tuple[int, Any]] = {}
        self.loses: set[tuple[str, str]] = set()
        self.down = False
        self.before: dict[tuple[str, str], Callable[[], object]] = {}
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler_for(self))
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.lock = threading.Lock()

    def __enter__(self) -> ControlPlaneInMemory:
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        """The status and JSON for one request; `answers` may script (method, path), `before` delays it."""
        self.before.get((method, path), bool)()
        with self.lock:
            self.asked.append((method, path, body if body is not None else query))
            if (method, path) in self.answers:
                return self.answers[method, path]
            if path == "/events":
                return 200, self.journal(query)
            if path == "/settings/reserved_hostnames":
                return 200, {"items": self.reserved}
            if path == "/virtualhosts":
                return 200, self.page(query)
            found = re.fullmatch(r"/virtualhosts/([^/]+)", path)
            if not found:
                return 404, {"message": "Nothing here."}
            return getattr(self, method.lower())(unquote(found[1]), query, body)

    def page(self, query: dict[str, str]) -> dict[str, Any]:
        """One page of the list, by name; `owner` narrows it."""
        limit, after = int(query.get("limit", 100)), query.get("after", "")
        owner = query.get("owner")
        ours = [name for name, host in self.hosts.items() if owner in (None, host["owner"])]
        names = sorted(name for name in ours if name > after)
        more = names[limit - 1] if len(names) > limit else None
        return {"items": [self.hosts[name] for name in names[:limit]], "next": more}

    def journal(self, query: dict[str, str]) -> dict[str, Any]:
        """One page of `events`, newest first; `after` is the id where the page before ended."""
        before, limit = int(query.get("after", 2**31)), int(query.get("limit", 100))
        found = sorted((e for e in self.events if e["id"] < before), key=lambda e: -e["id"])
        return {
            "items": found[:limit],
            "next": found[limit - 1]["id"] if len(found) > limit else None,
        }

    def put(self, name: str, query: dict[str, str], body: dict[str, Any]) -> tuple[int, Any]:
        """Create or update; 409 for an older generation, another owner or a domain linked elsewhere."""
        refused = self.refusal(name, body["generation"], body["owner"])
        if refused:
            return refused
        for other, host in self.hosts.items():
            taken = set(host["domains"]) & set(body["domains"])
            if other != name and taken:
                return 409, {"message": f"{taken.pop()} is linked to {other}"}
        self.generations[name] = body["generation"]
        created = name not in self.hosts
        self.hosts[name] = {
            "hostname": name,
            "status": "pending",
            **self.hosts.get(name, {}),
            **body,
        }
        return (201 if created else 200), self.hosts[name]

    def get(self, name: str, query: dict[str, str], body: None) -> tuple[int, Any]:
        """One host."""
        if name not in self.hosts:
            return 404, {"message": f"There is no virtual host {name}."}
        return 200, self.hosts[name]

    def delete(self, name: str, query: dict[str, str], body: None) -> tuple[int, Any]:
        """Remove; the generation is remembered."""
        if name not in self.hosts:
            return 404, {"message": f"There is no virtual host {name}."}
        refused = self.refusal(name, int(query["generation"]), query.get("owner"))
        if refused:
            return refused
        del self.hosts[name]
        self.generations[name] = int(query["generation"])
        return 204, None

    def refusal(self, name: str, generation: int, owner: str | None) -> tuple[int, Any] | None:
        """409 for an older generation, also after a delete, and for another owner."""
        recorded = self.generations.get(name, 0)
        if generation < recorded:
            return 409, {"message": f"generation {generation} of {name} is older than {recorded}"}
        its = self.hosts.get(name, {}).get("owner")
        if its not in (None, owner):
            return 409, {"message": f"{name} belongs to {its}"}
        return None

    def overwrite(self, name: str, **fields: Any) -> None:
        """Somebody else writes a host over there."""
        self.hosts[name] = {
            "hostname": name, "status": "ready", "domains": [], "enabled": True, "owner": None,
            **self.hosts.get(name, {}), **fields,
        }  # fmt: skip
        self.generations[name] = self.hosts[name].setdefault("generation", 0)


def handler_for(plane: ControlPlaneInMemory) -> type[BaseHTTPRequestHandler]:
    """The request handler that asks `plane`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            sent = self.rfile.read(length)
            if plane.down:
                self.close_connection = True
                return
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            is_json = self.headers.get("Content-Type", "").startswith("application/json")
            body = json.loads(sent) if sent and is_json else (sent or None)
            path = parts.path.removeprefix("/api/v1")
            status, answer = plane.answer(self.command, path, query, body)
            if (self.command, path) in plane.loses:
                self.close_connection = True
                return
            self.reply(status, answer)

        def reply(self, status: int, answer: Any) -> None:
            raw = isinstance(answer, bytes)
            data = answer if raw else b"" if answer is None else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/html" if raw else "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_PUT = do_POST = do_DELETE = do_PATCH = serve  # noqa: N815  the library's names

        def log_message(self, *_: object) -> None:
            return

    return Handler
