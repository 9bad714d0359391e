"""Programs with credentials of their own (Dovecot, Radicale): they belong to no tenant and keep working."""

from __future__ import annotations

import base64

import pytest
from django.core.management import call_command
from modoboa.core.models import User
from oauth2_provider.models import AccessToken, Application

from modoboa_ext import hosts, people
from tests.modoboa.applications import SECRET, OwnApplicationsToken, application
from tests.modoboa.town import ACME, GLOBEX, PRIMARY, Town, browser
from tests.modoboa.ways import held, post_form

pytestmark = pytest.mark.django_db
BASIC = "Basic " + base64.b64encode(b"dovecot:s3cret").decode()
INTROSPECT = "/api/o/introspect/"


@pytest.fixture
def dovecot(town: Town) -> None:
    """The application as Modoboa's guide has an operator create it."""
    call_command(
        "createapplication",
        "confidential",
        "client-credentials",
        "--name=Dovecot",
        "--client-id=dovecot",
        "--client-secret=s3cret",
        "--skip-authorization",
        verbosity=0,
    )


def granted(host: str) -> dict[str, str]:
    """A token of the client's own (RFC 6749 §4.4), asked for at `host`."""
    form = {"grant_type": "client_credentials", "scope": "introspection"}
    answer = post_form(browser(host, authorization=BASIC), "/api/o/token/", form)
    assert answer.status_code == 200, answer.content
    return answer.json()


@pytest.mark.parametrize("host", [PRIMARY, GLOBEX])
def test_a_clients_own_token_asks_about_the_tokens_of_every_tenants_people(town, dovecot, host):
    own = granted(host)["access_token"]
    asked = held(GLOBEX, town.people["SimpleUsers"])["access_token"]
    client = browser(PRIMARY, authorization=f"Bearer {own}")
    for _ in range(2):
        answer = post_form(client, INTROSPECT, {"token": asked})
        assert answer.status_code == 200, answer.content
        assert answer.json()["active"] is True
        assert answer.json()["username"] == town.people["SimpleUsers"].username


def test_a_client_asks_with_its_name_and_secret_as_dovecot_does(town: Town, dovecot):
    asked = held(GLOBEX, town.people["SimpleUsers"])["access_token"]
    client = browser(PRIMARY, authorization=BASIC)
    assert client.get(INTROSPECT, {"token": asked}, secure=True).json()["active"] is True
    assert client.get(INTROSPECT, {"token": "none"}, secure=True).json()["active"] is False


def test_nobody_asks_at_a_tenants_host_nor_with_a_persons_token(town: Town, dovecot):
    own = granted(PRIMARY)["access_token"]
    asked = held(GLOBEX, town.people["SimpleUsers"])["access_token"]
    for host in (ACME, GLOBEX):
        client = browser(host, authorization=f"Bearer {own}")
        assert post_form(client, INTROSPECT, {"token": asked}).status_code == 404
    client = browser(PRIMARY, authorization=f"Bearer {asked}")
    assert post_form(client, INTROSPECT, {"token": own}).status_code == 403


def test_no_person_asks_about_tokens_whatever_the_scope_of_theirs(town: Town, dovecot):
    own = held(PRIMARY, town.people["SimpleUsers"])["access_token"]
    AccessToken.objects.filter(token=own).update(scope="read write introspection")
    client = browser(PRIMARY, authorization=f"Bearer {own}")
    assert post_form(client, INTROSPECT, {"token": own}).status_code == 403


def leave(town: Town) -> None:
    town.domains["globex.test"].virtual_host_link.delete()


def close(town: Town) -> None:
    town.hosts[GLOBEX].change(enabled=False)


def remove(town: Town) -> None:
    town.hosts[GLOBEX].delete()


def disable(town: Town) -> None:
    User.objects.filter(username="simpleusers@globex.test").update(is_active=False)


def nothing(town: Town) -> None:
    """Things stay as they are."""


@pytest.mark.parametrize(
    ("change", "of_the_host", "of_the_primary"),
    [
        (nothing, True, True),
        (leave, False, True),
        (close, False, True),
        (remove, False, True),
        (disable, False, False),
    ],
)
def test_a_token_that_counts_nowhere_is_not_active(
    town: Town, dovecot, change, of_the_host, of_the_primary
):
    asked = [held(host, town.people["SimpleUsers"])["access_token"] for host in (GLOBEX, PRIMARY)]
    change(town)
    hosts.recent.forget()
    people.recent.forget()
    client = browser(PRIMARY, authorization=BASIC)
    answers = [client.get(INTROSPECT, {"token": token}, secure=True).json() for token in asked]
    assert [answer["active"] for answer in answers] == [of_the_host, of_the_primary]


def test_a_token_of_an_application_that_does_not_count_is_not_active(town: Town, dovecot):
    token = OwnApplicationsToken(town.people["SimpleUsers"]).token
    client = browser(PRIMARY, authorization=BASIC)
    assert client.get(INTROSPECT, {"token": token}, secure=True).json() == {"active": False}
    assert client.get(INTROSPECT, secure=True).status_code == 400


def test_an_application_of_somebodys_own_asks_about_nothing(town: Town):
    own = application(town.people["SimpleUsers"], "client-credentials", client_type="confidential")
    basic = "Basic " + base64.b64encode(f"{own}:{SECRET}".encode()).decode()
    asked = {"token": held(GLOBEX, town.people["SimpleUsers"])["access_token"]}
    answer = browser(PRIMARY, authorization=basic).get(INTROSPECT, asked, secure=True)
    assert answer.status_code == 403


def test_a_clients_own_token_ends_with_its_owners_rights(town: Town, dovecot):
    chief = town.people["SuperAdmins"]
    Application.objects.filter(client_id="dovecot").update(user=chief)
    client = browser(PRIMARY, authorization=f"Bearer {granted(PRIMARY)['access_token']}")
    asked = {"token": held(GLOBEX, town.people["SimpleUsers"])["access_token"]}
    assert post_form(client, INTROSPECT, asked).status_code == 200
    chief.is_active = False
    chief.save()
    assert post_form(client, INTROSPECT, asked).status_code == 403
    form = {"grant_type": "client_credentials", "scope": "introspection"}
    again = post_form(browser(PRIMARY, authorization=BASIC), "/api/o/token/", form)
    assert again.status_code == 401


def test_a_clients_own_token_is_nobodys_at_the_api(town: Town, dovecot):
    own = granted(PRIMARY)["access_token"]
    for host in (PRIMARY, ACME, GLOBEX):
        client = browser(host, authorization=f"Bearer {own}")
        assert client.get("/api/v2/account/me/", secure=True).status_code in (401, 403)


def test_a_clients_own_token_is_active(town: Town, dovecot):
    client = browser(PRIMARY, authorization=BASIC)
    own = {"token": granted(PRIMARY)["access_token"]}
    assert client.get(INTROSPECT, own, secure=True).json()["active"] is True


@pytest.mark.parametrize(("others", "active"), [([], True), ([ACME], False)])
def test_a_token_for_several_hosts_is_active_where_its_owner_may_enter_each(
    town: Town, dovecot, others, active
):
    token = held(PRIMARY, town.people["SimpleUsers"])["access_token"]
    resource = [f"https://{host}" for host in (GLOBEX, *others)]
    AccessToken.objects.filter(token=token).update(resource=resource)
    client = browser(PRIMARY, authorization=BASIC)
    assert client.get(INTROSPECT, {"token": token}, secure=True).json()["active"] is active
