"""An answered challenge on port 80: which methods, and headers that would have another answer conditional."""

import pytest

from tests.edge.conftest import A
from tests.edge.test_routes import HEADERS
from tests.edge.visitor import eventually, plain

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


@pytest.mark.parametrize("index", ["complete", "unreadable"])
def test_a_deleted_host_answers_none(edges, index):
    edge = edges.make(start=False)
    for name in ("gone.acme.test", "here.acme.test"):
        edge.publisher.publish(name)
        edge.publisher.challenge(name, TOKEN, ANSWER.decode())
    edge.publisher.withdraw("gone.acme.test")
    if index == "unreadable":
        edge.redis.rename("vh:hosts", "elsewhere")
        edge.redis.set("vh:hosts", "no set")
    edge.start()
    eventually(lambda: plain(edge.http, PATH, "here.acme.test").body == ANSWER)
    for name in ("gone.acme.test", "never.acme.test"):
        assert plain(edge.http, PATH, name).status == 404


def test_what_is_no_key_authorization_is_not_answered(answering):
    long, short = "t" * 128, "t" * 16
    for token in (long, short):
        answering.publisher.challenge(A, token, token + ".t")
        assert plain(answering.http, f"/.well-known/acme-challenge/{token}", A).status == 200
    for token in (long + "t", short[1:], "%74" + "t" * 15 + "%2f", short + "."):
        answering.publisher.challenge(A, token, short + ".t")
        assert plain(answering.http, f"/.well-known/acme-challenge/{token}", A).status == 404
    for text in ("<script>alert(1)</script>", "two lines\n", "t" * 513):
        answering.publisher.challenge(A, long, text)
        assert plain(answering.http, f"/.well-known/acme-challenge/{long}", A).status == 404


def test_head_is_answered_without_a_body_and_nothing_else_is_a_challenge(answering):
    head = plain(answering.http, PATH, A, "HEAD")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == str(len(ANSWER))
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert plain(answering.http, PATH, A, method).status == 404
