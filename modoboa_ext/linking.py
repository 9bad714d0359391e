"""Link a domain to a hostname: who may, to which name, and what becomes of the old link."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone
from modoboa.admin.models import Domain

from modoboa_ext import hosts, licence
from modoboa_ext.hostname import InvalidHostname, parse
from modoboa_ext.models import Link, Remembered, VirtualHost
from modoboa_ext.settings import option


class LinkRefused(Exception):
    """The domain may not be linked so; the text is a sentence for the person who tried."""


def reserved_hostnames() -> set[str]:
    """Names that no domain may have: ours, and those that the control plane's operator keeps."""
    return {*hosts.static_hosts(), *Remembered.load().reserved_hostnames}


def wanted_name(text: str | None) -> str | None:
    """The canonical hostname that was typed, None for none; LinkRefused names the fault."""
    if not text:
        return None
    if text == hosts.primary_hostname():
        raise LinkRefused(f"hostname is reserved: {text} is the primary hostname, choose another")
    try:
        return parse(text, reserved_hostnames())
    except InvalidHostname as fault:
        raise LinkRefused(str(fault)) from fault


def current_name(domain: Domain) -> str | None:
    """The hostname that `domain` is linked to."""
    return VirtualHost.objects.filter(links__domain=domain).values_list("name", flat=True).first()


@transaction.atomic
def set_hostname(domain: Domain, text: str | None, actor: Any) -> None:
    """Link `domain` to the hostname `text` (made when it is new), or unlink it for None.

    Nothing happens, whoever asks, when the link is so already: the domain form sends every field.
    Raises LinkRefused and LicenceRequired.
    """
    if (text or None) == current_name(domain):
        return
    licence.require()
    name = wanted_name(text)
    hold(domain, name)
    host, new = host_called(name) if name else (None, False)
    require_right(actor, domain)
    if host and not actor.is_superuser:
        require_own(actor, host, new)
    Link.objects.filter(domain=domain).delete()
    if host:
        Link.objects.create(domain=domain, virtual_host=host)


def hold(domain: Domain, name: str | None = None) -> None:
    """Lock the domain, then its host and the one called `name`, in one order.

    Who saves or deletes at the same moment waits, and never two for each other. One query a host, since InnoDB
    locks what it looks a row up by: of several at once it may look at all rows, in their order.
    """
    list(Domain.objects.select_for_update().filter(pk=domain.pk))
    for held in sorted(filter(None, {current_name(domain), name})):
        list(VirtualHost.objects.select_for_update().filter(name=held))


def require_right(actor: Any, domain: Domain) -> None:
    """Super administrators link any domain; resellers, where allowed, those they own."""
    if actor.is_superuser:
        return
    if not option("ALLOW_RESELLERS") or actor.role != "Resellers":
        raise LinkRefused("Only a super administrator may set the hostname of a domain")
    if not owned_by(actor).filter(pk=domain.pk).exists():
        raise LinkRefused(f"{domain.name} belongs to someone else: ask a super administrator")


def require_own(actor: Any, host: VirtualHost, new: bool) -> None:
    """A reseller makes a new host, or joins one that carries their own domains and nobody else's."""
    mine = Q(domain__in=owned_by(actor).values("pk"))
    if host.links.exclude(mine).exists():
        raise LinkRefused(f"{host.name} carries domains of someone else: choose another hostname")
    if not new and not host.links.filter(mine).exists():
        raise LinkRefused(
            f"{host.name} exists and carries no domain of yours: choose another hostname, "
            "or ask a super administrator"
        )


def owned_by(actor: Any) -> QuerySet[Domain]:
    """The domains that a person owns; who merely administers one has access to it, no more."""
    return Domain.objects.filter(owners__user=actor, owners__is_owner=True)


def host_called(name: str) -> tuple[VirtualHost, bool]:
    """The virtual host, locked, and whether it is new: made now, or brought back from a tombstone."""
    host, made = VirtualHost.objects.select_for_update().get_or_create(name=name)
    new = made or host.deleted_at is not None
    if new:
        host.change(deleted_at=None, enabled=True, creation=timezone.now(), mirror={})
    return host, new
