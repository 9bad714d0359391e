"""edgectl: what its commands are; what each takes to run is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

ABOUT: Mapping[str, str] = {
    "account": "Our account at the CA.",
    "api": "Check what the API needs, then run it under gunicorn on CONTROL_BIND.",
    "edges": "Who serves, how far each edge has come, and what it refuses.",
    "events": "What happened, who did it and when: to HOSTNAME, or to all; the newest last.",
    "explain": "What a visitor of HOSTNAME gets and why: from database, Redis, each edge and the wire.",
    "export": "Write privkey.pem, fullchain.pem and combined.pem (0600) for Dovecot and Postfix.",
    "host": "Virtual hosts.",
    "keyring": "The keys that seal private keys.",
    "migrate": "Bring the database to this version's schema.",
    "preflight": "Would an order succeed: A, AAAA, CNAME, CAA and port 80, each with its fix.",
    "reconcile": "Make Redis equal the database now, and say what was changed.",
    "settings": "Settings that hold at run time.",
    "token": "Tokens for the REST API.",
    "webhook": "Who is told of events.",
    "worker": "Issue, renew and publish until stopped; SIGTERM ends what is under way first, within a minute.",
}
"""Each command's first sentence, known without importing it; a test keeps them equal."""


class _Lazy(click.Group):
    """The commands of `control.cli.commands`, which cost most of a second to import."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names."""
        return sorted(ABOUT)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command itself."""
        from control.cli.commands import main as all_of_them

        return all_of_them.commands.get(cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """What `--help` lists."""
        with formatter.section("Commands"):
            formatter.write_dl(sorted(ABOUT.items()))


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="modoboa-edge")
def main() -> None:
    """Look after the control plane: who has which certificate.

    Settings come from the environment (DATABASE_URL, REDIS_URL, EDGE_KEYRING, …).
    """


def application() -> Any:
    """The WSGI application, for gunicorn."""
    from control.cli.commands import application as made

    return made()
