"""edgectl: what each command says, and one plain sentence for each thing that is wrong at start."""

from __future__ import annotations

import inspect
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from control import registry, schema, sealing
from control.app import create_app
from control.certificates import check, load_key
from control.cli import COMMANDS, main
from control.database import Database
from control.plane import Who
from control.settings import from_environment
from control.wiring import connect
from deploy.control import EDGECTL
from deploy.process import Process, free_port, wait_until
from tests.conftest import RedisServer
from tests.control.pki import Ca

NAME = "mail.acme.test"
Run = Callable[..., Result]


@pytest.fixture
def env(tmp_path: Path, redis_server: RedisServer) -> dict[str, str]:
    redis_server.client.flushall()
    return {
        "DATABASE_URL": f"sqlite:///{tmp_path}/control.sqlite3",
        "REDIS_URL": redis_server.url,
        "EDGE_KEYRING": str(tmp_path / "keyring"),
        "ACME_DIRECTORY_URL": f"https://127.0.0.1:{free_port()}/dir",
        "PRIMARY_HOSTNAME": "mail.provider.test",
        "RESOLVER": f"127.0.0.1:{free_port()}",
    }


@pytest.fixture
def bare(env: dict[str, str]) -> Run:
    """edgectl before anything was set up."""

    def run(*words: str, **change: str) -> Result:
        return CliRunner().invoke(main, list(words), env={**env, **change})

    return run


@pytest.fixture
def edgectl(bare: Run) -> Run:
    """edgectl with a keyring and a schema."""
    assert bare("keyring", "add", "--kid", "k1").exit_code == 0
    assert bare("migrate").exit_code == 0
    return bare


class TestHelp:
    """What a terminal is told at once, and what that costs."""

    def test_every_command_is_told_of_in_its_own_first_sentence(self, bare: Run) -> None:
        sentences = {
            name: inspect.cleandoc(command.callback.__doc__ or "")
            .split("\n")[0]
            .split("; after")[0]
            for name in COMMANDS
            if (command := main.get_command(click.Context(main), name))
        }
        assert sentences == {name: sentence for name, (_, sentence) in COMMANDS.items()}
        result = bare("--help")
        for name in COMMANDS:
            assert f"  {name} " in result.output

    def test_help_imports_neither_database_nor_ca(self) -> None:
        script = (
            "import sys; from control.cli import main; main(['--help'], standalone_mode=False); "
            "print(sorted({'sqlalchemy', 'redis', 'acme', 'flask'} & sys.modules.keys()))"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
        assert done.stdout.splitlines()[-1] == "[]", done.stderr

    def test_a_look_at_a_host_imports_no_ca(self, edgectl: Run, env: dict[str, str]) -> None:
        script = (
            "import sys; from control.cli import main; "
            f"main(['explain', '{NAME}', '--edge', '127.0.0.1:1'], standalone_mode=False); "
            "print(sorted({'acme', 'alembic', 'flask', 'structlog', 'tldextract'} & sys.modules.keys()))"
        )
        argv = [sys.executable, "-c", script]
        done = subprocess.run(argv, env={**os.environ, **env}, capture_output=True, text=True)
        assert done.stdout.splitlines()[-1] == "[]", done.stderr


class TestAtStart:
    """A sentence with a hint, status 1, no traceback."""

    def refused(self, result: Result, *words: str) -> None:
        assert result.exit_code == 1
        assert isinstance(result.exception, SystemExit)
        (line,) = [one for one in result.output.splitlines() if one.startswith("Error: ")]
        for word in words:
            assert word in line

    def test_no_schema(self, bare: Run) -> None:
        bare("keyring", "add")
        self.refused(bare("host", "list"), "has no schema", "edgectl migrate")

    def test_no_keyring(self, bare: Run) -> None:
        bare("migrate")
        self.refused(bare("worker"), "no keyring at", "edgectl keyring add")

    def test_a_keyring_that_all_may_read(self, edgectl: Run, env: dict[str, str]) -> None:
        Path(env["EDGE_KEYRING"]).chmod(0o644)
        self.refused(edgectl("worker"), "mode 0644", "chmod 0640")

    def test_a_wrong_keyring(self, edgectl: Run, env: dict[str, str]) -> None:
        Path(env["EDGE_KEYRING"]).write_text("not a key\n")
        self.refused(edgectl("worker"), "line 1 must be")

    def test_redis_away(self, edgectl: Run) -> None:
        url = f"redis://127.0.0.1:{free_port()}/0"
        self.refused(edgectl("worker", REDIS_URL=url), "Redis does not answer", "REDIS_URL")

    def test_a_database_that_does_not_answer(self, edgectl: Run) -> None:
        url = f"postgresql://nobody@127.0.0.1:{free_port()}/x"
        self.refused(edgectl("host", "list", DATABASE_URL=url), "does not answer", "DATABASE_URL")

    def test_a_taken_port(self, edgectl: Run, redis_server: RedisServer) -> None:
        bind = f"127.0.0.1:{redis_server.port}"
        self.refused(edgectl("api", CONTROL_BIND=bind), "cannot listen on", "CONTROL_BIND")

    def test_a_wrong_setting(self, edgectl: Run) -> None:
        self.refused(edgectl("host", "list", WORKER_THREADS="many"), "WORKER_THREADS must be")

    def test_a_primary_hostname_that_is_none(self, edgectl: Run) -> None:
        self.refused(edgectl("worker", PRIMARY_HOSTNAME="Mail.Provider.test"), "must be lowercase")

    def test_a_setting_that_nobody_reads_is_a_warning(self, edgectl: Run) -> None:
        result = edgectl("host", "list", EDGE_KEYRNG="x")
        assert result.exit_code == 0
        assert "warning: EDGE_KEYRNG is not a setting: did you mean EDGE_KEYRING?" in result.output


class TestTokens:
    def test_a_token_is_shown_once(self, edgectl: Run) -> None:
        made = edgectl("token", "create", "modoboa").output.strip()
        assert made.startswith("edge_")
        listed = json.loads(edgectl("token", "list", "--json").output)
        assert [(t["name"], t["read_only"]) for t in listed] == [("modoboa", False)]
        assert made not in edgectl("token", "list").output
        assert edgectl("token", "create", "modoboa").exit_code == 1
        assert edgectl("token", "revoke", "modoboa").exit_code == 0
        assert json.loads(edgectl("token", "list", "--json").output) == []

    def test_rotation_keeps_the_former_until_it_is_revoked(
        self, edgectl: Run, env: dict[str, str]
    ) -> None:
        former = edgectl("token", "create", "modoboa", "--hosts-only").stdout.strip()
        made = json.loads(edgectl("token", "rotate", "modoboa", "--json").stdout)
        client = create_app(connect(from_environment(env), lambda: datetime.now(UTC))).test_client()

        def asks(token: str) -> int:
            headers = {"Authorization": f"Bearer {token}"}
            return client.get("/api/v1/virtualhosts", headers=headers).status_code

        assert (asks(former), asks(made["token"])) == (200, 200)
        listed = json.loads(edgectl("token", "list", "--json").stdout)
        assert [(t["name"], t["scope"]) for t in listed] == [
            ("modoboa", "hosts"),
            ("modoboa.old", "hosts"),
        ]
        again = edgectl("token", "rotate", "modoboa")
        assert again.exit_code == 1
        assert "edgectl token revoke modoboa.old" in again.output
        edgectl("token", "revoke", "modoboa.old")
        assert (asks(former), asks(made["token"])) == (401, 200)
        kinds = [e["kind"] for e in json.loads(edgectl("events", "--json").stdout)]
        assert kinds == ["token_created", "token_rotated", "token_revoked"]


class TestHosts:
    def test_the_list_can_be_narrowed(self, edgectl: Run) -> None:
        edgectl("host", "add", NAME, "--owner", "billing")
        edgectl("host", "add", "other.acme.test")

        def names(*words: str) -> list[str]:
            return [
                h["hostname"] for h in json.loads(edgectl("host", "list", "--json", *words).output)
            ]

        assert names("--owner", "billing") == [NAME]
        assert names("--status", "failed") == []
        assert names("--reason", "edge_absent") == []
        assert names("--expires-in", "30") == []
        assert names() == [NAME, "other.acme.test"]

    def test_the_list_tells_status_end_and_fault_of_each(
        self, edgectl: Run, env: dict[str, str]
    ) -> None:
        assert edgectl("host", "list").output == "no virtual hosts\n"
        edgectl("host", "add", NAME, "--disabled")
        pair, now = Ca().pair(NAME), datetime.now(UTC)
        facts = check(pair.chain, load_key(pair.private_key), NAME, now)
        registry.upload(connect(from_environment(env), lambda: now), NAME, facts, Who("test"))
        words = edgectl("host", "list").output.split()
        assert words[:4] == [NAME, "pending", "disabled", f"{facts.not_after:%Y-%m-%d}"]

    def test_what_happened_is_told_newest_last(self, edgectl: Run) -> None:
        edgectl("host", "add", NAME)
        edgectl("host", "disable", NAME)
        lines = edgectl("events", NAME).output.splitlines()
        assert [line.split()[3] for line in lines] == ["created", "updated"]
        assert "enabled=false" in lines[1]
        (one,) = json.loads(edgectl("events", "--kind", "updated", "--json").output)
        assert (one["hostname"], one["actor"]) == (NAME, "edgectl")

    def test_edges_tell_how_far_they_are(self, edgectl: Run, redis_server: RedisServer) -> None:
        none = edgectl("edges")
        assert (none.exit_code, "no edge" in none.output) == (2, True)
        redis_server.client.set("vh:rev", 5)
        redis_server.client.hset("vh:edge:edge-1", mapping={"rev": 3, "refused": NAME})
        (edge,) = json.loads(edgectl("edges", "--json").output)
        assert (edge["id"], edge["lag"], edge["refused"]) == ("edge-1", 2, [NAME])
        assert f"refuses {NAME}" in edgectl("edges").output
        redis_server.client.hset("vh:edge:edge-1", "refusing", 8)
        assert f"refuses {NAME} and 7 more" in edgectl("edges").output

    def test_add_list_show_delete(self, edgectl: Run) -> None:
        assert edgectl("host", "add", NAME, "--domain", "acme.test").exit_code == 0
        (listed,) = json.loads(edgectl("host", "list", "--json").output)
        assert (listed["hostname"], listed["domains"]) == (NAME, ["acme.test"])
        assert json.loads(edgectl("host", "show", NAME, "--json").output)["status"] == "pending"
        assert edgectl("host", "disable", NAME).exit_code == 0
        assert edgectl("host", "enable", NAME).exit_code == 0
        assert edgectl("host", "delete", NAME).exit_code == 0
        gone = edgectl("host", "show", NAME)
        assert (gone.exit_code, gone.output) == (1, f"Error: there is no virtual host {NAME}\n")

    def test_what_is_no_hostname(self, edgectl: Run) -> None:
        result = edgectl("host", "add", "Mail.Acme.test")
        assert result.output == "Error: hostname must be lowercase: mail.acme.test\n"

    def test_retry_of_one_that_has_not_failed(self, edgectl: Run) -> None:
        edgectl("host", "add", NAME)
        assert "only a failed one" in edgectl("host", "retry", NAME).output

    def test_wait_gives_up_with_status_2(self, edgectl: Run) -> None:
        result = edgectl("host", "add", NAME, "--wait", "--timeout", "0.2")
        assert result.exit_code == 2
        assert "pending: bootstrap" in result.output

    def test_renew_wants_to_know_what(self, edgectl: Run) -> None:
        assert edgectl("host", "renew").exit_code == 2
        assert edgectl("host", "renew", "--all").output == "0 to be issued again\n"


class TestCertificates:
    @pytest.fixture
    def ca(self, edgectl: Run, env: dict[str, str]) -> Ca:
        """The CA of the certificate that NAME has."""
        edgectl("host", "add", NAME)
        ca = Ca()
        pair = ca.pair(NAME)
        now = datetime.now(UTC)
        plane = connect(from_environment(env), lambda: now)
        facts = check(pair.chain, load_key(pair.private_key), NAME, now)
        registry.upload(plane, NAME, facts, Who("test"))
        return ca

    def test_one_of_your_own_is_uploaded_and_given_up(self, edgectl: Run, tmp_path: Path) -> None:
        edgectl("host", "add", NAME)
        pair = Ca().pair(NAME)
        (tmp_path / "chain.pem").write_text(pair.chain)
        (tmp_path / "key.pem").write_text(pair.private_key)
        files = ("--chain", str(tmp_path / "chain.pem"), "--key", str(tmp_path / "key.pem"))
        result = edgectl("host", "upload", NAME, *files)
        assert result.exit_code == 0, result.output
        shown = json.loads(edgectl("host", "show", NAME, "--json").output)
        assert shown["certificate"]["source"] == "uploaded"
        assert edgectl("host", "upload", NAME, "--remove").exit_code == 0
        assert edgectl("host", "upload", NAME).exit_code == 2
        swapped = ("--chain", files[3], "--key", files[1])
        assert edgectl("host", "upload", NAME, *swapped).exit_code == 1

    def test_a_watch_outlives_a_host_that_is_not_there_yet(
        self, edgectl: Run, env: dict[str, str], tmp_path: Path
    ) -> None:
        words = ["export", NAME, "--to", str(tmp_path / "tls"), "--watch", "--every", "0.1"]
        log = tmp_path / "watch.log"
        watch = Process("watch", [EDGECTL, *words], log, log.exists, env).start()
        try:
            wait_until(lambda: "looked at again" in log.read_text(), 20, "it warns")
            edgectl("host", "add", NAME)
            pair, now = Ca().pair(NAME), datetime.now(UTC)
            plane = connect(from_environment(env), lambda: now)
            facts = check(pair.chain, load_key(pair.private_key), NAME, now)
            registry.upload(plane, NAME, facts, Who("test"))
            wait_until((tmp_path / "tls" / "fullchain.pem").exists, 20, "it writes")
            assert watch.alive
        finally:
            watch.kill()

    @pytest.mark.usefixtures("ca")
    def test_export_writes_what_dovecot_reads(
        self, edgectl: Run, tmp_path: Path, env: dict[str, str]
    ) -> None:
        to, touched = tmp_path / "tls", tmp_path / "touched"
        result = edgectl("export", NAME, "--to", str(to), "--run", f"touch {touched}")
        assert result.exit_code == 0
        assert touched.exists()
        assert sorted(f.name for f in to.iterdir()) == [
            "combined.pem",
            "fullchain.pem",
            "privkey.pem",
        ]
        for file in to.iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
        chain, key = (to / "fullchain.pem").read_text(), (to / "privkey.pem").read_text()
        assert check(chain, load_key(key), NAME, datetime.now(UTC))
        assert (to / "combined.pem").read_text() == key + chain

    def test_export_of_one_without_certificate(self, edgectl: Run, tmp_path: Path) -> None:
        edgectl("host", "add", "none.acme.test")
        result = edgectl("export", "none.acme.test", "--to", str(tmp_path / "tls"))
        assert "has no certificate yet" in result.output
        assert not (tmp_path / "tls").exists()

    @pytest.mark.usefixtures("ca")
    def test_rotation_seals_everything_again(self, edgectl: Run, env: dict[str, str]) -> None:
        edgectl("reconcile")
        assert edgectl("keyring", "add", "--kid", "k2").exit_code == 0
        result = edgectl("keyring", "rotate", "--drop-old")
        assert result.exit_code == 0, result.output
        assert "k2 seals; 1 keys sealed again" in result.output
        assert list(sealing.read(Path(env["EDGE_KEYRING"]))) == ["k2"]
        from control.adapters.redis_edge import connect as redis

        sealed = redis(env["REDIS_URL"]).hget(f"vh:cert:{NAME}", "key")
        assert str(sealed).startswith("v1:k2:"), "published with the new seal"

    def test_a_rotation_that_is_run_again_does_not_go_back_to_the_former_key(
        self, edgectl: Run, env: dict[str, str]
    ) -> None:
        keyring = Path(env["EDGE_KEYRING"])
        edgectl("keyring", "add", "--kid", "k2")
        edgectl("keyring", "rotate")
        assert "k2 seals" in edgectl("keyring", "rotate").output
        assert next(iter(sealing.read(keyring))) == "k2"
        edgectl("keyring", "add", "--kid", "k3")
        assert "k3 seals" in edgectl("keyring", "rotate").output, "and the next one is the next"
        assert "taken out: k2, k1" in edgectl("keyring", "rotate", "--drop-old").output

    @pytest.mark.usefixtures("ca")
    def test_rotation_waits_for_edges_that_lack_the_key(
        self, edgectl: Run, env: dict[str, str], redis_server: RedisServer
    ) -> None:
        redis_server.client.hset("vh:edge:edge-1", mapping={"rev": 1, "kids": "k1"})
        edgectl("keyring", "add", "--kid", "k2")
        result = edgectl("keyring", "rotate", "--timeout", "0.1")
        assert result.exit_code == 1
        assert "edge-1 does not have key k2" in result.output
        assert next(iter(sealing.read(Path(env["EDGE_KEYRING"])))) == "k1", "nothing was changed"

    @pytest.mark.usefixtures("ca")
    def test_explain_says_it_in_words(self, edgectl: Run) -> None:
        edgectl("reconcile")
        told = json.loads(
            edgectl("explain", NAME, "--edge", f"127.0.0.1:{free_port()}", "--json").output
        )
        found = {line["where"]: line["what"] for line in told["findings"]}
        assert "certificate" in found["database"]
        assert found["redis"].startswith("active")
        assert found["edges"] == "none has sent a heartbeat in the last 30 s"
        assert told["served"] is False
        assert "there is no such virtual host" in edgectl("explain", "nobody.test").output


class TestReconcile:
    def test_it_says_what_it_changed(self, edgectl: Run, redis_server: RedisServer) -> None:
        edgectl("host", "add", NAME)
        first = json.loads(edgectl("reconcile", "--json").output)
        assert (first["rebuilt"], first["published"]) == ("the first copy", 1)
        assert edgectl("reconcile").output == "nothing to change\n"
        redis_server.client.flushall()
        assert "the copy was emptied" in edgectl("reconcile").output
        assert redis_server.client.hget(f"vh:host:{NAME}", "state") == "pending"


class TestSettings:
    def test_show_and_set(self, edgectl: Run) -> None:
        assert (
            edgectl("settings", "set", "acme_enabled=off", "renewal_threshold_days=20").exit_code
            == 0
        )
        shown = json.loads(edgectl("settings", "show", "--json").output)
        assert (shown["acme_enabled"], shown["renewal_threshold_days"]) == (False, 20)
        assert "renewal_threshold_days=20" in edgectl("settings", "show").output
        wrong = edgectl("settings", "set", "renewal_threshold_days=soon")
        assert (wrong.exit_code, wrong.output) == (
            1,
            "Error: renewal_threshold_days: Not a valid integer.\n",
        )


class TestSchema:
    def test_up_and_down_and_up_again(self, edgectl: Run) -> None:
        assert edgectl("migrate", "--down-to", "base").output == "schema is at nothing\n"
        assert "has no schema" in edgectl("host", "list").output
        assert edgectl("migrate").output.startswith("schema is at 0")
        assert edgectl("host", "list").exit_code == 0

    def test_the_same_on_postgresql_one_step_at_a_time(self, postgresql: str) -> None:
        database = Database(postgresql)
        newest = schema.newest()
        try:
            for number in range(int(newest or 0) - 1, 0, -1):
                schema.downgrade(database, f"{number:04}")
                assert schema.current(database) == f"{number:04}"
            schema.downgrade(database, "base")
            assert schema.current(database) is None
        finally:
            schema.upgrade(database)
            assert schema.current(database) == newest
            database.engine.dispose()

    def test_the_models_are_what_the_migrations_make(
        self, edgectl: Run, env: dict[str, str]
    ) -> None:
        from alembic.autogenerate import compare_metadata
        from alembic.runtime.migration import MigrationContext

        from control.database import Database
        from control.models import Record

        with Database(env["DATABASE_URL"]).engine.connect() as connection:
            context = MigrationContext.configure(connection)
            assert compare_metadata(context, Record.metadata) == []
