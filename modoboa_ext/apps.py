"""The Django application; receivers and checks are connected here, in every process of Modoboa."""

from __future__ import annotations

import logging

from django.apps import AppConfig


class VirtualHosts(AppConfig):
    """Virtual hosts for Modoboa."""

    name = "modoboa_ext"
    verbose_name = "Virtual hosts"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Connect the receivers, register the checks, narrow what administrators see."""
        from modoboa_ext import checks, handlers, own_mailbox, scope  # noqa: F401  connected by being imported

        scope.install()
        own_mailbox.install()
        for _, fault, hint in checks.faults():
            # a web server's processes do not run Django's system checks
            logging.getLogger("modoboa.jobs").error("%s. %s", fault, hint)
