"""manage.py virtualhosts_sync: tell the control plane everything it has not confirmed."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from modoboa_ext import comparison, sync
from modoboa_ext.control_plane import ControlPlane, ControlPlaneError, connect
from modoboa_ext.models import VirtualHost


class Command(BaseCommand):
    """Push what waits; with --all, everything that differs, confirmed or not."""

    help = "Tell the control plane about every virtual host it has not confirmed."

    def add_arguments(self, parser: Any) -> None:
        """--all and --prune."""
        parser.add_argument("--all", action="store_true", help="also whatever differs over there")
        parser.add_argument(
            "--prune",
            action="store_true",
            help="also delete over there, for good, what is ours there and does not exist here",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Push; CommandError says what still waits and why."""
        try:
            if options["all"]:
                self.distrust()
            if options["prune"]:
                self.prune(connect())
            waiting = sync.push_all()
        except ControlPlaneError as error:
            raise CommandError(error.message) from error
        if waiting:
            names = VirtualHost.objects.unconfirmed()
            lines = [f"{host.name}: {host.refusal or 'not answered'}" for host in names[:20]]
            raise CommandError(f"{waiting} not confirmed\n" + "\n".join(lines))
        self.stdout.write("Everything is confirmed by the control plane.")

    def prune(self, control: ControlPlane) -> None:
        """Delete this installation's hosts over there that have no row here, and name each."""
        here = set(VirtualHost.objects.values_list("name", flat=True))
        for host in control.all():
            if host["hostname"] not in here:
                control.delete(host["hostname"], host["generation"])
                self.stdout.write(f"{host['hostname']}: deleted over there")

    def distrust(self) -> None:
        """Count as unconfirmed whatever differs over there."""
        names = {difference.hostname for difference in comparison.compare(connect())}
        for host in VirtualHost.objects.filter(name__in=names):
            host.supersede()
