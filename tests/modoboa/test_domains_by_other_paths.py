"""Domains that come, change and go by other paths than our form: CSV import, the first API, aliases."""

from __future__ import annotations

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from modoboa.admin.models import Domain, DomainAlias

from modoboa_ext import sync
from modoboa_ext.models import Link, VirtualHost
from tests.modoboa.test_domains import api
from tests.modoboa.town import ACME, GLOBEX, Town
from tests.modoboa.ways import bearer_counts, held

pytestmark = pytest.mark.django_db
JSON = "application/json"


def generation(name: str) -> int:
    return VirtualHost.objects.get(name=name).generation


def imported(town: Town, *lines: str) -> dict[str, object]:
    """What Modoboa's CSV import answers to a file of these lines."""
    file = SimpleUploadedFile("domains.csv", "\n".join(lines).encode(), "text/csv")
    body = {"sourcefile": file, "sepchar": ";", "continue_if_exists": True}
    client = api(town.people["SuperAdmins"])
    answer = client.post("/api/v2/domains/import/", body, secure=True)
    assert answer.status_code == 200, answer.content
    assert answer.json()["status"], answer.json()
    return answer.json()


def first_api(town: Town, method: str, path: str, body: object = "") -> object:
    client = api(town.people["SuperAdmins"])
    return getattr(client, method)(f"/api/v1/{path}", body, content_type=JSON, secure=True)


def test_an_imported_domain_comes_without_a_hostname_and_gets_one_in_the_form(town, control_plane):
    imported(town, "domain;initech.test;0;0;yes")
    initech = Domain.objects.get(name="initech.test")
    assert not Link.objects.filter(domain=initech).exists()
    client = api(town.people["SuperAdmins"])
    path = f"/api/v2/domains/{initech.pk}/"
    body = client.get(path, secure=True).json()
    assert body["virtual_host"] is None
    del body["transport"]
    body["virtual_host"] = ACME
    assert client.put(path, body, content_type=JSON, secure=True).status_code == 200
    assert sync.push_all() == 0
    assert control_plane.hosts[ACME]["domains"] == ["acme.test", "initech.test"]


def test_importing_a_linked_domain_again_changes_nothing(town: Town):
    before = generation(GLOBEX)
    imported(town, "domain;globex.test;0;0;yes", "domainalias;globex.example;globex.test;yes")
    assert VirtualHost.objects.get(name=GLOBEX).domain_names() == ["globex.test"]
    assert generation(GLOBEX) == before


def test_a_domain_that_comes_back_by_import_does_not_inherit_the_old_link(town, control_plane):
    town.domains["acme.test"].delete(town.people["SuperAdmins"])
    imported(town, "domain;acme.test;0;0;yes")
    assert not Link.objects.filter(domain__name="acme.test").exists()
    assert sync.push_all() == 0
    assert control_plane.hosts[ACME]["domains"] == []


def test_the_first_api_makes_a_domain_without_a_hostname(town: Town):
    body = {"name": "initech.test", "quota": "0", "default_mailbox_quota": "0", "type": "domain"}
    answer = first_api(town, "post", "domains/", body)
    assert answer.status_code == 201, answer.content
    assert not Link.objects.filter(domain__name="initech.test").exists()


def test_the_first_api_renames_a_linked_domain_and_the_control_plane_hears_it(town, control_plane):
    pk = town.domains["globex.test"].pk
    before = generation(GLOBEX)
    answer = first_api(town, "patch", f"domains/{pk}/", {"name": "globex.example"})
    assert answer.status_code == 200, answer.content
    assert generation(GLOBEX) > before
    assert sync.push_all() == 0
    assert control_plane.hosts[GLOBEX]["domains"] == ["globex.example"]


def test_the_first_api_deletes_a_linked_domain_and_the_host_stays_without_it(town, control_plane):
    pk = town.domains["globex.test"].pk
    assert first_api(town, "delete", f"domains/{pk}/").status_code == 204
    assert sync.push_all() == 0
    assert control_plane.hosts[GLOBEX]["domains"] == []


def test_an_alias_of_a_linked_domain_comes_and_goes_and_its_people_keep_their_host(town: Town):
    before = generation(GLOBEX)
    body = {"name": "globex.example", "target": town.domains["globex.test"].pk, "enabled": True}
    made = first_api(town, "post", "domainaliases/", body)
    assert made.status_code == 201, made.content
    token = held(GLOBEX, town.people["SimpleUsers"])["access_token"]
    assert (bearer_counts(GLOBEX, token), bearer_counts(ACME, token)) == (True, False)
    assert VirtualHost.objects.get(name=GLOBEX).domain_names() == ["globex.test"]
    assert first_api(town, "delete", f"domainaliases/{made.json()['pk']}/").status_code == 204
    assert bearer_counts(GLOBEX, token)
    assert generation(GLOBEX) == before


def test_an_alias_of_a_foreign_domain_opens_no_door(town: Town):
    DomainAlias(name="mail.globex.test", target=town.domains["acme.test"], enabled=True).save(
        creator=town.people["SuperAdmins"]
    )
    token = held(GLOBEX, town.people["SimpleUsers"])["access_token"]
    assert not bearer_counts(ACME, token)
