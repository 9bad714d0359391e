"""docs/install.md, followed: what its blocks write, run by the units' own command lines, serves a hostname.

Packages, users, PostgreSQL and systemd need a whole machine: their lines are left out. Paths and ports lie elsewhere.
"""

from __future__ import annotations

import itertools
import json
import os
import pwd
import re
import shlex
import socket
import ssl
import subprocess
import sys
import urllib.request
from functools import partial
from pathlib import Path

import pytest

from deploy.process import Process, free_port, listening

ROOT = Path(__file__).resolve().parents[2]
BLOCKS = re.findall(r"^```sh\n(.*?)^```", (ROOT / "docs" / "install.md").read_text(), re.S | re.M)
MACHINE = re.compile(
    r"^(apt-get|systemctl|adduser|runuser|python3 -m venv|cp |sleep|cd |CONTROL_TOKEN=|install -d .*redis"
    r"|edgectl explain|echo|\S*/bin/pip|\"\$MODOBOA_PYTHON\")"
)
NAME = "mail.guide.test"


def written(root: Path, changes: dict[str, str]) -> None:
    """Run steps 0 to 4 below `root`; `changes` are texts of the guide and what stands there in the test."""
    before = itertools.takewhile(lambda block: "disable --now nginx" not in block, BLOCKS)
    chosen = [block for block in before if "psql" not in block]
    text = "\n".join(chosen).replace("\\\n", " ")
    for there, here in changes.items():
        assert there in text, f"the guide says no more {there}"
        text = text.replace(there, here)
    lines = [line for line in text.splitlines() if not MACHINE.match(line)]
    script = root / "guide.sh"
    script.write_text('set -eu\ninstall() { command install -D "$@"; }\n' + "\n".join(lines))
    done = subprocess.run(["bash", str(script)], capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr


def as_systemd(file: Path) -> dict[str, str]:
    """An EnvironmentFile: NAME=VALUE, the value in quotes or not."""
    pairs = (line.partition("=") for line in file.read_text().splitlines())
    return {name: "".join(shlex.split(value)) for name, _, value in pairs}


def as_shell(file: Path) -> dict[str, str]:
    """The same file, sourced."""
    dump = "import json, os; print(json.dumps(dict(os.environ)))"
    line = f"set -a; . {shlex.quote(str(file))}; exec {sys.executable} -c '{dump}'"
    return json.loads(subprocess.run(["sh", "-euc", line], capture_output=True, check=True).stdout)


@pytest.fixture
def machine(tmp_path: Path, pebble):
    """A folder where the guide was followed, with this test's CA and database; and the ports it uses."""
    (tmp_path / "venv" / "share" / "modoboa-edge").mkdir(parents=True)
    (tmp_path / "venv" / "bin").symlink_to(Path(sys.executable).parent)
    for folder in ("nginx", "lua", "deploy/systemd"):
        (tmp_path / "venv" / "share" / "modoboa-edge" / Path(folder).name).symlink_to(ROOT / folder)
    for folder in ("var/lib/redis/edge", "etc/redis"):
        (tmp_path / folder).mkdir(parents=True)
    ports = {name: free_port() for name in ("redis", "control", "https", "status")}
    written(
        tmp_path,
        {
            "/srv/modoboa-edge/venv": f"{tmp_path}/venv",
            "/usr/local/bin/edgectl": f"{tmp_path}/edgectl",
            "\nedgectl ": f"\n{tmp_path}/edgectl ",
            "/etc/": f"{tmp_path}/etc/",
            "/var/lib/": f"{tmp_path}/var/lib/",
            " -g www-data": "",
            " --group www-data": "",
            " -o redis -g redis": "",
            "6380": str(ports["redis"]),
            "8480": str(ports["control"]),
            "EDGE_HTTP_PORT=80": f"EDGE_HTTP_PORT={pebble.http_port}",
            "EDGE_HTTPS_PORT=443": f"EDGE_HTTPS_PORT={ports['https']}",
        },
    )
    return tmp_path, ports


def test_systemd_and_the_shell_read_the_same_settings(machine) -> None:
    folder, _ = machine
    for name in ("control.env", "edge.env"):
        file = folder / "etc/modoboa-edge" / name
        values = as_systemd(file)
        assert values.items() <= as_shell(file).items()
        assert file.stat().st_mode & 0o077 == 0, "it holds passwords"
    assert values["EDGE_LISTEN"] == "0.0.0.0 [::]"


def adapt(file: Path, values: dict[str, str]) -> dict[str, str]:
    """Let a settings file have these values too; all of them, as systemd reads them."""
    with file.open("a") as out:
        out.writelines(f"{name}={value}\n" for name, value in values.items())
    return as_systemd(file)


def lines(folder: Path, unit: str) -> list[list[str]]:
    """The command lines of a unit, in order: ExecStartPre, ExecStart."""
    text = (ROOT / "deploy" / "systemd" / f"modoboa-edge-{unit}.service").read_text()
    for there, here in {"/srv/modoboa-edge/venv": "venv", "/var/lib/": "var/lib/"}.items():
        text = text.replace(there, str(folder / here) + ("/" if there.endswith("/") else ""))
    return [shlex.split(line) for line in re.findall(r"^ExecStart(?:Pre)?=(.*)", text, re.M)]


def start(folder: Path, unit: str, env: dict[str, str], port: int | None) -> Process:
    """What `systemctl start` does: each ExecStartPre to its end, then ExecStart."""
    *before, argv = lines(folder, unit)
    for words in before:
        subprocess.run(words, env={**os.environ, **env}, check=True)
    if unit == "nginx":
        argv += ["-g", "daemon off;"]
    return Process(unit, argv, folder / f"{unit}.log", lambda: port is None or listening(port), env)


def command(*argv: object) -> str:
    """What a program prints."""
    done = subprocess.run([str(word) for word in argv], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def ask(url: str, token: str, **options) -> dict:
    request = urllib.request.Request(
        url,
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        **options,
    )
    with urllib.request.urlopen(request, timeout=90) as answer:
        return json.load(answer)


def names_served(port: int, sni: str, root: bytes) -> tuple:
    """The names in the certificate that a handshake gets."""
    context = ssl.create_default_context(cadata=root.decode())
    raw = socket.create_connection(("127.0.0.1", port), timeout=5)
    with context.wrap_socket(raw, server_hostname=sni) as connection:
        return connection.getpeercert()["subjectAltName"]


def running(folder: Path, ports: dict[str, int], control: dict[str, str], edge: dict[str, str]):
    """Redis, API, edge and worker, each made when the one before answers."""
    conf = folder / "etc/redis/redis-edge.conf"
    up = partial(listening, ports["redis"])
    yield Process("redis", ["redis-server", str(conf)], folder / "redis.log", up)
    yield start(folder, "api", control, ports["control"])
    yield start(folder, "nginx", edge, ports["https"])
    yield start(folder, "worker", control, None)


def test_what_the_guide_writes_serves_a_hostname(machine, pebble) -> None:
    folder, ports = machine
    control = adapt(
        folder / "etc/modoboa-edge/control.env",
        {
            "DATABASE_URL": f"sqlite:///{folder}/control.sqlite3",
            "ACME_DIRECTORY_URL": pebble.directory_url,
            "ACME_CA_BUNDLE": str(pebble.ca_bundle),
            "RESOLVER": f"127.0.0.1:{pebble.dns_port}",
            "EDGE_PUBLIC_ADDRESSES": "127.0.0.1",
            "PREFLIGHT_PORT": str(pebble.http_port),
            "ALLOW_PRIVATE_ADDRESSES": "on",
        },
    )
    here = {"EDGE_LISTEN": "127.0.0.1", "EDGE_STATUS_PORT": str(ports["status"])}
    here["EDGE_USER"] = pwd.getpwuid(os.geteuid()).pw_name
    edge = adapt(folder / "etc/modoboa-edge/edge.env", here)
    processes = []
    try:
        for process in running(folder, ports, control, edge):
            processes.append(process.start())
        token = command(folder / "edgectl", "token", "create", "modoboa")
        url = f"{edge['CONTROL_URL']}/api/v1/virtualhosts/{NAME}"
        ask(url, token, method="PUT", data=b'{"domains": ["guide.test"]}')
        host = ask(f"{url}?wait=60", token)
        assert host["status"] == "ready", host["error"]
        assert names_served(ports["https"], NAME, pebble.root()) == (("DNS", NAME),)
    finally:
        for process in reversed(processes):
            process.kill()
