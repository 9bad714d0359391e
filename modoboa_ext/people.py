"""Which domains a person belongs to: the mailbox's, and those administered; one query, at most once a second."""

from __future__ import annotations

from functools import cache
from typing import Any

from django.contrib.auth.models import Group
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from modoboa.admin.models import Domain, Mailbox
from modoboa.core.models import ObjectAccess, User

from modoboa_ext.isolation import Person
from modoboa_ext.recollection import Recollection

ADMINISTRATORS = ("DomainAdmins", "Resellers")
ADMINISTERED_OR_LIVED_IN = """
SELECT domain_id FROM {mailbox} WHERE user_id = {who}
UNION
SELECT a.object_id FROM {access} a
 WHERE a.user_id = {who} AND a.content_type_id = %s AND EXISTS (
       SELECT 1 FROM {membership} m JOIN {role} r ON r.id = m.group_id
        WHERE m.user_id = a.user_id AND r.name IN ({names}))
"""
recent: Recollection[int, frozenset[int]] = Recollection(1.0)


def person(user: Any) -> Person:
    """What the rule needs to know of a Modoboa user; a DatabaseError where it cannot be read."""
    if user.is_superuser or not user.is_active:
        return Person(user.is_active, superuser=user.is_superuser)
    return Person(active=True, domains=recent.get(user.pk, domains))


def domains(user_pk: int) -> frozenset[int]:
    """Primary keys of the domain of the user's mailbox and of the domains the user administers."""
    with connection.cursor() as cursor:
        cursor.execute(statement(), values(user_pk))
        return frozenset(row[0] for row in cursor.fetchall())


def values(who: int | str) -> tuple[object, ...]:
    """What the query's placeholders stand for, `who` being the placeholder's own value."""
    return (who, who, ContentType.objects.get_for_model(Domain).pk, *ADMINISTRATORS)


@cache
def statement(who: str = "%s") -> str:
    """The one query about `who` (SQL), spelled out: building it takes longer than running it."""
    quote = connection.ops.quote_name
    tables = {
        "mailbox": quote(Mailbox._meta.db_table),
        "access": quote(ObjectAccess._meta.db_table),
        "membership": quote(User.groups.through._meta.db_table),
        "role": quote(Group._meta.db_table),
        "who": who,
        "names": ", ".join("%s" for _ in ADMINISTRATORS),
    }
    return ADMINISTERED_OR_LIVED_IN.format(**tables)
