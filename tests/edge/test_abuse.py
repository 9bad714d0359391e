"""Hostile clients: broken handshakes and requests, unknown names, too many requests."""

import contextlib
import os

import pytest

from tests.edge import mutations
from tests.edge.conftest import A, B
from tests.edge.visitor import eventually

HELLOS = int(os.environ.get("EDGE_FUZZ_HELLOS", "100000"))
REQUESTS = int(os.environ.get("EDGE_FUZZ_REQUESTS", "20000"))


@pytest.fixture(scope="module")
def target(edges):
    edge = edges.make()
    edge.publisher.publish(A)
    edge.settle(edge.publisher.publish(B))
    edge.serves(A)
    return edge


def test_mutated_client_hellos_kill_nobody_and_fill_no_log(target):
    mutations.unharmed(target, "hellos", mutations.hellos(A), HELLOS)


def test_mutated_requests_kill_nobody(target):
    mutations.unharmed(target, "requests", mutations.requests(A), REQUESTS)


def test_too_many_requests_of_one_address_are_429_when_limits_are_on(edges):
    edge = edges.make(client_limits="on", client_requests="5", client_connections="100")
    edge.settle(edge.publisher.publish(A))
    with edge.visit(A) as visit:
        seen = {visit.get("/config.json", A).status for _ in range(120)}
    assert seen == {200, 429}
    eventually(lambda: edge.get(A, "/config.json").status == 200, seconds=10)


def test_a_client_that_never_finishes_its_handshake_is_dropped(edges):
    import socket

    edge = edges.make(client_timeout="1")
    edge.settle(edge.publisher.publish(A))
    hello = mutations.client_hello(A)
    for sent in (b"", hello[:50]):
        with socket.create_connection(("127.0.0.1", edge.https), timeout=10) as connection:
            connection.sendall(sent)
            with contextlib.suppress(ConnectionResetError):
                assert connection.recv(10) == b""
