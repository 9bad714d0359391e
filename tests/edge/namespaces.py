"""Network namespaces: addresses and networks of a test's own, where this machine permits them."""

from __future__ import annotations

import os
import subprocess

import pytest


def ip(*words: str) -> None:
    """Run `ip`; its failure is ours."""
    subprocess.run(["ip", *words], check=True, capture_output=True)


def permitted() -> bool:
    """Whether this machine lets us make network namespaces."""
    name = f"probe{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True).returncode == 0
    if made:
        made = subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"]).returncode == 0
        ip("netns", "del", name)
    return made


def demand() -> None:
    """Go on only where namespaces are permitted: else skip on somebody's machine, and fail in CI."""
    if permitted():
        return
    why = (
        "this machine does not permit network namespaces (root, or CAP_SYS_ADMIN and CAP_NET_ADMIN)"
    )
    if os.environ.get("CI", "").lower() in ("true", "1"):
        pytest.fail(why)
    pytest.skip(why)
