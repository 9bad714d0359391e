"""Runs every bench_*.py below this folder, prints one table and writes var/bench.json."""

from __future__ import annotations

import dataclasses
import importlib
import json
import platform
import sys
import time
import traceback
from pathlib import Path

from tests.bench.row import Row

HERE = Path(__file__).parent
RESULT = HERE.parents[1] / "var" / "bench.json"


def modules(words: list[str]) -> list[str]:
    """Module names of every bench_*.py, those whose name holds one of `words` when there are any."""
    found = sorted(HERE.rglob("bench_*.py"))
    names = ["tests.bench." + ".".join(f.relative_to(HERE).with_suffix("").parts) for f in found]
    return [name for name in names if not words or any(word in name for word in words)]


def show(row: Row) -> None:
    """One line of the table."""
    verdict = {True: "met", False: "MISSED", None: ""}[row.met]
    figure = f"{row.value:,.3f}".rstrip("0").rstrip(".")
    print(
        f"{row.what:<74} {figure:>12} {row.unit:<10} {row.aim:<10} {verdict:<7} {row.note}",
        flush=True,
    )


def measured(name: str) -> list[Row]:
    """The rows of one module; a module that breaks says so in a row of its own, and the others go on."""
    try:
        rows: list[Row] = importlib.import_module(name).run()
    except Exception as problem:
        traceback.print_exc()
        rows = [Row(f"{name} broke: {problem}", 0, "", "", False)]
    for row in rows:
        show(row)
    return rows


def main() -> int:
    """Run, print, write; status 1 only when a module broke."""
    print(
        "Ratios are medians of interleaved rounds; above 1 the edge needs less CPU than what it is compared with."
    )
    rows = [row for name in modules(sys.argv[1:]) for row in measured(name)]
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    about = {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": platform.platform(),
    }
    RESULT.write_text(
        json.dumps({**about, "rows": [dataclasses.asdict(r) for r in rows]}, indent=1)
    )
    missed = sum(row.met is False for row in rows)
    print(f"{len(rows)} rows, {missed} aims missed; {RESULT}")
    return int(any("broke" in row.what for row in rows))


if __name__ == "__main__":
    sys.exit(main())
