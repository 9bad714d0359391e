"""edgectl host: virtual hosts, one by one or all."""

from __future__ import annotations

import json
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import click
from sqlalchemy import select
from sqlalchemy.orm import selectinload

from control import accounts, certificates, registry
from control.cli.connection import WHO, as_json, now, plainly, plane, show
from control.models import Certificate, VirtualHost
from control.plane import Plane
from control.registry import UNSET, Wish

_PEM = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def host() -> None:
    """Virtual hosts."""


@host.command("add")
@click.argument("hostname")
@click.option("--domain", "domains", multiple=True, help="A mail domain to link; may be repeated.")
@click.option("--owner", help="Who owns it.")
@click.option("--disabled", is_flag=True, help="Get the certificate, serve nothing yet.")
@click.option("--force", is_flag=True, help="Even if it has another owner.")
@click.option("--wait", is_flag=True, help="Show each step until it is served.")
@click.option("--timeout", default=120.0, show_default=True, help="Seconds to wait.")
@as_json
@plainly
def host_add(
    hostname: str,
    domains: tuple[str, ...],
    owner: str | None,
    disabled: bool,
    force: bool,
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
    record, created = registry.put(connected, hostname, wish, WHO, force=force)
    if not as_json:
        click.echo(f"{hostname}: {'created' if created else 'is there already'}")
    if wait:
        record = _follow(connected, hostname, timeout, quiet=as_json)
    _say(connected, record, as_json, f"{hostname}: {record.status}")
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
    words = "\n".join(_line(row) for row in rows) or "no virtual hosts"
    show([_shown(connected, row) for row in rows] if as_json else None, as_json, words)


def _line(row: VirtualHost) -> str:
    """One host in the list: its name, status, whether it is disabled, its certificate's end, what is wrong."""
    ends = f"{row.certificate.not_after:%Y-%m-%d}" if row.certificate else "-"
    disabled = "" if row.enabled else "disabled"
    words = f"{row.hostname:<40} {row.status:<8} {disabled:<9}{ends:<12} {row.error_reason or ''}"
    return words.rstrip()


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
    show(shown, as_json, json.dumps(shown, indent=2))


@host.command("retry")
@click.argument("hostname")
@as_json
@plainly
def host_retry(hostname: str, as_json: bool) -> None:
    """Try a failed one again now."""
    connected = plane()
    record = registry.retry(connected, hostname, WHO)
    _say(connected, record, as_json, f"{hostname}: tried again now")


@host.command("renew")
@click.argument("hostname", required=False)
@click.option("--all", "everyone", is_flag=True, help="Every virtual host that has a certificate.")
@click.option(
    "--not-signed-by",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Only certificates that lead to none of the roots in this PEM file.",
)
@as_json
@plainly
def host_renew(
    hostname: str | None, everyone: bool, not_signed_by: Path | None, as_json: bool
) -> None:
    """Issue again now: one, or all, or all that a root no longer vouches for."""
    connected = plane()
    if bool(hostname) == (everyone or not_signed_by is not None):
        raise click.UsageError("name a hostname, or use --all or --not-signed-by ROOT")
    names = [hostname] if hostname else _certified(connected, not_signed_by)
    for name in names:
        registry.renew(connected, name, WHO)
    show({"renewed": names}, as_json, f"{len(names)} to be issued again")


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
@as_json
@plainly
def host_revoke(hostname: str, reason: str, as_json: bool) -> None:
    """Revoke a hostname's certificate at the CA, and issue another."""
    sha256 = accounts.revoke(plane(), hostname, accounts.REVOCATION_REASONS[reason], WHO)
    value = {"hostname": hostname, "revoked": sha256}
    show(value, as_json, f"certificate {sha256} is revoked; another is being issued")


@host.command("upload")
@click.argument("hostname")
@click.option("--chain", type=_PEM, help="PEM file: the certificate, then its intermediates.")
@click.option("--key", type=_PEM, help="PEM file: its private key, without a passphrase.")
@click.option("--remove", is_flag=True, help="Go back to the CA instead.")
@as_json
@plainly
def host_upload(
    hostname: str, chain: Path | None, key: Path | None, remove: bool, as_json: bool
) -> None:
    """Serve a certificate of your own instead of one of the CA's."""
    if remove == bool(chain or key) or bool(chain) != bool(key):
        raise click.UsageError("give --chain FILE and --key FILE, or --remove")
    connected = plane()
    if chain is None or key is None:
        record = registry.back_to_acme(connected, hostname, WHO)
        words = f"{hostname}: back to the CA; the uploaded one is served until there is another"
        _say(connected, record, as_json, words)
        return
    opened = certificates.load_key(key.read_text(encoding="ascii", errors="replace"))
    text = chain.read_text(encoding="ascii", errors="replace")
    facts = certificates.check(text, opened, hostname, now())
    record = registry.upload(connected, hostname, facts, WHO)
    words = f"{hostname}: certificate of {facts.issuer}, valid until {facts.not_after:%Y-%m-%d}"
    _say(connected, record, as_json, words)


@host.command("enable")
@click.argument("hostname")
@as_json
@plainly
def host_enable(hostname: str, as_json: bool) -> None:
    """Serve it."""
    connected = plane()
    record = registry.change(connected, hostname, Wish(enabled=True), WHO, force=True)
    _say(connected, record, as_json, f"{hostname}: enabled")


@host.command("disable")
@click.argument("hostname")
@as_json
@plainly
def host_disable(hostname: str, as_json: bool) -> None:
    """Refuse it at the edge; its certificate goes on being renewed."""
    connected = plane()
    record = registry.change(connected, hostname, Wish(enabled=False), WHO, force=True)
    _say(connected, record, as_json, f"{hostname}: disabled")


@host.command("delete")
@click.argument("hostname")
@click.option("--force", is_flag=True, help="Even if it has an owner.")
@as_json
@plainly
def host_delete(hostname: str, force: bool, as_json: bool) -> None:
    """Delete it: edges refuse it within seconds."""
    registry.delete(plane(), hostname, WHO, force=force)
    show({"hostname": hostname, "deleted": True}, as_json, f"{hostname}: deleted")


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


def _say(connected: Plane, record: VirtualHost, as_json: bool, words: str) -> None:
    """The record for a script, `words` for people; only the former needs what the API is made of."""
    show(_shown(connected, record) if as_json else None, as_json, words)


def _shown(connected: Plane, record: VirtualHost) -> dict[str, Any]:
    from control.api import represent
    from control.api.schemas import HostSchema

    return cast(dict[str, Any], HostSchema().dump(represent.host(record, connected)))
