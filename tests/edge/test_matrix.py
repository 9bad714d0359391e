"""Every SNI with every Host, over both protocols, fresh and resumed: the verdict of each cell, written down and met."""

import json

import pytest
from OpenSSL import SSL

from tests.edge.conftest import A, B
from tests.edge.http2 import Conversation
from tests.edge.visitor import Refused

SNIS = {
    "A": A,
    "B": B,
    "none": None,
    "unknown": "nobody.test",
    "address": "127.0.0.1",
    "upper": A.upper(),
    "dot": A + ".",
}
MEANS = {"A": A, "B": B, "upper": A, "dot": A}
REFUSED = "refused"

# Host as it is sent → who it means (None: nobody), for HTTP/1.1: (target, Host header lines)
HTTP1 = {
    "A": ("/api/", [A], A),
    "B": ("/api/", [B], B),
    "absolute": (f"https://{A}/api/", ["evil.test"], A),
    "two": ("/api/", [A, B], "bad"),
    "none": ("/api/", [], "bad"),
    "port": ("/api/", [A + ":8443"], A),
    "upper": ("/api/", [A.upper() + "."], A),
    "unknown": ("/api/", ["nobody.test"], None),
}
# the same for HTTP/2: (:authority, host fields)
HTTP2 = {
    "A": (A, (), A),
    "B": (B, (), B),
    "host only": (None, (A,), A),
    "both": (A, (B,), "bad"),
    "two": (None, (A, B), "bad"),
    "none": (None, (), "bad"),
    "port": (A + ":8443", (), A),
    "unknown": ("nobody.test", (), None),
}
HANDSHAKES = {
    "fresh 1.3": (SSL.TLS1_3_VERSION, False),
    "fresh 1.2": (SSL.TLS1_2_VERSION, False),
    "resumed 1.3": (SSL.TLS1_3_VERSION, True),
    "resumed 1.2": (SSL.TLS1_2_VERSION, True),
}


def verdict(sni: str, means: str | None) -> int | str:
    """The one rule: refused, 400, 404, 421 or 200."""
    if sni not in MEANS:
        return REFUSED
    if means == "bad":
        return 400
    if means is None:
        return 404
    return 200 if MEANS[sni] == means else 421


def session_of(edge, version):
    """A session that A's front door gave."""
    with edge.visit(A, version=version) as visit:
        assert visit.get("/api/", A).status == 200
        return visit.session


def connect(edge, sni, handshake, alpn=b"http/1.1"):
    """A connection as the row says; an A session is offered to everybody, and taken by A only."""
    version, resume = HANDSHAKES[handshake]
    session = session_of(edge, version) if resume else None
    visit = edge.visit(SNIS[sni], version=version, session=session, alpn=alpn)
    assert visit.resumed == (resume and MEANS.get(sni) == A)
    return visit


@pytest.mark.parametrize("handshake", HANDSHAKES)
@pytest.mark.parametrize("host", HTTP1)
@pytest.mark.parametrize("sni", SNIS)
def test_http1(edge, sni, host, handshake):
    target, lines, means = HTTP1[host]
    expected = verdict(sni, means)
    try:
        visit = connect(edge, sni, handshake)
    except Refused:
        assert expected == REFUSED
        return
    with visit:
        assert expected != REFUSED
        request = [f"GET {target} HTTP/1.1", *(f"Host: {line}" for line in lines)]
        visit.send("\r\n".join(request).encode() + b"\r\n\r\n")
        answer = visit.read()
        assert answer.status == expected
        if expected == 200:
            told = dict(json.loads(answer.body)["headers"])
            assert (told["Host"], told["X-Virtual-Host"]) == (means, means)


@pytest.mark.parametrize("handshake", HANDSHAKES)
@pytest.mark.parametrize("host", HTTP2)
@pytest.mark.parametrize("sni", SNIS)
def test_http2(edge, sni, host, handshake):
    authority, hosts, means = HTTP2[host]
    expected = verdict(sni, means)
    try:
        visit = connect(edge, sni, handshake, alpn=b"h2")
    except Refused:
        assert expected == REFUSED
        return
    with visit:
        assert expected != REFUSED
        talk = Conversation(visit)
        answer = talk.get("/api/", authority, hosts)
        assert answer.status == expected
        if expected == 200:
            told = dict(json.loads(answer.body)["headers"])
            assert (told["Host"], told["X-Virtual-Host"]) == (means, means)
            other = B if means == A else A
            assert talk.get("/api/", other).status == 421, "each stream is judged by itself"


@pytest.mark.parametrize("version", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION])
def test_a_deleted_hosts_session_and_open_connections_are_refused(edge, version):
    name = f"gone-{version}.acme.test"
    edge.settle(edge.publisher.publish(name))
    with edge.visit(name, version=version) as first:
        assert first.get("/api/", name).status == 200
        session = first.session
    with edge.visit(name, version=version, session=session) as again:
        assert again.resumed
        assert again.get("/api/", name).status == 200
        with edge.visit(name, version=version, alpn=b"h2") as two:
            talk = Conversation(two)
            assert talk.get("/api/", name).status == 200
            edge.settle(edge.publisher.withdraw(name))
            assert talk.get("/api/", name).status == 404
            assert again.get("/api/", name).status == 404
    with pytest.raises(Refused):
        edge.visit(name, version=version, session=session)


@pytest.mark.parametrize("version", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION])
def test_a_new_generation_does_not_resume_the_old_ones_sessions(edge, version):
    name = f"again-{version}.acme.test"
    edge.settle(edge.publisher.publish(name, generation=1))
    with edge.visit(name, version=version) as first:
        first.get("/api/", name)
        session = first.session
    edge.settle(edge.publisher.publish(name, generation=2))
    with edge.visit(name, version=version, session=session) as again:
        assert not again.resumed
        assert again.get("/api/", name).status == 200
