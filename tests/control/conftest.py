"""A whole control plane in memory, over a real database: SQLite, and PostgreSQL where a test asks for both."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text

from control import registry, schema, sealing
from control.app import create_app
from control.claims import Claim, claim
from control.database import Database
from control.models import Event, Record, Token, VirtualHost
from control.plane import Plane, Who
from control.ports import AddressAnswer, ProbeAnswer
from control.provisioning import provision
from control.reconcile import reconcile
from control.registry import Wish
from control.sealing import Keyring
from control.settings import Settings
from deploy.postgresql import Cluster
from tests.fakes.authority import FakeAuthority
from tests.fakes.edge_store import FakeEdgeStore
from tests.fakes.issuer import Issuer
from tests.fakes.resolver import FakeResolver

TEST = Who("test")


@dataclass
class Clock:
    """A clock that stands still until it is moved."""

    moment: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __call__(self) -> datetime:
        """Now."""
        return self.moment

    def forward(self, **time: float) -> None:
        """Let time pass, e.g. `forward(days=60)`."""
        self.moment += timedelta(**time)


class StoreProbe:
    """Port 80 as the fake edges answer it."""

    def __init__(self, store: FakeEdgeStore) -> None:
        self._store = store

    def get(self, hostname: str, address: str, port: int, path: str) -> ProbeAnswer:
        """See the port."""
        body = self._store.look(hostname, path.rpartition("/")[2])
        return ProbeAnswer(address, 200 if body else 404, (body or "not here").encode())


@dataclass
class House:
    """The control plane under test with the fakes it was given."""

    plane: Plane
    store: FakeEdgeStore
    authority: FakeAuthority
    resolver: FakeResolver
    clock: Clock

    def add(self, hostname: str = "mail.acme.test", **wish: object) -> VirtualHost:
        """Create or update a virtual host."""
        return registry.put(self.plane, hostname, Wish(**wish), TEST)[0]  # type: ignore[arg-type]

    def work(self, rounds: int = 10) -> list[str]:
        """Let one worker do what is due now, until nothing is; the hostnames it worked on."""
        done: list[str] = []
        for _ in range(rounds):
            claimed = claim(self.plane.database, "worker", self.clock(), 10)
            if not claimed:
                break
            for held in claimed:
                provision(self.plane, held)
                done.append(held.hostname)
        return done

    def take(self, hostname: str = "mail.acme.test") -> Claim:
        """Claim one that is due."""
        return next(
            held
            for held in claim(self.plane.database, "worker", self.clock(), 100)
            if held.hostname == hostname
        )

    def host(self, hostname: str = "mail.acme.test") -> VirtualHost:
        """The record, tombstones too."""
        with self.plane.database.reading() as session:
            host = session.query(VirtualHost).filter_by(hostname=hostname).one()
            _ = host.order, host.domains, host.certificate
            return host

    def events(self, hostname: str = "mail.acme.test") -> list[str]:
        """Kinds of its events, oldest first."""
        with self.plane.database.reading() as session:
            rows = session.query(Event).filter_by(hostname=hostname).order_by(Event.id)
            return [row.kind for row in rows]

    def last_event(self) -> Event:
        """The newest event of all."""
        with self.plane.database.reading() as session:
            return session.query(Event).order_by(Event.id.desc()).first()  # type: ignore[return-value]


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy."""
    path = tmp_path_factory.mktemp("template") / "control.sqlite3"
    database = Database(f"sqlite:///{path}")
    schema.upgrade(database)
    with database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    database.engine.dispose()
    return path


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """A private PostgreSQL cluster; the URL of its migrated database."""
    cluster = Cluster().start()
    database = Database(cluster.url)
    schema.upgrade(database)
    database.engine.dispose()
    yield cluster.url
    cluster.stop()


@pytest.fixture(scope="session")
def keyring_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A keyring with one key."""
    path = tmp_path_factory.mktemp("keyring") / "keyring"
    sealing.write(path, {"k1": b"1" * 32})
    return path


DATABASE = os.environ.get("TEST_DATABASE", "sqlite")
"""On which database tests run that do not ask for both; `make faults` runs them all on PostgreSQL too."""


@pytest.fixture(params=[DATABASE])
def database(request: pytest.FixtureRequest, template: Path, tmp_path: Path) -> Iterator[Database]:
    """An empty database with our schema; parametrize with `both_databases` to run on PostgreSQL too."""
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql")
        opened = Database(url)
        with opened.engine.begin() as connection:
            names = ", ".join(f'"{name}"' for name in Record.metadata.tables)
            connection.execute(text(f"TRUNCATE {names} RESTART IDENTITY CASCADE"))
    else:
        shutil.copy(template, tmp_path / "control.sqlite3")
        opened = Database(f"sqlite:///{tmp_path}/control.sqlite3")
    yield opened
    opened.engine.dispose()


@pytest.fixture
def house(database: Database, keyring_path: Path) -> House:
    """A control plane with a fresh copy, one live edge, a CA that issues and DNS that points here."""
    store, clock = FakeEdgeStore(), Clock()
    authority = FakeAuthority(look=store.look, issuer=Issuer(now=clock))
    resolver = FakeResolver(default=AddressAnswer((), ("192.0.2.1",), ()))
    settings = Settings(
        acme_directory_url=authority.directory_url,
        edge_public_addresses=("192.0.2.1",),
        primary_hostname="mail.provider.test",
        reserved_hostnames=("mail.kept.test",),
        allow_private_addresses=True,
    )
    plane = Plane(
        settings=settings,
        database=database,
        store=store,
        keyring=Keyring(keyring_path),
        authority=lambda _: authority,
        resolver=resolver,
        probe=StoreProbe(store),
        clock=clock,
    )
    reconcile(plane)
    return House(plane, store, authority, resolver, clock)


@pytest.fixture
def token(house: House) -> str:
    """A token that may do everything."""
    record, secret = Token.create("tester", house.clock())
    with house.plane.database.writing() as session:
        session.add(record)
    return secret


@pytest.fixture
def client(house: House, token: str) -> FlaskClient:
    """The API with that token."""
    client = create_app(house.plane).test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    return client


both_databases = pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)
