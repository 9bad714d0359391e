"""What the OAuth endpoints hand out: by which applications, and where and how long it counts."""

from __future__ import annotations

import pytest
from django.urls import reverse
from oauth2_provider.models import Application

from tests.modoboa.applications import (
    SECRET,
    CodeOfAnOwnApplication,
    application,
    operators_application,
)
from tests.modoboa.town import ACME, GLOBEX, PASSWORD, PRIMARY, ROLES, Town, browser
from tests.modoboa.ways import (
    bearer_counts,
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


def test_nobody_is_asked_to_trust_an_application_of_somebodys_own(town: Town):
    way = CodeOfAnOwnApplication(town.people["SimpleUsers"])
    other = signed_in(PRIMARY, town.people["DomainAdmins"])
    query = {"client_id": way.client_id, "redirect_uri": way.SITE, "response_type": "code"}
    answer = other.get("/api/o/authorize/", query, secure=True)
    assert answer.status_code == 400
    assert "Location" not in answer


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
