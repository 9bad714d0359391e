"""Which hostnames are live and which domains they carry: one small query a host, at most once a second."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from django.conf import settings
from django.db import connection
from django.http import HttpRequest

from modoboa_ext.recollection import Recollection
from modoboa_ext.settings import option

PORT = re.compile(r":[0-9]*$")
FRESH_SECONDS = 1.0
HOST_AND_LINKS = """
SELECT h.id, h.enabled, h.deleted_at, l.domain_id
  FROM {host} h LEFT JOIN {link} l ON l.virtual_host_id = h.id
 WHERE h.name = %s
"""


@dataclass(frozen=True)
class Host:
    """A name that a request asked for.

    `primary`: static, nobody is restricted. `tenant`: a live virtual host, for the people of its
    `domains` (primary keys). `closed`: a disabled or deleted one. `unknown`: anything else.
    """

    name: str
    kind: Literal["primary", "tenant", "closed", "unknown"]
    domains: frozenset[int] = frozenset()
    pk: int | None = None

    @property
    def is_tenant(self) -> bool:
        """Whether this is a live virtual host."""
        return self.kind == "tenant"


recent: Recollection[str, Host] = Recollection(FRESH_SECONDS)


def normalise(text: str) -> tuple[str, str]:
    """Split a Host header into its canonical name and its port (`""` where there is none)."""
    found = PORT.search(text)
    name, port = (text[: found.start()], found[0][1:]) if found else (text, "")
    return name.lower().removesuffix("."), port


def primary_hostname() -> str:
    """The one hostname where nobody is restricted: the setting, else the first allowed host."""
    return (option("PRIMARY_HOSTNAME") or next(iter(static_hosts()), "localhost")).lower()


def static_hosts() -> list[str]:
    """ALLOWED_HOSTS without the virtual hosts."""
    return list(getattr(settings.ALLOWED_HOSTS, "static", settings.ALLOWED_HOSTS))


def lookup(name: str, ask: Callable[[str], Host] | None = None) -> Host:
    """What `name` (canonical) is; DatabaseError where that cannot be known. `ask` stands in for `read`."""
    if name == primary_hostname():
        return Host(name, "primary")
    return recent.get(name, ask or read)


def read(name: str) -> Host:
    """Ask the database what `name` is; a row of ours outweighs ALLOWED_HOSTS."""
    with connection.cursor() as cursor:
        cursor.execute(statement(), (name,))
        return made_of(name, cursor.fetchall())


def made_of(name: str, rows: Sequence[tuple[Any, ...]]) -> Host:
    """The host that the rows of the query tell of."""
    if not rows:
        return Host(name, "primary" if name in static_hosts() else "unknown")
    pk, enabled, deleted_at, _ = rows[0]
    domains = frozenset(row[3] for row in rows if row[3] is not None)
    return Host(name, "tenant" if enabled and deleted_at is None else "closed", domains, pk)


@cache
def statement() -> str:
    """The one query, spelled out: building it from models takes longer than running it."""
    from modoboa_ext.models import Link, VirtualHost

    quote = connection.ops.quote_name
    host, link = quote(VirtualHost._meta.db_table), quote(Link._meta.db_table)
    return HOST_AND_LINKS.format(host=host, link=link)


def of(request: HttpRequest) -> Host:
    """The host of a request, as HostMiddleware found it; looked up where that did not run."""
    found = getattr(request, "virtual_host", None)
    return found or lookup(normalise(request.META.get("HTTP_HOST", ""))[0])
