"""Renewal as the CA suggests it, through the whole chain and the real adapter."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from deploy.process import free_port
from tests.fakes.ca_server import CaServer, Refused, certificate_id
from tests.faults.conftest import Build, Chain

NAME = "mail.acme.test"
MINUTE = timedelta(minutes=1)


@pytest.fixture(scope="module")
def server() -> Iterator[CaServer]:
    """A CA with renewal information; it looks at the port that the chain will answer."""
    server = CaServer(free_port())
    yield server
    server.close()


@pytest.fixture(scope="module")
def chain(server: CaServer, chain_on: Build) -> Chain:
    """The control plane on that CA, and one host."""
    chain = chain_on(server.directory_url, server.http_port)
    chain.provision(NAME)
    return chain


def work_until_due(chain: Chain) -> None:
    """Let time pass to the next moment at which the host is due, and work."""
    due = chain.house.host(NAME).due_at
    assert due
    chain.clock.sleep(max((due - chain.clock.now()).total_seconds(), 0))
    chain.house.work()


def test_a_certificate_that_the_ca_takes_back_is_replaced_as_soon_as_we_hear_of_it(
    chain: Chain, server: CaServer
) -> None:
    before = chain.house.host(NAME).certificate
    assert before
    now = chain.clock.now()
    server.windows[certificate_id(before.chain)] = (now - 60 * MINUTE, now - 30 * MINUTE)
    server.explanation = "https://ca.example/incident"

    asked = server.count("renewalInfo")
    work_until_due(chain)
    heard = chain.clock.now()
    while chain.house.host(NAME).certificate.sha256 == before.sha256:
        assert chain.clock.now() - heard < 10 * MINUTE, "not replaced within ten minutes"
        work_until_due(chain)

    assert server.count("renewalInfo") > asked
    assert server.last_order().replaces == certificate_id(before.chain)
    assert "renewal_moved" in chain.house.events(NAME)
    assert chain.house.host(NAME).status == "ready"


def test_renewal_information_is_asked_for_when_the_ca_says(chain: Chain, server: CaServer) -> None:
    server.renewal_retry_after = str(3 * 3600)
    server.default_window = None
    work_until_due(chain)
    asked = chain.clock.now()
    count = server.count("renewalInfo")
    work_until_due(chain)
    assert server.count("renewalInfo") == count + 1
    assert timedelta(hours=3) <= chain.clock.now() - asked < timedelta(hours=3, minutes=1)


def test_a_ca_that_does_not_answer_about_renewal_is_asked_again_and_nothing_breaks(
    chain: Chain, server: CaServer
) -> None:
    before = chain.house.host(NAME).certificate
    server.say("renewalInfo", Refused(500, "serverInternal", "busy"), 99)
    work_until_due(chain)
    host = chain.house.host(NAME)
    assert host.status == "ready"
    assert host.certificate
    assert before
    assert host.certificate.sha256 == before.sha256
    assert host.due_at
    assert host.due_at > chain.clock.now()
