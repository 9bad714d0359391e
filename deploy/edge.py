"""The edge: nginx with lua/edge, configured by `nginx/configure` from EDGE_* settings into a directory of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from deploy.process import NotReady, Process

# what nginx is started with, here and by systemd: freed memory is kept at hand, so that a handshake needs 1 to 2 % less
ENVIRONMENT = {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=20"}
CONFIGURE = Path(__file__).resolve().parent.parent / "nginx" / "configure"


def configure(directory: Path, env: Mapping[str, str]) -> None:
    """Write nginx's prefix directory; NotReady carries one sentence for each wrong setting."""
    done = subprocess.run(
        [sys.executable, str(CONFIGURE), "--to", str(directory)],
        env={"PATH": os.environ["PATH"], **env},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise NotReady(f"nginx/configure: {done.stderr.strip()}")


def edge(directory: Path, env: Mapping[str, str], *, name: str = "nginx") -> Process:
    """An edge under `directory` for `env` (EDGE_* settings); ready when its status listener answers."""
    configure(directory, env)
    status = f"http://127.0.0.1:{env['EDGE_STATUS_PORT']}/healthz"

    def ready() -> bool:
        try:
            with urllib.request.urlopen(status, timeout=2) as answer:
                return bool(answer.status == 200)
        except (OSError, urllib.error.URLError):
            return False

    argv = ["nginx", "-p", str(directory), "-c", "nginx.conf", "-g", "daemon off;"]
    return Process(name, argv, directory / "logs" / "stderr.log", ready, ENVIRONMENT)


def health(status_port: int) -> dict[str, object]:
    """What `/healthz` says: `index` complete or not, `applied` revision, `epoch`, `alarm`."""
    with urllib.request.urlopen(f"http://127.0.0.1:{status_port}/healthz", timeout=2) as answer:
        report: dict[str, object] = json.loads(answer.read())
        return report


def pid_file(directory: Path) -> Path:
    """Where nginx's master writes its pid."""
    return directory / "nginx.pid"


def reload(directory: Path) -> None:
    """Ask the master to start new workers with the configuration as it is now."""
    os.kill(int(pid_file(directory).read_text()), signal.SIGHUP)


def check(env: Mapping[str, str]) -> str:
    """`nginx -t` for `env` in a throw-away directory: what nginx said; NotReady when it refused."""
    with tempfile.TemporaryDirectory(prefix="edge-check-") as folder:
        directory = Path(folder)
        keyring = directory / "keyring"
        keyring.touch(mode=0o640)
        keyring.write_text("k1 MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n")
        configure(directory / "nginx", {"EDGE_KEYRING": str(keyring), **env})
        argv = ["nginx", "-t", "-q", "-p", str(directory / "nginx"), "-c", "nginx.conf"]
        done = subprocess.run(argv, capture_output=True, text=True)
        if done.returncode:
            raise NotReady(done.stderr.strip())
        return done.stderr


def main() -> int:
    """For `make lint`: the configuration as shipped, over HTTP and over uWSGI, passes `nginx -t`."""
    owner = {"EDGE_USER": "nobody"} if os.geteuid() else {}
    for upstream in ("http://127.0.0.1:8000", "uwsgi://unix:/run/modoboa/uwsgi.sock"):
        try:
            check({"EDGE_UPSTREAM": upstream, **owner})
        except NotReady as problem:
            print(problem, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
