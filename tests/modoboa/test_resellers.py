"""Resellers, where an operator lets them: hostnames for domains they own, which carry nobody else's."""

from __future__ import annotations

import pytest
from modoboa.admin.models import Domain
from modoboa.core.models import User
from modoboa.lib.permissions import grant_access_to_object

from modoboa_ext import linking
from modoboa_ext.models import Link, VirtualHost
from tests.modoboa.test_domains import api, domain, post
from tests.modoboa.town import ACME, GLOBEX, Town

pytestmark = pytest.mark.django_db
JSON = "application/json"
NEW = "mail.initech.test"


@pytest.fixture
def reseller(town: Town, settings) -> User:
    """Globex's reseller, who administers globex.test and owns nothing; resellers may link."""
    settings.VIRTUALHOSTS = {**settings.VIRTUALHOSTS, "ALLOW_RESELLERS": True}
    return town.people["Resellers"]


def body(name: str = "initech.test", **fields: object) -> dict[str, object]:
    """A domain as a reseller must ask for it."""
    return domain(name, **fields) | {"quota": 10, "default_mailbox_quota": 1}


def said(answer) -> str:
    """The sentence of a refusal."""
    assert answer.status_code == 400, answer.content
    [sentence] = answer.json()["virtual_host"]
    return sentence


def save(user: User, of: Domain, hostname: str | None):
    """The answer to the domain form with this hostname, all else as it is."""
    client = api(user)
    path = f"/api/v2/domains/{of.pk}/"
    shown = client.get(path, secure=True).json()
    del shown["transport"]
    shown |= {"virtual_host": hostname, "quota": 10, "default_mailbox_quota": 1}
    return client.put(path, shown, content_type=JSON, secure=True)


def domains_at(name: str) -> list[str]:
    return VirtualHost.objects.get(name=name).domain_names()


def test_nobody_but_a_super_administrator_links_unless_the_operator_allows_it(reseller, settings):
    settings.VIRTUALHOSTS = {**settings.VIRTUALHOSTS, "ALLOW_RESELLERS": False}
    refused = post(api(reseller), body(virtual_host=NEW))
    assert said(refused) == "Only a super administrator may set the hostname of a domain"
    assert not Domain.objects.filter(name="initech.test").exists()


def test_a_new_name_is_a_resellers_to_take_and_to_share_among_their_own_domains(reseller):
    assert post(api(reseller), body(virtual_host=NEW)).status_code == 201
    assert post(api(reseller), body("initrode.test", virtual_host=NEW)).status_code == 201
    assert domains_at(NEW) == ["initech.test", "initrode.test"]


@pytest.mark.parametrize("administered", [False, True])
def test_a_host_that_carries_someone_elses_domain_is_closed(reseller, town, administered):
    """To administer such a domain is not to own it."""
    if administered:
        town.domains["acme.test"].add_admin(reseller)
    refused = post(api(reseller), body(virtual_host=ACME))
    assert said(refused) == f"{ACME} carries domains of someone else: choose another hostname"
    assert domains_at(ACME) == ["acme.test"]


@pytest.mark.parametrize("enabled", [True, False])
def test_a_host_without_domains_is_not_there_for_the_taking(reseller, enabled):
    """It keeps a certificate, a theme and logos of someone's."""
    VirtualHost.objects.create(name="mail.vip.test", enabled=enabled)
    refused = said(post(api(reseller), body(virtual_host="mail.vip.test")))
    assert refused.startswith("mail.vip.test exists and carries no domain of yours")
    assert domains_at("mail.vip.test") == []


def test_a_name_that_was_deleted_is_new_again(reseller, town):
    town.hosts[ACME].bury(town.hosts[ACME].creation)
    assert post(api(reseller), body(virtual_host=ACME)).status_code == 201
    assert domains_at(ACME) == ["initech.test"]


@pytest.mark.parametrize("hostname", [None, "mail.other.test"])
def test_a_domain_that_is_merely_administered_keeps_its_hostname(reseller, town, hostname):
    refused = save(reseller, town.domains["globex.test"], hostname)
    assert said(refused) == "globex.test belongs to someone else: ask a super administrator"
    assert domains_at(GLOBEX) == ["globex.test"]
    assert not VirtualHost.objects.filter(name="mail.other.test").exists()


def test_a_domain_that_is_merely_administered_is_saved_as_it_is(reseller, town):
    assert save(reseller, town.domains["globex.test"], GLOBEX).status_code == 200


def test_an_owned_domain_is_unlinked_and_moved(reseller):
    assert post(api(reseller), body(virtual_host=NEW)).status_code == 201
    mine = Domain.objects.get(name="initech.test")
    assert save(reseller, mine, "mail.moved.test").status_code == 200
    assert (domains_at(NEW), domains_at("mail.moved.test")) == ([], ["initech.test"])
    assert save(reseller, mine, None).status_code == 200
    assert not Link.objects.filter(domain=mine).exists()


def test_of_two_resellers_at_the_same_moment_one_gets_the_new_hostname(
    reseller, town: Town, monkeypatch
) -> None:
    grant_access_to_object(reseller, town.domains["globex.test"], is_owner=True)
    original = linking.host_called

    def called_while_the_other_is_first(name: str) -> tuple[VirtualHost, bool]:
        host, _ = original(name)
        Link.objects.filter(domain=town.domains["acme.test"]).delete()
        Link.objects.create(domain=town.domains["acme.test"], virtual_host=host)
        return host, False

    monkeypatch.setattr(linking, "host_called", called_while_the_other_is_first)
    with pytest.raises(linking.LinkRefused, match="carries domains of someone else"):
        linking.set_hostname(town.domains["globex.test"], "mail.shared.test", reseller)
