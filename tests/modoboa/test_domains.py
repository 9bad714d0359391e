"""The domain API carries the hostname: who may set it, to what, and what the control plane hears."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.authtoken.models import Token

from modoboa_ext import jobs, sync
from modoboa_ext.models import Link, VirtualHost
from tests.modoboa.town import GLOBEX, PRIMARY, Town, browser

pytestmark = pytest.mark.django_db


def api(user):
    """A client of the REST API as `user`, at the primary hostname."""
    key = Token.objects.get_or_create(user=user)[0].key
    return browser(PRIMARY, authorization=f"Token {key}")


def domain(name: str, **fields: object) -> dict[str, object]:
    """The body of a new domain."""
    return {"name": name, "type": "domain", "quota": 0, "default_mailbox_quota": 0, **fields}


def post(client, body):
    return client.post("/api/v2/domains/", body, content_type="application/json", secure=True)


def test_a_new_domain_with_a_hostname_makes_the_virtual_host(town: Town) -> None:
    client = api(town.people["SuperAdmins"])
    answer = post(client, domain("initech.test", virtual_host="mail.initech.test"))
    assert answer.status_code == 201, answer.content
    assert answer.json()["virtual_host"] == "mail.initech.test"
    assert VirtualHost.objects.get(name="mail.initech.test").domain_names() == ["initech.test"]


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ("Mail.Initech.test", "hostname must be lowercase: mail.initech.test"),
        (PRIMARY, f"hostname is reserved: {PRIMARY} is the primary hostname, choose another"),
        ("127.0.0.1", "hostname must not be an IP address: use a name that points to it"),
    ],
)
def test_a_bad_hostname_is_refused_with_a_sentence_and_nothing_is_saved(town, typed, sentence):
    answer = post(api(town.people["SuperAdmins"]), domain("initech.test", virtual_host=typed))
    assert answer.status_code == 400
    assert answer.json() == {"virtual_host": [sentence]}
    assert not town.domains["acme.test"].__class__.objects.filter(name="initech.test").exists()


def test_saving_a_domain_again_keeps_its_link_and_tells_nobody(town: Town) -> None:
    before = VirtualHost.objects.get(name="mail.globex.test").generation
    globex = town.domains["globex.test"]
    client = api(town.people["SuperAdmins"])
    body = client.get(f"/api/v2/domains/{globex.pk}/", secure=True).json()
    del body["transport"]
    answer = client.put(
        f"/api/v2/domains/{globex.pk}/", body, content_type="application/json", secure=True
    )
    assert answer.status_code == 200, answer.content
    assert VirtualHost.objects.get(name="mail.globex.test").generation == before
    assert Link.objects.get(domain=globex).virtual_host.name == "mail.globex.test"


def test_of_a_list_the_links_of_its_page_are_read_once_and_no_others(town: Town) -> None:
    client = api(town.people["SuperAdmins"])
    with CaptureQueriesContext(connection) as queries:
        listed = client.get("/api/v2/domains/?page_size=2&ordering=name", secure=True).json()
    assert [row["virtual_host"] for row in listed["results"]] == ["mail.acme.test", GLOBEX]
    table = connection.ops.quote_name("modoboa_ext_link")
    [read] = [query["sql"] for query in queries if f"FROM {table}" in query["sql"]]
    shown = ", ".join(str(row["pk"]) for row in listed["results"])
    assert f"IN ({shown})" in read


def test_a_domain_without_a_hostname_shows_none_in_a_list_and_alone(town: Town) -> None:
    client = api(town.people["SuperAdmins"])
    made = post(client, domain("initech.test")).json()
    assert made["virtual_host"] is None
    listed = client.get("/api/v2/domains/?search=initech", secure=True).json()["results"]
    assert [row["virtual_host"] for row in listed] == [None]


def test_the_field_is_in_modoboas_openapi_document(town: Town) -> None:
    answer = api(town.people["SuperAdmins"]).get("/api/schema-v2/?format=json", secure=True)
    schemas = answer.json()["components"]["schemas"].values()
    shown = [schema.get("properties", {}).get("virtual_host") for schema in schemas]
    assert any(shown)
    assert not any(field.get("writeOnly") for field in shown if field)


def test_a_push_is_confirmed_for_the_generation_that_was_sent(town, control_plane):
    assert sync.push_all() == 0
    assert control_plane.hosts["mail.acme.test"]["domains"] == ["acme.test"]
    host = VirtualHost.objects.get(name="mail.acme.test")
    assert (host.confirmed, host.mirror["status"]) == (True, "pending")


def test_a_domain_that_moves_between_hosts_is_confirmed_in_one_go(town, control_plane):
    sync.push_all()
    globex = town.domains["globex.test"]
    Link.objects.filter(domain=globex).delete()
    Link.objects.create(domain=globex, virtual_host=town.hosts["mail.acme.test"])
    assert sync.push_all() == 0
    assert control_plane.hosts["mail.acme.test"]["domains"] == ["acme.test", "globex.test"]


def test_nothing_is_lost_while_the_control_plane_is_down(town, control_plane):
    control_plane.down = True
    assert sync.push_all() == 2
    control_plane.down = False
    assert sync.push_all() == 0


def test_what_the_control_planes_operator_keeps_is_refused_here_too(town, control_plane) -> None:
    control_plane.reserved = ["mail.kept.test"]
    jobs.every_minute()
    control_plane.down = True
    client = api(town.people["SuperAdmins"])
    refused = post(client, domain("initech.test", virtual_host="mail.kept.test"))
    assert refused.status_code == 400
    assert refused.json() == {"virtual_host": ["hostname is reserved: mail.kept.test"]}
    assert post(client, domain("initech.test", virtual_host="mail.other.test")).status_code == 201
    control_plane.down, control_plane.reserved = False, []
    jobs.every_minute()
    assert post(client, domain("kept.test", virtual_host="mail.kept.test")).status_code == 201


def test_an_address_that_only_the_installation_answers_to_is_reserved(town, settings) -> None:
    settings.ALLOWED_HOSTS = type(settings.ALLOWED_HOSTS)([PRIMARY, "autoconfig.provider.test"])
    body = domain("initech.test", virtual_host="autoconfig.provider.test")
    refused = post(api(town.people["SuperAdmins"]), body)
    assert refused.json() == {"virtual_host": ["hostname is reserved: autoconfig.provider.test"]}
