"""The control plane at size: claim and due scan at 100,000 rows, reconcile of 10,000 hosts, API requests."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import insert, text

from control import schema, sealing
from control.adapters.redis_edge import RedisEdgeStore, connect
from control.app import create_app
from control.claims import claim, release, turns_due
from control.database import Database
from control.models import Certificate, Record, Token, VirtualHost
from control.plane import Plane
from control.reconcile import reconcile
from control.sealing import Keyring
from control.settings import Settings
from control.urgency import OTHER
from deploy import services
from deploy.postgresql import Cluster
from deploy.process import free_port
from tests.bench.row import Row, at_most
from tests.fakes.authority import FakeAuthority
from tests.fakes.resolver import FakeProbe, FakeResolver

FEW, ROWS = 1000, 100_000
HOSTS = 10_000
ROUNDS = 60
CHAIN = "-----BEGIN CERTIFICATE-----\n" + "A" * 3000 + "\n-----END CERTIFICATE-----\n"


def run() -> list[Row]:
    """All rows of the table."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory)
        rows = on_database(Database(f"sqlite:///{path}/scale.sqlite3"), "SQLite")
        cluster = Cluster().start()
        try:
            rows += on_database(Database(cluster.url), "PostgreSQL")
        finally:
            cluster.stop()
        return rows + reconciling(path)


def on_database(database: Database, name: str) -> list[Row]:
    """Claim and due scan, when nothing is due and when some is; among few rows first, then among all."""
    schema.upgrade(database)
    now = datetime.now(UTC)
    fill(database, range(FEW), now)
    _, _, few = claiming(database, now)
    fill(database, range(FEW, ROWS), now)
    idle, empty, busy = claiming(database, now)
    database.engine.dispose()
    at = f"at {ROWS:,} rows on {name}"
    note = f"two commits; {few:.2f} ms at {FEW:,} rows"
    note += "" if database.is_sqlite else "; this cluster does not fsync"
    return [
        at_most(f"due scan, nothing due, {at}", idle, 5, unit="ms"),
        at_most(f"claim, nothing due, {at}", empty, 5, unit="ms"),
        at_most(f"claim and release, 1,000 due, {at}", busy, 5, unit="ms", note=note),
    ]


def claiming(database: Database, now: datetime) -> tuple[float, float, float]:
    """Milliseconds of a due scan and of a claim that find nothing, and of a claim with its release."""
    idle = median(lambda: turns_due(database, now))
    empty = median(lambda: claim(database, "bench", now, 8))
    move_due(database, now)

    def work() -> None:
        for held in claim(database, "bench", now, 1):
            release(database, held)

    busy = median(work)
    move_due(database, now + timedelta(days=1))
    return idle, empty, busy


def fill(database: Database, those: range, now: datetime) -> None:
    """Ready hosts with certificates, due over the next 60 days."""
    end = now + timedelta(days=90)
    with database.engine.begin() as connection:
        for start in range(those.start, those.stop, 5000):
            numbers = range(start, min(start + 5000, those.stop))
            connection.execute(insert(Certificate), [certificate(n, now, end) for n in numbers])
            connection.execute(insert(VirtualHost), [host(n, now) for n in numbers])
        connection.execute(text("ANALYZE"))


def certificate(number: int, now: datetime, end: datetime) -> dict[str, object]:
    """One row."""
    return {
        "id": number + 1, "source": "acme", "chain": CHAIN, "sealed_key": "v1:k1:" + "A" * 200,
        "spki": "0" * 64, "sha256": f"{number:064x}", "issuer": "Bench", "serial": "1",
        "sans": [f"h{number}.bench.test"], "not_before": now, "not_after": end, "created_at": now,
    }  # fmt: skip


def host(number: int, now: datetime) -> dict[str, object]:
    """One row."""
    return {
        "hostname": f"h{number}.bench.test", "created_at": now, "updated_at": now, "kind": "tenant",
        "enabled": True, "generation": 1, "status": "ready", "step": "served", "attempts": 0,
        "theme": {}, "logos": {}, "certificate_id": number + 1, "renew_requested": False,
        "tokens": [], "change": 1, "published": 1, "revision": number + 1,
        "urgency": OTHER, "due_at": now + timedelta(minutes=1 + number % 86_400),
    }  # fmt: skip


def move_due(database: Database, moment: datetime) -> None:
    """A thousand of them are due then."""
    table = Record.metadata.tables["virtual_hosts"]
    with database.engine.begin() as connection:
        connection.execute(table.update().where(table.c.id <= FEW).values(due_at=moment))


def median(do: Callable[[], object]) -> float:
    """Milliseconds."""
    taken = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        do()
        taken.append((time.perf_counter() - started) * 1000)
    return statistics.median(taken)


def reconciling(directory: Path) -> list[Row]:
    """An emptied Redis filled again, a comparison that finds nothing, and the API over it."""
    port = free_port()
    server = services.redis_server(directory, port).start()
    try:
        database = Database(f"sqlite:///{directory}/reconcile.sqlite3")
        schema.upgrade(database)
        fill(database, range(HOSTS), datetime.now(UTC))
        sealing.write(directory / "keyring", {"k1": b"1" * 32})
        store = RedisEdgeStore(connect(f"redis://127.0.0.1:{port}/0"))
        plane = Plane(
            Settings(), database, store, Keyring(directory / "keyring"),
            lambda _: FakeAuthority(look=lambda *_: None), FakeResolver(), FakeProbe(),
            lambda: datetime.now(UTC),
        )  # fmt: skip
        rebuilt = seconds(lambda: reconcile(plane))
        compared = statistics.median(seconds(lambda: reconcile(plane)) for _ in range(5))
        rows = [
            at_most(f"reconcile: {HOSTS:,} hosts into an emptied Redis", rebuilt, 60, unit="s"),
            Row(f"reconcile: {HOSTS:,} hosts compared, nothing to do", compared * 1000, "ms"),
        ]
        return rows + requests(plane)
    finally:
        server.kill()


def requests(plane: Plane) -> list[Row]:
    """Requests of one client to one process, without a network."""
    record, secret = Token.create("bench", datetime.now(UTC))
    with plane.database.writing() as session:
        session.add(record)
    client = create_app(plane).test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {secret}"
    base = "/api/v1/virtualhosts"
    reads = median(lambda: client.get(f"{base}/h77.bench.test"))
    pages = median(lambda: client.get(f"{base}?limit=100&after=h5"))
    numbers = iter(range(1000))
    writes = median(lambda: client.put(f"{base}/n{next(numbers)}.bench.test", json={}))
    return [
        Row("API: show one host, one client", 1000 / reads, "per s"),
        Row("API: a page of 100 hosts, one client", 1000 / pages, "per s"),
        Row("API: create a host, one client", 1000 / writes, "per s"),
    ]


def seconds(do: Callable[[], object]) -> float:
    """How long it took."""
    started = time.perf_counter()
    do()
    return time.perf_counter() - started
