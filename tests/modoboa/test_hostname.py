"""The same verdict and the same sentence as Lua and Flask, from one file of vectors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modoboa_ext.hostname import InvalidHostname, parse

VECTORS = json.loads(Path(__file__).parents[1].joinpath("data", "hostnames.json").read_text())


@pytest.mark.parametrize(
    "vector", VECTORS["hostnames"], ids=lambda vector: repr(vector["input"])[:40]
)
def test_every_vector_gets_the_verdict_it_names(vector: dict[str, str | None]) -> None:
    if vector["error"] is None:
        assert parse(vector["input"]) == vector["canonical"]
        return
    with pytest.raises(InvalidHostname) as fault:
        parse(vector["input"])
    assert str(fault.value) == vector["error"]
