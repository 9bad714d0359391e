"""What every command needs: settings, a connected control plane, errors in one sentence."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from functools import wraps
from typing import Any, TypeVar, cast

import click
from sqlalchemy.exc import OperationalError, ProgrammingError

from control import accounts, certificates, endpoint, rotation, sealing, webhooks
from control import settings as environment
from control.database import DatabaseUnavailable
from control.hostname import InvalidHostname
from control.models import (
    DomainTaken,
    NotFailed,
    NotRenewable,
    OlderGeneration,
    OwnedElsewhere,
    PrimaryFixed,
)
from control.plane import Plane, Who
from control.ports import NotTold, PortError
from control.registry import NoSuchHost
from control.sealing import KeyringError
from control.wiring import connect

OURS = (
    DatabaseUnavailable, InvalidHostname, DomainTaken, NotFailed, OlderGeneration, OwnedElsewhere,
    PrimaryFixed, NotRenewable, NoSuchHost, KeyringError, sealing.CannotOpen,
    rotation.NotEverywhere, rotation.StillNeeded, accounts.NothingToRevoke,
    environment.InvalidSetting, certificates.Unusable, NotTold, endpoint.BadUrl,
    webhooks.NoSuchWebhook,
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


def plain(value: object) -> str:
    """A value on one line: a text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def show(value: object, as_json: bool, words: str) -> None:
    """Print `value` for a script, or `words` for people."""
    click.echo(json.dumps(value, indent=2) if as_json else words)
