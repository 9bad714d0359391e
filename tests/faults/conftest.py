"""A whole control plane in memory that talks to a real CA, on a clock that passes when it is slept."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import delete

from control.adapters.acme_authority import AcmeAuthority
from control.database import Database
from control.models import Account
from control.plane import Plane
from control.ports import AddressAnswer
from control.reconcile import reconcile
from control.sealing import Keyring
from control.settings import Settings
from tests.control.conftest import House, StoreProbe, keyring_path, template  # noqa: F401
from tests.fakes.authority import FakeAuthority
from tests.fakes.clock import Clock
from tests.fakes.edge_store import FakeEdgeStore
from tests.fakes.port80 import Port80
from tests.fakes.resolver import FakeResolver

Build = Callable[..., "Chain"]


class StandingClock(Clock):
    """A clock that stands still until it is slept or moved, and can be called."""

    def __init__(self) -> None:
        super().__init__()
        self.start = super().now()

    def now(self) -> datetime:
        """The start and everything that was slept."""
        return self.start + self.offset

    __call__ = now


@dataclass
class Chain:
    """The control plane's own chain on a real CA; `port80` answers what was published to edges."""

    house: House
    clock: StandingClock
    port80: Port80

    def provision(self, hostname: str, tries: int = 40) -> None:
        """Create a host and let the worker do what is due, again and again, until it is ready."""
        self.house.add(hostname)
        for _ in range(tries):
            self.house.work()
            host = self.house.host(hostname)
            if host.status == "ready":
                return
            assert host.due_at, f"{hostname} is {host.status} and never due again"
            wait = (host.due_at - self.clock.now()).total_seconds()
            self.clock.sleep(max(wait, 0.0))
        raise AssertionError(f"{hostname} is not ready after {tries} tries: {host.error}")

    def forget_accounts(self) -> None:
        """Start over with the CA."""
        with self.house.plane.database.writing() as session:
            session.execute(delete(Account))

    def reasons(self, hostname: str) -> list[str]:
        """Kinds of its events."""
        return self.house.events(hostname)


@pytest.fixture(scope="module")
def chain_on(
    template: Path,  # noqa: F811
    keyring_path: Path,  # noqa: F811
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Build]:
    """Build a chain on a CA's directory."""
    opened: list[tuple[Database, Port80]] = []

    def build(
        directory_url: str, http_port: int, *, ca_bundle: str | None = None, timeout: float = 8
    ) -> Chain:
        path = tmp_path_factory.mktemp("chain") / "control.sqlite3"
        shutil.copy(template, path)
        database, store, clock = Database(f"sqlite:///{path}"), FakeEdgeStore(), StandingClock()
        port80 = Port80(http_port, store.look)
        opened.append((database, port80))
        resolver = FakeResolver(default=AddressAnswer((), ("192.0.2.1",), ()))
        authority = AcmeAuthority(
            directory_url, ca_bundle=ca_bundle, timeout=timeout, now=clock.now, sleep=clock.sleep
        )
        settings = Settings(
            acme_directory_url=directory_url,
            edge_public_addresses=("192.0.2.1",),
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
        # A House holds fakes; the authority is never asked of it here, the plane's own is.
        never = replace(FakeAuthority(store.look), blocked=())
        return Chain(House(plane, store, never, resolver, clock), clock, port80)

    yield build
    for database, port80 in opened:
        database.engine.dispose()
        port80.close()
