"""One file of vectors decides what a hostname is; Lua and Django are held to the same one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from control.hostname import InvalidHostname, parse

VECTORS = json.loads((Path(__file__).parents[1] / "data" / "hostnames.json").read_text())
CANONICAL = [v for v in VECTORS["hostnames"] if v["canonical"] is not None]
REFUSED = [v for v in VECTORS["hostnames"] if v["canonical"] is None]


@pytest.mark.parametrize("vector", CANONICAL, ids=lambda v: v["input"][:40])
def test_a_canonical_hostname_comes_back_as_it_is(vector: dict[str, str]) -> None:
    assert parse(vector["input"]) == vector["canonical"]


@pytest.mark.parametrize("vector", REFUSED, ids=lambda v: ascii(v["input"][:40]))
def test_anything_else_is_refused_with_its_sentence(vector: dict[str, str]) -> None:
    with pytest.raises(InvalidHostname) as refusal:
        parse(vector["input"])
    assert str(refusal.value) == vector["error"]


def test_the_file_is_rich_enough_to_be_a_judge() -> None:
    assert len(CANONICAL) >= 30
    assert len(REFUSED) >= 100
    assert len(VECTORS["edge"]) >= 40


def test_names_the_operator_reserves_are_refused() -> None:
    with pytest.raises(InvalidHostname, match=r"^hostname is reserved: mail\.provider\.test$"):
        parse("mail.provider.test", reserved={"mail.provider.test"})


def test_a_very_long_text_is_refused_quickly() -> None:
    with pytest.raises(InvalidHostname):
        parse("ü" * 1_000_000)
