"""Rotation of the sealing key: everything is sealed anew, whatever the keys are called, and none is lost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from control import rotation, sealing, webhooks
from control.plane import Plane
from control.publishing import NotApplied
from control.rotation import StillNeeded
from tests.control.conftest import TEST, House, both_databases


def with_keys(house: House, path: Path, *kids: str) -> Plane:
    """The control plane with a keyring of its own."""
    sealing.write(path, {kid: kid.encode().ljust(32, b"-") for kid in kids})
    return replace(house.plane, keyring=sealing.Keyring(path))


@both_databases
@pytest.mark.parametrize(("former", "newer"), [("A1", "a1"), ("k_1", "k_2"), ("kx1", "k_1")])
def test_kids_that_look_alike_are_told_apart(
    house: House, tmp_path: Path, former: str, newer: str
) -> None:
    path = tmp_path / "keyring"
    house.plane = with_keys(house, path, former)
    house.add()
    house.work()
    webhooks.put(house.plane, "billing", "https://billing.example/", [], TEST)
    house.plane = with_keys(house, path, former, newer)
    house.store.live.clear()
    kid, sealed = rotation.rotate(house.plane, path, 1, lambda _: None)
    assert (kid, sealed) == (newer, 3), "account, webhook and certificate"
    assert rotation.drop_old(house.plane, path, 1) == [former]
    certificate = house.host().certificate
    assert certificate is not None
    purpose = sealing.for_hostname("mail.acme.test", certificate.spki)
    assert house.plane.keyring.open(certificate.sealed_key, purpose)


@both_databases
def test_a_key_by_which_something_is_sealed_is_not_taken_out(house: House, tmp_path: Path) -> None:
    path = tmp_path / "keyring"
    house.plane = with_keys(house, path, "k1")
    house.add()
    house.work()
    webhooks.put(house.plane, "billing", "https://billing.example/", [], TEST)
    house.plane = with_keys(house, path, "K1", "k1")
    with pytest.raises(StillNeeded, match="certificates and webhooks and accounts"):
        rotation.drop_old(house.plane, path, 1)
    assert list(sealing.read(path)) == ["K1", "k1"]


def test_a_key_that_an_edge_may_still_have_to_open_with_is_not_taken_out(
    house: House, tmp_path: Path
) -> None:
    path = tmp_path / "keyring"
    house.plane = with_keys(house, path, "k1")
    house.add()
    house.work()
    house.store.frozen["edge-1"] = 0
    with pytest.raises(NotApplied):
        rotation.drop_old(house.plane, path, 0.1)
