"""A small edge in Python: follows the feed, sends heartbeats and answers challenges from Redis."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import redis


class FakeEdge:
    """Applies every revision at once unless `paused`; `state` answers what it would serve."""

    def __init__(self, url: str, http_port: int = 0, *, name: str = "fake-1") -> None:
        self.name = name
        self.paused = False
        self.refused: tuple[str, ...] = ()
        self.applied: dict[str, dict[str, str]] = {}
        self.answered: list[str] = []
        self._client = redis.Redis.from_url(url, decode_responses=True, socket_timeout=2)
        self._stop = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", http_port), self._handler())
        self.http_port: int = self._server.server_address[1]
        self._threads = [
            threading.Thread(target=self._follow, daemon=True),
            threading.Thread(target=self._server.serve_forever, daemon=True),
        ]

    def start(self) -> FakeEdge:
        """Begin to follow and to answer."""
        for thread in self._threads:
            thread.start()
        return self

    def stop(self) -> None:
        """End, and take the heartbeat away."""
        self._stop.set()
        self._server.shutdown()
        self._server.server_close()
        self._threads[0].join(5)
        try:
            self._client.delete(f"vh:edge:{self.name}")
        except redis.RedisError:
            return

    def _follow(self) -> None:
        epoch, revision, last = "", 0, 0.0
        while not self._stop.wait(0.005):
            if self.paused:
                continue
            try:
                now_epoch = self._client.get("vh:epoch") or ""
                if now_epoch != epoch:
                    epoch, revision, last = now_epoch, 0, 0.0
                newest = self._apply(revision)
                if newest > revision or time.monotonic() - last > 1:
                    revision, last = max(revision, newest), time.monotonic()
                    self._beat(epoch, revision)
            except redis.RedisError:
                time.sleep(0.05)

    def _apply(self, revision: int) -> int:
        changed = self._client.zrangebyscore("vh:hosts", f"({revision}", "+inf", withscores=True)
        for hostname, _ in changed:
            self.applied[hostname] = self._client.hgetall(f"vh:host:{hostname}")
        return int(changed[-1][1]) if changed else revision

    def _beat(self, epoch: str, revision: int) -> None:
        fields = {
            "rev": revision, "epoch": epoch, "hosts": len(self.applied), "certificates": 0,
            "refused": " ".join(self.refused), "kids": "", "last_sync": int(time.time()), "version": "fake",
        }  # fmt: skip
        key = f"vh:edge:{self.name}"
        self._client.pipeline().hset(key, mapping=fields).expire(key, 30).execute()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        edge = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                host = self.headers.get("Host", "").split(":")[0]
                token = self.path.rpartition("/")[2]
                found = edge._client.get(f"vh:challenge:{host}:{token}")
                body = (found or "").encode()
                edge.answered.append(host)
                self.send_response(200 if found else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        return Handler
