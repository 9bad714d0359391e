"""A wrong setting is refused by name: by nginx/configure, and once more by nginx when it starts."""

import json
import os
import platform
import subprocess
from pathlib import Path

import pytest

from deploy import edge as deployed
from deploy.process import NotReady

REDIS_URLS = json.loads((Path(__file__).parents[1] / "data" / "redis_urls.json").read_text())
WRONG = {
    "EDGE_HTTPS_PORT": ["0", "70000", "https", "443;"],
    "EDGE_CLIENT_LIMITS": ["yes", "1"],
    "EDGE_LOG_LEVEL": ["loud"],
    "EDGE_ID": ["two words", "a/b"],
    "EDGE_REDIS_URL": REDIS_URLS["bad"],
    "EDGE_UPSTREAM": ["127.0.0.1:8000", "fastcgi://x:1", "http://h", "http://127.0.0.1:70000"],
    "EDGE_LISTEN": ["localhost", "::1", "127.0.0.1,127.0.0.2"],
    "PRIMARY_HOSTNAME": ["Mail.acme.test", "mail", "https://x.test"],
    "EDGE_CACHED_HOSTS": ["1", "many"],
    "EDGE_MODOBOA_ROOT": ["relative/path", "/a b", '/a"b'],
    "CONTROL_URL": ["127.0.0.1:1", "http://h/api", "http://[::1", "http://127.0.0.1:70000"],
}


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, values in WRONG.items() for v in values])
def test_a_wrong_value_is_refused_by_name(name, value):
    with pytest.raises(NotReady, match=rf"{name} must"):
        deployed.check({name: value})


@pytest.mark.parametrize("name", ["CONTROL_URL", "EDGE_UPSTREAM"])
def test_a_host_that_does_not_resolve_is_named_before_it_stops_nginx(name):
    with pytest.raises(
        NotReady, match=rf"{name} names a host that does not resolve.*: nobody.invalid$"
    ):
        deployed.check({name: "http://nobody.invalid:8000"})
    deployed.check({name: "http://localhost:8000"})


def test_an_edge_without_a_name_has_that_of_its_machine(tmp_path):
    keyring = tmp_path / "keyring"
    keyring.touch(mode=0o640)
    keyring.write_text("k1 MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n")
    deployed.configure(tmp_path / "nginx", {"EDGE_KEYRING": str(keyring)})
    settings = (tmp_path / "nginx" / "edge.env").read_text().splitlines()
    assert f"EDGE_ID={platform.node()}" in settings


def test_every_fault_is_told_at_once():
    with pytest.raises(NotReady) as problem:
        deployed.check({"EDGE_HTTP_PORT": "0", "EDGE_WORKERS": "none", "EDGE_ID": "a b"})
    for name in ("EDGE_HTTP_PORT", "EDGE_WORKERS", "EDGE_ID"):
        assert name in str(problem.value)


def test_a_misspelt_setting_is_reported_with_the_nearest_known_one():
    with pytest.raises(
        NotReady, match=r"EDGE_REDIS_URI is not a setting; did you mean EDGE_REDIS_URL"
    ):
        deployed.check({"EDGE_REDIS_URI": "redis://x"})


@pytest.mark.parametrize("url", REDIS_URLS["good"])
def test_every_kind_of_redis_is_taken(url):
    deployed.check({"EDGE_REDIS_URL": url, "EDGE_REDIS_CA": "/etc/ssl/certs/ca-certificates.crt"})


def test_redis_by_tls_wants_its_authority():
    with pytest.raises(NotReady, match="EDGE_REDIS_CA must be a readable file"):
        deployed.check({"EDGE_HEARTBEAT_REDIS_URL": "rediss://h:1/0"})


@pytest.mark.parametrize(
    "url",
    [
        "redis://edge:topsecret@h:1/mail",
        "redis://edge:top/topsecret@h:1/0",
        "redis://topsecret@h:1/0",
        "redis://edge:topsecret@h:99999/0",
        "unix:///x?password=topsecret&user=y",
    ],
)
def test_a_password_is_not_shown(url):
    with pytest.raises(NotReady, match="EDGE_REDIS_URL must") as problem:
        deployed.check({"EDGE_REDIS_URL": url})
    assert "topsecret" not in str(problem.value)


def test_a_keyring_that_is_missing_or_open_to_the_world_is_refused(tmp_path):
    with pytest.raises(NotReady, match="EDGE_KEYRING cannot be read"):
        deployed.check({"EDGE_KEYRING": str(tmp_path / "none")})
    ring = tmp_path / "ring"
    ring.write_text("k1 x\n")
    ring.chmod(0o644)
    with pytest.raises(NotReady, match="EDGE_KEYRING must not be readable by the world"):
        deployed.check({"EDGE_KEYRING": str(ring)})
    ring.chmod(0o640)
    with pytest.raises(
        NotReady, match=r"EDGE_KEYRING must hold lines of a kid and 32 bytes in base64"
    ):
        deployed.check({"EDGE_KEYRING": str(ring)})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EDGE_CACHED_HOSTS", "7"),
        ("EDGE_REDIS_URL", "redis://[::1"),
        ("EDGE_REDIS_URL", "redis://secret@h"),
        ("EDGE_ID", "a b"),
        ("EDGE_LOG_LINES", "lots"),
        ("EDGE_CLIENT_LIMITS", "perhaps"),
    ],
)
def test_nginx_does_not_start_on_a_value_that_was_edited_wrong_afterwards(edges, name, value):
    edge = edges.make(start=False)
    deployed.configure(edge.directory, edge.env)
    settings = edge.directory / "edge.env"
    lines = [line for line in settings.read_text().splitlines() if not line.startswith(name + "=")]
    settings.write_text("\n".join([*lines, f"{name}={value}"]) + "\n")
    argv = ["nginx", "-p", str(edge.directory), "-c", "nginx.conf", "-g", "daemon off;"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=10)
    assert done.returncode != 0
    assert f"{name} " in done.stderr + edge.log()


def test_systemd_starts_nginx_in_the_same_environment(edge):
    unit = Path(deployed.__file__).parent / "systemd" / "modoboa-edge-nginx.service"
    given = [line for line in unit.read_text().splitlines() if line.startswith("Environment=")]
    assert given == [f"Environment={name}={value}" for name, value in deployed.ENVIRONMENT.items()]
    for pid in edge.workers():
        has = Path(f"/proc/{pid}/environ").read_text().split("\0")
        assert {f"{name}={value}" for name, value in deployed.ENVIRONMENT.items()} <= set(has)


def test_the_prefix_directory_keeps_its_secrets_to_itself(edges):
    edge = edges.make(start=False)
    deployed.configure(edge.directory, edge.env)
    assert os.stat(edge.directory / "edge.env").st_mode & 0o007 == 0
    assert os.stat(edge.directory / "placeholder.pem").st_mode & 0o077 == 0


def test_help_lists_every_setting_with_its_default():
    done = subprocess.run([deployed.CONFIGURE, "--help"], capture_output=True, text=True)
    assert "EDGE_HTTPS_PORT=8443 port 1…65535" in done.stdout


def test_the_lua_rules_keep_their_specs():
    done = subprocess.run(["busted", "tests/edge/spec"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
