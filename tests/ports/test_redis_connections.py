"""Every way to reach Redis that REDIS_URL can name, on the real thing: TLS, users, sockets, Sentinel."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from control.adapters.redis_edge import RedisEdgeStore, connect
from control.ports import EdgeStore, Heard, StoreUnavailable
from deploy import services
from deploy.process import Process, free_port, wait_until
from tests.edge.sentinel import Watched
from tests.ports.test_edge_store import EPOCH, HOST

Serve = Callable[..., str]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start a Redis with these further options; its path on disk serves for certificates and sockets."""
    running: list[Process] = []

    def start(*options: str, port: int = 0) -> str:
        argv = ["redis-server", "--port", str(port), "--dir", str(tmp_path), "--save", "", *options]
        log = tmp_path / "redis.log"
        ready = "ready to accept connections"
        process = Process("redis", argv, log, lambda: ready in log.read_text().lower()).start()
        running.append(process)
        return str(tmp_path)

    yield start
    for process in running:
        process.kill()


def hear_nudge(store: EdgeStore) -> None:
    """Return when nudged, or when nothing has come for long."""
    while store.listen(10) is Heard.CONNECTED:
        pass


def works(store: EdgeStore) -> bool:
    """Whether a host can be published, found again and told of."""
    store.begin(EPOCH)
    revision = store.publish(HOST, epoch=EPOCH, at_least=0)
    found = store.index() == {HOST.hostname: revision}
    heard = threading.Thread(target=hear_nudge, args=(store,))
    heard.start()
    while heard.is_alive():
        store.nudge()
        heard.join(0.05)
    return found and store.summary().epoch == EPOCH


def test_tls_with_the_certificate_checked(serve: Serve, tmp_path: Path) -> None:
    port, files = free_port(), services.pebble_files(tmp_path / "tls")
    serve(
        "--tls-port", str(port), "--tls-cert-file", str(files.certificate),
        "--tls-key-file", str(files.key), "--tls-ca-cert-file", str(files.ca),
        "--tls-auth-clients", "no",
    )  # fmt: skip
    url = f"rediss://127.0.0.1:{port}/0"
    assert works(RedisEdgeStore(connect(f"{url}?ssl_ca_certs={files.ca}")))
    with pytest.raises(StoreUnavailable) as caught:
        RedisEdgeStore(connect(url)).summary()
    assert "CERTIFICATE_VERIFY_FAILED" in caught.value.detail
    with pytest.raises(StoreUnavailable):
        RedisEdgeStore(connect(f"redis://127.0.0.1:{port}/0")).summary()


def test_tls_with_a_certificate_of_our_own(serve: Serve, tmp_path: Path) -> None:
    port, files = free_port(), services.pebble_files(tmp_path / "tls")
    serve(
        "--tls-port", str(port), "--tls-cert-file", str(files.certificate),
        "--tls-key-file", str(files.key), "--tls-ca-cert-file", str(files.ca),
    )  # fmt: skip
    url = f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={files.ca}"
    with pytest.raises(StoreUnavailable):
        RedisEdgeStore(connect(url)).summary()
    ours = f"&ssl_certfile={files.certificate}&ssl_keyfile={files.key}"
    assert works(RedisEdgeStore(connect(url + ours)))


def test_a_user_with_a_password_in_a_database_of_our_own(serve: Serve) -> None:
    port = free_port()
    serve(port=port)
    root = redis.Redis(port=port)
    root.acl_setuser(
        "control", enabled=True, passwords=["+p@ss/word"], keys=["vh:*"], channels=["vh:*"],
        categories=["+@all", "-@dangerous"], commands=["+info"],
    )  # fmt: skip
    assert works(RedisEdgeStore(connect(f"redis://control:p%40ss%2Fword@127.0.0.1:{port}/3")))
    assert root.dbsize() == 0
    with pytest.raises(StoreUnavailable):
        RedisEdgeStore(connect(f"redis://control:wrong@127.0.0.1:{port}/3")).summary()


def test_a_unix_socket(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "redis.sock"
    serve("--unixsocket", str(path))
    assert works(RedisEdgeStore(connect(f"unix://{path}?db=2")))


def test_after_a_failover_the_next_primary_is_found_by_sentinel(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    try:
        store = RedisEdgeStore(connect(watched.url))
        assert works(store)
        before = store.summary().revision
        watched.client(watched.primary()).wait(2, 5000)
        watched.fail_over()

        def published() -> bool:
            try:
                return bool(store.publish(HOST, epoch=EPOCH, at_least=before) > before)
            except StoreUnavailable:
                return False

        wait_until(published, 20, "publishing goes on")
        assert watched.client(watched.primary()).hget("vh:complete", "epoch") is None
        assert works(store), "nudges are heard again too"
    finally:
        watched.end()


def test_without_a_sentinel_redis_is_away_and_each_is_asked_once_a_try() -> None:
    asked = []

    class Silent(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            asked.append(self.client_address)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Silent) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        url = f"redis+sentinel://127.0.0.1:{server.server_address[1]}/edge/0"
        with pytest.raises(StoreUnavailable) as caught:
            RedisEdgeStore(connect(url)).summary()
        server.shutdown()
    assert caught.value.reason == "redis_unavailable"
    assert len(asked) <= 6, "an API request must not wait for the library's own retries"
