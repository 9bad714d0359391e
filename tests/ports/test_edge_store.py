"""The edges' store: the same promises of the fake and of Redis."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from control.adapters.redis_edge import RedisEdgeStore, connect
from control.ports import (
    Challenge,
    EdgeCertificate,
    EdgeHost,
    EdgeStore,
    Heard,
    PublishRefused,
    StoreUnavailable,
)
from deploy.process import free_port
from tests.conftest import RedisServer
from tests.fakes.edge_store import FakeEdgeStore

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
EPOCH = "epoch-1"
CERTIFICATE = EdgeCertificate(
    chain="-----BEGIN CERTIFICATE-----\n…\n-----END CERTIFICATE-----\n",
    sealed_key="v1:k1:AAAA",
    spki="11" * 32,
    sha256="22" * 32,
    not_before=NOW,
    not_after=NOW + timedelta(days=90),
    issuer="Test CA",
    serial="0a",
    sans=("mail.acme.test",),
)
HOST = EdgeHost(
    hostname="mail.acme.test",
    kind="tenant",
    state="pending",
    domains=("acme.test",),
    theme={"theme_primary_color": "#ff0000"},
    hsts_max_age=None,
    generation=7,
    change=3,
    updated_at=NOW,
)
CHALLENGE = Challenge("mail.acme.test", "https://ca/1", "t" * 43, "t.thumbprint")


@pytest.fixture(params=["fake", "redis"])
def store(request: pytest.FixtureRequest) -> EdgeStore:
    if request.param == "fake":
        made: EdgeStore = FakeEdgeStore()
    else:
        server: RedisServer = request.getfixturevalue("redis_server")
        server.client.flushall()
        made = RedisEdgeStore(connect(server.url))
    made.begin(EPOCH)
    return made


def test_each_publish_gets_the_next_revision(store: EdgeStore) -> None:
    first = store.publish(HOST, epoch=EPOCH, at_least=0)
    second = store.publish(replace(HOST, hostname="b.acme.test"), epoch=EPOCH, at_least=0)
    assert (first, second) == (1, 2)
    assert store.index() == {"mail.acme.test": 1, "b.acme.test": 2}


def test_the_revision_never_goes_back_behind_what_the_truth_knows(store: EdgeStore) -> None:
    assert store.publish(HOST, epoch=EPOCH, at_least=1000) == 1001
    assert store.publish(HOST, epoch=EPOCH, at_least=5) == 1002


def test_a_publish_into_another_epoch_is_refused_and_writes_nothing(store: EdgeStore) -> None:
    with pytest.raises(PublishRefused) as refusal:
        store.publish(HOST, epoch="another", at_least=0)
    assert refusal.value.why == "epoch"
    assert store.index() == {}


def test_an_older_generation_is_refused(store: EdgeStore) -> None:
    store.publish(HOST, epoch=EPOCH, at_least=0)
    with pytest.raises(PublishRefused) as refusal:
        store.publish(replace(HOST, generation=6, change=9), epoch=EPOCH, at_least=0)
    assert refusal.value.why == "generation"


def test_a_worker_that_lost_its_lease_cannot_undo_a_delete(store: EdgeStore) -> None:
    store.publish(replace(HOST, state="deleted", change=4), epoch=EPOCH, at_least=0)
    with pytest.raises(PublishRefused) as refusal:
        store.publish(replace(HOST, state="active", change=3), epoch=EPOCH, at_least=0)
    assert refusal.value.why == "lease"


def test_a_rebuild_writes_whatever_the_copy_holds(store: EdgeStore) -> None:
    store.publish(replace(HOST, change=9), epoch=EPOCH, at_least=0)
    store.begin("epoch-2")
    hosts = [HOST, replace(HOST, hostname="b.acme.test")]
    assert store.republish(hosts, epoch="epoch-2", at_least=0) == [2, 3]
    assert store.changes(["mail.acme.test", "b.acme.test", "c.acme.test"]) == [3, 3, None]


def test_a_rebuild_is_complete_only_at_its_end(store: EdgeStore) -> None:
    store.complete(EPOCH, 0)
    assert store.summary().complete == EPOCH
    store.begin("epoch-2")
    assert (store.summary().epoch, store.summary().complete) == ("epoch-2", None)


def test_a_tombstone_is_purged_once_and_raises_the_floor(store: EdgeStore) -> None:
    revision = store.publish(replace(HOST, state="deleted"), epoch=EPOCH, at_least=0)
    store.purge({"mail.acme.test": revision - 1})
    assert store.index() == {"mail.acme.test": revision}
    store.purge({"mail.acme.test": revision})
    assert store.index() == {}


def test_a_live_host_is_not_purged(store: EdgeStore) -> None:
    revision = store.publish(HOST, epoch=EPOCH, at_least=0)
    store.purge({"mail.acme.test": revision})
    assert store.index() == {"mail.acme.test": revision}


def test_foreign_hosts_are_removed(store: EdgeStore) -> None:
    store.publish(replace(HOST, certificate=CERTIFICATE), epoch=EPOCH, at_least=0)
    store.remove(["mail.acme.test"])
    assert store.index() == {}
    assert store.summary().hosts == 0


class TestOnRedis:
    """What `redis-cli` shows (docs/redis.md)."""

    @pytest.fixture
    def store(self, redis_server: RedisServer) -> RedisEdgeStore:
        redis_server.client.flushall()
        store = RedisEdgeStore(connect(redis_server.url))
        store.begin(EPOCH)
        return store

    def test_a_host_without_certificate_is_pending(
        self, store: RedisEdgeStore, redis_server: RedisServer
    ) -> None:
        store.publish(HOST, epoch=EPOCH, at_least=0)
        assert redis_server.client.hgetall("vh:host:mail.acme.test") == {
            "rev": "1",
            "state": "pending",
            "kind": "tenant",
            "domains": "acme.test",
            "cert": "",
            "theme": '{"theme_primary_color":"#ff0000"}',
            "hsts": "",
            "generation": "7",
            "change": "3",
            "updated_at": "2026-11-20T12:00:00Z",
        }
        assert redis_server.client.exists("vh:cert:mail.acme.test") == 0

    def test_a_certificate_comes_with_its_host_in_one_step(
        self, store: RedisEdgeStore, redis_server: RedisServer
    ) -> None:
        store.publish(
            replace(HOST, state="active", certificate=CERTIFICATE), epoch=EPOCH, at_least=0
        )
        found = redis_server.client.hgetall("vh:cert:mail.acme.test")
        assert found["sha256"] == redis_server.client.hget("vh:host:mail.acme.test", "cert")
        assert set(found) == {
            "chain", "key", "spki", "sha256", "not_before", "not_after", "issuer", "serial",
            "sans", "rev",
        }  # fmt: skip
        expiry = redis_server.client.zscore("vh:expiry", "mail.acme.test")
        assert expiry == CERTIFICATE.not_after.timestamp()

    def test_a_tombstone_keeps_neither_certificate_nor_expiry(
        self, store: RedisEdgeStore, redis_server: RedisServer
    ) -> None:
        store.publish(replace(HOST, certificate=CERTIFICATE), epoch=EPOCH, at_least=0)
        store.publish(replace(HOST, state="deleted", change=4), epoch=EPOCH, at_least=0)
        assert redis_server.client.exists("vh:cert:mail.acme.test") == 0
        assert redis_server.client.zcard("vh:expiry") == 0

    def test_a_challenge_is_set_with_its_host_and_ends_within_the_hour(
        self, store: RedisEdgeStore, redis_server: RedisServer
    ) -> None:
        store.publish(HOST, epoch=EPOCH, at_least=0, challenges=[CHALLENGE])
        key = f"vh:challenge:mail.acme.test:{CHALLENGE.token}"
        assert redis_server.client.get(key) == CHALLENGE.key_authorization
        assert 3500 < redis_server.client.ttl(key) <= 3600
        store.publish(HOST, epoch=EPOCH, at_least=0, forget=[CHALLENGE.token])
        assert redis_server.client.exists(key) == 0

    def test_every_publish_tells_its_revision_on_the_channel(
        self, store: RedisEdgeStore, redis_server: RedisServer
    ) -> None:
        channel = redis_server.client.pubsub(ignore_subscribe_messages=True)
        channel.subscribe("vh:changed")
        channel.get_message(timeout=2)
        store.publish(HOST, epoch=EPOCH, at_least=41)
        message = channel.get_message(timeout=2)
        assert message is not None
        assert message["data"] == "42"

    def test_a_certificate_that_went_missing_counts_as_missing(
        self, store: RedisEdgeStore, redis_server: RedisServer
    ) -> None:
        store.publish(replace(HOST, certificate=CERTIFICATE), epoch=EPOCH, at_least=0)
        assert store.changes(["mail.acme.test"]) == [3]
        redis_server.client.delete("vh:cert:mail.acme.test")
        assert store.changes(["mail.acme.test"]) == [None]

    @pytest.mark.parametrize("score", ["inf", 7.5])
    def test_a_score_that_is_no_revision_is_seen_and_written_over(
        self, store: RedisEdgeStore, redis_server: RedisServer, score: float
    ) -> None:
        store.publish(HOST, epoch=EPOCH, at_least=6)
        redis_server.client.zadd("vh:hosts", {"mail.acme.test": score})
        assert store.index() == {"mail.acme.test": -1}
        (revision,) = store.republish([HOST], epoch=EPOCH, at_least=7)
        assert store.index() == {"mail.acme.test": revision}

    @pytest.mark.parametrize("corrupt", ["x", "inf", "1e99", "-3"])
    def test_a_revision_that_is_no_number_is_none(
        self, store: RedisEdgeStore, redis_server: RedisServer, corrupt: str
    ) -> None:
        redis_server.client.set("vh:rev", corrupt)
        assert store.publish(HOST, epoch=EPOCH, at_least=41) == 42
        redis_server.client.set("vh:rev", "x")
        assert store.summary().revision == 0

    def test_edges_are_who_sent_a_heartbeat(
        self, store: RedisEdgeStore, redis_server: RedisServer
    ) -> None:
        assert store.edges() == []
        heartbeat = {"rev": 5, "epoch": EPOCH, "hosts": 2, "certificates": 1, "refused": "",
                     "kids": "k1 k2", "last_sync": 1763640000, "version": "1"}  # fmt: skip
        redis_server.client.hset("vh:edge:edge-1", mapping=heartbeat)
        (edge,) = store.edges()
        assert (edge.edge, edge.revision, edge.kids) == ("edge-1", 5, ("k1", "k2"))

    def test_a_heartbeat_of_another_version_is_read_as_far_as_it_goes(
        self, store: RedisEdgeStore, redis_server: RedisServer
    ) -> None:
        redis_server.client.hset("vh:edge:odd", mapping={"rev": "many", "last_sync": "yesterday"})
        (edge,) = store.edges()
        assert (edge.edge, edge.revision) == ("odd", 0)

    def test_a_heartbeat_counts_more_refused_hosts_than_it_names(
        self, store: RedisEdgeStore, redis_server: RedisServer
    ) -> None:
        client = redis_server.client
        client.hset("vh:edge:edge-1", mapping={"refused": "a.test b.test", "refusing": 2})
        (edge,) = store.edges()
        assert (edge.takes("a.test"), edge.takes("c.test")) == (False, True)
        client.hset("vh:edge:edge-1", "refusing", 3)
        (edge,) = store.edges()
        assert (edge.takes("a.test"), edge.takes("c.test")) == (False, None)

    def test_a_nudge_wakes_who_waits(
        self, store: RedisEdgeStore, redis_server: RedisServer
    ) -> None:
        assert store.listen(2) is Heard.CONNECTED
        assert store.listen(0.05) is Heard.NOTHING
        store.nudge()
        assert store.listen(2) is Heard.NUDGE

    def test_a_new_connection_is_told_however_short_the_break_was(
        self, store: RedisEdgeStore, redis_server: RedisServer
    ) -> None:
        store.listen(2)
        assert redis_server.client.client_kill_filter(_type="pubsub") == 1
        heard = [store.listen(2) for _ in range(3)]
        assert heard.count(Heard.CONNECTED) == 1
        store.nudge()
        assert store.listen(2) is Heard.NUDGE


def test_a_redis_that_is_away_is_said_to_be_so() -> None:
    store = RedisEdgeStore(connect(f"redis://127.0.0.1:{free_port()}/0"))
    with pytest.raises(StoreUnavailable) as problem:
        store.summary()
    assert problem.value.reason == "redis_unavailable"
    store.nudge()
