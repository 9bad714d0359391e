"""What an edge tells of itself: metrics, its report of one host, its heartbeat."""

import json
import time

import pytest

from tests.edge.conftest import A, B
from tests.edge.publisher import DAY, NOW
from tests.edge.visitor import eventually


@pytest.fixture(scope="module")
def teller(edges):
    """An edge with one worker, a host until in 20 days and one until in 40, and one that is pending."""
    edge = edges.make(workers="1")
    for name, days in ((A, 40), (B, 20)):
        leaf = edge.publisher.authority.leaf(name, not_after=NOW + days * DAY)
        edge.publisher.publish(name, leaf=leaf)
    edge.settle(edge.publisher.publish("new.acme.test", state="pending", with_certificate=False))
    return edge


def ends(edge, name):
    """When a host's certificate ends, in unix seconds."""
    return edge.publisher.leaves[name].certificate.not_valid_after_utc.timestamp()


def report(edge, name):
    """What the status listener says of a host."""
    return json.loads(edge.status(f"/hosts/{name}").body)


def test_the_first_certificate_to_end_is_a_metric(teller):
    eventually(lambda: teller.metric("edge_min_not_after_seconds") == ends(teller, B))
    short = teller.publisher.authority.leaf("short.acme.test", not_after=NOW + 2 * DAY)
    teller.settle(teller.publisher.publish("short.acme.test", leaf=short))
    until = (NOW + 2 * DAY).timestamp()
    eventually(lambda: teller.metric("edge_min_not_after_seconds") == until)
    teller.settle(teller.publisher.withdraw("short.acme.test"))
    eventually(lambda: teller.metric("edge_min_not_after_seconds") == ends(teller, B))


def test_why_a_handshake_was_refused_is_counted(teller):
    off, bare = "off.acme.test", "bare.acme.test"
    teller.publisher.publish(off, state="disabled")
    teller.settle(teller.publisher.publish(bare, with_certificate=False))
    refused = {"no_name": None, "unknown": "nobody.test", "not_active": off, "no_certificate": bare}
    names = {reason: f'edge_handshakes_total{{result="{reason}"}}' for reason in refused}
    before = {reason: teller.metric(name) for reason, name in names.items()}
    for sni in refused.values():
        assert teller.refuses(sni)
    for reason, name in names.items():
        assert teller.metric(name) == before[reason] + 1


def test_why_a_request_was_refused_is_counted(teller):
    names = [f'edge_requests_total{{result="{why}"}}' for why in ("not_live", "misdirected")]
    before = [teller.metric(name) for name in names]
    for host, status in (("nobody.test", 404), (B, 421)):
        with teller.visit(A) as visit:
            assert visit.get("/api/", host).status == status
    assert [teller.metric(name) for name in names] == [count + 1 for count in before]


def test_the_report_of_a_host_says_revision_expiry_and_where_it_is_held(teller):
    name = "seen.acme.test"
    revision = teller.publisher.publish(name)
    teller.settle(revision)
    told = report(teller, name)
    assert (told["rev"], told["held_at_revision"]) == (revision, revision)
    assert told["not_after"] == ends(teller, name)
    assert told["cached"] == {"shared_memory": True, "this_worker": False}
    assert teller.serves(name)
    assert report(teller, name)["cached"] == {"shared_memory": True, "this_worker": True}
    newer = teller.publisher.publish(name, leaf=teller.publisher.authority.leaf(name))
    teller.settle(newer)
    assert (report(teller, name)["rev"], newer) == (newer, revision + 1)


def test_what_was_applied_stays_applied_when_nothing_is_new(teller):
    revision = teller.publisher.publish("still.acme.test")
    teller.settle(revision)
    before = teller.metric("edge_syncs_total")
    while teller.metric("edge_syncs_total") < before + 3:
        assert teller.metric("edge_applied_revision") == revision


def test_a_heartbeat_says_how_many_certificates_are_held_and_when_redis_was_last_heard(teller):
    key = f"vh:edge:{teller.env['EDGE_ID']}"
    held = int(teller.metric("edge_certificates_cached"))
    teller.settle(teller.publisher.publish("counted.acme.test"))
    eventually(lambda: teller.redis.hget(key, "certificates") == str(held + 1))
    before = time.time()
    teller.settle(teller.publisher.publish("counted.acme.test"))
    eventually(lambda: float(teller.redis.hget(key, "last_sync")) >= before)
