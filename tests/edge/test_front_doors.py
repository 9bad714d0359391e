"""Certificates by SNI, the gate on Host, and what Modoboa is told."""

import json

import pytest

from tests.edge.conftest import THEME, A, B, P
from tests.edge.visitor import eventually, plain


@pytest.mark.parametrize("hostname", [A, B, P])
def test_each_hostname_shows_its_own_certificate(edge, hostname):
    assert edge.serves(hostname) == edge.publisher.leaves[hostname].sha256


@pytest.mark.parametrize(
    "sni", [None, "nobody.test", "127.0.0.1", "*.acme.test", "mail.acme.test..", "mail_acme.test"]
)
def test_a_name_that_is_not_ours_is_refused_in_the_handshake(edge, sni):
    assert edge.refuses(sni)


def test_an_unknown_name_costs_no_redis_command(edge):
    def calls(name):
        return edge.redis.info("commandstats").get(f"cmdstat_{name}", {"calls": 0})["calls"]

    before = {name: calls(name) for name in ("hmget", "hget", "zrange")}
    for number in range(50):
        assert edge.refuses(f"x{number}.nobody.test")
    more = {name: calls(name) - before[name] for name in before}
    looks = more["zrange"] + 1  # (1) of the syncer, each with one HMGET; a heartbeat has one HGET
    assert more["hmget"] <= looks
    assert more["hget"] <= looks


def test_a_host_that_is_not_live_is_404_and_one_that_is_not_the_connections_own_421(edge):
    with edge.visit(A) as visit:
        assert visit.get("/api/", A).status == 200
        assert visit.get("/api/", B).status == 421
    with edge.visit(A) as visit:
        assert visit.get("/api/", "nobody.test").status == 404


@pytest.mark.parametrize("state", ["pending", "disabled", "deleted"])
def test_who_is_known_but_not_live_is_404_on_anothers_connection_which_goes_on(edge, state):
    name = f"{state}-for-others.acme.test"
    edge.settle(edge.publisher.publish(name, state=state, with_certificate=False))
    with edge.visit(A) as visit:
        answer = visit.get("/api/", name)
        assert (answer.status, answer.headers["connection"]) == (404, "keep-alive")
        assert visit.get("/api/", A).status == 200


def test_modoboa_is_told_the_host_once_and_nothing_that_a_client_made_up(edge):
    forged = {
        "X-Virtual-Host": B,
        "X-Virtual-Host-Theme": '{"theme_primary_color":"#ffffff"}',
        "X-Forwarded-For": "203.0.113.9",
        "X-Forwarded-Proto": "http",
        "X-Forwarded-Host": "evil.test",
        "X-Forwarded-Port": "1",
        "X-Forwarded-Server": "evil.test",
        "X-Forwarded-Ssl": "off",
        "X-Scheme": "http",
        "Proxy": "http://evil.test",
        "X-Real-IP": "203.0.113.9",
        "Forwarded": "host=evil.test",
        "X-Original-URL": "/evil",
        "X-Rewrite-URL": "/evil",
        "X_Virtual_Host": B,
    }
    told = edge.told(A, headers=forged)
    assert told["host"] == [A]
    assert told["x-virtual-host"] == [A]
    assert json.loads(told["x-virtual-host-theme"][0]) == THEME
    assert len(told["x-virtual-host-theme"]) == 1
    assert told["x-forwarded-for"] == ["127.0.0.1"]
    assert told["x-forwarded-proto"] == ["https"]
    for name in (
        "x-real-ip",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-forwarded-server",
        "x-forwarded-ssl",
        "x-scheme",
        "proxy",
        "forwarded",
        "x-original-url",
        "x-rewrite-url",
        "x_virtual_host",
    ):
        assert name not in told


def test_the_primary_host_is_no_virtual_host(edge):
    told = edge.told(P, headers={"X-Virtual-Host": A, "X-Virtual-Host-Theme": "{}"})
    assert told["host"] == [P]
    assert told.get("x-virtual-host", [""]) == [""]
    assert told.get("x-virtual-host-theme", [""]) == [""]


def test_hsts_comes_from_the_record(edge):
    assert edge.get(A, "/api/").headers["strict-transport-security"] == "max-age=31536000"
    assert edge.get(A, "/").headers["strict-transport-security"] == "max-age=31536000"
    assert "strict-transport-security" not in edge.get(B, "/").headers


def test_port_80_answers_challenges_and_redirects(edge):
    token = "abcdefghijklmnop_-"
    edge.publisher.challenge(A, token, token + ".thumbprint")
    path = f"/.well-known/acme-challenge/{token}"
    answer = plain(edge.http, path, A)
    assert (answer.status, answer.body) == (200, f"{token}.thumbprint".encode())
    assert plain(edge.http, path, B).status == 404
    assert plain(edge.http, path, "nobody.test").status == 404
    assert plain(edge.http, "/.well-known/acme-challenge/short", A).status == 404
    moved = plain(edge.http, "/x?y=1", A.upper())
    assert (moved.status, moved.headers["location"]) == (308, f"https://{A}/x?y=1")
    assert plain(edge.http, "/x", "nobody.test").status == 404


def test_a_new_certificate_is_served_and_a_delete_acts_on_an_open_connection(edge):
    name = "short.acme.test"
    edge.settle(edge.publisher.publish(name))
    first = edge.serves(name)
    renewed = edge.publisher.authority.leaf(name)
    edge.publisher.publish(name, leaf=renewed)
    eventually(lambda: edge.serves(name) == renewed.sha256 != first)
    with edge.visit(name) as visit:
        assert visit.get("/api/", name).status == 200
        edge.settle(edge.publisher.withdraw(name))
        assert visit.get("/api/", name).status == 404
    assert edge.refuses(name)


def test_a_disabled_host_is_refused_but_can_still_answer_challenges(edge):
    name = "off.acme.test"
    edge.settle(edge.publisher.publish(name, state="disabled"))
    token = "q" * 20
    edge.publisher.challenge(name, token, token + ".t")
    assert edge.refuses(name)
    assert plain(edge.http, f"/.well-known/acme-challenge/{token}", name).status == 200
    assert plain(edge.http, "/", name).status == 404


def test_a_pending_host_without_certificate_answers_challenges_only(edge):
    name = "pending.acme.test"
    edge.settle(edge.publisher.publish(name, state="pending", with_certificate=False))
    token = "p" * 20
    edge.publisher.challenge(name, token, token + ".t")
    assert edge.refuses(name)
    assert plain(edge.http, f"/.well-known/acme-challenge/{token}", name).status == 200


def test_the_heartbeat_says_what_is_applied(edge):
    revision = edge.publisher.publish("beat.acme.test")
    key = f"vh:edge:{edge.env['EDGE_ID']}"
    eventually(lambda: int(edge.redis.hget(key, "rev") or 0) >= revision)
    beat = edge.redis.hgetall(key)
    assert beat["epoch"] == "e1"
    assert beat["kids"] == "k1"
    assert beat["refused"] == ""
    assert int(beat["hosts"]) >= 4
    assert 0 < edge.redis.ttl(key) <= 30


def test_an_rsa_certificate_is_served(edge):
    leaf = edge.publisher.authority.leaf("rsa.acme.test", kind="rsa")
    edge.settle(edge.publisher.publish("rsa.acme.test", leaf=leaf))
    assert edge.serves("rsa.acme.test") == leaf.sha256


def test_the_status_listener_reports_a_host_without_its_key(edge):
    report = edge.status(f"/hosts/{A}")
    body = json.loads(report.body)
    assert body["state"] == "active"
    assert body["sha256"] == edge.publisher.leaves[A].sha256
    assert b"PRIVATE" not in report.body
    assert b"v1:k1" not in report.body
    assert edge.status("/hosts/nobody.test").status == 404
    assert edge.metric('edge_handshakes_total{result="served"}') > 0


def test_redis_can_die_and_warm_hosts_are_served(edges):
    edge = edges.make()
    edge.settle(edge.publisher.publish(A))
    edge.redis_process.kill()
    for _ in range(10):
        assert edge.get(A).status == 200
