"""At a tenant's host an administrator sees what belongs to that host, and nothing of their other domains.

Modoboa has no hook for this. Its lists and permissions all go through a few places, which are narrowed here:
`get_for_admin` of two managers and a mailbox's `alias_addresses`, whoever's domains or addresses are asked
for; `user.objectaccess_set` and `user.can_access` for the person of the current request only, so that what
Modoboa does for others (transfer of ownership, limits, jobs, imports) sees everything as before.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, wraps
from typing import Any

from django.contrib.contenttypes.models import ContentType
from django.db.models import Exists, Model, OuterRef, Q, QuerySet
from django.db.models.fields.related_descriptors import ReverseManyToOneDescriptor
from modoboa.admin.models import Alias, Domain, DomainAlias, Mailbox
from modoboa.admin.models.base import AdminObjectManager
from modoboa.admin.models.domain_alias import DomainAliasManager
from modoboa.core.models import ObjectAccess, User
from modoboa.lib.signals import get_request

from modoboa_ext import hosts
from modoboa_ext.settings import option


def domains_here() -> frozenset[int] | None:
    """Primary keys of the domains that the current request is narrowed to; None where it is not."""
    request = get_request()
    if request is None or not option("SCOPE_DATA"):
        return None
    host = hosts.of(request)
    user = getattr(request, "user", None)
    acts = host.is_tenant and user is not None and user.is_authenticated and not user.is_superuser
    return host.domains if acts else None


def domains_for(person: Any) -> frozenset[int] | None:
    """The same where `person` is who asks; None for everybody else."""
    request = get_request()
    asks = getattr(getattr(request, "user", None), "pk", None) == person.pk
    return domains_here() if asks else None


def of_domains(model: type[Model], domains: frozenset[int]) -> Q:
    """The rows of `model` that belong to these domains; every row of a model that belongs to none."""
    if model is Domain:
        return Q(pk__in=domains)
    if model in (Mailbox, Alias):
        return Q(domain__in=domains)
    if model is DomainAlias:
        return Q(target__in=domains)
    if model is User:
        administers = Q(
            objectaccess__content_type=ContentType.objects.get_for_model(Domain),
            objectaccess__object_id__in=domains,
        )
        return Q(mailbox__domain__in=domains) | administers
    return Q()


def unsettled(person: Any) -> Q:
    """The accounts that `person` owns and that belong to no domain yet, as a new administrator's does."""
    kinds = ContentType.objects.get_for_models(Domain, User)
    owned = ObjectAccess.objects.filter(user=person, is_owner=True, content_type=kinds[User])
    administers = ObjectAccess.objects.filter(content_type=kinds[Domain], user=OuterRef("pk"))
    return Q(pk__in=owned.values("object_id"), mailbox=None) & ~Exists(administers)


def of_person(model: type[Model], domains: frozenset[int], person: Any) -> Q:
    """The rows of `model` that `person` may see at a host of these domains."""
    rows = of_domains(model, domains)
    return rows | unsettled(person) if model is User else rows


def access_to(domains: frozenset[int], person: Any) -> Q:
    """The entries of Modoboa's access table about objects of these domains, and about the person."""
    wanted = Q()
    kinds = ContentType.objects.get_for_models(Domain, Mailbox, Alias, DomainAlias, User)
    for model, kind in kinds.items():
        rows = model.objects.filter(of_person(model, domains, person)).order_by().values("pk")
        wanted |= Q(content_type=kind, object_id__in=rows)
    itself = Q(content_type=kinds[User], object_id=person.pk)
    return wanted | itself | ~Q(content_type__in=kinds.values())


def narrowed(get_for_admin: Callable[..., QuerySet[Any]]) -> Callable[..., QuerySet[Any]]:
    """A manager's `get_for_admin` that knows of hosts."""

    @wraps(get_for_admin)
    def narrow(self: Any, admin: Any, *args: Any, **kwargs: Any) -> QuerySet[Any]:
        rows = get_for_admin(self, admin, *args, **kwargs)
        domains = domains_here()
        return rows if domains is None else rows.filter(of_domains(self.model, domains))

    narrow.knows_hosts = True  # type: ignore[attr-defined]
    return narrow


class NarrowedAccess(ReverseManyToOneDescriptor):
    """`user.objectaccess_set` that knows of hosts."""

    @cached_property
    def related_manager_cls(self) -> type:
        """Django's manager, its rows narrowed."""
        plain = super().related_manager_cls

        class Narrowed(plain):  # type: ignore[misc, valid-type]
            def get_queryset(self) -> QuerySet[Any]:
                rows = super().get_queryset()
                domains = domains_for(self.instance)
                if domains is None:
                    return rows
                return rows.filter(access_to(domains, self.instance))

        return Narrowed


def narrowed_access(can_access: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    """`user.can_access`, which follows other administrators to what they made, that knows of hosts."""

    @wraps(can_access)
    def narrow(self: Any, obj: Any) -> bool:
        domains = domains_for(self)
        asks = domains is not None and obj != self
        rule = of_person(type(obj), domains, self) if asks else Q()
        if rule and not type(obj)._default_manager.filter(rule, pk=obj.pk).exists():
            return False
        return can_access(self, obj)

    narrow.knows_hosts = True  # type: ignore[attr-defined]
    return narrow


def alias_addresses(mailbox: Any) -> list[str]:
    """Addresses of a mailbox's aliases (not Modoboa's internal ones), those of this host where it is narrowed."""
    aliases = Alias.objects.filter(aliasrecipient__r_mailbox=mailbox, internal=False)
    domains = domains_here()
    rows = aliases if domains is None else aliases.filter(of_domains(Alias, domains))
    return list(rows.order_by("aliasrecipient__pk").values_list("address", flat=True))


def install() -> None:
    """Narrow those places; harmless when done twice."""
    if not hasattr(User.can_access, "knows_hosts"):
        User.can_access = narrowed_access(User.can_access)
    Mailbox.alias_addresses = property(alias_addresses)
    for manager in (AdminObjectManager, DomainAliasManager):
        if not hasattr(manager.get_for_admin, "knows_hosts"):
            manager.get_for_admin = narrowed(manager.get_for_admin)
    plain = User.__dict__["objectaccess_set"]
    if not isinstance(plain, NarrowedAccess):
        User.objectaccess_set = NarrowedAccess(plain.rel)
