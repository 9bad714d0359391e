"""Certificates that cannot be read are refused in one sentence, whichever part of them it is."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtensionOID

from control import certificates
from control.certificates import Unusable
from tests.control.pki import Ca, Pair, spoiled

NAME = "mail.acme.test"
ODD = x509.ObjectIdentifier("2.5.29.99")
CA = Ca()


def garbled(oid: x509.ObjectIdentifier) -> Pair:
    """An extension whose value is none."""
    names = () if oid == ExtensionOID.SUBJECT_ALTERNATIVE_NAME else (NAME,)
    return CA.pair(*names, extension=x509.UnrecognizedExtension(oid, b"\x30\x7f"))


UNREADABLE = {
    "names": garbled(ExtensionOID.SUBJECT_ALTERNATIVE_NAME),
    "purpose": garbled(ExtensionOID.EXTENDED_KEY_USAGE),
    "the same extension twice": spoiled(
        CA.pair(NAME, extension=x509.UnrecognizedExtension(ODD, b"\x05\x00")),
        b"\x06\x03\x55\x1d\x63",
        b"\x06\x03\x55\x1d\x11",
    ),
    "a kind of key that nobody knows": spoiled(
        CA.pair(NAME),
        b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01",
        b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x09",
    ),
    "a curve that nobody knows": spoiled(
        CA.pair(NAME),
        b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07",
        b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x77",
    ),
    "version": spoiled(CA.pair(NAME), b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x07"),
}


@pytest.mark.parametrize("what", sorted(UNREADABLE))
def test_what_cannot_be_read_is_unusable(what: str) -> None:
    pair = UNREADABLE[what]
    key = certificates.load_key(pair.private_key)
    with pytest.raises(Unusable, match=r"certificate 1 of the chain cannot be read|not a sequence"):
        certificates.check(pair.chain, key, NAME, datetime.now(UTC))
    with pytest.raises(Unusable):
        certificates.links(pair.chain)
