"""A licence, where an operator configured one: what is locked, what is sent once, and what is kept of the key."""

from __future__ import annotations

import pytest
from modoboa.admin.models import Domain

from modoboa_ext import licence, manifest
from modoboa_ext.models import Registration, VirtualHost
from tests.modoboa.test_domains import domain
from tests.modoboa.test_rest import BASE, Api
from tests.modoboa.town import ACME, PRIMARY, Town, browser

pytestmark = pytest.mark.django_db
KEY = "k-1-secret"
DOMAINS = "/api/v2/domains/"


@pytest.fixture
def chief(town: Town, control_plane, settings) -> Api:
    """The super administrator's client; a licence is wanted, its server knows the key."""
    wanted = {"LICENSE_KEY": KEY, "LICENSE_ENDPOINT": f"{control_plane.url}/api/v1/licence"}
    settings.VIRTUALHOSTS = {**settings.VIRTUALHOSTS, **wanted}
    control_plane.answers["POST", "/licence"] = 200, {}
    return Api(town.people["SuperAdmins"])


def activate(client: Api):
    return client("post", f"{BASE}activate/")


def sent(control_plane) -> list[object]:
    """What the licence server was sent."""
    return [body for method, path, body in control_plane.asked if path == "/licence"]


def is_locked(answer) -> bool:
    """Whether an answer says to register first."""
    return (answer.status_code, answer.json().get("code")) == (403, "license_required")


def test_nothing_is_managed_until_it_is_registered(chief):
    assert is_locked(chief("get", BASE))
    assert is_locked(chief("get", "/api/v2/parameters/virtualhosts/"))
    assert activate(chief).status_code == 204
    assert chief("get", BASE).status_code == 200


def test_the_domain_form_takes_no_hostname_meanwhile_and_all_else(chief, town):
    assert is_locked(
        chief("post", DOMAINS, domain("initech.test", virtual_host="mail.initech.test"))
    )
    assert not Domain.objects.filter(name="initech.test").exists()
    assert not VirtualHost.objects.filter(name="mail.initech.test").exists()
    assert chief("post", DOMAINS, domain("initech.test")).status_code == 201
    path = f"{DOMAINS}{town.domains['acme.test'].pk}/"
    body = chief("get", path).json()
    del body["transport"]
    assert is_locked(chief("put", path, {**body, "virtual_host": None}))
    assert chief("put", path, {**body, "quota": 10}).status_code == 200


def test_front_doors_that_are_open_stay_open(chief):
    assert browser(ACME).get("/accounts/login/", secure=True).status_code == 200


def test_it_registers_once(chief, control_plane):
    for _ in range(2):
        assert activate(chief).status_code == 204
    assert sent(control_plane) == [{"license_key": KEY, "hostname": PRIMARY}]


def test_only_the_keys_sha256_is_kept(chief):
    activate(chief)
    [kept] = Registration.objects.values()
    assert kept["key_sha256"] == licence.fingerprint(KEY)
    assert KEY not in str(kept)


def test_it_locks_again_when_the_key_changes_and_knows_one_key(chief, settings):
    activate(chief)
    settings.VIRTUALHOSTS = {**settings.VIRTUALHOSTS, "LICENSE_KEY": "k-2"}
    assert is_locked(chief("get", BASE))
    assert activate(chief).status_code == 204
    assert [row.key_sha256 for row in Registration.objects.all()] == [licence.fingerprint("k-2")]


def test_a_refusal_of_the_licence_server_leaves_what_was_registered(chief, control_plane, settings):
    activate(chief)
    settings.VIRTUALHOSTS = {**settings.VIRTUALHOSTS, "LICENSE_KEY": "k-2"}
    control_plane.answers["POST", "/licence"] = 402, {}
    assert activate(chief).status_code == 502
    assert [row.key_sha256 for row in Registration.objects.all()] == [licence.fingerprint(KEY)]


def test_a_licence_server_that_does_not_answer_is_said(chief, control_plane):
    control_plane.down = True
    refused = activate(chief)
    assert (refused.status_code, refused.json()["code"]) == (502, "not_registered")
    assert "does not answer: try again later" in refused.json()["detail"]


def test_two_who_register_at_the_same_moment_both_succeed(town):
    """The second is answered when the first is through."""
    for _ in range(2):
        licence.keep(licence.fingerprint(KEY))
    assert Registration.objects.count() == 1


def test_an_installation_without_a_licence_never_notices(town, control_plane):
    client = Api(town.people["SuperAdmins"])
    assert client("get", BASE).status_code == 200
    assert activate(client).status_code == 204
    assert sent(control_plane) == []


def test_the_pages_are_one_that_registers_until_then(chief):
    paths = lambda: {page["component"] for page in manifest.routes(licence.locked())}  # noqa: E731
    assert paths() == {"./Activation"}
    activate(chief)
    assert paths() == {"./VirtualHosts", "./Parameters", "./ThemeEditor"}
