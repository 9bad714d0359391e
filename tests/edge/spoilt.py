"""A copy of lua/ with one line changed: a mistake, or a way to bring about what does not happen by itself."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

LUA = Path(os.environ.get("EDGE_LUA") or Path(__file__).resolve().parents[2] / "lua")


def spoilt(folder: Path, module: str, before: str, after: str) -> str:
    """The copy's directory under `folder`, with `after` instead of the first `before` in `edge/<module>.lua`."""
    shutil.copytree(LUA, folder / "lua")
    file = folder / "lua" / "edge" / f"{module}.lua"
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after, 1))
    return str(folder / "lua")
