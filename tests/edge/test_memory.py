"""Shared memory: another size at a reload is a fresh, empty zone, and no visitor notices."""

import time

import pytest

from deploy import edge as deployed
from tests.edge import outages
from tests.edge.conftest import A, B
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
