"""Certificate and key as OpenSSL gets them: of every kind, from shared memory alone, and the cheapest cipher first."""

import subprocess

import pytest
from OpenSSL import SSL

from tests.bench.client import run
from tests.bench.edge.contenders import private
from tests.edge.conftest import A, B
from tests.edge.spoilt import spoilt
from tests.edge.visitor import Refused, eventually

AES_128, AES_256 = "TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"
CHACHA = "TLS_CHACHA20_POLY1305_SHA256"
SERVED = 'edge_handshakes_total{result="served"}'
MEMORY = 'edge_certificate_loads_total{source="memory"}'


def spoken(edge, suites: str) -> str:
    """The TLS 1.3 cipher that a client with this list of preferences ends up with."""
    argv = ["openssl", "s_client", "-connect", f"127.0.0.1:{edge.https}", "-servername", A]
    out = subprocess.run(
        [*argv, "-tls1_3", "-ciphersuites", suites], input="", capture_output=True, text=True
    ).stdout
    return out.partition("Cipher is ")[2].split("\n")[0]


@pytest.mark.parametrize("kind", ["ec", "p384", "rsa"])
@pytest.mark.parametrize("version", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION])
def test_a_key_of_every_kind_signs_when_shared_memory_alone_has_it(edge, kind, version):
    hostname = f"{kind}.acme.test"
    leaf = edge.publisher.authority.leaf(hostname, kind=kind)
    edge.settle(edge.publisher.publish(hostname, leaf=leaf))
    assert edge.serves(hostname) == leaf.sha256
    before, workers = edge.metric(MEMORY), set(edge.workers())
    edge.reload()
    eventually(lambda: edge.workers() and not workers & set(edge.workers()))
    for _ in range(5):
        with edge.visit(hostname, version=version) as visit:
            assert visit.sha256 == leaf.sha256
            assert visit.get("/api/", hostname).status == 200
    eventually(lambda: edge.metric(MEMORY) > before)


@pytest.mark.parametrize("version", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION])
def test_pairs_that_are_used_often_stay_each_its_own_hosts(edges, version):
    edge = edges.make(workers="1")
    kinds = {"often-ec.acme.test": "ec", "often-rsa.acme.test": "rsa", A: "p384"}
    for hostname, kind in kinds.items():
        leaf = edge.publisher.authority.leaf(hostname, kind=kind)
        edge.settle(edge.publisher.publish(hostname, leaf=leaf))
    for renewed in (False, True):
        if renewed:
            edge.settle(edge.publisher.publish(A))
        for hostname in [*kinds] * 6:
            with edge.visit(hostname, version=version) as visit:
                assert visit.sha256 == edge.publisher.leaves[hostname].sha256
                assert visit.get("/api/", hostname).status == 200
                other = visit.session
            for another in kinds:
                with edge.visit(another, session=other, version=version) as visit:
                    assert visit.resumed == (another == hostname)
                    assert visit.sha256 == edge.publisher.leaves[another].sha256
    workers = set(edge.workers())
    edge.reload()
    eventually(lambda: edge.workers() and not workers & set(edge.workers()))
    assert edge.exits() == 0


def test_a_client_that_has_to_say_hello_twice_gets_its_own_hosts_certificate(edge):
    argv = ["openssl", "s_client", "-connect", f"127.0.0.1:{edge.https}", "-tls1_3", "-msg"]
    before, hosts = edge.metric(SERVED), [A, B] * 6  # (1) a worker's third of a host is lent
    for hostname in hosts:
        done = subprocess.run(
            [*argv, "-groups", "P-521:X25519", "-servername", hostname],
            input="",
            capture_output=True,
            text=True,
        )
        assert done.stdout.count("ClientHello") == 2
        assert "Cipher is TLS_AES" in done.stdout
        assert edge.publisher.leaves[hostname].pem in done.stdout
    eventually(lambda: edge.metric(SERVED) == before + len(hosts))


def test_a_pair_that_openssl_will_not_have_ends_the_handshake(edges, tmp_path):
    line = "function _M.is_strong(x509, is_leaf)\n"
    edge = edges.make(lua=spoilt(tmp_path, "x509", line, line + "  if x509 then return true end\n"))
    edge.settle(edge.publisher.publish(A, leaf=edge.publisher.authority.leaf(A, kind="weak")))
    for version in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION) * 4:
        with pytest.raises(Refused):
            edge.visit(A, version=version)
    eventually(lambda: edge.metric('edge_handshakes_total{result="no_certificate"}') == 8)
    assert edge.metric(SERVED) == 0


@pytest.mark.parametrize("tickets", ["1", "3"])
def test_so_many_session_messages_follow_a_handshake(edges, tickets):
    edge = edges.make(session_tickets=tickets)
    edge.settle(edge.publisher.publish(A))
    argv = ["openssl", "s_client", "-connect", f"127.0.0.1:{edge.https}", "-servername", A]
    request = f"GET /config.json HTTP/1.1\r\nHost: {A}\r\nConnection: close\r\n\r\n"
    for _ in range(3):
        said = subprocess.run(
            [*argv, "-tls1_3", "-msg", "-ign_eof"], input=request, capture_output=True, text=True
        ).stdout
        assert said.count("NewSessionTicket") == int(tickets)


def test_aes_128_is_chosen_but_a_client_that_puts_chacha20_first_gets_it(edge):
    assert spoken(edge, f"{AES_256}:{CHACHA}:{AES_128}") == AES_128
    assert spoken(edge, f"{CHACHA}:{AES_256}:{AES_128}") == CHACHA
    with edge.visit(A, version=SSL.TLS1_2_VERSION) as visit:
        assert visit.connection.get_cipher_name() == "ECDHE-ECDSA-AES128-GCM-SHA256"


def test_a_host_that_leaves_a_full_cache_takes_its_memory_along(edges):
    edge = edges.make(workers="1", cached_hosts="1000")
    leaf = edge.publisher.authority.leaf("*.acme.test")
    for number in range(2000):
        revision = edge.publisher.publish(f"h{number:04}.acme.test", leaf=leaf)
    edge.settle(revision)
    (worker,) = edge.workers()
    memory = []
    for count in (1000, 5000):
        outcome = run(edge.https, "h%04d.acme.test", count=count, hosts=-2000)
        assert outcome.failed == 0
        memory.append(private(worker))
    assert edge.metric(MEMORY) > 3000
    assert memory[1] < memory[0] + 3_000_000
