"""What a hostname is, and what asking costs."""

from __future__ import annotations

import base64
import statistics
import time
from datetime import timedelta
from urllib.parse import urlencode

import pytest
from django.conf import settings as django_settings
from django.contrib.sessions.models import Session
from django.db import DatabaseError, connection
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.authtoken.models import Token

from modoboa_ext import arrival, hosts, people
from modoboa_ext.models import VirtualHost
from tests.modoboa.town import ACME, GLOBEX, PASSWORD, PRIMARY, ROLES, UNKNOWN, Town, browser
from tests.modoboa.ways import authorize, exchange, held, post_form, signed_in, tokens

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("text", "name", "port"),
    [
        ("mail.acme.test", "mail.acme.test", ""),
        ("MAIL.Acme.Test", "mail.acme.test", ""),
        ("mail.acme.test.", "mail.acme.test", ""),
        ("mail.acme.test:8443", "mail.acme.test", "8443"),
        ("Mail.acme.test.:443", "mail.acme.test", "443"),
        ("[::1]:80", "[::1]", "80"),
        ("", "", ""),
    ],
)
def test_a_host_header_has_one_spelling(text, name, port):
    assert hosts.normalise(text) == (name, port)


def test_each_kind_of_host(town: Town):
    town.hosts[ACME].change(enabled=False)
    kinds = {name: hosts.read(name).kind for name in (GLOBEX, ACME, PRIMARY, UNKNOWN)}
    assert kinds == {GLOBEX: "tenant", ACME: "closed", PRIMARY: "primary", UNKNOWN: "unknown"}


def test_a_row_of_ours_outweighs_allowed_hosts(town: Town, settings):
    settings.ALLOWED_HOSTS = type(django_settings.ALLOWED_HOSTS)([PRIMARY, ACME])
    town.hosts[ACME].change(enabled=False)
    assert browser(ACME).get("/accounts/login/", secure=True).status_code == 400


def test_a_new_host_is_allowed_without_a_restart_and_iteration_stays_short(town: Town):
    VirtualHost.objects.bulk_create(VirtualHost(name=f"h{n}.crowd.test") for n in range(10_000))
    assert browser("h9999.crowd.test").get("/accounts/login/", secure=True).status_code == 200
    assert list(django_settings.ALLOWED_HOSTS) == [PRIMARY]


def test_where_the_hosts_cannot_be_read_tenants_are_closed_and_the_primary_host_is_not(
    town, monkeypatch
):
    def broken(name: str) -> hosts.Host:
        raise DatabaseError("gone")

    monkeypatch.setattr(hosts, "read", broken)
    assert browser(GLOBEX).get("/accounts/login/", secure=True).status_code == 503
    assert browser(PRIMARY).get("/accounts/login/", secure=True).status_code == 200


def requests_of(town: Town, host: str, times: int):
    """Queries and seconds of each of `times` API requests at `host`."""
    token = held(host, town.people["SimpleUsers"])["access_token"]
    client = browser(host, authorization=f"Bearer {token}")
    queries, seconds = [], []
    for _ in range(times):
        began = time.perf_counter()
        with CaptureQueriesContext(connection) as captured:
            assert client.get("/api/v2/account/me/", secure=True).status_code == 200
        seconds.append(time.perf_counter() - began)
        queries.append(len(captured))
    return queries, seconds


def test_a_request_costs_nothing_while_remembered_and_one_query_each_otherwise(town: Town):
    VirtualHost.objects.bulk_create(VirtualHost(name=f"h{n}.crowd.test") for n in range(10_000))
    at_primary, _ = requests_of(town, PRIMARY, 5)
    at_tenant, _ = requests_of(town, GLOBEX, 5)
    assert statistics.median(at_tenant) <= statistics.median(at_primary)
    with CaptureQueriesContext(connection) as captured:
        hosts.recent.forget()
        hosts.lookup(GLOBEX)
    assert len(captured) == 1
    with CaptureQueriesContext(connection) as captured:
        people.recent.forget()
        for host in (GLOBEX, GLOBEX, PRIMARY):
            people.person(town.people["SimpleUsers"], hosts.lookup(host))
    assert len(captured) == 1


def carrying(kind: str, user):
    """A request at Globex with `user`'s credential of that kind; whether it counts."""
    if kind == "session":
        client = signed_in(GLOBEX, user)
        return lambda: authorize(client, GLOBEX) is not None
    if kind == "password":
        form = {"username": user.username, "password": PASSWORD}
        return lambda: post_form(browser(GLOBEX), "/accounts/login/", form).status_code == 302
    if kind == "code":
        codes = [authorize(signed_in(GLOBEX, user), GLOBEX) for _ in range(3)]
        return lambda: exchange(browser(GLOBEX), codes.pop(), GLOBEX) is not None
    if kind == "refresh token":
        return lambda: refreshed(held(GLOBEX, user))
    if kind == "API token":
        credential = f"Token {Token.objects.get_or_create(user=user)[0].key}"
    else:
        credential = f"Bearer {held(GLOBEX, user)[kind]}"
    client = browser(GLOBEX, authorization=credential)
    return lambda: client.get("/api/v2/account/me/", secure=True).status_code == 200


def claims(text: str) -> str:
    """An unsigned token with these claims."""
    return f"Bearer a.{base64.urlsafe_b64encode(text.encode()).decode().rstrip('=')}.c"


@pytest.mark.parametrize(
    "credential",
    [
        claims('{"sub": Infinity}'),
        claims('{"sub": "99999999999999999999"}'),
        claims('{"sub": -1}'),
        claims('{"sub": "-999999999999999999999999"}'),
        claims("[" * 5000),
        claims("[]"),
        "Bearer a.\xff.c",
        "Bearer ..",
        "Bearer",
        "Token",
        "Token " + "x" * 10_000,
    ],
    ids=range(11),
)
def test_a_broken_token_is_refused_and_no_more(town: Town, credential):
    answer = browser(GLOBEX, authorization=credential).get("/api/v2/account/me/", secure=True)
    assert answer.status_code in (400, 401)


@pytest.mark.parametrize("field", ["username", "code", "refresh_token", None])
def test_a_nul_in_a_form_or_a_cookie_does_not_hide_the_host(town: Town, field):
    body = urlencode({field: "a\0b"} if field else {})
    kind = "application/x-www-form-urlencoded"
    request = RequestFactory().post("/api/o/token/", body, content_type=kind)
    request.COOKIES["sessionid"] = "aaaaaaaaaa\0"
    assert arrival.host(GLOBEX, request).is_tenant


def refreshed(pocket: dict[str, str]) -> bool:
    """Exchange the refresh token for the next, which is kept."""
    form = {"grant_type": "refresh_token", "client_id": "frontend"}
    found = tokens(browser(GLOBEX), form | {"refresh_token": pocket["refresh_token"]})
    pocket.update(found or {})
    return found is not None


@pytest.mark.parametrize(
    "kind",
    ["access_token", "id_token", "API token", "session", "password", "code", "refresh token"],
)
def test_a_request_costs_one_query_when_nothing_is_remembered_and_then_none(
    town: Town, monkeypatch, kind
):
    VirtualHost.objects.bulk_create(VirtualHost(name=f"h{n}.crowd.test") for n in range(10_000))
    for memory in (hosts.recent, people.recent):
        monkeypatch.setattr(memory, "seconds", 60.0)
    for role in ROLES[:3]:
        ask = carrying(kind, town.people[role])
        ask()
        hosts.recent.forget()
        people.recent.forget()
        cold, warm = queries_of(ask), queries_of(ask)
        assert len(cold) - len(warm) == 1, role
        assert not any(is_ours(sql) for sql in warm), role


def queries_of(ask) -> list[str]:
    """The queries of a request that counts."""
    with CaptureQueriesContext(connection) as captured:
        assert ask()
    return [query["sql"] for query in captured]


def test_a_session_read_with_the_host_ends_when_it_ends(town: Town):
    client = signed_in(GLOBEX, town.people["SimpleUsers"])
    for change, counts in ((None, True), (expire, False), (Session.objects.all().delete, False)):
        hosts.recent.forget()
        if change:
            change()
        assert (authorize(client, GLOBEX) is not None) == counts


def expire() -> None:
    Session.objects.update(expire_date=timezone.now() - timedelta(seconds=1))


def is_ours(sql: str) -> bool:
    """Whether this is one of the rule's queries."""
    return "modoboa_ext_" in sql or "domain_id FROM" in sql


@pytest.mark.parametrize("host", [ACME, GLOBEX])
def test_the_shared_query_says_what_the_two_say(town: Town, host):
    for role in ROLES[:3]:
        user = town.people[role]
        token = held(GLOBEX, user)["access_token"]
        people.recent.forget()
        kind, checksum = arrival.credential(f"Bearer {token}")
        assert arrival.read(kind, checksum, host) == hosts.read(host)
        found = people.recent.answers[user.pk, host][1]
        assert found == people.domains((user.pk, host))
        assert bool(found) == (host == GLOBEX)
    people.recent.forget()
    for nobodys in ("Bearer no such token", "Bearer a.b.c", "Bearer a.e30.c", "Token no such"):
        assert arrival.read(*arrival.credential(nobodys), host) == hosts.read(host)
        assert arrival.read(*arrival.credential(nobodys), UNKNOWN).kind == "unknown"
    assert people.recent.answers == {}
    assert arrival.credential("Basic YTpi") is None
