"""Two at the same moment, each with a database connection of their own: where rows are locked (not in SQLite)."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from typing import Any

import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import connection, connections, transaction
from django.utils import timezone
from modoboa.core.models import User

from modoboa_ext import linking
from modoboa_ext.models import Link, VirtualHost
from tests.modoboa.town import ACME, GLOBEX, Town, initial_data

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(
        not connection.features.has_select_for_update, reason="SQLite's writers take turns"
    ),
]
NEW = "mail.initech.test"
HOST_LOCKED = "modoboa_ext_virtualhost.*FOR UPDATE"
LINK_GOES = "DELETE FROM .modoboa_ext_link"
Deed = Callable[[Town], object]


@pytest.fixture
def town(transactional_db) -> Town:
    """The town for good, and made anew where the test before emptied the tables."""
    ContentType.objects.clear_cache()
    if not User.objects.filter(username="simpleusers@globex.test").exists():
        initial_data()
        Town.build()
    return Town.load()


def at_once(town: Town, statement: str, deeds: tuple[Deed, Deed]) -> list[object]:
    """What each of two deeds raised, None where nothing, in a thread and a transaction of its own.

    Where both come to an SQL statement of this kind they go on together; who comes alone goes on after a second.
    """
    both = threading.Barrier(len(deeds))

    def alone(deed: Deed) -> object:
        waited = []

        def meet(execute: Any, sql: str, *rest: Any) -> Any:
            if re.search(statement, sql) and not waited:
                waited.append(sql)
                with contextlib.suppress(threading.BrokenBarrierError):
                    both.wait(1)
            return execute(sql, *rest)

        try:
            with connection.execute_wrapper(meet), transaction.atomic():
                deed(town)
        except Exception as fault:
            return fault
        finally:
            connections.close_all()
        return None

    with ThreadPoolExecutor(len(deeds)) as pool:
        return list(pool.map(alone, deeds))


def linked(domain: str, name: str | None) -> Deed:
    """A super administrator links the domain, as it was before, to this hostname."""
    return lambda town: linking.set_hostname(
        copy(town.domains[domain]), name, town.people["SuperAdmins"]
    )


def deleted(domain: str) -> Deed:
    return lambda town: copy(town.domains[domain]).delete(town.people["SuperAdmins"])


def buried(name: str) -> Deed:
    return lambda _: VirtualHost.objects.select_for_update().get(name=name).bury(timezone.now())


def renamed(domain: str) -> Deed:
    def deed(town: Town) -> None:
        found = copy(town.domains[domain])
        found.name = f"new-{domain}"
        found.save()

    return deed


def domains_at(name: str) -> list[str]:
    return VirtualHost.objects.get(name=name).domain_names()


@pytest.mark.parametrize(
    ("statement", "deeds"),
    [
        (LINK_GOES, (deleted("acme.test"), buried(ACME))),
        (HOST_LOCKED, (deleted("acme.test"), buried(ACME))),
        (LINK_GOES, (deleted("acme.test"), linked("acme.test", None))),
        (HOST_LOCKED, (deleted("acme.test"), linked("acme.test", None))),
        (HOST_LOCKED, (deleted("acme.test"), linked("acme.test", NEW))),
        (HOST_LOCKED, (deleted("acme.test"), linked("globex.test", ACME))),
        (HOST_LOCKED, (renamed("acme.test"), linked("acme.test", NEW))),
        (HOST_LOCKED, (renamed("acme.test"), buried(ACME))),
        (HOST_LOCKED, (linked("acme.test", GLOBEX), linked("globex.test", ACME))),
        (HOST_LOCKED, (linked("acme.test", NEW), linked("globex.test", NEW))),
        (HOST_LOCKED, (linked("acme.test", None), buried(ACME))),
        (HOST_LOCKED, (linked("globex.test", ACME), buried(ACME))),
    ],
    ids=range(12),
)
def test_neither_of_two_is_turned_away_and_no_deleted_host_carries_a_domain(
    town: Town, statement, deeds
):
    assert at_once(town, statement, deeds) == [None, None]
    for host in VirtualHost.objects.exclude(deleted_at=None):
        assert host.domain_names() == []
        assert not host.live


def test_a_hostname_made_twice_at_once_is_one_and_carries_both_domains(town: Town):
    deeds = linked("acme.test", NEW), linked("globex.test", NEW)
    assert at_once(town, "INSERT INTO .modoboa_ext_virtualhost", deeds) == [None, None]
    assert domains_at(NEW) == ["acme.test", "globex.test"]


def test_a_domain_linked_twice_at_once_has_one_of_the_two_and_both_are_told(town: Town):
    before = dict(VirtualHost.objects.values_list("name", "generation"))
    deeds = linked("acme.test", NEW), linked("acme.test", GLOBEX)
    assert at_once(town, "FOR UPDATE", deeds) == [None, None]
    assert Link.objects.filter(domain=town.domains["acme.test"]).count() == 1
    after = dict(VirtualHost.objects.values_list("name", "generation"))
    assert all(after[name] > before.get(name, 0) for name in (ACME, NEW, GLOBEX))
