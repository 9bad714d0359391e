"""At a tenant's host, who has their own mailbox at another host has none: no colleagues, calendars or mail of there."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.db.models import Manager, QuerySet
from django.db.models.fields.related_descriptors import ReverseOneToOneDescriptor
from django.http import Http404
from modoboa.admin.models import Mailbox
from modoboa.core.models import User
from modoboa.lib.signals import get_request

from modoboa_ext.scope import domains_here

# What hangs on a mailbox of the person's own and is asked for without it: the way to the mailbox's domain.
OF_A_MAILBOX = {
    "UserCalendar": "mailbox__domain",
    "CalendarSubscription": "mailbox__domain",
    "AccessRule": "calendar__mailbox__domain",
}


class NoMailboxHere(Http404, Mailbox.DoesNotExist, AttributeError):
    """What Django raises for a user without a mailbox; where nobody asked whether there is one, a 404."""


class OwnMailbox(ReverseOneToOneDescriptor):
    """`user.mailbox` that knows of hosts, for the very person who asks.

    Another object of the same person has its mailbox, so that a form about them shows and keeps it.
    """

    def __get__(self, instance: Any, cls: type | None = None) -> Any:
        """The mailbox; NoMailboxHere at a host that does not carry its domain."""
        found = super().__get__(instance, cls)
        asks = instance is not None and getattr(get_request(), "user", None) is instance
        domains = domains_here() if asks else None
        if domains is not None and found.domain_id not in domains:
            raise NoMailboxHere("Your mailbox belongs to another site")
        return found


def narrow(manager: Manager[Any], domain: str) -> None:
    """Let `manager` find what belongs to the host; `domain` is the way from its rows to their domain."""
    plain = manager.get_queryset

    def get_queryset() -> QuerySet[Any]:
        domains = domains_here()
        return plain() if domains is None else plain().filter(**{f"{domain}__in": domains})

    manager.get_queryset = get_queryset  # type: ignore[method-assign]


def install() -> None:
    """Narrow those places; harmless when done twice."""
    plain = User.__dict__["mailbox"]
    if isinstance(plain, OwnMailbox):
        return
    User.mailbox = OwnMailbox(plain.related)
    if apps.is_installed("modoboa.calendars"):
        for name, domain in OF_A_MAILBOX.items():
            narrow(apps.get_model("calendars", name).objects, domain)
