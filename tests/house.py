"""`python -m tests.house`: docs/house.md, every module with the sentence that it opens with."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "house.md"
FOLDERS = (
    ("control", "*.py"),
    ("control/cli", "*.py"),
    ("control/api", "*.py"),
    ("control/models", "*.py"),
    ("control/adapters", "*.py"),
    ("control/adapters/acme_authority", "*.py"),
    ("lua/edge", "*.lua"),
    ("modoboa_ext", "*.py"),
    ("deploy", "*.py"),
)


def sentence(path: Path) -> str:
    """The first line of a module's docstring, or of a Lua file's opening comment."""
    text = path.read_text()
    if path.suffix == ".lua":
        found = re.match(r"---? ?(.*)", text)
        return found.group(1) if found else ""
    return (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]


def page() -> str:
    """The whole page as Markdown."""
    lines = [
        "# The house, room by room",
        "",
        "Each module's own first sentence; made by `make format`.",
    ]
    for folder, pattern in FOLDERS:
        lines += ["", f"## {folder}/", "", "| Module | Is |", "|---|---|"]
        for path in sorted((ROOT / folder).glob(pattern)):
            lines.append(f"| `{path.name}` | {sentence(path).replace('|', chr(92) + '|')} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
