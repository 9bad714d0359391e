"""Accounts that administrators make, save and delete at a tenant's host."""

from __future__ import annotations

import pytest
from modoboa.admin.models import Domain, Mailbox
from modoboa.core.models import User
from modoboa.lib.permissions import grant_access_to_object

from tests.modoboa.town import ACME, GLOBEX, PASSWORD, PRIMARY, Town, browser
from tests.modoboa.ways import bearer_counts, held

pytestmark = pytest.mark.django_db
JSON = "application/json"


class Desk:
    """Somebody's API client at a host."""

    def __init__(self, host: str, user: User) -> None:
        token = held(host, user)["access_token"]
        self.client = browser(host, authorization=f"Bearer {token}")

    def __call__(self, method: str, path: str, body: object = None):
        options = {} if body is None else {"data": body, "content_type": JSON}
        return getattr(self.client, method)(f"/api/v2/{path}", secure=True, **options)

    def usernames(self) -> set[str]:
        """Of the accounts it lists."""
        return {row["username"] for row in self("get", "accounts/").json()["results"]}


def account(username: str, role: str, **fields: object) -> dict[str, object]:
    """The body of a new account."""
    names = {"first_name": "New", "last_name": "", "language": "en"}
    given = {"username": username, "role": role, "password": PASSWORD, "is_active": True}
    return given | names | fields


def box(address: str) -> dict[str, object]:
    """A mailbox in the body of an account."""
    return {"mailbox": {"full_address": address, "quota": 0, "use_domain_quota": True}}


@pytest.fixture
def reseller(town: Town) -> User:
    """Owns acme.test and globex.test."""
    user = town.people["Resellers"]
    for domain in town.domains.values():
        grant_access_to_object(user, domain, is_owner=True)
    return user


def test_a_reseller_makes_a_domain_administrator_at_a_tenants_host(reseller, town):
    desk = Desk(GLOBEX, reseller)
    made = desk("post", "accounts/", account("newadmin", "DomainAdmins"))
    assert made.status_code == 201, made.content
    pk = made.json()["pk"]
    assert desk("get", f"accounts/{pk}/").status_code == 200
    assert "newadmin" in desk.usernames()
    path = f"domains/{town.domains['globex.test'].pk}/administrators/add/"
    assert desk("post", path, {"account": pk}).status_code == 200
    assert "newadmin" in desk.usernames()
    assert "newadmin" not in Desk(ACME, reseller).usernames()
    newcomer = held(GLOBEX, User.objects.get(pk=pk))["access_token"]
    assert (bearer_counts(GLOBEX, newcomer), bearer_counts(ACME, newcomer)) == (True, False)


def test_an_account_that_belongs_to_no_domain_is_shown_to_whoever_made_it_alone(reseller, town):
    Desk(GLOBEX, reseller)("post", "accounts/", account("newadmin", "DomainAdmins"))
    other = User(username="other", email="other@globex.test")
    other.set_password(PASSWORD)
    other.save()
    other.role = "Resellers"
    town.domains["globex.test"].add_admin(other)
    grant_access_to_object(other, User.objects.get(username="newadmin"))
    assert "newadmin" in Desk(PRIMARY, other).usernames()
    assert "newadmin" not in Desk(GLOBEX, other).usernames()


@pytest.mark.parametrize("role", ["DomainAdmins", "Resellers"])
def test_a_mailbox_is_made_saved_and_deleted_at_a_tenants_host(town, role):
    desk = Desk(GLOBEX, town.people[role])
    body = account("new@globex.test", "SimpleUsers", **box("new@globex.test"))
    made = desk("post", "accounts/", body)
    assert made.status_code == 201, made.content
    pk = made.json()["pk"]
    assert "new@globex.test" in desk.usernames()
    body |= {"first_name": "Renamed", "aliases": []}
    assert desk("put", f"accounts/{pk}/", body).status_code == 200
    assert User.objects.get(pk=pk).first_name == "Renamed"
    assert desk("post", f"accounts/{pk}/delete/", {"keepdir": False}).status_code == 204
    assert not User.objects.filter(pk=pk).exists()
    assert not Mailbox.objects.filter(user_id=pk).exists()


def test_no_mailbox_is_made_in_a_domain_of_another_host(reseller):
    body = account("new@acme.test", "SimpleUsers", **box("new@acme.test"))
    assert Desk(GLOBEX, reseller)("post", "accounts/", body).status_code in (400, 403)
    assert not User.objects.filter(username="new@acme.test").exists()
    assert Desk(ACME, reseller)("post", "accounts/", body).status_code == 201


def test_an_account_of_another_host_is_neither_saved_nor_deleted(reseller):
    body = account("new@acme.test", "SimpleUsers", **box("new@acme.test"))
    pk = Desk(ACME, reseller)("post", "accounts/", body).json()["pk"]
    desk = Desk(GLOBEX, reseller)
    assert desk("put", f"accounts/{pk}/", body).status_code == 404
    assert desk("post", f"accounts/{pk}/delete/", {"keepdir": False}).status_code == 404
    assert desk("post", "accounts/bulk_delete/", {"ids": [pk], "keepdir": False}).status_code == 404
    assert User.objects.filter(pk=pk).exists()
    assert Domain.objects.get_for_admin(reseller).count() == 2
