"""edgectl: what its commands are; what each takes to run is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click

COMMANDS: Mapping[str, tuple[str, str]] = {
    "account": ("keys", "Our account at the CA."),
    "api": ("processes", "Check what the API needs, then run it under gunicorn on CONTROL_BIND."),
    "edges": ("looking", "Who serves, how far each edge has come, and what it refuses."),
    "events": (
        "telling",
        "What happened, who did it and when: to HOSTNAME, or to all; the newest last.",
    ),
    "explain": (
        "looking",
        "What a visitor of HOSTNAME gets and why: from database, Redis, each edge and the wire.",
    ),
    "export": (
        "copies",
        "Write privkey.pem, fullchain.pem and combined.pem (0600) for Dovecot and Postfix.",
    ),
    "host": ("hosts", "Virtual hosts."),
    "keyring": ("keys", "The keys that seal private keys."),
    "migrate": ("processes", "Bring the database to this version's schema."),
    "preflight": (
        "looking",
        "Would an order succeed: A, AAAA, CNAME, CAA and port 80, each with its fix.",
    ),
    "reconcile": ("copies", "Make Redis equal the database now, and say what was changed."),
    "settings": ("runtime", "Settings that hold at run time."),
    "token": ("tokens", "Tokens for the REST API."),
    "webhook": ("telling", "Who is told of events."),
    "worker": (
        "processes",
        "Issue, renew and publish until stopped; SIGTERM ends what is under way, in a minute.",
    ),
}
"""Each command's module and first sentence, known without importing it; a test keeps them equal."""


class _Lazy(click.Group):
    """The commands of COMMANDS; what they need costs up to half a second to import."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command itself."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"control.cli.{COMMANDS[cmd_name][0]}")
        found = (one for one in vars(module).values() if isinstance(one, click.Command))
        return next(one for one in found if one.name == cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """What `--help` lists."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in sorted(COMMANDS)])


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="modoboa-edge")
def main() -> None:
    """Look after the control plane: who has which certificate.

    Settings come from the environment (DATABASE_URL, REDIS_URL, EDGE_KEYRING, …): all are in
    docs/settings.md. What each command is for: docs/operate.md.
    """


def application() -> Any:
    """The WSGI application, for gunicorn."""
    from control.cli.processes import application as made

    return made()
