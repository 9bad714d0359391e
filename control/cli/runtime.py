"""edgectl settings: what holds at run time."""

from __future__ import annotations

import json
from typing import Any

import click

from control import configuration
from control.cli.connection import WHO, as_json, plain, plainly, plane, show


@click.group("settings")
def settings_group() -> None:
    """Settings that hold at run time."""


@settings_group.command("show")
@as_json
@plainly
def settings_show(as_json: bool) -> None:
    """What holds now."""
    values = plane().runtime().as_dict()
    show(values, as_json, "\n".join(f"{name}={plain(v)}" for name, v in values.items()))


@settings_group.command("set")
@click.argument("assignments", nargs=-1, required=True, metavar="NAME=VALUE…")
@as_json
@plainly
def settings_set(assignments: tuple[str, ...], as_json: bool) -> None:
    """Change some of those that `settings show` lists; VALUE is on, off, a number, text, or `null` for none."""
    given = dict(_assignment(text) for text in assignments)
    from marshmallow import ValidationError

    from control.api.schemas import SettingsSchema

    try:
        changes = SettingsSchema().load(given)
    except ValidationError as problem:
        faults = problem.messages_dict
        field, fault = next(iter(faults.items()))
        raise click.ClickException(f"{field}: {fault[0]}") from problem
    values = configuration.configure(plane(), changes, WHO).as_dict()
    words = ", ".join(f"{name}={plain(value)}" for name, value in changes.items())
    show(values, as_json, words)


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
