"""Whatever JSON a CA sends: a record of ours or an AuthorityError, nothing else."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from email.message import Message
from typing import Any, TypeVar

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from control import caa
from control.adapters.acme_authority import chains, documents, problems, renewal_info
from control.adapters.acme_authority.retry_after import parse
from control.adapters.acme_authority.signing import Signer
from control.adapters.acme_authority.wire import Answer
from control.ports import AuthorityError
from tests.fakes.clock import Clock
from tests.fakes.csr import key_der

T = TypeVar("T")
NOW = Clock().now()
SIGNER = Signer(key_der())
NAMES = [
    "status",
    "identifiers",
    "identifier",
    "authorizations",
    "finalize",
    "certificate",
    "expires",
    "type",
    "value",
    "challenges",
    "token",
    "url",
    "error",
    "detail",
    "subproblems",
    "instance",
    "meta",
    "profiles",
    "caaIdentities",
    "termsOfService",
    "externalAccountRequired",
    "renewalInfo",
    "suggestedWindow",
    "start",
    "end",
    "explanationURL",
]
VALUES = st.none() | st.booleans() | st.integers() | st.text(max_size=20)
LIKELY = st.sampled_from(
    [
        "http-01",
        "pending",
        "valid",
        "2027-01-01T00:00:00Z",
        "t" * 20,
        "t" * 17,
        "urn:ietf:params:acme:error:dns",
    ]
)
JSON = st.recursive(
    VALUES | LIKELY,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=6)
    ),
    max_leaves=15,
)
OBJECT = st.dictionaries(st.sampled_from(NAMES), JSON, max_size=10)


def answer(document: Any) -> Answer:
    """A document as it came."""
    return Answer("https://ca.example/x", 200, Message(), json.dumps(document).encode(), NOW)


def whatever(read: Callable[[], T]) -> T | None:
    """What is read, or None for an AuthorityError; anything else breaks the test."""
    with contextlib.suppress(AuthorityError):
        return read()
    return None


@given(JSON)
def test_orders(document: Any) -> None:
    order = whatever(lambda: documents.order(answer(document), "https://ca.example/order/1"))
    if order:
        assert all(isinstance(text, str) for text in (*order.hostnames, *order.authorizations))
        assert isinstance(order.finalize, str)


@given(OBJECT)
@example({"challenges": [{"type": "http-01", "token": "t" * 17, "url": "https://ca.example/c"}]})
def test_challenges(document: dict[str, Any]) -> None:
    challenge = whatever(lambda: documents.challenge(document, SIGNER))
    if challenge:
        assert challenge.key_authorization.startswith(f"{challenge.token}.")


@given(OBJECT)
def test_what_went_wrong(document: dict[str, Any]) -> None:
    error = problems.failed_validation(documents.challenge_problem(document))
    assert error.reason
    assert problems.refusal(problems.read(document), 400, "words", None).detail


@given(OBJECT)
def test_directories(document: dict[str, Any]) -> None:
    meta = documents.meta(document)
    caa.verdict((), meta.caa_identities, "")
    assert all(isinstance(text, str) for text in (*meta.caa_identities, *meta.profiles))


@given(OBJECT)
def test_renewal_windows(document: dict[str, Any]) -> None:
    info = whatever(lambda: renewal_info.read(document, parse("60", NOW), NOW))
    if info:
        assert info.start < info.end


@given(st.binary(max_size=200))
def test_chains(body: bytes) -> None:
    found = Answer("https://ca.example/cert", 200, Message(), body, NOW)
    with pytest.raises(AuthorityError):
        chains.parse(found)


@given(st.text(max_size=80))
def test_links(header: str) -> None:
    headers = Message()
    headers["Link"] = header.replace("\r", "").replace("\n", "")
    assert all(
        isinstance(url, str) for url in chains.alternates(Answer("u", 200, headers, b"", NOW))
    )


def test_alternates_are_found_in_every_spelling_of_a_link() -> None:
    headers = Message()
    headers["Link"] = '<https://ca.example/a>;rel="alternate", <https://ca.example/i>;rel="index"'
    headers["Link"] = "<https://ca.example/b>; title=x; rel=alternate"
    found = chains.alternates(Answer("u", 200, headers, b"", NOW))
    assert found == ["https://ca.example/a", "https://ca.example/b"]
