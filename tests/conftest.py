"""Real services for every test, on free ports; nothing here touches a running demo."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
from hypothesis import HealthCheck, settings

from deploy import services
from deploy.process import Process, free_port

# A slow machine is no failure; what fails prints how to fail again.
settings.register_profile(
    "patient", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("patient")


@dataclass
class RedisServer:
    """A running Redis: its url, a client with all rights, and its process."""

    port: int
    process: Process

    @property
    def url(self) -> str:
        """`redis://127.0.0.1:<port>/0`."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def client(self) -> redis.Redis:
        """A client that decodes answers to text."""
        return redis.Redis(port=self.port, decode_responses=True, socket_timeout=5)


@dataclass
class Pebble:
    """A running Pebble with its DNS stub."""

    directory: Path
    port: int
    management_port: int
    dns_port: int
    dns_management_port: int
    http_port: int
    process: Process
    dns_process: Process

    @property
    def directory_url(self) -> str:
        """The ACME directory."""
        return f"https://127.0.0.1:{self.port}/dir"

    @property
    def ca_bundle(self) -> Path:
        """What an ACME client trusts to talk to Pebble (not what browsers trust of its leaves)."""
        return services.pebble_files(self.directory).ca

    def root(self) -> bytes:
        """PEM of the root that signs the leaves."""
        return services.pebble_root(self.directory, self.management_port)

    def dns(self, path: str, **body: object) -> None:
        """Tell the DNS stub, e.g. `dns("add-a", host="x.example.", addresses=["127.0.0.9"])`."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.dns_management_port}/{path}", json.dumps(body).encode()
        )
        urllib.request.urlopen(request, timeout=5).close()


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """An empty Redis of this test module's own."""
    port = free_port()
    process = services.redis_server(tmp_path_factory.mktemp("redis"), port).start()
    yield RedisServer(port, process)
    process.kill()


@pytest.fixture(scope="module")
def pebble(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    """Pebble (5 % nonce rejection) and its DNS stub; `http_port` is free for the edge to listen on."""
    directory = tmp_path_factory.mktemp("pebble")
    port, management, dns, dns_management, http = (free_port() for _ in range(5))
    dns_process = services.dns_server(directory, dns, dns_management).start()
    process = services.pebble(directory, port, management, dns_port=dns, http_port=http).start()
    yield Pebble(directory, port, management, dns, dns_management, http, process, dns_process)
    process.kill()
    dns_process.kill()


@pytest.fixture(scope="session")
def edge_stack(tmp_path_factory):
    """Everything but Modoboa: Redis, Pebble, API, worker, nginx; shared by the whole run."""
    from deploy.stack import Ports
    from tests.running import RunningStack

    stack = RunningStack(tmp_path_factory.mktemp("edge-stack"), Ports.free())
    try:
        stack.bring_up(stack.begin, print, with_modoboa=False)
        yield stack
    finally:
        stack.end()


@pytest.fixture(scope="session")
def full_stack(tmp_path_factory):
    """The whole system with a real Modoboa and both demo tenants online; shared by the whole run."""
    from deploy.onboarding import onboard
    from deploy.stack import Ports
    from tests.running import RunningStack

    stack = RunningStack(tmp_path_factory.mktemp("full-stack"), Ports.free())
    try:
        stack.bring_up(stack.begin, print)
        onboard(stack, print)
        yield stack
    finally:
        stack.end()
