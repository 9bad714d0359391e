"""The same tests on the fake and on the real of each port."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from control.adapters.acme_authority import AcmeAuthority
from control.ports import Account, CertificateAuthority, Order
from tests.conftest import Pebble
from tests.fakes.authority import FakeAuthority
from tests.fakes.ca_server import CaServer
from tests.fakes.csr import csr_der, new_account
from tests.fakes.port80 import Port80


@dataclass
class Ca:
    """A CA to ask, and the port 80 at which it looks."""

    authority: CertificateAuthority
    port80: Port80

    def registered(self) -> Account:
        """A new account of this CA."""
        return self.authority.register(new_account(self.authority.directory_url), None)

    def ready_order(self, account: Account, hostname: str) -> Order:
        """An order whose challenges are answered."""
        order = self.authority.new_order(account, hostname)
        for challenge in self.authority.challenges(account, order):
            self.port80.publish(challenge)
            self.authority.answer(account, challenge)
        return self.authority.wait_ready(account, order)

    def certificate(self, account: Account, hostname: str) -> str:
        """The chain of a certificate just issued."""
        order = self.authority.finalize(
            account, self.ready_order(account, hostname), csr_der(hostname)
        )
        return self.authority.download(account, order)


@pytest.fixture(scope="module")
def fake_ca() -> Iterator[Ca]:
    """The fake, which looks at what a test has published."""
    port80 = Port80()
    yield Ca(FakeAuthority(lambda hostname, token: port80.answers.get((hostname, token))), port80)
    port80.close()


@pytest.fixture(scope="module")
def server_ca() -> Iterator[Ca]:
    """The adapter on our own small CA server."""
    port80 = Port80()
    server = CaServer(port80.port)
    yield Ca(AcmeAuthority(server.directory_url), port80)
    server.close()
    port80.close()


@pytest.fixture(scope="module")
def pebble_ca(pebble: Pebble) -> Iterator[Ca]:
    """The adapter on a real Pebble."""
    port80 = Port80(pebble.http_port)
    yield Ca(AcmeAuthority(pebble.directory_url, ca_bundle=str(pebble.ca_bundle)), port80)
    port80.close()


@pytest.fixture(scope="module", params=["fake_ca", "server_ca", "pebble_ca"])
def ca(request: pytest.FixtureRequest) -> Ca:
    """Each CA that can be asked."""
    found: Ca = request.getfixturevalue(request.param)
    return found
