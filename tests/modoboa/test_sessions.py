"""When a session begins, ends and stays: people of another host, domains that move, a database that cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.models import Session
from django.db import OperationalError, connection
from modoboa.admin.models import Domain, Mailbox
from modoboa.core.models import User
from rest_framework.authtoken.models import Token

from modoboa_ext import hosts, people
from modoboa_ext.models import Link, VirtualHost
from tests.modoboa.town import ACME, GLOBEX, Town, browser, sign_in
from tests.modoboa.ways import (
    SecondFactorElsewhere,
    SecondFactorHere,
    SecurityKeyElsewhere,
    authorize,
    bearer_counts,
    carried,
    held,
    post_form,
    signed_in,
)

pytestmark = pytest.mark.django_db


def sessions_of(user: User) -> int:
    """How many sessions the database has in which `user` is signed in."""
    held_by = [row.get_decoded().get(SESSION_KEY) for row in Session.objects.all()]
    return held_by.count(str(user.pk))


@contextmanager
def nobody_can_be_read() -> Iterator[None]:
    """The database answers everything but who belongs to which host."""

    def broken(execute: Any, sql: str, *rest: Any) -> Any:
        if "lived_in" in sql:
            raise OperationalError("database is locked")
        return execute(sql, *rest)

    people.recent.forget()
    with connection.execute_wrapper(broken):
        yield
    people.recent.forget()


def test_a_session_that_is_carried_to_someone_elses_host_ends(town: Town):
    user = town.people["SimpleUsers"]
    client = signed_in(GLOBEX, user)
    assert authorize(carried(client, ACME), ACME) is None
    assert sessions_of(user) == 0
    assert authorize(client, GLOBEX) is None


def grow_old(seconds: float) -> None:
    """Let whatever is remembered have been asked for this long ago."""
    for memory in (hosts.recent, people.recent):
        memory.answers = {key: (at - seconds, said) for key, (at, said) in memory.answers.items()}


def disable(user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


def unlink(user: User) -> None:
    Link.objects.all().delete()


def move(user: User) -> None:
    Mailbox.objects.filter(user=user).update(domain=Domain.objects.get(name="acme.test"))


def close(user: User) -> None:
    VirtualHost.objects.update(enabled=False)


@pytest.mark.parametrize("change", [disable, unlink, move, close])
def test_a_change_acts_where_it_was_remembered_otherwise_for_a_second(town: Town, change):
    user = town.people["SimpleUsers"]
    token, client = held(GLOBEX, user)["access_token"], signed_in(GLOBEX, user)
    assert bearer_counts(GLOBEX, token)
    assert authorize(client, GLOBEX)
    change(user)
    grow_old(1.0)
    assert authorize(client, GLOBEX) is None
    assert not bearer_counts(GLOBEX, token)


def test_what_is_remembered_while_a_change_is_saved_is_void_when_it_is(
    town: Town, django_capture_on_commit_callbacks
):
    """Another request reads the former state before the commit."""
    with django_capture_on_commit_callbacks(execute=True):
        town.hosts[GLOBEX].change()
        hosts.recent.remember(GLOBEX, hosts.Host(GLOBEX, "tenant"))
        people.recent.remember((1, GLOBEX), frozenset())
        assert hosts.recent.answers
    assert (hosts.recent.answers, people.recent.answers) == ({}, {})


def test_a_second_factor_at_someone_elses_host_begins_no_session(town: Town):
    user = town.people["SimpleUsers"]
    _, answer = SecondFactorElsewhere(user).both_steps(ACME)
    assert (answer.status_code, answer["Location"]) == (302, "/accounts/login/")
    assert sessions_of(user) == 0
    SecondFactorHere(user).both_steps(GLOBEX)
    assert sessions_of(user) == 1


def test_a_security_key_at_someone_elses_host_begins_no_session_and_its_script_is_told_why(
    town: Town,
):
    user = town.people["SimpleUsers"]
    _, answer = SecurityKeyElsewhere(user).both_steps(ACME)
    assert (answer.status_code, answer.json()["code"]) == (403, "virtual_host")
    assert sessions_of(user) == 0


@pytest.fixture
def administrator(town: Town) -> User:
    """Administers two domains of Globex's host, and is signed in there."""
    user = town.people["DomainAdmins"]
    second = Domain(name="globex2.test", enable_dns_checks=False)
    second.save(creator=User.objects.get(username="admin"))
    second.add_admin(user)
    Link.objects.create(domain=second, virtual_host=town.hosts[GLOBEX])
    return user


def remembered(user: User) -> Domain:
    """The domain of Globex's host that is remembered to be the user's."""
    known = people.person(user, hosts.lookup(GLOBEX)).domains
    return Domain.objects.get(pk=next(iter(known)))


def test_whose_remembered_domain_leaves_the_host_stays_in_by_another(administrator: User):
    client = signed_in(GLOBEX, administrator)
    remembered(administrator).virtual_host_link.delete()
    hosts.recent.forget()
    assert authorize(client, GLOBEX)
    Link.objects.all().delete()
    hosts.recent.forget()
    assert authorize(client, GLOBEX) is None


def test_who_is_remembered_later_than_the_host_stays_in(administrator: User, town: Town):
    client = signed_in(GLOBEX, administrator)
    first, second = Domain.objects.filter(name__startswith="globex").order_by("pk")
    Link.objects.get(domain=second).delete()
    hosts.recent.forget()
    before = hosts.lookup(GLOBEX)
    Link.objects.get(domain=first).delete()
    Link.objects.create(domain=second, virtual_host=town.hosts[GLOBEX])
    people.recent.forget()
    hosts.recent.remember(GLOBEX, before)
    assert authorize(client, GLOBEX)


def test_a_link_made_here_acts_here_at_once(town: Town, django_capture_on_commit_callbacks):
    user = town.people["DomainAdmins"]
    sign_in(browser(ACME), user)
    with django_capture_on_commit_callbacks(execute=True):
        town.domains["acme.test"].add_admin(user)
        town.hosts[ACME].change()
    assert authorize(signed_in(ACME, user), ACME)


@pytest.mark.parametrize("role", ["SimpleUsers", "DomainAdmins"])
def test_who_cannot_be_judged_is_not_served_and_stays_signed_in(town: Town, role):
    user = town.people[role]
    client = signed_in(GLOBEX, user)
    with nobody_can_be_read():
        assert client.get("/api/o/authorize/", secure=True).status_code == 503
    assert sessions_of(user) == 1
    assert authorize(client, GLOBEX)


def test_nobody_is_refused_while_the_hosts_domains_cannot_be_read_anew(town: Town):
    user, host = town.people["SimpleUsers"], hosts.lookup(GLOBEX)

    def broken(execute: Any, sql: str, *rest: Any) -> Any:
        if "LEFT JOIN" in sql:
            raise OperationalError("database is locked")
        return execute(sql, *rest)

    people.recent.remember((user.pk, GLOBEX), frozenset({10**6}))
    with connection.execute_wrapper(broken), pytest.raises(people.PeopleUnreadable):
        people.may_be_at(user, host)
    assert people.may_be_at(user, host)


def test_who_cannot_be_judged_cannot_sign_in(town: Town):
    user = town.people["SimpleUsers"]
    with nobody_can_be_read():
        answer = sign_in(browser(GLOBEX), user)
    assert "not possible right now" in answer.content.decode()
    assert sessions_of(user) == 0


def test_who_cannot_be_judged_cannot_sign_in_by_a_second_factor(town: Town):
    user = town.people["SimpleUsers"]
    with nobody_can_be_read():
        client, answer = SecondFactorElsewhere(user).both_steps(GLOBEX)
        assert answer.status_code == 503
    assert sessions_of(user) == 0
    assert authorize(client, GLOBEX) is None


def test_tokens_of_who_cannot_be_judged_count_later_and_not_now(town: Town):
    user = town.people["SimpleUsers"]
    pocket = held(GLOBEX, user)
    key = Token.objects.get_or_create(user=user)[0].key
    bearers = [
        browser(GLOBEX, authorization=credential)
        for credential in (
            f"Bearer {pocket['access_token']}",
            f"Bearer {pocket['id_token']}",
            f"Token {key}",
        )
    ]
    statuses = [client.get("/api/v2/account/me/", secure=True).status_code for client in bearers]
    assert statuses == [200, 200, 200]
    form = {"grant_type": "refresh_token", "client_id": "frontend"}
    form |= {"refresh_token": pocket["refresh_token"]}
    with nobody_can_be_read():
        statuses = [
            client.get("/api/v2/account/me/", secure=True).status_code for client in bearers
        ]
        assert statuses == [503, 503, 503]
        assert post_form(browser(GLOBEX), "/api/o/token/", form).status_code == 503
        asked = {"email": user.email}
        assert post_form(browser(GLOBEX), "/accounts/password_reset/", asked).status_code == 503
    assert post_form(browser(GLOBEX), "/api/o/token/", form).status_code == 200
