"""The control plane's processes: each function returns a Process for the settings in `env`."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from deploy.process import Process

EDGECTL = str(Path(sys.executable).parent / "edgectl")


def edgectl(env: Mapping[str, str], *words: str) -> str:
    """Run `edgectl` and return its standard output; RuntimeError with its sentence when it fails."""
    done = subprocess.run(
        [EDGECTL, *words], env={**os.environ, **env}, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"edgectl {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def make_keyring(env: Mapping[str, str]) -> None:
    """A keyring with one key, unless there is one."""
    if not Path(env["EDGE_KEYRING"]).exists():
        edgectl(env, "keyring", "add")


def migrate(env: Mapping[str, str]) -> None:
    """Bring the database to the newest schema."""
    edgectl(env, "migrate")


def token(env: Mapping[str, str], name: str, *, read_only: bool = False) -> str:
    """A new token; one of the same name ends."""
    if f'"{name}"' in edgectl(env, "token", "list", "--json"):
        edgectl(env, "token", "revoke", name)
    words = ["token", "create", name, *(["--read-only"] if read_only else [])]
    return edgectl(env, *words).strip()


def api(directory: Path, env: Mapping[str, str]) -> Process:
    """The REST API under gunicorn on CONTROL_BIND; ready when it answers /healthz."""
    url = f"http://{env['CONTROL_BIND']}/healthz"

    def ready() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=1) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    return Process("control-api", [EDGECTL, "api"], directory / "control-api.log", ready, dict(env))


def worker(directory: Path, env: Mapping[str, str], *, name: str = "control-worker") -> Process:
    """The worker; ready when it says that it has started."""
    log = directory / f"{name}.log"
    before = log.stat().st_size if log.exists() else 0

    def ready() -> bool:
        if not log.exists():
            return False
        with log.open("rb") as file:
            file.seek(before)
            return b"worker started" in file.read()

    return Process(name, [EDGECTL, "worker"], log, ready, dict(env))
