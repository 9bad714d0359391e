"""One worker follows Redis, by a lease: who hangs is followed by another, and does not move on what that one has."""

import json
import os
import signal
from pathlib import Path
from typing import BinaryIO

import pytest

from deploy.edge import health
from deploy.process import free_port
from tests.edge.conftest import A, B
from tests.edge.visitor import eventually


def syncer(edge):
    """The worker that follows Redis; None while nobody does."""
    return health(edge.status_port).get("syncer")


def once_read(pipe: Path) -> BinaryIO:
    """A named pipe's other end, as soon as somebody reads from it, who then waits for what is written."""
    return eventually(lambda: os.fdopen(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK), "wb"))


@pytest.mark.parametrize("later", ["later.acme.test", None], ids=["another host", "the same host"])
@pytest.mark.parametrize("hostname", [A, B], ids=["read along with the feed", "read behind it"])
def test_who_lost_the_lease_over_a_publish_sets_nothing_back(edges, hostname, later):
    nowhere = f"redis://127.0.0.1:{free_port()}/0"  # (1) a heartbeat would read the keyring first
    edge = edges.make(heartbeat_redis_url=nowhere)
    publisher, ring = edge.publisher, edge.publisher.keyring
    edge.settle(publisher.publish(B))
    edge.settle(publisher.publish(A))  # (2) who was published last is read along from now on
    first = syncer(edge)
    ring.add("k2")
    file = ring.path.rename(ring.path.with_name("file"))
    os.mkfifo(ring.path)
    publisher.publish(hostname, kid="k2")
    with once_read(ring.path) as keys:  # (3) it hangs between look at feed and look at lease
        file.rename(ring.path)
        eventually(lambda: syncer(edge) not in (first, None), seconds=20)
        newest = publisher.authority.leaf(later or hostname)
        revision = publisher.publish(newest.hostname, leaf=newest)
        edge.settle(revision)
        with edge.alone(first):
            keys.write(ring.path.read_bytes())
            keys.close()
            report = eventually(lambda: health(edge.status_port))
    assert (report["worker"], report["applied"]) == (first, revision)
    eventually(lambda: "another worker follows Redis by now" in edge.log())
    assert {edge.serves(newest.hostname) for _ in range(4)} == {newest.sha256}
    assert json.loads(edge.status(f"/hosts/{newest.hostname}").body)["rev"] == revision


def test_with_long_time_outs_a_syncer_that_waits_keeps_the_lease_and_one_that_dies_does_not(edges):
    edge = edges.make(redis_timeout="5000")
    edge.settle(edge.publisher.publish(A))
    first, seen = syncer(edge), set()

    def has_waited():
        seen.add(syncer(edge))
        return edge.metric("edge_redis_errors_total") >= 2

    edge.redis_process.signal(signal.SIGSTOP)
    eventually(has_waited, seconds=60)
    edge.redis_process.signal(signal.SIGCONT)
    edge.settle(edge.publisher.publish(B))
    assert seen | {syncer(edge)} == {first}
    os.kill(first, signal.SIGKILL)
    eventually(lambda: syncer(edge) not in (first, None))
    edge.settle(edge.publisher.publish(A))
