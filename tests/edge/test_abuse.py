"""Hostile clients: broken handshakes and requests, unknown names, too many requests."""

import contextlib
import os
import random
import threading
import time
from pathlib import Path

import pytest

from tests.edge import mutations
from tests.edge.conftest import A, B
from tests.edge.visitor import eventually

HELLOS = int(os.environ.get("EDGE_FUZZ_HELLOS", "4000"))
REQUESTS = int(os.environ.get("EDGE_FUZZ_REQUESTS", "800"))


@pytest.fixture(scope="module")
def target(edges):
    edge = edges.make()
    edge.publisher.publish(A)
    edge.settle(edge.publisher.publish(B))
    edge.serves(A)
    return edge


def resident(edge) -> int:
    """Private memory of all workers, in kB."""
    total = 0
    for pid in edge.workers():
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Private_Dirty"):
                total += int(line.split()[1])
    return total


def commands(edge) -> int:
    return int(edge.redis.info("stats")["total_commands_processed"])


def in_four_threads(work, count):
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    threads = [threading.Thread(target=work, args=(count // 4, seed + n)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_mutated_client_hellos_kill_nobody_and_fill_no_log(target):
    throw = lambda count, seed: mutations.throw_hellos(target.https, A, count, seed)  # noqa: E731
    in_four_threads(throw, HELLOS // 4)
    before, memory, log = commands(target), resident(target), len(target.log())
    began = time.monotonic()
    in_four_threads(throw, HELLOS)
    polls = 12 * (time.monotonic() - began + 5)
    assert target.exits() == 0
    assert resident(target) < memory * 1.2 + 4000
    assert len(target.log()) - log < 100 * HELLOS // 1000 + 20000
    assert commands(target) - before < HELLOS // 100 + polls
    assert target.serves(A) == target.publisher.leaves[A].sha256


def test_mutated_requests_kill_nobody(target):
    throw = lambda count, seed: mutations.throw_requests(target.https, A, count, seed)  # noqa: E731
    in_four_threads(throw, REQUESTS // 4)
    memory, log = resident(target), len(target.log())
    in_four_threads(throw, REQUESTS)
    assert target.exits() == 0
    assert resident(target) < memory * 1.2 + 4000
    assert len(target.log()) - log < 100 * REQUESTS // 1000 + 20000
    assert target.get(A).status == 200


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
