"""What the OAuth endpoints hand out: by which applications, and where and how long it counts."""

from __future__ import annotations

import pytest
from django.urls import reverse
from modoboa.lib.signals import set_current_request
from oauth2_provider.models import AccessToken, Application, Grant, IDToken

from modoboa_ext.oauth import may_use
from tests.modoboa.applications import (
    SECRET,
    CodeOfAnApplication,
    CodeOfAnOwnApplication,
    DeviceGrant,
    ForgedIdToken,
    application,
    operators_application,
)
from tests.modoboa.town import ACME, GLOBEX, PASSWORD, PRIMARY, ROLES, Town, browser
from tests.modoboa.ways import (
    VERIFIER,
    authorize,
    bearer_counts,
    exchange,
    held,
    issued,
    post_form,
    signed_in,
    tokens,
)

pytestmark = pytest.mark.django_db
APPLICATIONS = "/api/o/applications/"


@pytest.mark.parametrize("role", ROLES)
def test_applications_are_made_by_super_administrators_alone(town: Town, role):
    client = signed_in(PRIMARY, town.people[role])
    form = {
        "name": "Radicale",
        "client_id": "made here",
        "client_secret": SECRET,
        "client_type": "public",
        "authorization_grant_type": "password",
        "algorithm": "",
    }
    chief = role == "SuperAdmins"
    answer = client.post(APPLICATIONS + "register/", form, secure=True)
    assert answer.status_code == (302 if chief else 404)
    assert Application.objects.filter(client_id="made here").exists() == chief
    assert client.get(APPLICATIONS, secure=True).status_code == (200 if chief else 404)


def test_who_is_not_signed_in_is_asked_to_before_making_an_application(town: Town):
    answer = browser(PRIMARY).get(APPLICATIONS, secure=True)
    assert answer["Location"] == f"{reverse('core:login')}?next={APPLICATIONS}"


def test_an_application_ends_with_its_owners_rights(town: Town):
    chief = town.people["SuperAdmins"]
    form = {"grant_type": "password", "client_id": application(chief, "password")}
    form |= {"username": town.people["SimpleUsers"].username, "password": PASSWORD}
    token = tokens(browser(GLOBEX), form)["access_token"]
    assert bearer_counts(GLOBEX, token)
    chief.role = "SimpleUsers"
    chief.save()
    assert tokens(browser(GLOBEX), form) is None
    assert not bearer_counts(GLOBEX, token)


def test_a_right_password_at_someone_elses_host_is_answered_like_a_wrong_one(town: Town):
    form = {"grant_type": "password", "client_id": operators_application("password")}
    form |= {"username": town.people["SimpleUsers"].username}
    answers = [
        post_form(browser(ACME), "/api/o/token/", form | {"password": password}).json()
        for password in (PASSWORD, "wrong")
    ]
    assert answers[0] == answers[1]


def test_a_refresh_token_is_bound_in_its_grace_period_too(town: Town, settings):
    grace = {"REFRESH_TOKEN_GRACE_PERIOD_SECONDS": 60}
    settings.OAUTH2_PROVIDER = {**settings.OAUTH2_PROVIDER, **grace}
    user = town.people["SimpleUsers"]
    form = {"grant_type": "refresh_token", "client_id": "frontend"}
    form |= {"refresh_token": issued(GLOBEX, user)["refresh_token"]}
    assert tokens(browser(GLOBEX), form)
    assert tokens(browser(PRIMARY), form) is None
    assert tokens(browser(ACME), form) is None
    assert tokens(browser(GLOBEX), form)


@pytest.mark.parametrize("resource", [f"https://{ACME}", "https://imap.example"])
def test_a_client_names_no_other_resource_at_a_tenants_host(town: Town, resource):
    way = CodeOfAnApplication(town.people["SimpleUsers"], born_at=GLOBEX)
    way.asks_also = {"resource": resource}
    form = {"grant_type": "authorization_code", "client_id": way.client_id}
    form |= {"code": way.allowed(), "redirect_uri": way.SITE, "code_verifier": VERIFIER}
    for host in (ACME, PRIMARY):
        assert tokens(browser(host), form) is None
    assert tokens(browser(GLOBEX), form)
    assert AccessToken.objects.latest("pk").resource == [f"https://{GLOBEX}"]


def test_nobody_is_asked_to_trust_an_application_of_somebodys_own(town: Town):
    way = CodeOfAnOwnApplication(town.people["SimpleUsers"])
    other = signed_in(PRIMARY, town.people["DomainAdmins"])
    query = {"client_id": way.client_id, "redirect_uri": way.SITE, "response_type": "code"}
    answer = other.get("/api/o/authorize/", query, secure=True)
    assert answer.status_code == 400
    assert "Location" not in answer


def test_an_id_token_counts_while_the_access_token_beside_it_does(town: Town):
    user = town.people["SimpleUsers"]
    ended, expired = issued(GLOBEX, user), issued(GLOBEX, user)
    for pocket in (ended, expired):
        assert bearer_counts(GLOBEX, pocket["id_token"])
    AccessToken.objects.get(token=ended["access_token"]).revoke()
    late = AccessToken.objects.get(token=expired["access_token"])
    late.expires = late.created
    late.save()
    for pocket in (ended, expired):
        assert not bearer_counts(GLOBEX, pocket["id_token"])


def test_an_id_token_of_another_application_is_no_bearer_token(town: Town):
    """Who shares the application's secret could write any date and host into it."""
    way = CodeOfAnApplication(town.people["SimpleUsers"], born_at=GLOBEX)
    Application.objects.filter(client_id=way.client_id).update(algorithm="HS256")
    way.asks_also = {"scope": "openid read write"}
    form = {"grant_type": "authorization_code", "client_id": way.client_id}
    form |= {"code": way.allowed(), "redirect_uri": way.SITE, "code_verifier": VERIFIER}
    found = tokens(browser(GLOBEX), form)
    assert bearer_counts(GLOBEX, found["access_token"])
    assert not bearer_counts(GLOBEX, found["id_token"])


def test_a_forged_id_token_signs_nobody_out(town: Town):
    user = town.people["DomainAdmins"]
    forged = ForgedIdToken(user, born_at=GLOBEX).forged(GLOBEX)
    answer = browser(GLOBEX).get("/api/o/logout/", {"id_token_hint": forged}, secure=True)
    assert answer.status_code == 400
    assert bearer_counts(GLOBEX, held(GLOBEX, user)["access_token"])
    genuine = {"id_token_hint": held(GLOBEX, user)["id_token"]}
    assert browser(GLOBEX).get("/api/o/logout/", genuine, secure=True).status_code == 302
    assert not bearer_counts(GLOBEX, held(GLOBEX, user)["access_token"])
    assert not IDToken.objects.filter(user=user).exists()


@pytest.mark.parametrize(
    "token", ["ey", "ey..", "eyJ9.e30.e30", "eyJ9.eyJqdGkiOjF9.x", "ey....", "ey\0.a.b"]
)
def test_what_is_no_id_token_is_refused_and_no_more(town: Town, token):
    assert not bearer_counts(GLOBEX, token)
    answer = browser(GLOBEX).get("/api/o/logout/", {"id_token_hint": token}, secure=True)
    assert answer.status_code == 400


@pytest.mark.parametrize("host", [PRIMARY, GLOBEX])
def test_signing_out_leads_to_no_site_of_a_persons_own_application(town: Town, host):
    site = "https://elsewhere.example"
    operators = operators_application("authorization-code", post_logout_redirect_uris=site)
    own = application(
        town.people["SimpleUsers"], "authorization-code", post_logout_redirect_uris=site
    )
    for client_id, status in ((operators, 302), (own, 400)):
        query = {"client_id": client_id, "post_logout_redirect_uri": site}
        assert browser(host).get("/api/o/logout/", query, secure=True).status_code == status


def test_a_code_is_exchanged_with_the_address_it_was_asked_for_with(town: Town):
    user = town.people["SimpleUsers"]
    code = authorize(signed_in(PRIMARY, user), PRIMARY) or ""
    assert exchange(browser(PRIMARY), code, GLOBEX) is None
    code = authorize(signed_in(PRIMARY, user), PRIMARY) or ""
    assert exchange(browser(PRIMARY), code, PRIMARY)


def test_at_the_primary_hostname_a_client_names_the_resource_it_wants(town: Town):
    way = CodeOfAnApplication(town.people["SimpleUsers"])
    way.asks_also = {"resource": "https://imap.example"}
    code = Grant.objects.get(code=way.allowed())
    assert code.resource == ["https://imap.example"]


def test_an_id_token_whose_application_is_gone_is_refused_and_no_more(town: Town):
    token = held(GLOBEX, town.people["SimpleUsers"])["id_token"]
    IDToken.objects.update(application=None)
    assert not bearer_counts(GLOBEX, token)


@pytest.mark.parametrize("other", [PRIMARY, ACME, f"{GLOBEX}.evil.example", f"{GLOBEX}:8443"])
def test_at_a_tenants_host_the_frontend_returns_there_and_nowhere_else(town: Town, other):
    client = signed_in(GLOBEX, town.people["SimpleUsers"])
    assert authorize(client, GLOBEX, other) is None
    query = {"client_id": "frontend", "post_logout_redirect_uri": f"https://{other}"}
    answer = browser(GLOBEX).get("/api/o/logout/", query, secure=True)
    assert answer.status_code == (302 if other == PRIMARY else 400), "the registered one counts"
    assert authorize(client, GLOBEX)
    query["post_logout_redirect_uri"] = f"https://{GLOBEX}"
    assert browser(GLOBEX).get("/api/o/logout/", query, secure=True).status_code == 302
    assert browser(PRIMARY).get("/api/o/logout/", query, secure=True).status_code == 400


def test_a_token_that_is_nobodys_is_given_to_programs_alone(town: Town):
    way = DeviceGrant(town.people["SimpleUsers"])
    assert way.enters(GLOBEX)
    way.user = None
    assert not way.enters(GLOBEX)
    assert not way.enters(PRIMARY)


def test_outside_of_a_request_nobody_acts(town: Town):
    set_current_request(None)
    assert not may_use(town.people["SuperAdmins"])
    assert not may_use(None)
