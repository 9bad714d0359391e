"""Whether a person belongs to a domain of a host, by mailbox or as administrator: one query, at most once a second."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from django.contrib.auth.models import Group
from django.contrib.contenttypes.models import ContentType
from django.db import DatabaseError, connection
from modoboa.admin.models import Domain, Mailbox
from modoboa.core.models import ObjectAccess, User

from modoboa_ext import hosts
from modoboa_ext.hosts import Host
from modoboa_ext.isolation import Person, may_enter
from modoboa_ext.recollection import Recollection

ADMINISTRATORS = ("DomainAdmins", "Resellers")
# One domain is enough, and it is found as fast for an administrator of ten thousand. What can be asked for by itself
# is: of tables that are joined PostgreSQL weighs every order, which takes it longer than to answer.
LIVED_IN_OR_ADMINISTERED = """
SELECT domain_id FROM (
SELECT m.domain_id FROM {mailbox} m JOIN {link} l ON l.domain_id = m.domain_id
 WHERE m.user_id = {who} AND l.virtual_host_id = {host} LIMIT 1) lived_in
UNION ALL
SELECT object_id FROM (
SELECT a.object_id FROM {access} a JOIN {link} l ON l.domain_id = a.object_id
 WHERE a.user_id = {who} AND l.virtual_host_id = {host} AND a.content_type_id = %s AND EXISTS (
       SELECT 1 FROM {membership} g
        WHERE g.user_id = a.user_id AND (
              SELECT name FROM {role} r WHERE r.id = g.group_id) IN ({names})
        LIMIT 1 OFFSET 0) LIMIT 1) administered
"""
HOST_OF_THAT_NAME = "(SELECT id FROM {host} WHERE name = %s)"
recent: Recollection[tuple[int, str], frozenset[int]] = Recollection(1.0)


class PeopleUnreadable(Exception):
    """Who belongs where cannot be read from the database right now; nobody is let in, nothing ends."""


@contextmanager
def reading() -> Iterator[None]:
    """PeopleUnreadable in place of the database's own errors."""
    try:
        yield
    except DatabaseError as fault:
        raise PeopleUnreadable from fault


def person(user: Any, host: Host) -> Person:
    """What the rule needs to know of a Modoboa user at a host; PeopleUnreadable where it cannot be read."""
    if user.is_superuser or not user.is_active or not host.is_tenant:
        return Person(user.is_active, superuser=user.is_superuser)
    return Person(active=True, domains=recent.get((user.pk, host.name), domains))


def may_be_at(user: Any, host: Host) -> bool:
    """Whether a Modoboa user may be served at a host; PeopleUnreadable where it cannot be read.

    One domain of theirs is remembered, and the host's domains at another moment: before somebody is
    refused because the two do not meet, both are read anew.
    """
    who = person(user, host)
    if may_enter(who, host) or not who.domains:
        return may_enter(who, host)
    recent.remember((user.pk, host.name), domains((user.pk, host.name)))
    with reading():
        host = hosts.recent.remember(host.name, hosts.read(host.name))
    return may_enter(person(user, host), host)


def domains(key: tuple[int, str]) -> frozenset[int]:
    """Of the user with this primary key at the host of this name: a domain of the host that is theirs, or none."""
    with reading(), connection.cursor() as cursor:
        cursor.execute(statement(), (*key, *key, *roles()))
        return frozenset(row[0] for row in cursor.fetchall())


def roles() -> tuple[object, ...]:
    """What the query's last placeholders stand for: the kind of object, and who administers such."""
    return (ContentType.objects.get_for_model(Domain).pk, *ADMINISTRATORS)


@cache
def statement(who: str = "%s", host: str = HOST_OF_THAT_NAME) -> str:
    """The one query about a person and a host, given by SQL for their keys; building it costs more than running it."""
    from modoboa_ext.models import Link, VirtualHost

    quote = connection.ops.quote_name
    tables = {
        "mailbox": quote(Mailbox._meta.db_table),
        "link": quote(Link._meta.db_table),
        "host": host.format(host=quote(VirtualHost._meta.db_table)),
        "access": quote(ObjectAccess._meta.db_table),
        "membership": quote(User.groups.through._meta.db_table),
        "role": quote(Group._meta.db_table),
        "who": who,
        "names": ", ".join("%s" for _ in ADMINISTRATORS),
    }
    return LIVED_IN_OR_ADMINISTERED.format(**tables)
