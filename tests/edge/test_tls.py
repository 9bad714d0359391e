"""Protocols and ciphers on the wire: Mozilla's intermediate profile; scanners look closer in tests/faults/edge."""

import pytest
from OpenSSL import SSL

from tests.edge.conftest import A
from tests.edge.visitor import Refused

RSA = "rsa.acme.test"
EVERYTHING = b"ALL:COMPLEMENTOFALL:@SECLEVEL=0"
INTERMEDIATE = {
    "ECDHE-%s-AES128-GCM-SHA256",
    "ECDHE-%s-AES256-GCM-SHA384",
    "ECDHE-%s-CHACHA20-POLY1305",
}


def offered() -> list[str]:
    """Every cipher of TLS 1.2 and older that this OpenSSL can speak."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_cipher_list(EVERYTHING)
    names: list[str] = SSL.Connection(context, None).get_cipher_list()
    return [name for name in names if not name.startswith("TLS_")]


def accepts(edge, hostname, **options) -> bool:
    try:
        edge.visit(hostname, **options).close()
    except Refused:
        return False
    return True


@pytest.mark.parametrize(("hostname", "kind"), [(A, "ECDSA"), (RSA, "RSA")])
def test_tls_1_2_speaks_the_ciphers_of_the_profile_only(edge, hostname, kind):
    leaf = edge.publisher.authority.leaf(RSA, kind="rsa")
    edge.settle(edge.publisher.publish(RSA, leaf=leaf))
    assert len(offered()) > 30
    accepted = {
        cipher
        for cipher in offered()
        if accepts(
            edge, hostname, version=SSL.TLS1_2_VERSION, ciphers=f"{cipher}:@SECLEVEL=0".encode()
        )
    }
    assert accepted == {cipher % kind for cipher in INTERMEDIATE}


@pytest.mark.parametrize("version", [SSL.TLS1_VERSION, SSL.TLS1_1_VERSION])
def test_nothing_older_than_tls_1_2(edge, version):
    assert not accepts(edge, A, version=version, ciphers=EVERYTHING)
    assert accepts(edge, A, version=SSL.TLS1_2_VERSION, ciphers=EVERYTHING)
