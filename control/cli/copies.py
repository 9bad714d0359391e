"""edgectl reconcile and export: the copy that edges read, and the one that other programs read."""

from __future__ import annotations

import shlex
import subprocess
import time
from pathlib import Path

import click
from sqlalchemy.exc import OperationalError

from control import certificates, exporting, registry
from control import reconcile as reconciling
from control.cli.connection import as_json, plainly, plane, show
from control.plane import Plane
from control.registry import NoSuchHost
from control.sealing import KeyringError


@click.command("reconcile")
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
    show(vars(done), as_json, ", ".join(words) or "nothing to change")


@click.command("export")
@click.argument("hostname")
@click.option(
    "--to",
    "directory",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Where to write; made if it is not there.",
)
@click.option("--watch", is_flag=True, help="Stay, and write again whenever it changes.")
@click.option("--run", "command", help="Command to run after each change, without a shell.")
@click.option("--every", default=5.0, show_default=True, help="Seconds between looks.")
@as_json
@plainly
def export_command(
    hostname: str, directory: Path, watch: bool, command: str | None, every: float, as_json: bool
) -> None:
    """Write privkey.pem, fullchain.pem and combined.pem (0600) for Dovecot and Postfix."""
    connected = plane()
    seen = ""
    while True:
        try:
            seen = _export_once(connected, hostname, directory, command, seen, as_json)
        except (OperationalError, certificates.Unusable, NoSuchHost, KeyringError) as problem:
            if not watch:
                raise
            click.echo(f"warning: {problem}; looked at again", err=True)
        if not watch:
            return
        time.sleep(every)


def _export_once(
    connected: Plane,
    hostname: str,
    directory: Path,
    command: str | None,
    seen: str,
    as_json: bool,
) -> str:
    """Write the files where the certificate is not the one seen last, and run the command."""
    with connected.database.reading() as session:
        certificate = registry.find(session, hostname).certificate
    if certificate is not None and certificate.sha256 == seen:
        return seen
    written = exporting.export(connected, hostname, directory)
    value = {"hostname": hostname, "sha256": written, "directory": str(directory)}
    show(value, as_json, f"{hostname}: certificate {written[:12]} written to {directory}")
    if command:
        done = subprocess.run(shlex.split(command), check=False)  # noqa: S603 # the operator's own
        if done.returncode:
            click.echo(f"warning: {command!r} ended with {done.returncode}", err=True)
    return written
