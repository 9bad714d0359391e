"""The rule that keeps tenants apart; it knows no database, no request and no clock."""

from __future__ import annotations

from dataclasses import dataclass

from modoboa_ext.hosts import Host

REFUSAL = (
    "You cannot sign in here: your account does not belong to this site. "
    "Use the address of your own organisation, or ask your administrator."
)


@dataclass(frozen=True)
class Person:
    """A user: active or not, super administrator or not, and domains they belong to or administer.

    `domains` are as many of them as the host in question calls for: one that it carries is enough.
    """

    active: bool
    superuser: bool = False
    domains: frozenset[int] = frozenset()


def may_enter(person: Person, host: Host) -> bool:
    """Whether `person` may be served at `host`.

    1. A disabled user enters nowhere.
    2. A host that is not live lets nobody in.
    3. The primary hostname restricts nobody.
    4. A super administrator enters everywhere.
    5. At a tenant's host, only people of a domain linked to it.
    """
    if not person.active:
        return False
    if host.kind == "primary":
        return True
    if not host.is_tenant:
        return False
    return person.superuser or not person.domains.isdisjoint(host.domains)


def may_carry(born_at: str | None, superuser: bool, host: Host, primary: str) -> bool:
    """Whether what was handed out at `born_at` (a hostname, or None) counts at `host`.

    A session or token that began at a tenant's host is worth nothing at another; one that began at
    the primary hostname is good wherever its owner may enter. Super administrators are not bound.
    """
    return superuser or born_at in (None, primary, host.name)
