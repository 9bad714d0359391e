"""What the frontend's sources promise without a browser: their own tests, the words, the address of a new build."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from control.reasons import REASONS
from deploy import modoboa

ROOT = Path(__file__).resolve().parents[2]
FRONTEND = ROOT / "modoboa_ext" / "frontend"
BLANK = "%{}"


def test_the_units_hold():
    done = subprocess.run(["npm", "test"], cwd=FRONTEND, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:]


def test_the_page_says_what_the_control_plane_means():
    words = json.loads((FRONTEND / "src/locale/reasons.en.json").read_text())
    assert words == {code: reason.meaning for code, reason in REASONS.items()}


def sentences(tree: ast.AST) -> Iterator[str]:
    """Every text in a module; what is filled in is a blank."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            parts = node.values
            yield "".join(p.value if isinstance(p, ast.Constant) else BLANK for p in parts)


def raised(tree: ast.AST, error: str) -> Iterator[str]:
    """The texts that `error` is raised with."""
    for node in ast.walk(tree):
        made = node.exc if isinstance(node, ast.Raise) else None
        if isinstance(made, ast.Call) and getattr(made.func, "id", None) == error:
            yield next(sentences(made.args[0]))


def test_the_page_has_words_for_what_the_api_says_and_for_nothing_else():
    sayings = json.loads((FRONTEND / "src/locale/sayings.json").read_text())
    known = {re.sub(r"%\{ \w+ \}", BLANK, template) for template in sayings}
    modules = [*ROOT.glob("control/**/*.py"), *ROOT.glob("modoboa_ext/**/*.py")]
    said = {text for module in modules for text in sentences(ast.parse(module.read_text()))}
    assert known <= said
    certificates = ast.parse((ROOT / "control/certificates.py").read_text())
    assert set(raised(certificates, "Unusable")) <= known


def test_a_new_build_has_a_new_address_so_that_no_cache_keeps_the_old_one(full_stack):
    collected = full_stack.modoboa_instance / "sitestatic" / "modoboa_ext"
    shared = collected.readlink()
    before = address_of_the_remote(full_stack)
    collected.unlink()
    shutil.copytree(shared, collected)
    try:
        with (collected / "remoteEntry.js").open("a") as file:
            file.write("\n// a new build\n")
        assert address_of_the_remote(full_stack) != before
    finally:
        shutil.rmtree(collected)
        collected.symlink_to(shared)
    assert address_of_the_remote(full_stack) == before


def address_of_the_remote(stack) -> str:
    """Where Modoboa tells the browser to load our part from."""
    plugins = modoboa.Administrator(stack.modoboa_instance).call("GET", "/frontend/plugins/").json()
    return next(plugin["remote"]["url"] for plugin in plugins if plugin["name"] == "modoboa_ext")
