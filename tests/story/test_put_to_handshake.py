"""A hostname goes in by REST, its certificate comes out of nginx: no reload, no leak, nothing forgotten."""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from pathlib import Path

import pytest

from deploy.onboarding import certificate_of as handshake
from deploy.onboarding import is_served
from deploy.process import wait_until


def connect(stack, sni: str) -> http.client.HTTPSConnection:
    """An open HTTPS connection whose handshake named `sni`."""
    context = ssl.create_default_context(cafile=str(stack.ca_bundle))
    connection = http.client.HTTPSConnection(sni, stack.ports.edge_https, context=context)
    raw = socket.create_connection(("127.0.0.1", stack.ports.edge_https), timeout=5)
    connection.sock = context.wrap_socket(raw, server_hostname=sni)
    return connection


def ask(connection: http.client.HTTPSConnection, host: str, path: str = "/") -> int:
    """The status of one GET with that Host on an open connection."""
    connection.putrequest("GET", path, skip_host=True)
    connection.putheader("Host", host)
    connection.endheaders()
    answer = connection.getresponse()
    answer.read()
    return answer.status


def put(stack, hostname: str, **body: object):
    return stack.api("PUT", f"/virtualhosts/{hostname}", json=body)


def online(stack, hostname: str) -> None:
    """Create a virtual host and wait until its own certificate is on the wire."""
    assert put(stack, hostname, domains=[]).status_code in (200, 201)
    wait_until(lambda: is_served(stack, hostname), 60, f"{hostname} is not served")


def files_of(directory: Path) -> set[Path]:
    return {path for path in directory.rglob("*") if path.suffix == ".conf"}


def test_a_new_hostname_serves_its_own_certificate_without_a_reload_or_a_file(edge_stack):
    workers = edge_stack.nginx_pids()
    files = files_of(edge_stack.directory / "edge")

    answer = put(edge_stack, "mail.new.test", domains=["new.test"])

    assert (answer.status_code, answer.json()["status"]) == (201, "pending")
    wait_until(lambda: is_served(edge_stack, "mail.new.test"), 60, "not served")
    names = handshake(edge_stack, "mail.new.test")["subjectAltName"]
    assert names == (("DNS", "mail.new.test"),)
    ready = edge_stack.api("GET", "/virtualhosts/mail.new.test?wait=30").json()
    assert ready["status"] == "ready"
    assert [entry["revision"] for entry in ready["served_by"]] == [ready["revision"]]
    assert edge_stack.nginx_pids() == workers
    assert files_of(edge_stack.directory / "edge") == files


def test_an_unknown_name_is_refused_in_the_handshake(edge_stack):
    with pytest.raises(ssl.SSLError):
        handshake(edge_stack, "nobody.test")


def test_the_host_of_one_tenant_on_the_connection_of_another_is_misdirected(edge_stack):
    online(edge_stack, "mail.one.test")
    online(edge_stack, "mail.two.test")

    assert ask(connect(edge_stack, "mail.one.test"), "mail.two.test") == 421
    assert ask(connect(edge_stack, "mail.one.test"), "nobody.test") == 404


def test_a_deleted_host_is_gone_also_on_an_open_connection(edge_stack):
    online(edge_stack, "mail.brief.test")
    open_before = connect(edge_stack, "mail.brief.test")
    assert ask(open_before, "mail.brief.test") not in (404, 421)

    assert edge_stack.api("DELETE", "/virtualhosts/mail.brief.test").status_code == 204

    wait_until(lambda: not is_served(edge_stack, "mail.brief.test"), 5, "still served")
    assert ask(open_before, "mail.brief.test") == 404
    assert edge_stack.api("GET", "/virtualhosts/mail.brief.test").status_code == 404


def test_killing_redis_fails_no_handshake_of_a_warm_host(edge_stack):
    online(edge_stack, "mail.warm.test")

    with edge_stack.without("redis"):
        for _ in range(20):
            handshake(edge_stack, "mail.warm.test")

    assert handshake(edge_stack, "mail.warm.test")


def test_a_delete_made_while_redis_is_away_acts_within_seconds_of_its_return(edge_stack):
    online(edge_stack, "mail.meanwhile.test")

    with edge_stack.without("redis"):
        assert edge_stack.api("DELETE", "/virtualhosts/mail.meanwhile.test").status_code == 204
        assert handshake(edge_stack, "mail.meanwhile.test"), "the edge cannot know it yet"

    wait_until(lambda: not is_served(edge_stack, "mail.meanwhile.test"), 5, "still served")


def test_killing_the_worker_in_the_middle_of_an_order_ends_in_ready(edge_stack):
    names = [f"mail.kill{n}.test" for n in range(5)]
    for name in names:
        put(edge_stack, name, domains=[])
    time.sleep(0.05)  # somewhere in the middle: the test holds wherever the kill lands

    edge_stack.processes["control-worker"].kill()
    edge_stack.processes["control-worker"].start()

    for name in names:
        wait_until(lambda name=name: is_served(edge_stack, name), 120, f"{name} is not served")
        assert edge_stack.api("GET", f"/virtualhosts/{name}?wait=60").json()["status"] == "ready"


def test_no_private_key_stands_in_the_clear_in_redis_or_the_database(edge_stack):
    online(edge_stack, "mail.sealed.test")
    client = edge_stack.redis

    assert client.hget("vh:cert:mail.sealed.test", "key").startswith("v1:")
    dump = " ".join(
        str(client.hgetall(key)) for key in client.scan_iter("vh:*") if client.type(key) == "hash"
    )
    assert "CERTIFICATE" in dump
    assert "PRIVATE KEY" not in dump
    for path in edge_stack.directory.glob("control.db*"):
        content = path.read_bytes()
        assert b"PRIVATE KEY" not in content
        # A P-256 key in DER, SEC 1 or PKCS#8, begins with these bytes (RFC 5915 §3).
        assert b"\x02\x01\x01\x04\x20" not in content


@pytest.mark.parametrize(
    ("hostname", "words"),
    [
        ("Mail.Mixed.test", "mail.mixed.test"),
        ("*.wild.test", "wildcard"),
        ("192.0.2.1", "IP address"),
        ("under_score.test", "underscore"),
        ("localhost", "localhost"),
        ("mail.provider.test", "primary"),
        ("a" * 60 + ".x" * 97 + ".test", "253"),
    ],
)
def test_a_bad_hostname_is_refused_with_a_sentence_that_names_the_fault(
    edge_stack, hostname, words
):
    answer = put(edge_stack, hostname, domains=[])

    assert answer.status_code in (409, 422), answer.text
    assert words.lower() in answer.text.lower()


def test_a_bad_request_is_refused_with_its_status(edge_stack):
    path = "/virtualhosts/mail.bad.test"
    no_json = edge_stack.api(
        "PUT", path, data="domains=x", headers={"Content-Type": "application/json"}
    )
    unknown_field = edge_stack.api("PUT", path, json={"domain": ["x.test"]})
    no_token = edge_stack.api("GET", path, headers={"Authorization": ""})

    assert no_json.status_code in (400, 422)
    assert unknown_field.status_code == 422
    assert "domain" in unknown_field.text
    assert no_token.status_code == 401
    for answer in (no_json, unknown_field, no_token):
        assert answer.json()["message"]
