"""manage.py virtualhosts_compare: what is wanted here against what the control plane has."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from modoboa_ext.comparison import compare
from modoboa_ext.control_plane import ControlPlaneError, connect


class Command(BaseCommand):
    """Print each difference; status 1 when there is any."""

    help = "Compare the virtual hosts here with the control plane's."

    def add_arguments(self, parser: Any) -> None:
        """--json."""
        parser.add_argument("--json", action="store_true", help="one JSON list, for scripts")

    def handle(self, *args: Any, **options: Any) -> None:
        """Compare; CommandError when they differ or cannot be compared."""
        try:
            differences = compare(connect())
        except ControlPlaneError as error:
            raise CommandError(error.message) from error
        if options["json"]:
            self.stdout.write(json.dumps([difference.as_dict() for difference in differences]))
        else:
            self.stdout.write("\n".join(map(str, differences)) or "No difference.")
        if differences:
            raise CommandError(
                f"{len(differences)} differences; virtualhosts_sync --all mends them, "
                "and with --prune deletes over there what does not exist here"
            )
