"""An administrator of two tenants' domains sees, at each tenant's host, what belongs to that host."""

from __future__ import annotations

import pytest
from django.test import RequestFactory
from modoboa.admin.models import Alias, Domain, DomainAlias, Mailbox
from modoboa.core.models import User
from modoboa.lib.permissions import grant_access_to_object
from modoboa.lib.signals import set_current_request

from modoboa_ext import hosts
from tests.modoboa.town import ACME, GLOBEX, PASSWORD, PRIMARY, Town, browser
from tests.modoboa.ways import held

pytestmark = pytest.mark.django_db

OWN = {"globex.test"}
BOTH = {"acme.test", "globex.test"}


@pytest.fixture(params=["DomainAdmins", "Resellers"])
def administrator(request, town: Town) -> User:
    """One of Globex's administrators, who administers Acme too; each domain has a person and an alias."""
    user = town.people[request.param]
    admin = User.objects.get(username="admin")
    for name, domain in town.domains.items():
        person = User(username=f"p@{name}", email=f"p@{name}")
        person.set_password(PASSWORD)
        person.save(creator=admin)
        person.role = "SimpleUsers"
        mailbox = Mailbox(address="p", domain=domain, user=person, use_domain_quota=True)
        mailbox.save(creator=admin)
        alias = Alias.objects.create(address=f"sales@{name}", domain=domain, enabled=True)
        alias.set_recipients([mailbox.full_address])
        alias.post_create(admin)
        domain.add_admin(user)
    return user


def at(host: str, user: User, path: str):
    """What the API answers at `host`, with a token that was issued there."""
    client = browser(host, authorization=f"Bearer {held(host, user)['access_token']}")
    return client.get(f"/api/v2/{path}", secure=True)


def names(answer, field: str) -> set[str]:
    """The domains of what an answer lists."""
    assert answer.status_code == 200, answer.content
    rows = answer.json()
    rows = rows["results"] if isinstance(rows, dict) else rows
    return {row[field].rpartition("@")[2] for row in rows if row[field].endswith(".test")}


@pytest.mark.parametrize(
    ("host", "wanted"), [(GLOBEX, OWN), (ACME, {"acme.test"}), (PRIMARY, BOTH)]
)
def test_lists_show_what_belongs_to_the_host(administrator, host, wanted):
    assert names(at(host, administrator, "domains/"), "name") == wanted
    assert names(at(host, administrator, "accounts/"), "username") == wanted
    assert names(at(host, administrator, "aliases/"), "address") == wanted
    assert names(at(host, administrator, "identities/"), "identity") == wanted


def test_an_object_of_another_host_is_not_there(administrator, town):
    acme = town.domains["acme.test"].pk
    account = User.objects.get(username="p@acme.test").pk
    assert at(GLOBEX, administrator, f"domains/{acme}/").status_code == 404
    assert at(GLOBEX, administrator, f"accounts/{account}/").status_code == 404
    assert at(ACME, administrator, f"domains/{acme}/").status_code == 200


def test_numbers_count_what_belongs_to_the_host(administrator):
    assert at(GLOBEX, administrator, "admin/statistics/").json()["domain_count"] == 1
    assert at(PRIMARY, administrator, "admin/statistics/").json()["domain_count"] == 2
    assert at(GLOBEX, administrator, "admin/statistics/").json()["alias_count"] == 1


@pytest.fixture
def colleague(town: Town) -> User:
    """Another administrator of both domains, who has an alias in each and made an account at Acme."""
    other = User.objects.get(username="p@globex.test")
    other.role = "DomainAdmins"
    other.save()
    for name, domain in town.domains.items():
        domain.add_admin(other)
        alias = Alias.objects.create(address=f"boss@{name}", domain=domain, enabled=True)
        alias.set_recipients(["p@globex.test"])
        alias.post_create(other)
    return other


@pytest.mark.parametrize(
    "path",
    [
        "v1/accounts/",
        "v1/accounts/{pk}/",
        "v1/aliases/",
        "v2/accounts/",
        "v2/accounts/{pk}/",
        "v2/aliases/",
        "v2/identities/export/",
    ],
)
def test_nothing_of_another_host_stands_in_what_is_told_of_people_here(
    administrator, colleague, path
):
    token = held(GLOBEX, administrator)["access_token"]
    client = browser(GLOBEX, authorization=f"Bearer {token}")
    answer = client.get(f"/api/{path.format(pk=colleague.pk)}", secure=True)
    text = answer.content.decode()
    assert answer.status_code == 200
    assert "globex.test" in text
    assert "acme" not in text


@pytest.mark.parametrize("administrator", ["Resellers"], indirect=True)
def test_a_save_here_takes_away_nothing_elsewhere(administrator, colleague, town):
    client = browser(GLOBEX, authorization=f"Bearer {held(GLOBEX, administrator)['access_token']}")
    path = f"/api/v2/accounts/{colleague.pk}/"
    body = client.get(path, secure=True).json()
    body["mailbox"] = {"full_address": colleague.username, "quota": 0, "use_domain_quota": True}
    assert body["aliases"] == ["sales@globex.test", "boss@globex.test"]
    body["aliases"] = ["sales@globex.test"]
    answer = client.put(path, body, content_type="application/json", secure=True)
    assert answer.status_code == 200, answer.content
    assert colleague.mailbox.alias_addresses == ["sales@globex.test", "boss@acme.test"]
    assert {domain.name for domain in Domain.objects.get_for_admin(colleague)} == BOTH


def test_what_a_colleague_made_elsewhere_is_not_there(administrator, colleague, town):
    alias = Alias.objects.get(address="boss@acme.test")
    client = browser(GLOBEX, authorization=f"Bearer {held(GLOBEX, administrator)['access_token']}")
    before = administrator.can_access(alias)
    seen = []

    def look(self, obj):
        seen.append(original(self, alias))
        return original(self, obj)

    original = User.can_access
    User.can_access = look
    try:
        client.get(f"/api/v2/accounts/{colleague.pk}/", secure=True)
    finally:
        User.can_access = original
    assert before
    assert not any(seen)


def test_an_operator_may_switch_it_off(administrator, settings):
    settings.VIRTUALHOSTS = {**settings.VIRTUALHOSTS, "SCOPE_DATA": False}
    assert names(at(GLOBEX, administrator, "domains/"), "name") == BOTH


def test_a_super_administrator_sees_everything_everywhere(administrator, town):
    chief = town.people["SuperAdmins"]
    assert names(at(GLOBEX, chief, "domains/"), "name") == BOTH


def test_what_modoboa_does_for_others_sees_everything(administrator, town):
    """Demoting someone at one host takes away what they had at another, too."""
    from modoboa.core.models import ObjectAccess

    other = User.objects.get(username="p@globex.test")
    other.role = "DomainAdmins"
    other.save()
    for domain in town.domains.values():
        domain.add_admin(other)
    client = browser(GLOBEX, authorization=f"Bearer {held(GLOBEX, administrator)['access_token']}")
    body = client.get(f"/api/v2/accounts/{other.pk}/", secure=True).json()
    body |= {
        "role": "SimpleUsers",
        "mailbox": {"full_address": other.username, "quota": 0, "use_domain_quota": True},
    }
    answer = client.put(
        f"/api/v2/accounts/{other.pk}/", body, content_type="application/json", secure=True
    )
    assert answer.status_code == 200, answer.content
    assert not ObjectAccess.objects.filter(user=other, content_type__model="domain").exists()


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_domain_aliases_are_where_their_domain_is(administrator, town, version):
    for name, domain in town.domains.items():
        alias = DomainAlias(name=f"also.{name}", target=domain, enabled=True)
        alias.save(creator=User.objects.get(username="admin"))
        grant_access_to_object(administrator, alias)
    client = browser(GLOBEX, authorization=f"Bearer {held(GLOBEX, administrator)['access_token']}")
    path = f"/api/{version}/domainaliases/"
    listed = client.get(path, secure=True).json()
    rows = listed["results"] if isinstance(listed, dict) else listed
    assert [row["name"] for row in rows] == ["also.globex.test"]
    elsewhere = DomainAlias.objects.get(name="also.acme.test")
    assert client.get(f"{path}{elsewhere.pk}/", secure=True).status_code == 404
    body = {"name": "more.acme.test", "target": town.domains["acme.test"].pk, "enabled": True}
    made = client.post(path, body, content_type="application/json", secure=True)
    assert made.status_code in (400, 403)
    assert not DomainAlias.objects.filter(name="more.acme.test").exists()


def test_what_is_asked_about_somebody_else_is_answered_as_everywhere(
    administrator, colleague, town
):
    """As where Modoboa, in a request of the administrator's, hands over what somebody owned.

    Modoboa lets an administrator follow a colleague to what that one made; here, only what is of the host.
    """
    made = Alias.objects.get(address="boss@acme.test")
    assert administrator.can_access(made)
    request = RequestFactory().get("/")
    request.virtual_host, request.user = hosts.lookup(GLOBEX), administrator
    set_current_request(request)
    try:
        acme = town.domains["acme.test"]
        assert not administrator.can_access(acme)
        assert not administrator.can_access(made)
        assert administrator.can_access(Alias.objects.get(address="boss@globex.test"))
        assert colleague.can_access(acme)
        for person, seen in ((administrator, False), (colleague, True)):
            about = person.objectaccess_set.filter(content_type__model="domain", object_id=acme.pk)
            assert about.exists() == seen
    finally:
        set_current_request(None)
