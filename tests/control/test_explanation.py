"""What `edgectl explain` says in words of what an edge's status listener tells."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from control import registry
from control.adapters.status_listener import HttpStatus
from control.explanation import explain
from control.ports import AuthorityError
from tests.control.conftest import TEST, House
from tests.fakes.status_listener import FakeStatus

NAME, URL = "mail.acme.test", "http://127.0.0.1:8081"
UNTIL = 1800000000  # 2027-01-15 08:00 UTC
HELD = {"shared_memory": True, "this_worker": True}
KNOWN = {"state": "active", "rev": 7, "sha256": "ab" * 32, "not_after": UNTIL, "cached": HELD}


class NoWire:
    """Nobody is asked for a handshake here."""

    def certificate(self, hostname: str, address: str, port: int) -> str:
        """See control.explanation.Wire."""
        raise AssertionError("no address was given")


def words(house: House, status: FakeStatus) -> str:
    """What is found at the one status listener."""
    settings = replace(house.plane.settings, edge_status=(URL,))
    plane = replace(house.plane, settings=settings)
    told = explain(plane, NAME, NoWire(), status, [], house.clock())
    return dict(told.findings)["127.0.0.1:8081"]


def test_a_renewal_that_fails_is_told_of_a_host_that_is_served(house: House) -> None:
    house.add()
    house.work()
    registry.renew(house.plane, NAME, TEST)
    house.authority.refuse("new_order", AuthorityError("ca_unavailable", "503"))
    house.work(rounds=1)
    told = explain(house.plane, NAME, NoWire(), FakeStatus(), [], house.clock())
    assert told.served
    assert "it could not be renewed: ca_unavailable" in told.verdict


@pytest.mark.parametrize(
    ("report", "sentence"),
    [
        (
            KNOWN,
            "has it active, revision 7, certificate abababababab, until 2027-01-15 08:00 UTC, "
            "in shared memory and in the worker that was asked",
        ),
        (
            {**KNOWN, "not_after": 1000000000, "cached": {"shared_memory": True}},
            "has it active, revision 7, certificate abababababab, EXPIRED 2001-09-09 01:46 UTC, "
            "in shared memory",
        ),
        (
            {**KNOWN, "cached": {}, "refused": True},
            "has it active, revision 7, certificate abababababab, until 2027-01-15 08:00 UTC, "
            "to be read from Redis when it is needed, "
            "refuses what is published now and keeps what it had (its error log says why)",
        ),
        ({"state": "pending", "rev": 3}, "has it pending, revision 3, holds no certificate"),
        ({"state": "unknown", "index_complete": True}, "does not know it"),
        (
            {"state": "unknown", "index_complete": False},
            "does not know it, has not read its whole index yet",
        ),
    ],
)
def test_what_an_edge_has_is_said_in_words(
    house: House, report: dict[str, object], sentence: str
) -> None:
    house.add(NAME)
    status = FakeStatus(**{NAME: report})
    assert words(house, status) == sentence
    assert status.asked == [(URL, NAME)]


def test_a_listener_that_does_not_answer_is_a_finding_too(house: House) -> None:
    status = FakeStatus()
    status.away = "does not answer (Connection refused)"
    assert words(house, status) == "does not answer (Connection refused)"


@pytest.fixture
def other_program() -> Iterator[str]:
    """A web server that is no edge; its URL."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_another_program_is_not_taken_for_an_edge(other_program: str) -> None:
    with pytest.raises(ConnectionError, match="is not an edge's status listener"):
        HttpStatus().report(other_program, NAME)
    with pytest.raises(ConnectionError, match="does not answer"):
        HttpStatus().report("http://127.0.0.1:1", NAME)
