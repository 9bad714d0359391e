"""A CA that misbehaves: twelve faults on six calls each, and half of all nonces refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import pairwise

import pytest

from control import registry
from control.adapters.acme_authority import AcmeAuthority
from control.pauses import SPREAD
from deploy import services
from deploy.process import free_port
from tests.conftest import Pebble
from tests.control.conftest import TEST
from tests.faults.conftest import Build, Chain
from tests.faults.proxy import CALLS, FAULTS, RETRY_AFTER, FaultProxy

TIMES = 7  # how many requests of the call are harmed: more than the adapter itself tries
TIMES_OF_SLOW = 2
TIMEOUT = 1.0  # seconds; the proxy hangs longer


@dataclass
class Scene:
    """The chain, the proxy behind it, and Pebble behind that."""

    chain: Chain
    proxy: FaultProxy
    ca: str

    def restart(self) -> None:
        """Another process: the database stays, and what the adapter remembered is gone."""
        clock = self.chain.clock
        fresh = AcmeAuthority(
            self.proxy.directory_url,
            ca_bundle=self.ca,
            timeout=TIMEOUT,
            now=clock.now,
            sleep=clock.sleep,
        )
        house = self.chain.house
        house.plane = replace(house.plane, authority=lambda _: fresh)


@pytest.fixture(scope="module")
def scene(pebble: Pebble, chain_on: Build) -> Iterator[Scene]:
    """One Pebble for all faults."""
    files = services.pebble_files(pebble.directory)
    proxy = FaultProxy(pebble.port, files, hang=1.5 * TIMEOUT)
    ca = str(files.ca)
    chain = chain_on(proxy.directory_url, pebble.http_port, ca_bundle=ca, timeout=TIMEOUT)
    proxy.clock = chain.clock.now
    yield Scene(chain, proxy, ca)
    proxy.close()


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_that_ends_leaves_a_host_ready_within_a_minute(
    scene: Scene, fault: str, call: str
) -> None:
    hostname = f"{fault}.{call.lower()}.example"
    scene.chain.forget_accounts()
    times = TIMES_OF_SLOW if fault in ("timeout", "slow") else TIMES
    scene.proxy.harm(fault, call, times)

    scene.chain.provision(hostname)

    assert scene.proxy.left < times, "the fault was never met"
    assert scene.proxy.ended
    assert scene.chain.clock.now() - scene.proxy.ended < timedelta(seconds=60)
    if fault in ("429", "503"):
        for earlier, later in pairwise(scene.proxy.requests()[: times + 1]):
            assert later - earlier >= timedelta(seconds=RETRY_AFTER), "asked again too early"


@pytest.mark.parametrize("call", ["newAccount", "newOrder"])
@pytest.mark.parametrize("fault", ["429", "503"])
def test_nobody_asks_within_retry_after_be_it_another_host_a_retry_or_after_a_restart(
    scene: Scene, fault: str, call: str
) -> None:
    house, clock = scene.chain.house, scene.chain.clock
    first, *others = (f"{fault}{call.lower()}{number}.quiet.example" for number in range(4))
    scene.chain.forget_accounts()
    scene.proxy.harm(fault, call, 1)
    house.add(first)
    house.work()
    assert len(scene.proxy.requests()) == 1

    for name in others:
        house.add(name)
    house.work()
    clock.sleep(RETRY_AFTER / 2)
    registry.retry(house.plane, first, TEST)
    house.work()
    scene.restart()
    house.add(f"late.{first}")
    registry.renew(house.plane, first, TEST)
    house.work()
    clock.sleep(RETRY_AFTER / 2 - 1)
    house.work()
    assert len(scene.proxy.requests()) == 1, "asked again too early"

    clock.sleep(1 + SPREAD.total_seconds())
    house.work()
    hosts = [house.host(name) for name in (first, *others, f"late.{first}")]
    assert {host.status for host in hosts} == {"ready"}


def test_thirty_hosts_are_ready_though_half_of_all_nonces_are_refused(
    pebble: Pebble, chain_on: Build, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("hostile")
    port, management, http = free_port(), free_port(), free_port()
    process = services.pebble(
        directory, port, management, dns_port=pebble.dns_port, http_port=http, nonce_reject=50
    ).start()
    ca = str(services.pebble_files(directory).ca)
    chain = chain_on(f"https://127.0.0.1:{port}/dir", http, ca_bundle=ca)
    try:
        for number in range(30):
            # Ten retries a POST leave one in 2,048 refused for good; the host's next try then takes over.
            chain.provision(f"hostile{number}.example", tries=4)
            assert chain.reasons(f"hostile{number}.example")[-1] == "ready"
    finally:
        process.kill()
