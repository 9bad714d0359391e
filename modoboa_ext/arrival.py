"""One query tells what host a request asks for, and of whom it carries a credential which domains they belong to."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from functools import cache, partial
from hashlib import sha256
from typing import Any, NamedTuple

from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import connection, models
from django.http import HttpRequest
from django.utils import timezone
from modoboa.core.models import User
from oauth2_provider.models import (
    get_access_token_model,
    get_grant_model,
    get_refresh_token_model,
)
from rest_framework.authtoken.models import Token

from modoboa_ext import hosts, people

SESSIONS_IN_DATABASE = "django.contrib.sessions.backends.db"
HOST_AND_PERSON = """
WITH asked_for AS ({host}), whoever AS ({who})
SELECT id, enabled, deleted_at, domain_id FROM asked_for
UNION ALL
SELECT owner, NULL, NULL, NULL FROM whoever
UNION ALL
SELECT NULL, NULL, NULL, domain_id FROM ({domains}) theirs
"""
HOST_AND_SESSION = """
SELECT id, enabled, deleted_at, domain_id, NULL FROM ({host}) asked_for
UNION ALL
SELECT NULL, NULL, NULL, NULL, session_data FROM {session} WHERE session_key = %s AND expire_date > %s
"""


class Kind(NamedTuple):
    """A kind of credential: the row of `model` whose `column` has its value names the user in `user_column`."""

    model: type[models.Model]
    column: str
    user_column: str = "user_id"


ACCESS_TOKEN = Kind(get_access_token_model(), "token_checksum")
ID_TOKEN = Kind(User, "id", "id")
API_TOKEN = Kind(Token, "key")
CODE = Kind(get_grant_model(), "code")
REFRESH_TOKEN = Kind(get_refresh_token_model(), "token_checksum")
USERNAME = Kind(User, "username", "id")

Credential = tuple[Kind, str | int]
FORM = "application/x-www-form-urlencoded"
FORMS = ("/accounts/login/", "/api/o/token/")


def host(name: str, request: HttpRequest) -> hosts.Host:
    """What `name` is; the owner of the request's token, or its session, is looked up on the way."""
    found = credential(request.META.get("HTTP_AUTHORIZATION", "")) or filled_in(request)
    if found and "\0" not in str(found[1]):
        return hosts.lookup(name, partial(read, *found))
    key = request.COOKIES.get(settings.SESSION_COOKIE_NAME)
    if key and "\0" not in key and settings.SESSION_ENGINE == SESSIONS_IN_DATABASE:
        return hosts.lookup(name, partial(read_with_session, request, key))
    return hosts.lookup(name)


def credential(authorization: str) -> Credential | None:
    """The kind and value of the token in an Authorization header; None where there is none.

    A hint and no more: the rule's memory is filled with its help, whether it counts is judged later.
    """
    scheme, _, value = authorization.partition(" ")
    value = value.strip()
    if scheme == "Token":
        return API_TOKEN, value
    if scheme != "Bearer":
        return None
    if value.count(".") == 2:
        return ID_TOKEN, subject_of(value)
    return ACCESS_TOKEN, checksum(value)


def filled_in(request: HttpRequest) -> Credential | None:
    """The same from the login form, or from what an OAuth client posts (RFC 6749 §4.1.3, §4.3.2, §6)."""
    if request.method != "POST" or request.content_type != FORM or request.path not in FORMS:
        return None
    try:
        form = request.POST
    except OSError:  # what was sent broke off: the view says so
        return None
    if "code" in form:
        return CODE, form["code"]
    if "refresh_token" in form:
        return REFRESH_TOKEN, checksum(form["refresh_token"])
    return (USERNAME, form["username"].lower()) if "username" in form else None


def checksum(token: str) -> str:
    """The form in which the OAuth library looks tokens up."""
    return sha256(token.encode()).hexdigest()


def subject_of(id_token: str) -> int:
    """The user's primary key that an id_token claims (OpenID Connect Core §2, `sub`), unverified; else 0."""
    try:
        subject = int(claims(id_token)["sub"])
    except (ValueError, TypeError, KeyError, ArithmeticError, RecursionError):
        return 0
    return subject if 0 <= subject < 2**31 else 0


def claims(id_token: str) -> Any:
    """What the second part of a JWT (RFC 7519 §3) says; whoever trusts it has had it verified."""
    payload = id_token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


def read(kind: Kind, value: str | int, name: str) -> hosts.Host:
    """Ask the database about the host and the credential's owner; remember the owner's domains."""
    rows = run(person_statement(kind), (name, value, *people.roles()))
    owners = [row[0] for row in rows if row[1] is None and row[0] is not None]
    domains = frozenset(row[3] for row in rows if row[0] is None)
    for user_pk in owners:
        people.recent.remember((user_pk, name), domains)
    return hosts.made_of(name, [row for row in rows if row[1] is not None])


def read_with_session(request: HttpRequest, key: str, name: str) -> hosts.Host:
    """Ask the database about the host and the session `key`, which `hand_over` spares Django asking for."""
    rows = run(session_statement(), (name, key, timezone.now()))
    for row in rows:
        if row[4] is not None:
            request.arrived_session = key, row[4]
    return hosts.made_of(name, [row[:4] for row in rows if row[4] is None])


def hand_over(request: HttpRequest) -> None:
    """Give the request's session what was read of it with the host, where it was not loaded meanwhile."""
    key, data = getattr(request, "arrived_session", (None, None))
    session = request.session
    if key is not None and session.session_key == key and not hasattr(session, "_session_cache"):
        session._session_cache = session.decode(data)


def run(sql: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
    """The rows of one query."""
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchall()


@cache
def person_statement(kind: Kind) -> str:
    """The queries about a host and about a person, as one; the person is found by their credential."""
    quote = connection.ops.quote_name
    source = f"FROM {quote(kind.model._meta.db_table)} WHERE {quote(kind.column)} = %s"
    return HOST_AND_PERSON.format(
        host=hosts.statement(),
        who=f"SELECT {kind.user_column} AS owner {source}",
        domains=people.statement(
            "(SELECT owner FROM whoever)", "(SELECT id FROM asked_for LIMIT 1)"
        ),
    )


@cache
def session_statement() -> str:
    """The queries about a host and about a session, as one."""
    session = connection.ops.quote_name(Session._meta.db_table)
    return HOST_AND_SESSION.format(host=hosts.statement(), session=session)
