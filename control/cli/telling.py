"""edgectl events and webhook: what happened, and who is told."""

from __future__ import annotations

import json
import sys
from datetime import datetime

import click
from sqlalchemy import select

from control import events, webhooks
from control.cli.connection import WHO, as_json, plain, plainly, plane, show
from control.models import Event, Webhook
from control.wiring import messenger


@click.command("events")
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
        f"{' '.join(f'{name}={plain(value)}' for name, value in row.detail.items())}".rstrip()
        for row in rows
    ]
    value = json.loads(json.dumps(shown, default=datetime.isoformat))
    show(value, as_json, "\n".join(lines) or "nothing happened")


@click.group()
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
    show({"name": name, "url": url, "kinds": list(kinds), "secret": secret}, as_json, words)


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
    show(items, as_json, "\n".join(lines) or "no webhooks")


@webhook.command("remove")
@click.argument("name")
@as_json
@plainly
def webhook_remove(name: str, as_json: bool) -> None:
    """Tell it nothing more."""
    webhooks.remove(plane(), name, WHO)
    show({"name": name, "removed": True}, as_json, f"webhook {name} is removed")


@webhook.command("test")
@click.argument("name")
@as_json
@plainly
def webhook_test(name: str, as_json: bool) -> None:
    """Send it one event of kind `test` now, and say what it answers."""
    connected = plane()
    status = webhooks.try_out(connected, name, messenger(connected.settings))
    show({"name": name, "status": status}, as_json, f"{name} answers {status}")
    if not 200 <= status < 300:
        sys.exit(2)
