"""The stable reason codes: each complete, each documented."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from control import reasons

DOCUMENT = Path(__file__).parents[2] / "docs" / "reasons.md"


@pytest.mark.parametrize("code", sorted(reasons.REASONS))
def test_every_reason_says_who_acts_and_what_to_do(code: str) -> None:
    reason = reasons.REASONS[code]
    assert reason.actor in reasons.ACTORS
    assert reason.meaning.endswith(".")
    assert "{" not in reasons.hint(code)


def test_a_hint_names_what_the_caller_knows() -> None:
    text = reasons.hint("dns_points_elsewhere", hostname="mail.acme.test", addresses="198.51.100.4")
    assert text == "Change the A and AAAA records of mail.acme.test to 198.51.100.4."


def test_a_code_that_nobody_listed_is_the_operator_s() -> None:
    assert reasons.actor("no_such_code") == "operator"
    assert reasons.hint("no_such_code") == ""


def test_the_document_lists_every_reason_as_the_table_has_it() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.+) \| (.+) \|$", DOCUMENT.read_text(), re.M)
    table = [(r.code, r.actor, r.meaning, reasons.hint(r.code)) for r in reasons.REASONS.values()]
    assert rows == table
