"""The journal: every kind of event that the code writes is documented, and nothing else is."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from control import events

CODE = Path(events.__file__).parent
DOCUMENT = CODE.parent / "docs" / "api.md"
PLACE = {"note": 0, "audit": 1, "record": 1}
"""Which argument of a function is the kind."""


def texts(node: ast.AST) -> Iterator[str]:
    """The texts that an expression may be."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from texts(node.body)
        yield from texts(node.orelse)


def written() -> Iterator[str]:
    """Every kind that an event is given somewhere."""
    for path in CODE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "kind":
                yield from (text for text in texts(node.value) if "failed" in text)
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "attr", None) or getattr(node.func, "id", "")
            if name in PLACE and len(node.args) > PLACE[name]:
                yield from texts(node.args[PLACE[name]])
            if name == "Event":
                for keyword in node.keywords:
                    yield from texts(keyword.value) if keyword.arg == "kind" else ()


def test_every_kind_is_documented_and_no_other() -> None:
    section = DOCUMENT.read_text().partition("## Events\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (?:a hostname|the installation).*", section, re.M)
    assert set(re.findall(r"`([a-z_]+)`", " ".join(rows))) == set(written())
