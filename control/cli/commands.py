"""edgectl's commands: migrate, work, and look after tokens, hosts, keys and settings from a terminal.

Longer than other modules because each command stands here whole: what it takes, does and prints.
What only some commands need and takes long to import is imported by them.
"""

from __future__ import annotations

import json
import os
import secrets
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

import click
from sqlalchemy import select
from sqlalchemy.exc import OperationalError, ProgrammingError
from sqlalchemy.orm import Session, selectinload

from control import (
    accounts,
    certificates,
    events,
    explanation,
    exporting,
    inspection,
    registry,
    rotation,
    sealing,
    webhooks,
)
from control import reconcile as reconciling
from control import settings as environment
from control.database import Database, DatabaseUnavailable
from control.hostname import InvalidHostname
from control.models import (
    Certificate,
    DomainTaken,
    Event,
    NotFailed,
    OlderGeneration,
    OwnedElsewhere,
    PrimaryFixed,
    Token,
    VirtualHost,
    Webhook,
)
from control.plane import Plane, record
from control.ports import NotTold, PortError
from control.registry import UNSET, NoSuchHost, Who, Wish
from control.sealing import KeyringError
from control.wiring import connect, handshakes, messenger

OURS = (
    DatabaseUnavailable, InvalidHostname, DomainTaken, NotFailed, OlderGeneration, OwnedElsewhere,
    PrimaryFixed, NoSuchHost, KeyringError, sealing.CannotOpen,
    rotation.NotEverywhere, accounts.NothingToRevoke, environment.InvalidSetting, certificates.Unusable,
    NotTold, webhooks.BadUrl, webhooks.NoSuchWebhook,
)  # fmt: skip
WHO = Who("edgectl")

Command = TypeVar("Command", bound=Callable[..., Any])


def now() -> datetime:
    """The clock of everything that this program starts."""
    return datetime.now(UTC)


def read_settings() -> environment.Settings:
    """Settings from the environment; what nobody reads is said on standard error."""
    for sentence in environment.unknown_names(os.environ):
        click.echo(f"warning: {sentence}", err=True)
    return environment.from_environment(os.environ)


def plane() -> Plane:
    """Everything connected, with a database that has been migrated."""
    connected = connect(read_settings(), now)
    connected.database.check()
    return connected


def plainly(command: Command) -> Command:
    """Errors of ours end the program with one sentence and status 1, without a traceback."""

    @wraps(command)
    def run(*arguments: Any, **options: Any) -> Any:
        try:
            return command(*arguments, **options)
        except OURS as problem:
            raise click.ClickException(str(problem)) from problem
        except PortError as problem:
            raise click.ClickException(_port_sentence(problem)) from problem
        except (OperationalError, ProgrammingError) as problem:
            raise click.ClickException(
                f"the database cannot be used ({problem.orig}): check DATABASE_URL, "
                "and run `edgectl migrate`"
            ) from problem

    return cast(Command, run)


def _port_sentence(problem: PortError) -> str:
    if problem.reason == "redis_unavailable":
        return f"Redis does not answer ({problem.detail}): check REDIS_URL and that it runs"
    return f"{problem.reason}: {problem.detail}"


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for a script.")


@click.group()
def main() -> None:
    """Every command; `control.cli` is what a terminal sees."""


@main.command()
@click.option("--down-to", metavar="REVISION", help="Go back to this revision (base: drop all).")
@plainly
def migrate(down_to: str | None) -> None:
    """Bring the database to this version's schema."""
    from control import schema

    database = Database(read_settings().database_url)
    if down_to:
        schema.downgrade(database, down_to)
    else:
        schema.upgrade(database)
    click.echo(f"schema is at {schema.current(database) or 'nothing'}")


@main.command()
@plainly
def worker() -> None:
    """Issue, renew and publish until stopped; SIGTERM ends what is under way first, within a minute."""
    from control.log import configure
    from control.worker import Worker

    configure()
    connected = plane()
    connected.store.summary()
    ready(connected)
    running = Worker(connected, connected.settings.worker_threads)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: running.stop())
    stop = threading.Event()
    words = (connected, messenger(connected.settings), stop)
    threading.Thread(target=webhooks.keep_telling, args=words, daemon=True).start()
    left = running.run()
    stop.set()
    if left:
        os._exit(0)  # Python would wait for the threads; the next worker goes on with their orders


@main.command()
@plainly
def api() -> None:
    """Check what the API needs, then run it under gunicorn on CONTROL_BIND."""
    connected = plane()
    settings = connected.settings
    _check_free(settings.control_bind)
    ready(connected)
    connected.database.engine.dispose()
    arguments = [
        sys.executable, "-m", "gunicorn", "--bind", settings.control_bind, "--workers", "1",
        "--worker-class", "gthread", "--threads", "48", "--timeout", "90", "--graceful-timeout",
        "30", "--keep-alive", "15", "--no-control-socket", "--config", "python:control.log",
        "control.cli:application()",
    ]  # fmt: skip
    os.execv(sys.executable, arguments)  # noqa: S606 # our own interpreter and our own module


def application() -> Any:
    """The WSGI application, for gunicorn."""
    from control.app import create_app
    from control.log import configure

    configure()
    connected = plane()
    ready(connected)
    return create_app(connected)


def ready(connected: Plane) -> None:
    """The primary hostname is a record of ours from the first start on."""
    registry.ensure_primary(connected)


def _check_free(bind: str) -> None:
    import socket

    if bind.startswith("unix:"):
        return
    host, _, port = bind.rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host.strip("[]"), int(port)))
        except OSError as problem:
            raise click.ClickException(
                f"cannot listen on {bind} ({problem.strerror}): "
                "stop what uses it, or set CONTROL_BIND to another address:port"
            ) from problem


@main.group()
def token() -> None:
    """Tokens for the REST API."""


@token.command("create")
@click.argument("name")
@click.option("--read-only", is_flag=True, help="It may look but not change.")
@as_json
@plainly
def token_create(name: str, read_only: bool, as_json: bool) -> None:
    """Make a token and print it; it cannot be shown again."""
    connected = plane()
    made, text = Token.create(name, now(), read_only=read_only)
    with connected.database.writing() as session:
        _free(
            session,
            name,
            f"revoke it, rotate it (edgectl token rotate {name}), or choose another name",
        )
        session.add(made)
        record(session, "token_created", now(), actor=WHO.name, name=name, read_only=read_only)
    _print({"name": name, "token": text, "read_only": read_only}, as_json, text)


@token.command("list")
@as_json
@plainly
def token_list(as_json: bool) -> None:
    """Who has a token, and when it was last used."""
    with plane().database.reading() as session:
        rows = session.scalars(select(Token).order_by(Token.name)).all()
    items = [
        {
            "name": row.name,
            "read_only": row.read_only,
            "created_at": row.created_at.isoformat(),
            "last_used_at": row.last_used_at.isoformat() if row.last_used_at else None,
            "revoked_at": row.revoked_at.isoformat() if row.revoked_at else None,
        }
        for row in rows
    ]
    lines = [
        f"{i['name']:<24} {'read-only' if i['read_only'] else 'full':<10} "
        f"{'revoked' if i['revoked_at'] else 'live':<8} last used {i['last_used_at'] or 'never'}"
        for i in items
    ]
    _print(items, as_json, "\n".join(lines) or "no tokens")


@token.command("rotate")
@click.argument("name")
@as_json
@plainly
def token_rotate(name: str, as_json: bool) -> None:
    """Make another token of that name and print it; the former stays valid as NAME.old until revoked."""
    with plane().database.writing() as session:
        former = _token(session, name)
        _free(session, f"{name}.old", f"first end it with `edgectl token revoke {name}.old`")
        made, text = former.rotate(now())
        session.flush()
        session.add(made)
        record(session, "token_rotated", now(), actor=WHO.name, name=name)
    click.echo(f"when nobody uses the former any more: edgectl token revoke {name}.old", err=True)
    _print({"name": name, "token": text, "former": f"{name}.old"}, as_json, text)


def _token(session: Session, name: str) -> Token:
    row = session.scalar(select(Token).where(Token.name == name))
    if row is None:
        raise click.ClickException(f"there is no token {name}: see `edgectl token list`")
    return row


def _free(session: Session, name: str, hint: str) -> None:
    if session.scalar(select(Token).where(Token.name == name)) is not None:
        raise click.ClickException(f"there is a token {name}: {hint}")


@token.command("revoke")
@click.argument("name")
@plainly
def token_revoke(name: str) -> None:
    """End a token at once; its name may be used again."""
    with plane().database.writing() as session:
        session.delete(_token(session, name))
        record(session, "token_revoked", now(), actor=WHO.name, name=name)
    click.echo(f"token {name} is revoked")


_PEM = click.Path(exists=True, dir_okay=False, path_type=Path)


@main.group()
def host() -> None:
    """Virtual hosts."""


@host.command("add")
@click.argument("hostname")
@click.option("--domain", "domains", multiple=True, help="A mail domain to link; may be repeated.")
@click.option("--owner", help="Who owns it.")
@click.option("--disabled", is_flag=True, help="Get the certificate, serve nothing yet.")
@click.option("--wait", is_flag=True, help="Show each step until it is served.")
@click.option("--timeout", default=120.0, show_default=True, help="Seconds to wait.")
@as_json
@plainly
def host_add(
    hostname: str,
    domains: tuple[str, ...],
    owner: str | None,
    disabled: bool,
    wait: bool,
    timeout: float,
    as_json: bool,
) -> None:
    """Create or update a virtual host."""
    connected = plane()
    wish = Wish(
        domains=list(domains) if domains else UNSET,
        enabled=False if disabled else UNSET,
        owner=owner or UNSET,
    )
    record, created = registry.put(connected, hostname, wish, WHO)
    if not as_json:
        click.echo(f"{hostname}: {'created' if created else 'is there already'}")
    if wait:
        record = _follow(connected, hostname, timeout, quiet=as_json)
    _print(_shown(connected, record), as_json, f"{hostname}: {record.status}")
    if wait and record.status != "ready":
        sys.exit(2)


@host.command("list")
@click.option("--status", type=click.Choice(["pending", "ready", "failed"]))
@click.option("--owner", help="Only those of this owner.")
@click.option("--reason", help="Only those that wait or failed for this reason (docs/reasons.md).")
@click.option(
    "--expires-in", metavar="DAYS", type=float, help="Only those whose certificate ends by then."
)
@as_json
@plainly
def host_list(
    status: str | None,
    owner: str | None,
    reason: str | None,
    expires_in: float | None,
    as_json: bool,
) -> None:
    """All virtual hosts."""
    connected = plane()
    statement = (
        select(VirtualHost)
        .options(selectinload(VirtualHost.domains))
        .where(VirtualHost.deleted_at.is_(None))
    )
    if status:
        statement = statement.where(VirtualHost.status == status)
    if owner:
        statement = statement.where(VirtualHost.owner == owner)
    if reason:
        statement = statement.where(VirtualHost.error_reason == reason)
    if expires_in is not None:
        ends = Certificate.not_after < now() + timedelta(days=expires_in)
        statement = statement.where(VirtualHost.certificate.has(ends))
    with connected.database.reading() as session:
        rows = session.scalars(statement.order_by(VirtualHost.hostname)).all()
    lines = [
        f"{row.hostname:<40} {row.status:<8} {'' if row.enabled else 'disabled':<9}"
        f"{row.certificate.not_after.date() if row.certificate else '-':<12} "
        f"{row.error_reason or ''}".rstrip()
        for row in rows
    ]
    _print([_shown(connected, row) for row in rows] if as_json else None, as_json, "\n".join(lines))


@host.command("show")
@click.argument("hostname")
@as_json
@plainly
def host_show(hostname: str, as_json: bool) -> None:
    """Everything known of one."""
    connected = plane()
    with connected.database.reading() as session:
        record = registry.find(session, hostname)
    shown = _shown(connected, record)
    _print(shown, as_json, json.dumps(shown, indent=2))


@host.command("retry")
@click.argument("hostname")
@plainly
def host_retry(hostname: str) -> None:
    """Try a failed one again now."""
    registry.retry(plane(), hostname, WHO)
    click.echo(f"{hostname}: tried again now")


@host.command("renew")
@click.argument("hostname", required=False)
@click.option("--all", "everyone", is_flag=True, help="Every virtual host that has a certificate.")
@click.option(
    "--not-signed-by",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Only certificates that lead to none of the roots in this PEM file.",
)
@plainly
def host_renew(hostname: str | None, everyone: bool, not_signed_by: Path | None) -> None:
    """Issue again now: one, or all, or all that a root no longer vouches for."""
    connected = plane()
    if bool(hostname) == (everyone or not_signed_by is not None):
        raise click.UsageError("name a hostname, or use --all or --not-signed-by ROOT")
    names = [hostname] if hostname else _certified(connected, not_signed_by)
    for name in names:
        registry.renew(connected, name, WHO)
    click.echo(f"{len(names)} to be issued again")


@host.command("revoke")
@click.argument("hostname")
@click.option(
    "--reason",
    type=click.Choice(list(accounts.REVOCATION_REASONS)),
    default="unspecified",
    show_default=True,
    help="Why, as the CA will say.",
)
@click.confirmation_option(prompt="Revoke it at the CA? This cannot be undone")
@plainly
def host_revoke(hostname: str, reason: str) -> None:
    """Revoke a hostname's certificate at the CA, and issue another."""
    sha256 = accounts.revoke(plane(), hostname, accounts.REVOCATION_REASONS[reason], WHO)
    click.echo(f"certificate {sha256} is revoked; another is being issued")


@host.command("upload")
@click.argument("hostname")
@click.option("--chain", type=_PEM, help="PEM file: the certificate, then its intermediates.")
@click.option("--key", type=_PEM, help="PEM file: its private key, without a passphrase.")
@click.option("--remove", is_flag=True, help="Go back to the CA instead.")
@plainly
def host_upload(hostname: str, chain: Path | None, key: Path | None, remove: bool) -> None:
    """Serve a certificate of your own instead of one of the CA's."""
    if remove == bool(chain or key) or bool(chain) != bool(key):
        raise click.UsageError("give --chain FILE and --key FILE, or --remove")
    connected = plane()
    if chain is None or key is None:
        registry.back_to_acme(connected, hostname, WHO)
        click.echo(f"{hostname}: back to the CA; the uploaded one is served until there is another")
        return
    opened = certificates.load_key(key.read_text(encoding="ascii", errors="replace"))
    text = chain.read_text(encoding="ascii", errors="replace")
    facts = certificates.check(text, opened, hostname, now())
    registry.upload(connected, hostname, facts, WHO)
    click.echo(f"{hostname}: certificate of {facts.issuer}, valid until {facts.not_after:%Y-%m-%d}")


@host.command("enable")
@click.argument("hostname")
@plainly
def host_enable(hostname: str) -> None:
    """Serve it."""
    registry.change(plane(), hostname, Wish(enabled=True), WHO, force=True)
    click.echo(f"{hostname}: enabled")


@host.command("disable")
@click.argument("hostname")
@plainly
def host_disable(hostname: str) -> None:
    """Refuse it at the edge; its certificate goes on being renewed."""
    registry.change(plane(), hostname, Wish(enabled=False), WHO, force=True)
    click.echo(f"{hostname}: disabled")


@host.command("delete")
@click.argument("hostname")
@click.option("--force", is_flag=True, help="Even if it has an owner.")
@plainly
def host_delete(hostname: str, force: bool) -> None:
    """Delete it: edges refuse it within seconds."""
    registry.delete(plane(), hostname, WHO, force=force)
    click.echo(f"{hostname}: deleted")


@main.group()
def account() -> None:
    """Our account at the CA."""


@account.command("new-key")
@click.option("--directory", "directory_url", help="The CA's directory; the one in use by default.")
@plainly
def account_new_key(directory_url: str | None) -> None:
    """Give the account a new key (RFC 8555 §7.3.5); after a failure, run it again."""
    connected = plane()
    url = directory_url or connected.runtime().acme_directory_url
    uri = accounts.roll_over(connected, url, WHO)
    click.echo(f"{uri} has a new key")


@main.command("events")
@click.argument("hostname", required=False)
@click.option("--kind", help="Only events of this kind.")
@click.option("--limit", default=50, show_default=True, help="How many, the newest ones.")
@as_json
@plainly
def events_command(hostname: str | None, kind: str | None, limit: int, as_json: bool) -> None:
    """What happened, who did it and when: to HOSTNAME, or to all; the newest last."""
    connected = plane()
    statement = select(Event).order_by(Event.id.desc()).limit(limit)
    if hostname:
        statement = statement.where(Event.hostname == hostname)
    if kind:
        statement = statement.where(Event.kind == kind)
    with connected.database.reading() as session:
        rows = session.scalars(statement).all()[::-1]
    shown = [events.shown(row, connected.settings.edge_public_addresses) for row in rows]
    lines = [
        f"{row.at:%Y-%m-%d %H:%M:%S}  {row.hostname or '-':<32} {row.kind:<22} {row.actor:<10} "
        f"{' '.join(f'{name}={_plain(value)}' for name, value in row.detail.items())}".rstrip()
        for row in rows
    ]
    value = json.loads(json.dumps(shown, default=datetime.isoformat))
    _print(value, as_json, "\n".join(lines) or "nothing happened")


@main.command("edges")
@as_json
@plainly
def edges_command(as_json: bool) -> None:
    """Who serves, how far each edge has come, and what it refuses."""
    connected = plane()
    last = connected.store.summary().revision
    reports = connected.store.edges()
    items = [
        {
            "id": report.edge,
            "version": report.version,
            "revision": report.revision,
            "lag": max(0, last - report.revision),
            "hosts": report.hosts,
            "certificates": report.certificates,
            "refused": list(report.refused),
            "last_sync": report.last_sync.isoformat(),
        }
        for report in reports
    ]
    lines = [
        f"{i['id']:<20} revision {i['revision']} (lag {i['lag']})  {i['hosts']} hosts  "
        f"{i['certificates']} certificates  refuses {' '.join(report.refused) or 'nothing'}"
        for i, report in zip(items, reports, strict=True)
    ]
    _print(items, as_json, "\n".join(lines) or "no edge has sent a heartbeat in the last 30 s")
    if not reports:
        sys.exit(2)


@main.group()
def webhook() -> None:
    """Who is told of events."""


@webhook.command("add")
@click.argument("name")
@click.argument("url")
@click.option("--kind", "kinds", multiple=True, help="Only events of this kind; may be repeated.")
@as_json
@plainly
def webhook_add(name: str, url: str, kinds: tuple[str, ...], as_json: bool) -> None:
    """Tell URL of events from now on; the secret that signs them is shown once."""
    _, secret = webhooks.put(plane(), name, url, kinds, WHO)
    words = f"the secret of {name}: {secret}" if secret else f"{name} is changed"
    _print({"name": name, "url": url, "kinds": list(kinds), "secret": secret}, as_json, words)


@webhook.command("list")
@as_json
@plainly
def webhook_list(as_json: bool) -> None:
    """Who is told, how far, and why not further."""
    with plane().database.reading() as session:
        rows = session.scalars(select(Webhook).order_by(Webhook.name)).all()
    items = [
        {"name": r.name, "url": r.url, "kinds": r.kinds, "told": r.told, "error": r.error}
        for r in rows
    ]
    lines = [
        f"{r.name:<20} {r.url}  told to event {r.told}  {r.error or ''}".rstrip() for r in rows
    ]
    _print(items, as_json, "\n".join(lines) or "no webhooks")


@webhook.command("remove")
@click.argument("name")
@plainly
def webhook_remove(name: str) -> None:
    """Tell it nothing more."""
    webhooks.remove(plane(), name, WHO)
    click.echo(f"webhook {name} is removed")


@webhook.command("test")
@click.argument("name")
@plainly
def webhook_test(name: str) -> None:
    """Send it one event of kind `test` now, and say what it answers."""
    connected = plane()
    status = webhooks.try_out(connected, name, messenger(connected.settings))
    click.echo(f"{name} answers {status}")
    if not 200 <= status < 300:
        sys.exit(2)


@main.command("reconcile")
@click.option("--rebuild", is_flag=True, help="Write the whole copy anew.")
@as_json
@plainly
def reconcile_command(rebuild: bool, as_json: bool) -> None:
    """Make Redis equal the database now, and say what was changed."""
    connected = plane()
    if rebuild:
        published, removed = reconciling.rebuild(connected, "asked for by edgectl")
        done = reconciling.Reconciled("asked for by edgectl", published, removed)
    else:
        done = reconciling.reconcile(connected)
    words = [f"{name} {value}" for name, value in vars(done).items() if value]
    _print(vars(done), as_json, ", ".join(words) or "nothing to change")


@main.group()
def keyring() -> None:
    """The keys that seal private keys."""


@keyring.command("add")
@click.option("--kid", help="Its id; the date by default.")
@click.option("--group", help="Group that may read the file (nginx's).")
@plainly
def keyring_add(kid: str | None, group: str | None) -> None:
    """Append a key; the first of the file is made here too. `rotate` makes it the sealing one."""
    import shutil

    path = read_settings().edge_keyring
    keys = sealing.read(path) if path.exists() else {}
    kid = kid or _new_kid(keys)
    if kid in keys:
        raise click.ClickException(f"the keyring has a key {kid}: choose another --kid")
    path.parent.mkdir(parents=True, exist_ok=True)
    sealing.write(path, {**keys, kid: secrets.token_bytes(32)})
    if group:
        try:
            shutil.chown(path, group=group)
        except (LookupError, PermissionError) as problem:
            raise click.ClickException(
                f"cannot give {path} to group {group}: {problem}"
            ) from problem
        path.chmod(0o640)
    click.echo(f"{path}: key {kid} added ({len(keys) + 1} in all)")


def _new_kid(keys: dict[str, bytes]) -> str:
    day = f"k{now():%Y%m%d}"
    return next(
        kid for kid in (day, *(f"{day}-{number}" for number in range(2, 1000))) if kid not in keys
    )


@keyring.command("rotate")
@click.option("--timeout", default=60.0, show_default=True, help="Seconds to wait for edges.")
@click.option("--drop-old", is_flag=True, help="Then take the former keys out of the file.")
@plainly
def keyring_rotate(timeout: float, drop_old: bool) -> None:
    """Seal with the newest key, and everything again with it; nothing pauses meanwhile."""
    connected = plane()
    path = connected.settings.edge_keyring
    kid, sealed = rotation.rotate(
        connected, path, timeout, lambda words: click.echo(words, err=True)
    )
    click.echo(f"{kid} seals; {sealed} keys sealed again")
    if drop_old:
        click.echo(f"taken out: {', '.join(rotation.drop_old(path)) or 'none'}")


@main.command("export")
@click.argument("hostname")
@click.option("--to", "directory", required=True, type=click.Path(file_okay=False, path_type=Path))
@click.option("--watch", is_flag=True, help="Stay, and write again whenever it changes.")
@click.option("--run", "command", help="Command to run after each change.")
@click.option("--every", default=5.0, show_default=True, help="Seconds between looks.")
@plainly
def export_command(
    hostname: str, directory: Path, watch: bool, command: str | None, every: float
) -> None:
    """Write privkey.pem, fullchain.pem and combined.pem (0600) for Dovecot and Postfix."""
    connected = plane()
    seen = ""
    while True:
        try:
            seen = _export_once(connected, hostname, directory, command, seen)
        except (OperationalError, certificates.Unusable, NoSuchHost, KeyringError) as problem:
            if not watch:
                raise
            click.echo(f"warning: {problem}; looked at again", err=True)
        if not watch:
            return
        time.sleep(every)


def _export_once(
    connected: Plane, hostname: str, directory: Path, command: str | None, seen: str
) -> str:
    """Write the files where the certificate is not the one seen last, and run the command."""
    with connected.database.reading() as session:
        certificate = registry.find(session, hostname).certificate
    if certificate is not None and certificate.sha256 == seen:
        return seen
    written = exporting.export(connected, hostname, directory)
    click.echo(f"{hostname}: certificate {written[:12]} written to {directory}")
    if command:
        done = subprocess.run(shlex.split(command), check=False)  # noqa: S603 # the operator's own
        if done.returncode:
            click.echo(f"warning: {command!r} ended with {done.returncode}", err=True)
    return written


@main.command("explain")
@click.argument("hostname")
@click.option(
    "--edge", "edges", multiple=True, metavar="ADDRESS:PORT", help="Where to try a handshake."
)
@as_json
@plainly
def explain_command(hostname: str, edges: tuple[str, ...], as_json: bool) -> None:
    """What a visitor of HOSTNAME gets and why: from database, Redis, each edge and the wire."""
    connected = plane()
    told = explanation.explain(
        connected, hostname, handshakes(), _addresses(connected, hostname, edges), now()
    )
    width = max(len(where) for where, _ in told.findings)
    lines = [f"A visitor of {hostname} gets {told.verdict}."]
    lines += [f"  {where:<{width}}  {what}" for where, what in told.findings]
    value = {
        "hostname": hostname,
        "served": told.served,
        "verdict": told.verdict,
        "findings": [{"where": where, "what": what} for where, what in told.findings],
    }
    _print(value, as_json, "\n".join(lines))


def _addresses(connected: Plane, hostname: str, edges: tuple[str, ...]) -> list[tuple[str, int]]:
    """Where to try: what was named, else EDGE_HTTPS, else what DNS says."""
    given = edges or tuple(
        filter(None, [os.environ.get("EDGE_HTTPS", "").removeprefix("https://")])
    )
    if given:
        parts = [edge.rpartition(":") for edge in given]
        return [(host.strip("[]"), int(port)) for host, _, port in parts if port.isdecimal()]
    try:
        found = connected.resolver.addresses(hostname)
    except PortError:
        return []
    return [(address, 443) for address in (*found.ipv6, *found.ipv4)]


@main.command("preflight")
@click.argument("hostname")
@as_json
@plainly
def preflight_command(hostname: str, as_json: bool) -> None:
    """Would an order succeed: A, AAAA, CNAME, CAA and port 80, each with its fix."""
    connected = plane()
    with connected.database.reading() as session:
        checks = inspection.report(connected, registry.find(session, hostname))
    lines = []
    for check in checks:
        lines.append(f"{check.verdict:<5} {check.check:<7} {check.evidence}")
        lines += [f"      {words}" for words in (check.fix, check.record) if words]
    _print([vars(check) for check in checks], as_json, "\n".join(lines))
    if any(check.verdict == "fail" for check in checks):
        sys.exit(2)


@main.group("settings")
def settings_group() -> None:
    """Settings that hold at run time."""


@settings_group.command("show")
@as_json
@plainly
def settings_show(as_json: bool) -> None:
    """What holds now."""
    values = plane().runtime().as_dict()
    _print(values, as_json, "\n".join(f"{name}={_plain(v)}" for name, v in values.items()))


@settings_group.command("set")
@click.argument("assignments", nargs=-1, required=True, metavar="NAME=VALUE…")
@plainly
def settings_set(assignments: tuple[str, ...]) -> None:
    """Change some; VALUE is JSON or plain text, `null` for none."""
    given = dict(_assignment(text) for text in assignments)
    from marshmallow import ValidationError

    from control.api.schemas import SettingsSchema

    try:
        changes = SettingsSchema().load(given)
    except ValidationError as problem:
        faults = problem.messages_dict
        field, fault = next(iter(faults.items()))
        raise click.ClickException(f"{field}: {fault[0]}") from problem
    registry.configure(plane(), changes, WHO)
    click.echo(", ".join(f"{name}={_plain(value)}" for name, value in changes.items()))


def _assignment(text: str) -> tuple[str, Any]:
    name, separator, value = text.partition("=")
    if not separator:
        raise click.UsageError(f"write NAME=VALUE, not {text!r}")
    if value in ("on", "off"):
        return name, value == "on"
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _certified(connected: Plane, root: Path | None) -> list[str]:
    roots = root.read_text() if root else None
    with connected.database.reading() as session:
        rows = session.scalars(
            select(VirtualHost).where(
                VirtualHost.deleted_at.is_(None), VirtualHost.certificate_id.is_not(None)
            )
        ).all()
    return [
        row.hostname
        for row in rows
        if row.certificate
        and row.certificate.source == "acme"
        and not (roots and certificates.signed_by(row.certificate.chain, roots))
    ]


def _follow(connected: Plane, hostname: str, seconds: float, *, quiet: bool) -> VirtualHost:
    """Print each step as it happens until it is ready or failed."""
    deadline, told = time.monotonic() + seconds, ""
    while True:
        with connected.database.reading() as session:
            record = registry.find(session, hostname)
        state = f"{record.status}: {record.step}"
        error = record.explained(connected.settings.edge_public_addresses)
        if error is not None:
            state += f" — {error['reason']}: {error['detail']} {error['hint']}"
        if state != told and not quiet:
            click.echo(f"  {state}", err=True)
        told = state
        if record.status != "pending" or time.monotonic() > deadline:
            return record
        time.sleep(0.1)


def _shown(connected: Plane, record: VirtualHost) -> dict[str, Any]:
    from control.api import represent
    from control.api.schemas import HostSchema

    return cast(dict[str, Any], HostSchema().dump(represent.host(record, connected)))


def _print(value: object, as_json: bool, words: str) -> None:
    click.echo(json.dumps(value, indent=2) if as_json else words)
