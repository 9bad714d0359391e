"""Sealed keys open for their own purpose only; a keyring that others can read is refused."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from control import sealing
from control.sealing import CannotOpen, Keyring, KeyringError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "keyring"
    sealing.write(path, {"k2": b"2" * 32, "k1": b"1" * 32})
    return path


def test_what_is_sealed_opens_again(path: Path) -> None:
    keyring = Keyring(path)
    sealed = keyring.seal(b"secret", "v1|mail.acme.test|ab")
    assert sealed.startswith("v1:k2:")
    assert len(base64.b64decode(sealed.split(":")[2])) == 12 + len(b"secret") + 16
    assert keyring.open(sealed, "v1|mail.acme.test|ab") == b"secret"


def test_it_does_not_open_for_another_hostname_or_public_key(path: Path) -> None:
    keyring = Keyring(path)
    sealed = keyring.seal(b"secret", sealing.for_hostname("mail.acme.test", "ab"))
    for purpose in (
        sealing.for_hostname("mail.globex.test", "ab"),
        sealing.for_hostname("mail.acme.test", "cd"),
        sealing.for_account("https://ca/dir"),
    ):
        with pytest.raises(CannotOpen):
            keyring.open(sealed, purpose)


def test_every_key_opens_and_the_first_seals(path: Path) -> None:
    old = Keyring(path).seal(b"x", "v1|a|b")
    sealing.write(path, {"k3": b"3" * 32, **sealing.read(path)})
    keyring = Keyring(path)
    assert keyring.kids == ("k3", "k2", "k1")
    assert keyring.open(old, "v1|a|b") == b"x"
    assert keyring.seal(b"x", "v1|a|b").startswith("v1:k3:")


def test_a_change_of_the_file_is_seen_without_a_restart(path: Path) -> None:
    keyring = Keyring(path)
    sealing.write(path, {"k9": b"9" * 32, **sealing.read(path)})
    assert keyring.seal(b"x", "v1|a|b").startswith("v1:k9:")


@pytest.mark.parametrize(
    "sealed", ["", "v1", "v1:k2", "v2:k2:AAAA", "v1:gone:AAAA", "v1:k2:???", "v1:k2:AAAA"]
)
def test_what_is_no_sealed_key_is_refused(path: Path, sealed: str) -> None:
    with pytest.raises(CannotOpen):
        Keyring(path).open(sealed, "v1|a|b")


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o604, 0o602, 0o601, 0o650])
def test_a_keyring_that_others_can_reach_is_refused(path: Path, mode: int) -> None:
    path.chmod(mode)
    with pytest.raises(KeyringError, match="chmod 0640"):
        Keyring(path)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o400, 0o440])
def test_the_owner_and_nginxs_group_may_read(path: Path, mode: int) -> None:
    path.chmod(mode)
    assert Keyring(path).kids == ("k2", "k1")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is empty"),
        ("k1", "line 1 must be"),
        ("k1 short", "line 1 must be"),
        ("k1 " + base64.b64encode(b"1" * 16).decode(), "line 1 must be"),
        ("k 1 " + base64.b64encode(b"1" * 32).decode(), "line 1 must be"),
        (("k1 " + base64.b64encode(b"1" * 32).decode() + "\n") * 2, "is there twice"),
    ],
)
def test_a_broken_file_is_refused_with_its_line(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "keyring"
    path.touch(mode=0o600)
    path.write_text(text)
    with pytest.raises(KeyringError, match=sentence):
        Keyring(path)


def test_a_missing_one_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(KeyringError, match="edgectl keyring add"):
        Keyring(tmp_path / "none")


def test_ec_keys_are_sec_1_and_others_pkcs_8() -> None:
    ec_der = sealing.private_key_der(ec.generate_private_key(ec.SECP256R1()))
    rsa_der = sealing.private_key_der(rsa.generate_private_key(65537, 2048))
    for der in (ec_der, rsa_der):
        assert serialization.load_der_private_key(der, None)
    assert ec_der[2:7] == bytes.fromhex("0201010420"), "ECPrivateKey, version 1, 32 octets"
    assert rsa_der[4:7] == bytes.fromhex("020100"), "PrivateKeyInfo, version 0"
