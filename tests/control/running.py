"""A control plane of real processes against a CA that counts, with an edge that applies at once."""

from __future__ import annotations

import json
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import redis
from sqlalchemy import func, select

from control import registry
from control.database import Database
from control.models import Certificate, Order, Record, VirtualHost
from control.plane import Plane, Who
from control.registry import Wish
from control.settings import from_environment
from control.wiring import connect
from deploy import control, services
from deploy.process import NotReady, Process, free_port, wait_until
from tests.fakes.ca_server import CaServer
from tests.fakes.edge import FakeEdge

TEST = Who("test")


@dataclass
class Installation:
    """Redis, CA and edge of one test; `env` are the settings of the control plane's processes."""

    directory: Path
    redis: Process
    redis_url: str
    ca: CaServer
    edge: FakeEdge
    env: dict[str, str]
    running: list[Process] = field(default_factory=list)

    @property
    def plane(self) -> Plane:
        """The control plane in this process, to look into it."""
        return connect(from_environment(self.env), lambda: datetime.now(UTC))

    def start(self, process: Process, seconds: float = 30) -> Process:
        """Start one, to be ended with the test."""
        self.running.append(process)
        return process.start(seconds)

    def worker(self) -> Process:
        """A worker."""
        return self.start(
            control.worker(self.directory, self.env, name=f"worker-{len(self.running)}")
        )

    def api(self) -> Process:
        """The API."""
        return self.start(control.api(self.directory, self.env))

    def dying(self, point: str, *words: str) -> Process:
        """A worker that kills itself at `point`; returns when it is dead."""
        argv = [sys.executable, "-m", "tests.control.dying", point, *words]
        log = self.directory / "dying.log"
        root = Path(__file__).parents[2]
        process = Process("dying", argv, log, lambda: True, self.env, cwd=root).start()
        self.running.append(process)
        try:
            wait_until(lambda: not process.alive, 30, f"death {point}")
        except NotReady as problem:
            raise NotReady(f"{problem}\n{process.tail()}") from None
        return process

    def add(self, *names: str) -> None:
        """Create virtual hosts."""
        plane = self.plane
        for name in names:
            registry.put(plane, name, Wish(), TEST)

    def orders_under_way(self) -> int:
        """How many orders are stored and not ended."""
        return self._count(Order)

    def certificates(self) -> int:
        """How many certificates are stored."""
        return self._count(Certificate)

    def hosts(self) -> int:
        """How many virtual hosts there are, tombstones too."""
        return self._count(VirtualHost)

    def _count(self, kind: type[Record]) -> int:
        database = Database(self.env["DATABASE_URL"])
        with database.reading() as session:
            number = session.scalar(select(func.count()).select_from(kind)) or 0
        database.engine.dispose()
        return number

    def all_ready(self, seconds: float = 60) -> None:
        """Wait until every virtual host is served."""
        database = Database(self.env["DATABASE_URL"])

        def ready() -> bool:
            with database.reading() as session:
                rows = session.execute(
                    select(VirtualHost.status, VirtualHost.change, VirtualHost.published).where(
                        VirtualHost.deleted_at.is_(None)
                    )
                ).all()
            return all(row.status == "ready" and row.published >= row.change for row in rows)

        try:
            wait_until(ready, seconds, "all ready")
        except NotReady as problem:
            tails = "\n".join(process.tail(5) for process in self.running[-2:])
            raise NotReady(f"{problem}\n{self.statuses(database)}\n{tails}") from None
        finally:
            database.engine.dispose()

    def statuses(self, database: Database) -> str:
        """What is not ready and why."""
        with database.reading() as session:
            rows = session.scalars(select(VirtualHost).where(VirtualHost.status != "ready"))
            return "\n".join(
                f"{r.hostname} {r.status} {r.error} lease {r.lease_until}" for r in rows
            )

    def no_orphans(self, seconds: float = 30) -> None:
        """No key in Redis of a host that is not there, and none in SQL that nobody uses, before long."""
        deadline = time.monotonic() + seconds
        while (found := self._orphans()) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert found == {}

    def _orphans(self) -> dict[str, object]:
        """What is too much or too little, by where."""
        client = redis.Redis.from_url(self.redis_url, decode_responses=True)
        database = Database(self.env["DATABASE_URL"])
        with database.reading() as session:
            name, host = VirtualHost.hostname, VirtualHost
            known = set(session.scalars(select(name).where(host.purged_at.is_(None))))
            live = set(session.scalars(select(name).where(host.deleted_at.is_(None))))
            certificates = session.scalar(select(func.count()).select_from(Certificate)) or 0
            used = session.scalar(select(func.count(VirtualHost.certificate_id))) or 0
            orders = session.scalar(select(func.count()).select_from(Order))
        database.engine.dispose()
        found = {
            "vh:host": {key.split(":")[2] for key in client.scan_iter("vh:host:*")} ^ known,
            "vh:cert": {key.split(":")[2] for key in client.scan_iter("vh:cert:*")} ^ live,
            "vh:expiry": set(client.zrange("vh:expiry", 0, -1)) ^ live,
            "vh:challenge": set(client.scan_iter("vh:challenge:*")),
            "certificates": certificates - used,
            "orders": orders,
        }
        return {where: what for where, what in found.items() if what}

    def request(self, method: str, path: str, token: str, body: object = None) -> Any:
        """One request to the API; its JSON."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://{self.env['CONTROL_BIND']}{path}", data, method=method
        )
        request.add_header("Authorization", f"Bearer {token}")
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=90) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def close(self) -> None:
        """End everything."""
        for process in reversed(self.running):
            process.kill()
        self.edge.stop()
        self.ca.close()
        self.redis.kill()


@contextmanager
def installation(directory: Path, database_url: str | None = None) -> Iterator[Installation]:
    """Everything but the control plane's own processes."""
    port = free_port()
    server = services.redis_server(directory, port).start()
    url = f"redis://127.0.0.1:{port}/0"
    edge = FakeEdge(url).start()
    ca = CaServer(edge.http_port)
    env = {
        "DATABASE_URL": database_url or f"sqlite:///{directory}/control.sqlite3",
        "REDIS_URL": url,
        "ACME_DIRECTORY_URL": ca.directory_url,
        "EDGE_KEYRING": str(directory / "keyring"),
        "PREFLIGHT": "off",
        "ALLOW_PRIVATE_ADDRESSES": "on",
        "CONTROL_BIND": f"127.0.0.1:{free_port()}",
        "WORKER_THREADS": "8",
    }
    made = Installation(directory, server, url, ca, edge, env)
    try:
        control.make_keyring(env)
        control.migrate(env)
        yield made
    finally:
        made.close()
