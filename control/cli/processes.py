"""What runs: the schema, the worker, the API."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Any

import click

from control import registry, webhooks
from control.cli.connection import as_json, plainly, plane, read_settings, show
from control.database import Database
from control.plane import Plane
from control.wiring import messenger

SWITCH_SECONDS = 0.0005
"""How long a thread may keep the interpreter. Python's own 5 ms keep those waiting that hold the database's turn."""


@click.command()
@click.option("--down-to", metavar="REVISION", help="Go back to this revision (base: drop all).")
@as_json
@plainly
def migrate(down_to: str | None, as_json: bool) -> None:
    """Bring the database to this version's schema."""
    from control import schema

    database = Database(read_settings().database_url)
    if down_to:
        schema.downgrade(database, down_to)
    else:
        schema.upgrade(database)
    current = schema.current(database)
    show({"schema": current}, as_json, f"schema is at {current or 'nothing'}")


@click.command()
@plainly
def worker() -> None:
    """Issue, renew and publish until stopped; SIGTERM ends what is under way, in a minute."""
    from control.log import configure
    from control.worker import Worker

    configure()
    sys.setswitchinterval(SWITCH_SECONDS)
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


@click.command()
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
    sys.setswitchinterval(SWITCH_SECONDS)
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
