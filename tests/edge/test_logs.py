"""What an operator reads in the logs, and what never stands there."""

import json
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.edge.conftest import A, B
from tests.edge.visitor import eventually, plain

SECRET = "c0ffee-3f786850e387550fdab836ed7e6dc881"
LINK = f"/reset/MQ/{SECRET}/"
REFERRER = {"Referer": f"https://{A}/login/logged?code={SECRET}&state=x"}
LARGE = f"Content-Length: 99999999\r\nReferer: {REFERRER['Referer']}"


def logs(edge):
    """Everything that nginx has written, after its timers had time to."""
    time.sleep(1.2)
    return "".join(file.read_text(errors="replace") for file in edge.directory.glob("logs/*"))


@pytest.mark.parametrize("upstream", ["http://127.0.0.1:1", "uwsgi://unix:/nowhere/socket"])
def test_a_link_for_a_new_password_and_a_login_code_are_in_no_log(edges, upstream):
    edge = edges.make(start=False, upstream=upstream, client_requests="1", client_limits="on")
    edge.env |= {"CONTROL_URL": "http://127.0.0.1:1", "EDGE_LOG_LEVEL": "info"}
    edge.start()
    edge.settle(edge.publisher.publish(A))
    media = edge.directory.parent / "modoboa" / "media"
    (media / "loop").symlink_to("loop")
    for path in (LINK, f"/api/v2/x?code={SECRET}", "/_edge/logos/" + "ab" * 32 + ".png"):
        assert edge.get(A, path, headers=REFERRER).status == 503
    edge.get(A, "/media/loop", headers=REFERRER)
    plain(edge.http, LINK, A, **REFERRER)
    with edge.visit(A) as visit:
        visit.send(f"POST {LINK} HTTP/1.1\r\nHost: {A}\r\n{LARGE}\r\n\r\n".encode())
        assert b" 413 " in visit.connection.recv(100)
    with socket.create_connection(("127.0.0.1", edge.http)) as connection:
        connection.sendall(f"POST {LINK} HTTP/1.1\r\nHost: {A}\r\n{LARGE}\r\n\r\n".encode())
        assert b" 413 " in connection.recv(100)
    with edge.visit(A) as visit:
        assert {visit.get(LINK, A, headers=REFERRER).status for _ in range(30)} >= {429}
    with edge.visit(A) as visit:
        assert visit.get("//reset/./MQ/" + SECRET, "nobody.test").status in (404, 429)
    text = logs(edge)
    assert '"GET /reset/... HTTP/1.1"' in text
    assert SECRET not in text
    assert edge.exits() == 0


def test_who_does_not_answer_and_why_stands_in_the_log_once_a_minute(edges):
    edge = edges.make(start=False, upstream="uwsgi://unix:/nowhere/socket", workers="1")
    edge.env["CONTROL_URL"] = "http://127.0.0.1:1"
    edge.start()
    edge.settle(edge.publisher.publish(A))
    for _ in range(3):
        assert edge.get(A, "/api/v2/x").status == 503
        assert edge.get(A, "/accounts/login/").status == 503
        assert edge.get(A, "/_edge/logos/" + "ab" * 32 + ".png").status == 503
    modoboa = "Modoboa does not answer at unix:/nowhere/socket: no such file or directory"
    control = "the control plane does not answer at 127.0.0.1:1: connection refused"
    eventually(lambda: modoboa in edge.log() and control in edge.log())
    assert edge.log().count("does not answer") == 2


def test_after_a_rotation_the_logs_go_on_in_new_files(edges):
    edge = edges.make()
    edge.settle(edge.publisher.publish(A))
    rules = (Path(__file__).parents[2] / "deploy" / "logrotate" / "modoboa-edge").read_text()
    command = rules.partition("postrotate\n")[2].partition("endscript")[0]
    installed, access = "/var/lib/modoboa-edge-nginx", edge.directory / "logs" / "access.log"
    assert f"{installed}/logs/*.log {{" in rules
    access.rename(access.with_suffix(".1"))
    subprocess.run(["sh", "-ec", command.replace(installed, str(edge.directory))], check=True)
    eventually(access.exists)
    assert edge.get(A, "/config.json").status == 200
    eventually(lambda: f'127.0.0.1 {A} 200 "GET /config.json ' in access.read_text())


def test_a_watched_host_tells_of_every_handshake_and_request_though_nothing_changes(edges):
    edge = edges.make(workers="1", log_lines="1000")
    edge.publisher.publish(B)
    revision = edge.publisher.publish(A)
    edge.settle(revision)
    sha256 = edge.publisher.leaves[A].sha256
    for host in (A, B):
        assert edge.get(host).status == 200
    edge.status(f"/hosts/{A}?seconds=60", "POST")
    served = f"watched {A}: handshake served: revision {revision}, certificate {sha256}"
    eventually(lambda: edge.get(A).status == 200 and served in edge.log())
    with edge.visit(A) as visit:
        visit.get("/api/", A)
        session = visit.session
    with edge.visit(A, session=session) as visit:
        assert visit.resumed
    edge.get(B)
    eventually(lambda: f"watched {A}: handshake begun: may resume a session" in edge.log())
    assert f"watched {A}: request let in: revision {revision}" in edge.log()
    assert f"watched {B}" not in edge.log()


@pytest.mark.parametrize("seconds", ["0", "0.0001", "1"])
def test_watching_a_host_ends(edges, seconds):
    edge = edges.make(workers="1", log_lines="1000")
    edge.settle(edge.publisher.publish(A))

    def lines():
        """What one request more adds to what the log says of the host, written a second late."""
        before = edge.log().count(f"watched {A}")
        assert edge.get(A).status == 200
        time.sleep(1.2)
        return edge.log().count(f"watched {A}") - before

    edge.status(f"/hosts/{A}?seconds=60", "POST")
    eventually(lines, seconds=10)
    edge.status(f"/hosts/{A}?seconds={seconds}", "POST")
    eventually(lambda: lines() == 0, seconds=15)


@pytest.mark.parametrize(
    ("asked", "given"), [("", 600), ("?seconds=7", 7), ("?seconds=1e9", 86400)]
)
def test_a_host_is_watched_for_as_long_as_asked_and_a_day_at_most(edge, asked, given):
    answer = edge.status(f"/hosts/{B}{asked}", "POST")
    assert json.loads(answer.body) == {"hostname": B, "watched_seconds": given}
    edge.status(f"/hosts/{B}?seconds=0", "POST")


def test_lines_above_the_cap_are_counted_and_left_out(edges):
    edge = edges.make(workers="1", log_lines="5")
    edge.settle(edge.publisher.publish(A))
    edge.status(f"/hosts/{A}?seconds=60", "POST")
    eventually(lambda: edge.get(A).status == 200 and f"watched {A}" in edge.log())
    began = time.monotonic()
    with edge.visit(A) as visit:
        for _ in range(400):
            visit.get("/config.json", A)
    seconds = time.monotonic() - began
    eventually(lambda: edge.metric("edge_log_lines_dropped_total") >= 400 - 5 * (seconds + 2))
    written = edge.log().count("request let in")
    assert 0 < written <= 5 * (seconds + 4)
