"""A host that nobody holds yet: who vanishes, what is older, and a Redis that stands still cost others nothing."""

import json
import os
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from OpenSSL import SSL

from tests.bench.client import run
from tests.edge.conftest import THEME, A, B
from tests.edge.spoilt import spoilt
from tests.edge.visitor import eventually, plain

COLD = "cold.acme.test"


@pytest.fixture
def cold(edges):
    """An edge whose index has many hosts, and which holds none of them."""
    edge = edges.make(start=False, workers="4", client_timeout="1")
    for number in range(70):
        edge.publisher.publish(f"h{number}.acme.test", with_certificate=False)
    edge.publisher.publish(COLD)
    edge.start()
    eventually(lambda: edge.status(f"/hosts/{COLD}").status == 200)
    yield edge
    edge.stop()


def calls(edge) -> dict[str, int]:
    """How often each command was run by Redis, without what a look at the feed takes."""
    stats = edge.redis.info("commandstats")
    count = {
        name: stats.get(f"cmdstat_{name}", {"calls": 0})["calls"]
        for name in ("hmget", "get", "hget")
    }
    looks = stats.get("cmdstat_zrange", {"calls": 0})["calls"]
    return {"hmget": count["hmget"] - looks, "get": count["get"] - 3 * looks, "hget": count["hget"]}


def vanish(edge, hostname):
    """Begin a handshake so late that nginx gives the connection up in the middle of it."""
    connection = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None)
    connection.set_tlsext_host_name(hostname.encode())
    connection.set_connect_state()
    with pytest.raises(SSL.WantReadError):
        connection.do_handshake()
    with socket.create_connection(("127.0.0.1", edge.https), timeout=5) as client:
        time.sleep(0.85)
        client.sendall(connection.bio_read(65536))
        client.recv(1)


def test_visitors_who_vanish_while_a_host_is_loaded_leave_nothing_behind(cold):
    cold.redis_process.signal(signal.SIGSTOP)
    with ThreadPoolExecutor(24) as pool:
        list(pool.map(lambda _: vanish(cold, COLD), range(24)))
    cold.redis_process.signal(signal.SIGCONT)
    cold.settle(cold.publisher.publish(A))
    time.sleep(1.1)  # (1) so long nobody asks Redis again who has just failed
    for pid in cold.workers():
        with cold.alone(pid):
            assert cold.serves(COLD) == cold.publisher.leaves[COLD].sha256


def test_200_at_once_for_a_host_of_a_redis_that_stands_still_cost_one_attempt(cold):
    before = calls(cold)
    cold.redis_process.signal(signal.SIGSTOP)
    outcome = run(cold.https, COLD, count=200, threads=200)
    assert outcome.failed == 200
    cold.redis_process.signal(signal.SIGCONT)
    eventually(lambda: cold.redis.ping())
    time.sleep(1.2)
    assert calls(cold)["hmget"] - before["hmget"] <= 2, "its record and its certificate, once"
    assert cold.serves(COLD) == cold.publisher.leaves[COLD].sha256


def test_an_older_certificate_is_served_but_not_taken_for_the_newer_one(cold):
    keys = f"vh:host:{COLD}", f"vh:cert:{COLD}"
    newer = [cold.redis.hgetall(key) for key in keys]
    leaf, revision = cold.publisher.leaves[COLD], int(newer[0]["rev"])
    older = cold.publisher.authority.leaf(COLD)
    theme = json.dumps({"theme_primary_color": "#010203"})
    record = {**newer[0], "rev": revision - 1, "cert": older.sha256, "theme": theme}
    certificate = cold.publisher.certificate_fields(older)
    for key, values in zip(keys, (record, certificate), strict=True):
        cold.redis.hset(key, mapping=values)
    with cold.visit(COLD) as visit:
        told = lambda: json.loads(visit.get("/api/", COLD).body)["headers"]  # noqa: E731
        assert visit.sha256 == older.sha256
        assert ["X-Virtual-Host-Theme", theme.replace(" ", "")] in told()
        for key, values in zip(keys, newer, strict=True):
            cold.redis.hset(key, mapping=values)
        eventually(lambda: "X-Virtual-Host-Theme" not in dict(told()))
    eventually(lambda: cold.serves(COLD) == leaf.sha256)
    time.sleep(1.1)
    for pid in cold.workers():
        with cold.alone(pid):
            assert cold.serves(COLD) == leaf.sha256


def test_what_redis_has_older_than_what_is_held_replaces_nothing(edges):
    edge = edges.make()
    edge.publisher.publish(A)
    older = {key: edge.redis.hgetall(key) for key in (f"vh:host:{A}", f"vh:cert:{A}")}
    newer = edge.publisher.authority.leaf(A)
    edge.settle(edge.publisher.publish(A, leaf=newer))
    edge.settle(edge.publisher.publish(A, with_certificate=False))  # (1) listed, and not held
    for key, values in older.items():
        edge.redis.hset(key, mapping=values)
    for pid in edge.workers():
        with edge.alone(pid):
            assert edge.serves(A) == newer.sha256


def test_a_host_whose_certificate_was_refused_when_it_was_read_is_read_again(cold):
    key, leaf = f"vh:cert:{COLD}", cold.publisher.leaves[COLD]
    cold.redis.hset(key, "chain", "no chain")
    for pid in cold.workers():
        with cold.alone(pid):
            assert cold.refuses(COLD)
    cold.redis.hset(key, "chain", leaf.chain)
    time.sleep(1.1)  # (1) so long what cannot be had is not asked for again
    for pid in cold.workers():
        with cold.alone(pid):
            assert cold.serves(COLD) == leaf.sha256


def test_challenges_do_not_wait_again_and_again_for_a_redis_that_stands_still(edges):
    edge = edges.make(workers="1")
    edge.settle(edge.publisher.publish(A))
    before, path = calls(edge)["get"], f"/.well-known/acme-challenge/{'t' * 43}"
    edge.redis_process.signal(signal.SIGSTOP)
    assert {plain(edge.http, path, A).status for _ in range(12)} == {503}
    edge.redis_process.signal(signal.SIGCONT)
    eventually(lambda: plain(edge.http, path, A).status == 404)
    time.sleep(1.2)
    assert calls(edge)["get"] - before < 12


def test_challenges_for_unknown_names_cost_redis_little_while_the_index_is_incomplete(edges):
    edge = edges.make(start=False, begin=False, workers="1")
    edge.publisher.begin(complete=False)
    edge.start()
    before, path, began = (
        calls(edge)["hget"],
        f"/.well-known/acme-challenge/{'t' * 43}",
        time.time(),
    )
    for number in range(400):
        assert plain(edge.http, path, f"n{number}.nobody.test").status == 404
    heartbeats = 10  # (1) each looks with one HGET who else has this EDGE_ID
    assert calls(edge)["hget"] - before <= 50 * (2 + int(time.time() - began)) + heartbeats


def test_the_host_that_was_published_last_is_read_in_the_same_round_trip_as_the_feed(edges):
    edge = edges.make(workers="1")
    for hostname in (B, A):
        edge.settle(edge.publisher.publish(hostname))
    asked: dict[str, list[str]] = {A: [], B: []}
    with edge.redis.monitor() as monitor:
        edge.settle(edge.publisher.publish(A))
        edge.settle(edge.publisher.publish(B))
        before: dict[str, str] = {}
        edge.redis.set("end", 1)
        for command in monitor.listen():
            client, words = command["client_port"], command["command"].split()
            if words[0].upper() == "SET":
                break
            for hostname in asked:
                if words[:2] == ["hmget", f"vh:host:{hostname}"] and "rev" in words:
                    asked[hostname].append(before[client])
            before[client] = " ".join(words[:2])
    assert set(asked[A]) == {"zrange vh:expiry"}
    assert "get vh:rev" in asked[B]
    assert edge.serves(A) == edge.publisher.leaves[A].sha256
    assert edge.serves(B) == edge.publisher.leaves[B].sha256


def test_a_host_of_whom_nothing_can_be_told_is_503_until_redis_is_back(edges, tmp_path):
    line = "local function watch(name)\n"
    forget = line + "  ngx.shared.edge_held:flush_all()\n"
    edge = edges.make(lua=spoilt(tmp_path, "status", line, forget))
    edge.settle(edge.publisher.publish(A, theme=THEME))
    first, other = edge.workers()
    with edge.alone(first), edge.visit(A) as visit:
        assert visit.get("/api/", A).status == 200
        session = visit.session
    edge.redis_process.signal(signal.SIGSTOP)
    with edge.alone(other):
        edge.status(f"/hosts/{A}?seconds=0", "POST")
        with edge.visit(A, session=session) as visit:
            assert visit.resumed, "so that no certificate was looked for"
            assert visit.get("/api/", A).status == 503
            assert edge.metric('edge_requests_total{result="unavailable"}') == 1
            edge.redis_process.signal(signal.SIGCONT)
            eventually(lambda: visit.get("/api/", A).status == 200)
            told = dict(json.loads(visit.get("/api/", A).body)["headers"])
            assert json.loads(told["X-Virtual-Host-Theme"]) == THEME


def test_what_a_worker_has_parsed_is_served_on_when_nobody_holds_or_tells_more(edges, tmp_path):
    line = "local function watch(name)\n"
    forget = line + "  ngx.shared.edge_held:flush_all()\n"
    edge = edges.make(workers="1", lua=spoilt(tmp_path, "status", line, forget))
    edge.settle(edge.publisher.publish(A, theme=THEME))
    first = edge.publisher.leaves[A].sha256
    assert (edge.serves(A), edge.get(A).status) == (first, 200)
    edge.status(f"/hosts/{A}?seconds=0", "POST")
    (worker,) = edge.workers()
    os.kill(worker, signal.SIGSTOP)
    for number in range(70):  # (1) of so many at once only state and generation are read
        edge.publisher.publish(f"n{number}.acme.test", with_certificate=False)
    revision = edge.publisher.publish(A, leaf=edge.publisher.authority.leaf(A))
    os.kill(worker, signal.SIGCONT)
    edge.settle(revision)
    edge.redis_process.signal(signal.SIGSTOP)
    for _ in range(2):
        assert edge.serves(A) == first
        told = dict(json.loads(edge.get(A).body)["headers"])
        assert json.loads(told["X-Virtual-Host-Theme"]) == THEME
    edge.redis_process.signal(signal.SIGCONT)
    eventually(lambda: edge.serves(A) == edge.publisher.leaves[A].sha256)


FORGET_INTERMEDIATES = """  for _, key in ipairs(ngx.shared.edge_held:get_keys(0)) do
    if key:find("^i|") then
      ngx.shared.edge_held:delete(key)
    end
  end
"""


def forget_intermediates(edge):
    """Leave what is held of every host without them, and no worker that has them parsed."""
    workers = set(edge.workers())
    edge.reload()
    eventually(lambda: edge.workers() and not workers & set(edge.workers()))
    assert edge.status(f"/hosts/{A}?seconds=0", "POST").status == 200


def test_a_host_whose_intermediate_is_gone_from_memory_is_read_again_once(edges, tmp_path):
    line = "local function watch(name)\n"
    edge = edges.make(lua=spoilt(tmp_path, "status", line, line + FORGET_INTERMEDIATES))
    edge.publisher.publish(B)
    edge.settle(edge.publisher.publish(A))
    forget_intermediates(edge)
    edge.redis_process.signal(signal.SIGSTOP)
    assert edge.refuses(A)
    edge.redis_process.signal(signal.SIGCONT)
    eventually(lambda: edge.serves(A) == edge.publisher.leaves[A].sha256)
    forget_intermediates(edge)
    before = calls(edge)["hmget"]
    for hostname in (A, B):
        for pid in edge.workers():
            with edge.alone(pid), edge.visit(hostname) as visit:
                assert visit.sha256 == edge.publisher.leaves[hostname].sha256
                assert len(visit.connection.get_peer_cert_chain()) == 2
    assert calls(edge)["hmget"] - before == 2, "A's record and certificate, once"
