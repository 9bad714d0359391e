"""The long forms of tests/edge/test_outages.py: a minute each, 100,000 full handshakes, none of which may fail."""

import os
import time

import pytest

from tests.bench.client import Load
from tests.edge import outages
from tests.edge.conftest import A, B
from tests.edge.publisher import Publisher
from tests.edge.sentinel import Watched
from tests.edge.visitor import eventually

pytestmark = pytest.mark.long

SECONDS = float(os.environ.get("EDGE_FAULT_SECONDS", "60"))
HANDSHAKES = int(os.environ.get("EDGE_FAULT_HANDSHAKES", "100000"))


@pytest.fixture
def live(edges):
    edge = edges.make()
    edge.publisher.publish(A)
    edge.settle(edge.publisher.publish(B))
    edge.serves(A)
    edge.serves(B)
    yield edge
    edge.stop()


FAULTS = [outages.killed, outages.stopped, outages.emptied, outages.rewound, outages.misplaced]


@pytest.mark.parametrize("fault", FAULTS)
def test_100000_full_handshakes_during_a_minutes_outage(live, fault):
    gone, meanwhile = "gone.acme.test", "meanwhile.acme.test"
    live.publisher.publish(meanwhile)
    live.publisher.publish(gone)
    live.settle(live.publisher.withdraw(gone))
    live.publisher.leaves.pop(gone)
    rate = HANDSHAKES / (SECONDS + 10)  # (1) from before the outage until after it
    load = Load(live.https, A, count=HANDSHAKES, threads=8, rate=rate)
    time.sleep(1)
    live.publisher.leaves.pop(meanwhile)  # (2) deleted in the database while Redis is away
    fault(live, SECONDS)
    outages.deleted_meanwhile(live, meanwhile, fault)
    eventually(lambda: outages.alarm(live) is None)
    assert load.process.poll() is None, "the load lasted longer than the outage"
    run = load.result()
    print(run)
    assert (run.completed, run.failed) == (HANDSHAKES, 0)
    assert live.refuses(gone)
    outages.delete_takes_effect(live)


def test_20_reloads(live):
    with outages.UnderLoad(live, rate=0) as load:
        for _ in range(20):
            live.reload()
            time.sleep(0.5)
    assert load.result().failed == 0
    assert live.serves(B) == live.publisher.leaves[B].sha256


def test_20_killed_workers_cost_only_their_own_open_connections(live):
    with outages.UnderLoad(live, rate=0) as load:
        for _ in range(20):
            outages.kill_a_worker(live)
            time.sleep(0.5)
    run = load.result()
    print(run)
    assert run.failed <= 20 * load.THREADS
    live.settle(live.publisher.publish("after.acme.test"))
    assert live.serves("after.acme.test")


def test_5_sentinel_failovers(edges, tmp_path):
    watched = Watched(tmp_path)
    edge = edges.make(start=False, begin=False, redis_url=watched.url)
    publisher = Publisher(
        watched.client(watched.primary()), edge.publisher.keyring, edge.publisher.authority
    )
    publisher.begin()
    revision = publisher.publish(A)
    edge.start()
    edge.settle(revision)
    try:
        with outages.UnderLoad(edge) as load:
            for _ in range(5):
                publisher.redis = watched.client(watched.fail_over())
                leaf = publisher.authority.leaf(A)
                publisher.publish(A, leaf=leaf)
                eventually(lambda leaf=leaf: edge.serves(A) == leaf.sha256, seconds=15)
                time.sleep(3)
        assert load.result().failed == 0
    finally:
        watched.end()
