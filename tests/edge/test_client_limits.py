"""One client address may make so many handshakes, requests and requests at a time; others are not held up by it."""

import contextlib
import os
import socket
import subprocess
from functools import partial

import pytest

from deploy import edge as deployed
from deploy.process import Process
from tests.edge import namespaces
from tests.edge.conftest import A
from tests.edge.namespaces import ip
from tests.edge.visitor import Refused, eventually

ONE, SAME_NETWORK, ELSEWHERE = "2001:db8:0:1::1", "2001:db8:0:1:ffff::2", "2001:db8:0:2::1"
LIMITED = 'edge_handshakes_total{result="limited"}'


def served(edge, count, source):
    """How many of so many handshakes from one address complete."""
    done = 0
    for _ in range(count):
        with contextlib.suppress(Refused), edge.visit(A, source=source):
            done += 1
    return done


def test_too_many_handshakes_of_one_address_are_refused_for_a_while_and_nobody_elses(edges):
    edge = edges.make(client_limits="on", client_handshakes="1")
    edge.settle(edge.publisher.publish(A))
    assert served(edge, 14, "127.0.0.1") == 10, "ten seconds' worth at once"
    assert served(edge, 5, "127.0.0.2") == 5
    eventually(lambda: edge.metric(LIMITED) == 4)
    eventually(lambda: served(edge, 1, "127.0.0.1") == 1, seconds=15)


def test_a_page_of_forty_connections_is_not_limited_as_shipped(edges):
    edge = edges.make(client_limits="on")
    edge.settle(edge.publisher.publish(A))
    assert served(edge, 40, "127.0.0.1") == 40
    assert {edge.get(A, "/config.json").status for _ in range(40)} == {200}
    assert edge.metric(LIMITED) == 0


def test_with_limits_off_nobody_is_counted(edges):
    edge = edges.make(client_limits="off", client_handshakes="1", client_requests="1")
    edge.settle(edge.publisher.publish(A))
    assert served(edge, 30, "127.0.0.1") == 30
    assert edge.metric(LIMITED) == 0


@pytest.fixture
def ipv6(edges):
    """Start an edge on IPv6 in a namespace whose loopback has addresses of two networks; ask it from any of them."""
    namespaces.demand()
    name = f"six{os.getpid()}"
    with contextlib.ExitStack() as stack:
        ip("netns", "add", name)
        stack.callback(ip, "netns", "del", name)
        ip("-n", name, "link", "set", "lo", "up")
        for address in (ONE, SAME_NETWORK, ELSEWHERE):
            ip("-n", name, "addr", "add", f"{address}/128", "dev", "lo", "nodad")

        def start(**settings):
            edge = edges.make(start=False, client_limits="on", user="root", **settings)
            edge.redis.shutdown(nosave=True)
            path = edge.directory.parent / "redis.sock"
            edge.redis_process.argv = [*edge.redis_process.argv, "--unixsocket", str(path)]
            edge.redis_process.start()
            edge.publisher.begin()
            edge.publisher.publish(A)
            edge.env |= {"EDGE_LISTEN": "[::]", "EDGE_REDIS_URL": f"unix://{path}"}
            deployed.configure(edge.directory, edge.env)
            argv = ["ip", "netns", "exec", name, "nginx", "-p", str(edge.directory)]
            argv += ["-c", "nginx.conf", "-g", "daemon off;"]
            ask = partial(status, name, edge.https)
            ready = lambda: ask("::1") == "200"  # noqa: E731
            stack.callback(Process("nginx", argv, edge.directory / "err.log", ready).start().stop)
            return ask

        yield start


def status(namespace, port, source):
    """What a client at `source` in the namespace gets; 000 when the handshake is refused."""
    argv = ["ip", "netns", "exec", namespace, "curl", "-sk", "--interface", source]
    argv += ["--connect-to", f"{A}:{port}:[{ONE}]:{port}", "-o", "/dev/null", "-w", "%{http_code}"]
    url = f"https://{A}:{port}/config.json"
    return subprocess.run([*argv, url], capture_output=True, text=True).stdout


@pytest.mark.parametrize(("limit", "refusal"), [("handshakes", "000"), ("requests", "429")])
def test_of_ipv6_a_whole_64_counts_as_one_client(ipv6, limit, refusal):
    ask = ipv6(**{f"client_{limit}": "1"})
    seen = [ask(address) for _ in range(10) for address in (ONE, SAME_NETWORK)]
    assert set(seen) == {"200", refusal}
    assert 10 <= seen.count("200") < 18
    assert ask(ELSEWHERE) == "200"


@pytest.fixture
def mute():
    """The port of a Modoboa that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as listener:
        yield listener.getsockname()[1]


def test_so_many_requests_of_one_address_may_be_under_way_and_not_one_more(edges, mute):
    upstream = f"http://127.0.0.1:{mute}"
    edge = edges.make(client_limits="on", client_connections="2", upstream=upstream)
    edge.settle(edge.publisher.publish(A))
    with edge.visit(A) as one, edge.visit(A) as two, edge.visit(A, source="127.0.0.2") as other:
        for waiting in (one, two):
            waiting.send(f"GET /api/v2/x HTTP/1.1\r\nHost: {A}\r\n\r\n".encode())
        eventually(lambda: edge.get(A, "/config.json").status == 429)
        assert other.get("/config.json", A).status == 200
    eventually(lambda: edge.get(A, "/config.json").status == 200)
