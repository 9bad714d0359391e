"""A TCP server that reads one HTTP request head and then talks as a test tells it."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def listener(talk: Callable[[socketserver.StreamRequestHandler], object]) -> Iterator[int]:
    """A TCP server on 127.0.0.1 that talks as it is told; gives its port."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            try:
                while self.rfile.readline().strip():
                    pass
                talk(self)
            except OSError:
                pass

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server.server_address[1]
        server.shutdown()
