"""Shared memory: another size at a reload is a fresh, empty zone, and no visitor notices."""

import json
import os
import signal
import time

import pytest

from deploy import edge as deployed
from tests.edge import outages
from tests.edge.conftest import A, B
from tests.edge.publisher import DAY, NOW
from tests.edge.visitor import eventually


def reload_with(edge, **settings):
    """Configure other settings and reload; the former workers are gone when this returns."""
    before = set(edge.workers())
    edge.env |= {"EDGE_" + name.upper(): value for name, value in settings.items()}
    deployed.configure(edge.directory, edge.env)
    edge.reload()
    eventually(lambda: edge.workers() and not before & set(edge.workers()), seconds=20)


@pytest.mark.parametrize(
    "settings",
    [
        {"index_memory": "3"},
        {"certificate_memory": "9"},
        {"index_memory": "3", "certificate_memory": "9"},
    ],
    ids=lambda settings: "+".join(settings),
)
def test_a_reload_with_another_memory_size_refuses_nobody(edges, settings):
    edge = edges.make(index_memory="2", certificate_memory="8")
    for name in (A, B):
        edge.settle(edge.publisher.publish(name))
    edge.settle(edge.publisher.publish("off.acme.test", state="disabled"))
    with outages.UnderLoad(edge) as load:
        reload_with(edge, **settings)
        time.sleep(1.2)
    run = load.result()
    assert (run.failed, run.completed > 100) == (0, True)
    eventually(lambda: edge.status("/healthz").body.find(b'"index":"complete"') > 0)
    assert edge.serves(B) == edge.publisher.leaves[B].sha256
    assert edge.refuses("off.acme.test")
    assert edge.refuses("nobody.test")
    eventually(lambda: edge.metric("edge_hosts") == 3)
    edge.settle(edge.publisher.withdraw(B))
    assert edge.refuses(B)


def test_while_redis_is_away_too_what_is_held_is_served_after_such_a_reload(edges):
    edge = edges.make(index_memory="2")
    edge.settle(edge.publisher.publish(A))
    edge.redis_process.kill()
    reload_with(edge, index_memory="3")
    assert edge.serves(A) == edge.publisher.leaves[A].sha256
    assert edge.get(A).status == 200


def end(edge, disabled, deleted, *, many):
    """Publish that these are so; `many`: among so many others, at once, that only state and generation are read."""
    for pid in edge.workers() if many else ():
        os.kill(pid, signal.SIGSTOP)
    for name in disabled:
        edge.publisher.publish(name, state="disabled")
    for name in deleted:
        revision = edge.publisher.withdraw(name)
    for number in range(70) if many else ():
        revision = edge.publisher.publish(f"n{number}.acme.test", with_certificate=False)
    for pid in edge.workers() if many else ():
        os.kill(pid, signal.SIGCONT)
    edge.settle(revision)


@pytest.mark.parametrize("way", ["one by one", "many at once", "absent from a new data set"])
def test_who_is_not_live_any_more_is_not_served_from_what_was_held(edges, way):
    edge, off = edges.make(index_memory="2"), "off.acme.test"
    for name in (off, B, A):
        edge.settle(edge.publisher.publish(name))
    if way == "absent from a new data set":
        for name in (off, B):
            edge.publisher.leaves.pop(name)
        outages.refill(edge, "e2")
    else:
        end(edge, [off], [B], many=way == "many at once")
    eventually(lambda: edge.refuses(B) and edge.refuses(off))
    assert edge.serves(A)
    edge.redis_process.kill()
    reload_with(edge, index_memory="3")
    assert edge.serves(A) == edge.publisher.leaves[A].sha256
    for _ in range(4):
        assert edge.refuses(B)
        assert edge.refuses(off)


def test_what_ends_first_is_known_from_what_is_held_also_while_redis_is_empty(edges):
    edge = edges.make()
    edge.publisher.publish(A)
    old = edge.publisher.authority.leaf(B, not_before=NOW - 9 * DAY, not_after=NOW - DAY)
    edge.settle(edge.publisher.publish(B, leaf=old))
    ended = int((NOW - DAY).timestamp())
    eventually(lambda: edge.metric("edge_expired_served") == 1)
    assert edge.metric("edge_min_not_after_seconds") == ended
    edge.redis.flushall()
    eventually(lambda: outages.alarm(edge) == "empty")
    time.sleep(1.2)
    assert edge.metric("edge_min_not_after_seconds") == ended
    outages.refill(edge, "e2")
    edge.publisher.publish(B, leaf=edge.publisher.authority.leaf(B))
    first = int((NOW + 90 * DAY).timestamp())
    eventually(lambda: edge.metric("edge_min_not_after_seconds") == first)
    eventually(lambda: edge.metric("edge_expired_served") == 0)


def test_a_certificate_that_redis_no_longer_lists_still_counts(edges):
    edge = edges.make()
    soon = edge.publisher.authority.leaf(A, not_after=NOW + 3 * DAY)
    edge.settle(edge.publisher.publish(A, leaf=soon))
    edge.redis.delete("vh:expiry")
    time.sleep(1.2)
    ends = int((NOW + 3 * DAY).timestamp())
    eventually(lambda: edge.metric("edge_min_not_after_seconds") == ends)


def test_a_tombstone_leaves_the_index_once_redis_has_purged_it(edges):
    edge = edges.make()
    edge.publisher.publish(A)
    revision = edge.publisher.withdraw(B)
    edge.settle(revision)
    old = edge.publisher.authority.leaf("old.acme.test", not_before=NOW - 9 * DAY, not_after=NOW)
    edge.publisher.publish("old.acme.test", leaf=old)
    eventually(lambda: edge.metric("edge_expired_served") == 1)  # (1) which a sweep finds
    assert json.loads(edge.status(f"/hosts/{B}").body)["state"] == "deleted"
    edge.redis.zrem("vh:hosts", B)
    edge.redis.set("vh:floor", revision)
    eventually(lambda: edge.status(f"/hosts/{B}").status == 404)
    assert edge.refuses(B)
    assert edge.serves(A)
