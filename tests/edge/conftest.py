"""A real nginx, a real Redis, an echo in Modoboa's place; each test module has its own."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import redis

from deploy import edge as deployed
from deploy import services
from deploy.process import Process, free_port
from tests.edge.doors import alone
from tests.edge.publisher import Authority, Keyring, Publisher
from tests.edge.upstream import Echo
from tests.edge.visitor import Answer, Refused, Visit, eventually, plain

A, B, P = "mail.acme.test", "mail.globex.test", "mail.provider.test"
THEME = {
    "theme_primary_color": "#112233",
    "theme_label_color": "#445566",
    "theme_login_logo_url": "/_edge/logos/" + "ab" * 32 + ".png",
}
INDEX = "<!doctype html><html><head><title>Welcome to Modoboa</title></head><body></body></html>"
CONFIG = {
    "API_BASE_URL": "https://mail.provider.test/api/v2",
    "API_DOC_URL": "https://mail.provider.test/api/schema-v2/swagger/",
    "OAUTH_AUTHORITY_URL": "https://mail.provider.test/api/o",
    "OAUTH_REDIRECT_URI": "https://mail.provider.test/login/logged",
    "OAUTH_POST_REDIRECT_URI": "https://mail.provider.test",
    "OAUTH_CLIENT_ID": "the-client-id",
    "HTML_PAGE_TITLE": "Modoboa",
}


def modoboa_root(directory: Path) -> Path:
    """What of a Modoboa instance nginx serves by itself."""
    frontend = directory / "frontend"
    (frontend / "assets").mkdir(parents=True)
    (frontend / "index.html").write_text(INDEX)
    (frontend / "config.json").write_text(json.dumps(CONFIG))
    (frontend / "favicon.ico").write_bytes(b"\0\0\1\0")
    (frontend / "assets" / "app.js").write_text("export default 1;")
    (directory / "sitestatic" / "x").mkdir(parents=True)
    (directory / "sitestatic" / "x" / "remoteEntry.js").write_text("export default 2;")
    (frontend / "assets" / "long.js").write_text("export default 1;" * 100)
    (directory / "media").mkdir()
    (directory / "media" / "m.txt").write_text("media")
    return directory


@dataclass
class Edge:
    """One edge under test, with the Redis it reads and everything one asks of both."""

    directory: Path
    env: dict[str, str]
    redis_port: int
    publisher: Publisher
    echo: Echo | None = None
    process: Process | None = None
    redis_process: Process | None = None
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def https(self) -> int:
        """The port of the front doors."""
        return int(self.env["EDGE_HTTPS_PORT"])

    @property
    def http(self) -> int:
        """The port of challenges and redirects."""
        return int(self.env["EDGE_HTTP_PORT"])

    @property
    def status_port(self) -> int:
        """The status listener."""
        return int(self.env["EDGE_STATUS_PORT"])

    @property
    def redis(self) -> redis.Redis:
        """A client with all rights."""
        return self.publisher.redis

    def start(self) -> Edge:
        """Configure and start nginx; back when each worker has its title, by which `workers` knows it."""
        self.process = deployed.edge(self.directory, self.env).start()
        eventually(lambda: len(self.workers()) == int(self.env["EDGE_WORKERS"]))
        return self

    def stop(self) -> None:
        """End nginx and everything with it."""
        if self.process:
            self.process.stop()

    def reload(self) -> None:
        """SIGHUP."""
        deployed.reload(self.directory)

    def workers(self) -> list[int]:
        """Pids of the workers that live now."""
        master = int(deployed.pid_file(self.directory).read_text())
        children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
        return sorted(int(pid) for pid in children if b"worker" in _command(int(pid)))

    def alone(self, pid: int) -> contextlib.AbstractContextManager[None]:
        """Only this worker accepts connections; the others stand still."""
        return alone(self.workers(), pid)

    def visit(self, sni: bytes | str | None, **options) -> Visit:
        """A TLS connection."""
        return Visit(self.https, sni, **options)

    def get(self, host: str, path: str = "/api/", **options) -> Answer:
        """One request on a fresh connection whose SNI is the Host."""
        with self.visit(host) as visit:
            return visit.get(path, host, **options)

    def told(self, host: str, **options) -> dict[str, list[str]]:
        """The headers that Modoboa was told: lower-case name → every value."""
        answer = self.get(host, **options)
        assert answer.status == 200, answer
        told: dict[str, list[str]] = {}
        for name, value in json.loads(answer.body)["headers"]:
            told.setdefault(name.lower(), []).append(value)
        return told

    def refuses(self, sni: bytes | str | None) -> bool:
        """Whether a handshake fails."""
        try:
            self.visit(sni).close()
        except Refused:
            return True
        return False

    def serves(self, hostname: str) -> str:
        """The sha256 of the certificate that a fresh handshake shows."""
        with self.visit(hostname) as visit:
            return visit.sha256

    def applied(self, revision: int) -> bool:
        """Whether the edge says it has applied `revision`."""
        return int(deployed.health(self.status_port)["applied"]) >= revision

    def settle(self, revision: int) -> None:
        """Wait until `revision` is applied."""
        eventually(lambda: self.applied(revision))

    def status(self, path: str, method: str = "GET") -> Answer:
        """The status listener's answer."""
        return plain(self.status_port, path, "127.0.0.1", method)

    def metric(self, name: str) -> float:
        """A metric's value, 0 when it is not there."""
        for line in self.status("/metrics").body.decode().splitlines():
            if line.startswith(name + " "):
                return float(line.rsplit(" ", 1)[1])
        return 0.0

    def log(self) -> str:
        """nginx's error log."""
        return (self.directory / "logs" / "error.log").read_text(errors="replace")

    def exits(self) -> int:
        """How often a worker died of a signal."""
        return self.log().count("exited on signal")


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


class Edges:
    """Makes edges, and ends them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.made: list[Edge] = []
        self.authority = Authority.make()

    def make(self, *, start: bool = True, begin: bool = True, **settings: str) -> Edge:
        """A Redis, an echo, an edge (EDGE_* settings in lower case without the prefix)."""
        directory = self.directory / f"edge-{len(self.made)}"
        directory.mkdir(parents=True)
        ports = [free_port() for _ in range(5)]
        server = services.redis_server(directory / "redis", ports[0]).start()
        client = redis.Redis(port=ports[0], decode_responses=True, socket_timeout=5)
        keyring = Keyring.make(directory / "keyring")
        env = {
            "EDGE_ID": f"edge-{len(self.made)}",
            "EDGE_REDIS_URL": f"redis://127.0.0.1:{ports[0]}/0",
            "EDGE_HTTP_PORT": str(ports[1]),
            "EDGE_HTTPS_PORT": str(ports[2]),
            "EDGE_STATUS_PORT": str(ports[3]),
            "EDGE_UPSTREAM": f"http://127.0.0.1:{ports[4]}",
            "EDGE_KEYRING": str(keyring.path),
            "EDGE_MODOBOA_ROOT": str(modoboa_root(directory / "modoboa")),
            "EDGE_USER": pwd.getpwuid(os.getuid()).pw_name,
            "EDGE_WORKERS": "2",
            "EDGE_CLIENT_LIMITS": "off",
            "PRIMARY_HOSTNAME": P,
            "EDGE_LUA": os.environ.get("EDGE_LUA", ""),  # a changed copy, to see a test go red
            **{"EDGE_" + name.upper(): value for name, value in settings.items()},
        }
        publisher = Publisher(client, keyring, self.authority)
        if begin:
            publisher.begin()
        edge = Edge(directory / "nginx", env, ports[0], publisher, Echo(ports[4]))
        edge.redis_process = server
        self.made.append(edge)
        return edge.start() if start else edge

    def end(self) -> None:
        """Stop every process of every edge."""
        for edge in self.made:
            edge.stop()
            if edge.echo:
                edge.echo.stop()
            if edge.redis_process:
                edge.redis_process.kill()
        shutil.rmtree(self.directory, ignore_errors=True)


@pytest.fixture(scope="module")
def edges(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edges]:
    """Make as many edges as a test needs."""
    factory = Edges(tmp_path_factory.mktemp("edges"))
    yield factory
    factory.end()


@pytest.fixture(scope="module")
def edge(edges: Edges) -> Edge:
    """One edge with two tenants and a primary host, all live."""
    edge = edges.make()
    edge.publisher.publish(A, theme=THEME, domains="acme.test", hsts="31536000")
    edge.publisher.publish(B)
    edge.settle(edge.publisher.publish(P, kind="primary"))
    return edge
