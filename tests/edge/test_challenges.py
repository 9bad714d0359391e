"""An answered challenge on port 80: which methods, and headers that would have another answer conditional."""

import pytest

from tests.edge.conftest import A
from tests.edge.test_routes import HEADERS
from tests.edge.visitor import plain

TOKEN = "abcdefghijklmnop_-"
CONDITIONAL = {"If-Match": 412, "If-Unmodified-Since": 412, "If-None-Match": 304}
ANSWER = f"{TOKEN}.thumbprint".encode()
PATH = f"/.well-known/acme-challenge/{TOKEN}"


@pytest.fixture(scope="module")
def answering(edges):
    """An edge that has the answer."""
    edge = edges.make()
    edge.settle(edge.publisher.publish(A))
    edge.publisher.challenge(A, TOKEN, ANSWER.decode())
    return edge


@pytest.mark.parametrize("headers", HEADERS, ids=lambda h: " ".join(h))
def test_an_answered_challenge_bears_conditions_and_ranges(answering, headers):
    named = {name.replace("-", "_"): value for name, value in headers.items()}
    expected = CONDITIONAL.get(next(iter(headers)), 200)
    for _ in range(4):
        answer = plain(answering.http, PATH, A, **named)
        assert answer.status == (100 if headers.get("Expect") == "100-continue" else expected)
        assert answer.body.endswith(ANSWER) == (expected == 200)
    assert plain(answering.http, PATH, A).body == ANSWER
    assert answering.exits() == 0


def test_head_is_answered_without_a_body_and_nothing_else_is_a_challenge(answering):
    head = plain(answering.http, PATH, A, "HEAD")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == str(len(ANSWER))
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert plain(answering.http, PATH, A, method).status == 404
