"""edgectl for scripts: every command that answers something answers in JSON when asked to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from control.cli import main
from deploy.process import free_port
from tests.conftest import RedisServer
from tests.control.pki import Ca
from tests.fakes.listener import listener

NAME = "mail.acme.test"
SILENT = {"api", "worker"}
"""What runs until it is stopped, and answers nothing."""


def leaves(group: click.Group, *above: str) -> Iterator[tuple[str, click.Command]]:
    """Every command with its full name."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from leaves(command, *above, name)
        else:
            yield " ".join((*above, name)), command


COMMANDS = dict(leaves(main))


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - SILENT))
def test_every_command_that_answers_takes_json(name: str) -> None:
    assert any("--json" in option.opts for option in COMMANDS[name].params)


@pytest.fixture
def environment(tmp_path: Path, redis_server: RedisServer) -> dict[str, str]:
    """Where everything is, with a chain and a key to upload."""
    redis_server.client.flushall()
    pair = Ca().pair(NAME)
    (tmp_path / "chain.pem").write_text(pair.chain)
    (tmp_path / "key.pem").write_text(pair.private_key)
    return {
        "DATABASE_URL": f"sqlite:///{tmp_path}/control.sqlite3",
        "REDIS_URL": redis_server.url,
        "EDGE_KEYRING": str(tmp_path / "keyring"),
        "ALLOW_PRIVATE_ADDRESSES": "on",
        "RESOLVER": f"127.0.0.1:{free_port()}",
    }


UPLOAD = "host upload mail.acme.test --chain {here}/chain.pem --key {here}/key.pem"
SCRIPT = """
keyring add --kid k1
migrate
reconcile
token create one
token rotate one
token revoke one.old
token list
settings set acme_enabled=off edge_enabled=off
settings show
host add mail.acme.test --owner billing
host add mail.acme.test --owner modoboa --force
host disable mail.acme.test
host enable mail.acme.test
host renew mail.acme.test
host upload mail.acme.test --chain {here}/chain.pem --key {here}/key.pem
export mail.acme.test --to {here}/tls
keyring add --kid k2
keyring rotate --drop-old
host upload mail.acme.test --remove
host list
host show mail.acme.test
explain mail.acme.test --edge 127.0.0.1:1
webhook add billing {url}
webhook list
webhook test billing
webhook remove billing
events
host delete mail.acme.test --force
"""


def test_what_is_answered_is_json_and_nothing_else(
    environment: dict[str, str], tmp_path: Path
) -> None:
    answers = {}
    with listener(lambda client: client.wfile.write(b"HTTP/1.1 204 None\r\n\r\n")) as port:
        known = {"here": tmp_path, "url": f"http://127.0.0.1:{port}/"}
        for line in SCRIPT.strip().splitlines():
            words = [*line.format(**known).split(), "--json"]
            result = CliRunner().invoke(main, words, env=environment)
            assert result.exit_code == 0, f"{line}: {result.output}"
            answers[line] = json.loads(result.stdout)
    assert answers["host add mail.acme.test --owner modoboa --force"]["owner"] == "modoboa"
    assert answers["host disable mail.acme.test"]["enabled"] is False
    assert answers["host renew mail.acme.test"] == {"renewed": [NAME]}
    uploaded = answers[UPLOAD]["certificate"]
    assert answers["export mail.acme.test --to {here}/tls"]["sha256"] == uploaded["sha256"]
    assert answers["keyring rotate --drop-old"] == {"kid": "k2", "sealed": 1, "dropped": ["k1"]}
    assert answers["settings set acme_enabled=off edge_enabled=off"]["acme_enabled"] is False
    assert answers["webhook test billing"] == {"name": "billing", "status": 204}
    assert answers["host delete mail.acme.test --force"] == {"hostname": NAME, "deleted": True}


def test_who_may_not_take_a_host_over_is_told_how(environment: dict[str, str]) -> None:
    for line in ("keyring add", "migrate", f"host add {NAME} --owner billing"):
        assert CliRunner().invoke(main, line.split(), env=environment).exit_code == 0
    result = CliRunner().invoke(main, ["host", "add", NAME, "--owner", "other"], env=environment)
    assert (result.exit_code, "--force" in result.output) == (1, True)
