"""Values in Redis that nobody should have written: no worker dies, the last good is served, and it heals by itself."""

import base64
import json
import ssl
import time

import pytest

from tests.edge import outages
from tests.edge.conftest import A, B
from tests.edge.publisher import DAY, NOW, Leaf, make_key, sign
from tests.edge.visitor import eventually


def chain_of(edge, host=A):
    return edge.redis.hget(f"vh:cert:{host}", "chain")


def cert(**fields):
    """Change fields of A's certificate."""

    def corrupt(edge):
        edge.redis.hset(
            f"vh:cert:{A}", mapping={n: v(edge) if callable(v) else v for n, v in fields.items()}
        )

    return corrupt


def host(**fields):
    """Change fields of A's record."""

    def corrupt(edge):
        edge.redis.hset(f"vh:host:{A}", mapping=fields)

    return corrupt


def wrong_type(key):
    def corrupt(edge):
        edge.redis.delete(key)
        edge.redis.rpush(key, "a list")

    return corrupt


def gone(key):
    return lambda edge: edge.redis.delete(key)


def sealed_for(hostname):
    return lambda edge: edge.publisher.keyring.seal(edge.publisher.leaves[A], hostname=hostname)


def flipped(edge):
    kid, _, blob = edge.redis.hget(f"vh:cert:{A}", "key").rpartition(":")
    raw = bytearray(base64.b64decode(blob))
    raw[20] ^= 1
    return f"{kid}:{base64.b64encode(raw).decode()}"


def other_leaf(**options):
    """A whole, well-formed certificate that is not to be served for A."""

    def corrupt(edge):
        name = options.pop("name", A)
        put(edge, edge.publisher.authority.leaf(name, **options))

    return corrupt


def put(edge, leaf):
    """This certificate for A."""
    sealed = edge.publisher.keyring.seal(leaf, hostname=A)
    edge.redis.hset(f"vh:cert:{A}", mapping=edge.publisher.certificate_fields(leaf, sealed))
    edge.redis.hset(f"vh:host:{A}", "cert", leaf.sha256)


def without_san(edge):
    key, authority = make_key("ec"), edge.publisher.authority
    leaf = sign(A, key.public_key(), "Edge Test CA", authority.key, has_san=False)
    put(edge, Leaf(A, key, leaf, [authority.intermediate]))


def weak_above(edge):
    """Signed by a CA whose key is too weak, which itself is well signed."""
    key, ca, root = make_key("ec"), make_key("weak"), edge.publisher.authority.root_key
    above = sign("Weak CA", ca.public_key(), "Edge Test Root", root, ca=True)
    put(edge, Leaf(A, key, sign(A, key.public_key(), "Weak CA", ca), [above]))


def with_more_behind(edge):
    leaf = edge.publisher.leaves[A]
    more = ssl.DER_cert_to_PEM_cert(leaf.der + b"more")
    return more + leaf.chain.removeprefix(leaf.pem)


def expired(edge):
    other_leaf(not_before=NOW - 9 * DAY, not_after=NOW - DAY)(edge)


def not_yet(edge):
    other_leaf(not_before=NOW + 9 * DAY, not_after=NOW + 99 * DAY)(edge)


NOTHING = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
CERTIFICATE = {
    "truncated PEM": cert(chain=lambda e: chain_of(e)[:400]),
    "empty chain": cert(chain=""),
    "chain is words": cert(chain="hello"),
    "chain is base64 of nothing": cert(chain=NOTHING),
    "broken base64": cert(chain=lambda e: chain_of(e).replace("MII", "M!I", 1)),
    "second certificate is none": cert(chain=lambda e: e.publisher.leaves[A].pem + NOTHING),
    "broken base64 of the second": cert(
        chain=lambda e: (
            e.publisher.leaves[A].pem + e.publisher.leaves[A].above_pem.replace("MII", "M!I")
        )
    ),
    "second certificate broken": cert(chain=lambda e: chain_of(e)[:-200]),
    "chain with a NUL": cert(chain=lambda e: chain_of(e)[:300] + "\0" + chain_of(e)[300:]),
    "10 MB chain": cert(chain="A" * 10_000_000),
    "a chain of more than 64 kB": cert(
        chain=lambda e: chain_of(e) + e.publisher.leaves[A].above_pem * 200
    ),
    "a leaf with more behind it": cert(chain=with_more_behind),
    "the other host's chain": cert(chain=lambda e: chain_of(e, B)),
    "key of another certificate": cert(
        key=lambda e: e.publisher.keyring.seal(e.publisher.leaves[B], hostname=A)
    ),
    "key of another certificate, sealed as if it were this one's": cert(
        key=lambda e: e.publisher.keyring.seal(
            e.publisher.leaves[B], hostname=A, spki=e.publisher.leaves[A].spki
        )
    ),
    "sealed for another host": cert(key=sealed_for(B)),
    "one bit flipped": cert(key=flipped),
    "unknown kid": cert(key=lambda e: e.redis.hget(f"vh:cert:{A}", "key").replace(":k1:", ":k9:")),
    "key in the clear": cert(key=lambda e: e.publisher.leaves[A].key_pem),
    "empty key": cert(key=""),
    "sealed key too short": cert(key="v1:k1:AAAA"),
    "10 MB key": cert(key="v1:k1:" + "A" * 10_000_000),
    "wrong spki": cert(spki="00" * 32),
    "spki of text": cert(spki="zz"),
    "sha256 of another": cert(sha256="ab" * 32),
    "certificate is a list": wrong_type(f"vh:cert:{A}"),
    "certificate is gone": gone(f"vh:cert:{A}"),
    "certificate for another name": other_leaf(name="evil.test"),
    "certificate for a part of the label": other_leaf(name="m*.acme.test"),
    "certificate that has the name as its common name alone": without_san,
    "key of 1024 bits": other_leaf(kind="weak"),
    "key of 1024 bits above it": weak_above,
    "expired": expired,
    "not valid yet": not_yet,
}
RECORD = {
    "unknown state": host(state="on fire"),
    "no state": host(state=""),
    "revision is text": host(rev="many"),
    "revision with a NUL": host(rev="1\0"),
    "record is a list": wrong_type(f"vh:host:{A}"),
    "record is gone": gone(f"vh:host:{A}"),
}
LOOKS = {
    "theme is no JSON": host(theme='{"theme_primary_color":'),
    "theme is a list": host(theme="[1,2]"),
    "theme is a number": host(theme="7"),
    "theme breaks out of a style": host(theme='{"theme_primary_color":"red;}body{display:none}"}'),
    "theme colour of seven other characters": host(theme='{"theme_primary_color":"}</styl"}'),
    "theme breaks out of a header": host(theme='{"theme_primary_color":"#112233\\r\\nX-Evil: 1"}'),
    "theme logo elsewhere": host(theme='{"theme_login_logo_url":"https://evil.test/x.png"}'),
    "theme of 1 MB": host(theme='{"theme_primary_color":"' + "#" * 1_000_000 + '"}'),
    "hsts is text": host(hsts="forever; preload"),
    "hsts with a newline": host(hsts="1\r\nX-Evil: 1"),
    "domains with markup": host(domains="<script>"),
    "domains of 10 kB": host(domains="a.test " * 1500),
    "domains with another line": host(domains='a.test\n{"theme_primary_color":"#112233"}'),
    "kind made up": host(kind="primary"),
    "generation is text": host(generation="x"),
}


def nudge(edge):
    """A new revision of A without touching its values: the feed only."""
    revision = int(edge.redis.incr("vh:rev"))
    if edge.redis.type(f"vh:host:{A}") == "hash" and edge.redis.hget(f"vh:host:{A}", "rev") in (
        None,
        edge.good_rev,
    ):
        edge.redis.hset(f"vh:host:{A}", "rev", revision)
    edge.redis.zadd("vh:hosts", {A: revision})
    edge.redis.publish("vh:changed", revision)
    edge.settle(revision)


@pytest.fixture(scope="module")
def both(edges):
    """An edge with A and B live, whose workers have A parsed."""
    edge = edges.make()
    edge.publisher.publish(B)
    return edge


def good(edge):
    revision = edge.publisher.publish(A)
    edge.settle(revision)
    edge.good_rev = str(revision)
    leaf = edge.publisher.leaves[A].sha256
    eventually(lambda: {edge.serves(A) for _ in range(4)} == {leaf})
    eventually(lambda: edge.metric("edge_refused_publishes") == 0)
    return leaf


@pytest.mark.parametrize("kind", CERTIFICATE)
def test_a_bad_certificate_leaves_the_good_one_in_place_and_heals(both, kind):
    leaf = good(both)
    CERTIFICATE[kind](both)
    nudge(both)
    eventually(lambda: A in both.redis.hget("vh:edge:" + both.env["EDGE_ID"], "refused").split())
    assert {both.serves(A) for _ in range(4)} == {leaf}
    assert both.metric("edge_refused_publishes") == 1
    assert json.loads(both.status(f"/hosts/{A}").body)["refused"] is True
    assert json.loads(both.status(f"/hosts/{B}").body)["refused"] is False
    assert both.get(A).status == 200
    healed = both.publisher.authority.leaf(A)
    both.publisher.publish(A, leaf=healed)
    eventually(lambda: {both.serves(A) for _ in range(4)} == {healed.sha256})
    eventually(lambda: both.metric("edge_refused_publishes") == 0)
    assert both.exits() == 0


def test_of_two_that_have_ended_the_one_that_was_published_last_is_served(both):
    name, end = "ended.acme.test", NOW - DAY
    for _ in range(2):
        leaf = both.publisher.authority.leaf(name, not_before=end - 9 * DAY, not_after=end)
        both.settle(both.publisher.publish(name, leaf=leaf))
        assert {both.serves(name) for _ in range(4)} == {leaf.sha256}
    assert both.metric("edge_refused_publishes") == 0
    both.settle(both.publisher.withdraw(name))


def test_the_good_certificate_goes_on_under_the_new_record(both):
    leaf = good(both)
    cert(chain="hello")(both)
    host(domains="newer.test")(both)
    nudge(both)
    report = json.loads(both.status(f"/hosts/{A}").body)
    assert (report["domains"], report["sha256"]) == ("newer.test", leaf)
    assert b"<title>newer.test</title>" in both.get(A, "/").body
    assert {both.serves(A) for _ in range(4)} == {leaf}


@pytest.mark.parametrize("kind", RECORD)
def test_a_bad_record_leaves_the_good_one_in_place_and_heals(both, kind):
    leaf = good(both)
    RECORD[kind](both)
    nudge(both)
    assert {both.serves(A) for _ in range(4)} == {leaf}
    assert both.get(A).status == 200
    eventually(lambda: both.metric("edge_refused_publishes") == 1)
    healed = both.publisher.authority.leaf(A)
    both.publisher.publish(A, leaf=healed, domains="healed.test")
    eventually(lambda: {both.serves(A) for _ in range(4)} == {healed.sha256})
    eventually(lambda: both.metric("edge_refused_publishes") == 0)
    eventually(lambda: json.loads(both.status(f"/hosts/{A}").body)["domains"] == "healed.test")
    assert both.exits() == 0


@pytest.mark.parametrize("kind", LOOKS)
def test_a_bad_theme_or_header_value_is_left_out(both, kind):
    leaf = good(both)
    LOOKS[kind](both)
    nudge(both)
    assert both.serves(A) == leaf
    answer = both.get(A)
    told = dict(json.loads(answer.body)["headers"])
    assert told["X-Virtual-Host"] == A
    assert "X-Virtual-Host-Theme" not in told
    assert json.loads(both.status(f"/hosts/{A}").body)["domains"] == ""
    assert "strict-transport-security" not in answer.headers
    assert "x-evil" not in answer.headers
    page = both.get(A, "/").body
    assert b"evil" not in page
    assert b"display:none" not in page
    assert both.exits() == 0


def test_a_host_that_was_never_good_is_refused_and_heals_when_the_value_does(both):
    good(both)
    name = "never.acme.test"
    both.settle(both.publisher.publish(name, state="pending", with_certificate=False))
    leaf = both.publisher.authority.leaf(name)
    both.redis.hset(f"vh:cert:{name}", mapping=both.publisher.certificate_fields(leaf))
    fields = both.redis.hgetall(f"vh:cert:{name}")
    both.redis.hset(f"vh:cert:{name}", "chain", "not a chain")
    revision = int(both.redis.incr("vh:rev"))
    record = {"rev": revision, "state": "active", "cert": leaf.sha256}
    both.redis.hset(f"vh:host:{name}", mapping=record)
    both.redis.zadd("vh:hosts", {name: revision})
    both.redis.publish("vh:changed", revision)
    both.settle(revision)
    assert both.refuses(name)
    both.redis.hset(f"vh:cert:{name}", mapping=fields)
    eventually(lambda: both.serves(name) == leaf.sha256)


def test_feed_and_counters_of_the_wrong_kind_stop_nothing(both):
    leaf = good(both)
    both.redis.rename("vh:hosts", "kept")
    both.redis.rpush("vh:hosts", "a list")
    eventually(lambda: both.status("/healthz").body.find(b'"unreadable"') > 0)
    assert both.serves(A) == leaf
    both.redis.delete("vh:hosts")
    both.redis.rename("kept", "vh:hosts")
    for key, value in (("vh:rev", "x"), ("vh:floor", "x"), ("vh:epoch", "")):
        before = both.redis.get(key)
        both.redis.set(key, value)
        both.redis.publish("vh:changed", "x")
        assert both.serves(A) == leaf
        both.redis.set(key, before)
    good(both)
    assert both.exits() == 0


@pytest.mark.parametrize("floor", ["999999999", "1e12", "inf"])
def test_a_floor_above_every_revision_holds_nothing_up(both, floor):
    good(both)
    both.redis.set("vh:floor", floor)
    both.redis.publish("vh:changed", "x")
    time.sleep(1.2)
    assert both.applied(10**8) is False
    leaf = both.publisher.authority.leaf(A)
    both.settle(both.publisher.publish(A, leaf=leaf))
    assert both.serves(A) == leaf.sha256
    both.redis.set("vh:floor", 0)
    both.settle(both.publisher.publish(A, leaf=leaf))
    assert both.status("/healthz").body.find(b'"alarm"') == -1


@pytest.mark.parametrize("above", [1e12, "inf", 10**8, 0.5])
def test_a_score_that_can_be_no_revision_holds_nothing_up_and_its_host_is_served(both, above):
    good(both)
    leaf = both.publisher.authority.leaf(B)
    revision = both.publisher.publish(B, leaf=leaf)
    both.redis.zadd("vh:hosts", {B: revision + float(above)})
    both.redis.publish("vh:changed", "x")
    eventually(lambda: both.serves(B) == leaf.sha256)
    time.sleep(1.2)
    other = both.publisher.authority.leaf(A)
    both.settle(both.publisher.publish(A, leaf=other))
    assert both.serves(A) == other.sha256
    assert both.applied(10**7) is False
    both.settle(both.publisher.publish(B))
    assert both.metric("edge_refused_publishes") == 0
    assert both.status("/healthz").body.find(b'"alarm"') == -1


def test_a_record_of_a_revision_that_never_was_is_refused_and_heals(both):
    leaf = good(both)
    both.redis.hset(f"vh:host:{A}", "rev", 10**12)
    nudge(both)
    eventually(lambda: both.metric("edge_refused_publishes") == 1)
    assert both.serves(A) == leaf
    good(both)


def test_who_is_refused_and_absent_from_a_complete_new_data_set_is_refused_no_longer(edges):
    edge, bad = edges.make(), "bad.acme.test"
    edge.settle(edge.publisher.publish(A))
    revision = int(edge.redis.incr("vh:rev"))
    edge.redis.hset(f"vh:host:{bad}", mapping={"rev": revision, "state": "on fire"})
    edge.redis.zadd("vh:hosts", {bad: revision})
    edge.redis.publish("vh:changed", revision)
    eventually(lambda: edge.metric("edge_refused_publishes") == 1)
    outages.refill(edge, "e2")
    eventually(lambda: edge.metric("edge_refused_publishes") == 0)
    key = "vh:edge:" + edge.env["EDGE_ID"]
    eventually(lambda: edge.redis.hgetall(key).get("epoch") == "e2")
    assert edge.redis.hget(key, "refused") == ""
    assert edge.serves(A) == edge.publisher.leaves[A].sha256


def publish_spoilt(edge, leaf, names):
    """Hosts with a chain that is none, few enough at once that all are looked into."""
    fields = {**edge.publisher.certificate_fields(leaf), "chain": "not a chain"}
    for first in range(0, len(names), 50):
        for name in names[first : first + 50]:
            revision = edge.redis.incr("vh:rev")
            record = {"rev": revision, "state": "active", "cert": leaf.sha256}
            sealed = edge.publisher.keyring.seal(leaf, hostname=name)
            edge.redis.hset(f"vh:host:{name}", mapping=record)
            edge.redis.hset(f"vh:cert:{name}", mapping={**fields, "key": sealed})
            edge.redis.zadd("vh:hosts", {name: revision})
        edge.redis.publish("vh:changed", revision)
        edge.settle(revision)


def test_all_that_are_refused_are_counted_and_each_has_its_turn(both):
    """More than a heartbeat names, and more than are asked for again at a time."""
    good(both)
    key, leaf = "vh:edge:" + both.env["EDGE_ID"], both.publisher.authority.leaf("*.many.test")
    names = [f"n{number:03}.many.test" for number in range(150)]
    publish_spoilt(both, leaf, names)
    eventually(lambda: both.redis.hget(key, "refusing") == "150")
    assert both.redis.hget(key, "refused").split() == names[:100]
    assert both.metric("edge_refused_publishes") == 150
    healed = names[::7]
    for name in healed:
        both.redis.hset(f"vh:cert:{name}", "chain", leaf.chain)
    eventually(lambda: both.redis.hget(key, "refusing") == str(150 - len(healed)), seconds=15)
    assert both.serves(healed[-1]) == leaf.sha256
    for name in names:
        both.publisher.withdraw(name)
    eventually(lambda: both.metric("edge_refused_publishes") == 0)
