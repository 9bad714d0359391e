"""edgectl token: who may use the REST API."""

from __future__ import annotations

import click
from sqlalchemy import select
from sqlalchemy.orm import Session

from control.cli.connection import WHO, as_json, now, plainly, plane, show
from control.models import Token
from control.plane import record


@click.group()
def token() -> None:
    """Tokens for the REST API."""


@token.command("create")
@click.argument("name")
@click.option("--read-only", is_flag=True, help="It may look but not change.")
@click.option("--hosts-only", is_flag=True, help="It may change neither settings nor webhooks.")
@as_json
@plainly
def token_create(name: str, read_only: bool, hosts_only: bool, as_json: bool) -> None:
    """Make a token and print it; it cannot be shown again."""
    connected = plane()
    made, text = Token.create(name, now(), read_only=read_only, hosts_only=hosts_only)
    with connected.database.writing() as session:
        _free(
            session,
            name,
            f"revoke it, rotate it (edgectl token rotate {name}), or choose another name",
        )
        session.add(made)
        record(session, "token_created", now(), actor=WHO.name, name=name, scope=made.scope)
    value = {"name": name, "token": text, "read_only": read_only, "scope": made.scope}
    show(value, as_json, text)


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
            "scope": row.scope,
            "created_at": row.created_at.isoformat(),
            "last_used_at": row.last_used_at.isoformat() if row.last_used_at else None,
            "revoked_at": row.revoked_at.isoformat() if row.revoked_at else None,
        }
        for row in rows
    ]
    lines = [
        f"{i['name']:<24} {i['scope']:<10} "
        f"{'revoked' if i['revoked_at'] else 'live':<8} last used {i['last_used_at'] or 'never'}"
        for i in items
    ]
    show(items, as_json, "\n".join(lines) or "no tokens")


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
    show({"name": name, "token": text, "former": f"{name}.old"}, as_json, text)


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
@as_json
@plainly
def token_revoke(name: str, as_json: bool) -> None:
    """End a token at once; its name may be used again."""
    with plane().database.writing() as session:
        session.delete(_token(session, name))
        record(session, "token_revoked", now(), actor=WHO.name, name=name)
    show({"name": name, "revoked": True}, as_json, f"token {name} is revoked")
