"""What the frontend's sources promise without a browser: their own tests, the words, the address of a new build."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from control.reasons import REASONS
from deploy import modoboa

FRONTEND = Path(__file__).resolve().parents[2] / "modoboa_ext" / "frontend"


def test_the_units_hold():
    done = subprocess.run(["npm", "test"], cwd=FRONTEND, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:]


def test_the_page_says_what_the_control_plane_means():
    words = json.loads((FRONTEND / "src/locale/reasons.en.json").read_text())
    assert words == {code: reason.meaning for code, reason in REASONS.items()}


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
