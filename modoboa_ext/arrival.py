"""One query tells what host a request asks for and which domains the bearer of its token belongs to."""

from __future__ import annotations

from functools import cache, partial
from hashlib import sha256

from django.db import connection
from django.http import HttpRequest
from oauth2_provider.models import get_access_token_model

from modoboa_ext import hosts, people

BEARER = "Bearer "
WHOSE = "(SELECT user_id FROM {token} WHERE token_checksum = %s)"
HOST_AND_BEARER = """
{host}
UNION ALL
SELECT user_id, NULL, NULL, NULL FROM {token} WHERE token_checksum = %s
UNION ALL
SELECT NULL, NULL, NULL, domain_id FROM ({domains}) lived_in
"""


def host(name: str, request: HttpRequest) -> hosts.Host:
    """What `name` is; the bearer of an OAuth token (RFC 6750) is looked up on the way.

    Only the rule's memory is filled: whether the token counts is not asked here.
    """
    credential = request.META.get("HTTP_AUTHORIZATION", "")
    if not credential.startswith(BEARER):
        return hosts.lookup(name)
    checksum = sha256(credential.removeprefix(BEARER).strip().encode()).hexdigest()
    return hosts.lookup(name, partial(read, checksum))


def read(checksum: str, name: str) -> hosts.Host:
    """Ask the database about both; remember the bearer's domains where the token is known."""
    with connection.cursor() as cursor:
        cursor.execute(statement(), (name, checksum, *people.values(checksum)))
        rows = cursor.fetchall()
    bearers = [row[0] for row in rows if row[1] is None and row[0] is not None]
    domains = frozenset(row[3] for row in rows if row[0] is None)
    for user_pk in bearers:
        people.recent.remember(user_pk, domains)
    return hosts.made_of(name, [row for row in rows if row[1] is not None])


@cache
def statement() -> str:
    """The queries about a host and about a person, as one; the person is found by their token."""
    token = connection.ops.quote_name(get_access_token_model()._meta.db_table)
    who = WHOSE.format(token=token)
    return HOST_AND_BEARER.format(
        host=hosts.statement(), token=token, domains=people.statement(who)
    )
