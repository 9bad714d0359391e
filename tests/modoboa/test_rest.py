"""/api/v2/virtualhosts/: representation, permissions, pages, and what each deed asks of the control plane."""

from __future__ import annotations

import io
import threading
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.urls import resolve
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from modoboa.admin.models import Domain
from rest_framework.authtoken.models import Token

from modoboa_ext import jobs, mirror, sync
from modoboa_ext.control_plane import connect
from modoboa_ext.models import VirtualHost
from tests.modoboa.town import ACME, GLOBEX, PRIMARY, ROLES, browser

pytestmark = pytest.mark.django_db

BASE = "/api/v2/virtualhosts/"
READY = {
    "status": "ready",
    "step": "served",
    "error": None,
    "certificate": {
        "source": "acme",
        "issuer": "Pebble",
        "not_before": "2026-11-01T00:00:00+00:00",
        "not_after": "2027-01-30T00:00:00+00:00",
    },
    "served_by": [{"edge": "edge-1", "revision": 4}],
}
FAILED = {
    "status": "failed",
    "certificate": None,
    "error": {
        "step": "issue",
        "reason": "dns_no_address",
        "detail": "no A",
        "hint": "Add an A record.",
    },
}


class Api:
    """A super administrator (or someone else) at the REST API."""

    def __init__(self, user):
        key = Token.objects.get_or_create(user=user)[0].key
        self.client = browser(PRIMARY, authorization=f"Token {key}")

    def __call__(self, method, path, body=None):
        options = {"data": body, "content_type": "application/json"} if body is not None else {}
        answer = getattr(self.client, method)(path, secure=True, **options)
        # These views hold no transaction; what DRF marks for rollback on an error is the test's own.
        transaction.set_rollback(False)
        return answer


@pytest.fixture
def api(town, control_plane) -> Api:
    """A super administrator; every virtual host is known to the control plane."""
    mirror.rests_until = 0.0
    sync.push_all()
    return Api(town.people["SuperAdmins"])


def pk(name: str) -> int:
    return VirtualHost.objects.get(name=name).pk


def age(*names: str) -> None:
    """Let the mirrors be old, so that they are asked for again."""
    VirtualHost.objects.filter(name__in=names).update(mirrored_at=None)


def test_the_list_shows_what_the_original_shows(api, town, control_plane):
    control_plane.hosts[GLOBEX] |= READY
    age(GLOBEX)
    answer = api("get", BASE + "?ordering=-name").json()
    assert (answer["count"], answer["stale_since"]) == (2, None)
    globex = answer["results"][0]
    assert globex.pop("creation")
    assert globex == {
        "pk": pk(GLOBEX),
        "name": GLOBEX,
        "enabled": True,
        "domains": [{"pk": town.domains["globex.test"].pk, "name": "globex.test"}],
        "has_certificate": True,
        "certificate_valid_until": "2027-01-30T00:00:00+00:00",
        "certificate_valid_from": "2026-11-01T00:00:00+00:00",
        "certificate_issuer": "Pebble",
        "certificate_source": "acme",
        "provisioning_status": "ready",
        "last_provisioning_error": None,
        "provisioning_hint": None,
        "step": "served",
        "error": None,
    }


def test_pages_search_ordering_and_status_narrow_the_list(api, control_plane):
    control_plane.hosts[ACME] |= FAILED
    age(ACME)
    api("get", BASE)
    names = lambda query: [row["name"] for row in api("get", BASE + query).json()["results"]]  # noqa: E731
    assert names("?page_size=1") == [ACME]
    assert names("?page_size=1&page=2") == [GLOBEX]
    assert names("?search=glob") == [GLOBEX]
    assert names("?ordering=-creation") == [GLOBEX, ACME]
    assert names("?status=failed") == [ACME]
    assert names("?status=pending") == [GLOBEX]
    assert names("?status=ready") == []


def test_a_filter_shows_the_rows_whose_chip_says_so(api, control_plane):
    for name in (ACME, GLOBEX):
        control_plane.hosts[name] |= READY
    age(ACME, GLOBEX)
    api("get", BASE)
    VirtualHost.objects.filter(name=GLOBEX).update(enabled=False)
    names = lambda query: [row["name"] for row in api("get", BASE + query).json()["results"]]  # noqa: E731
    assert names("?status=ready") == [ACME]
    assert names("?status=disabled") == [GLOBEX]
    assert names("?ordering=provisioning_status") == [ACME, GLOBEX]
    assert names("?status=pending") == names("?status=failed") == []


def test_certificates_in_the_last_third_of_their_life_are_found(api, control_plane):
    now = timezone.now()
    for name, left, life in ((ACME, 29, 90), (GLOBEX, 31, 90)):
        ends = now + timedelta(days=left)
        dates = {
            "not_before": (ends - timedelta(days=life)).isoformat(),
            "not_after": ends.isoformat(),
        }
        control_plane.hosts[name] |= READY | {"certificate": {**READY["certificate"], **dates}}
    VirtualHost.objects.create(name="mail.bare.test", generation=1, confirmed_generation=1)
    age(ACME, GLOBEX)
    api("get", BASE)
    answer = api("get", BASE + "?status=expiring").json()
    assert [row["name"] for row in answer["results"]] == [ACME]


def test_the_list_is_sorted_by_what_is_urgent_and_searched_by_domain(api, town, control_plane):
    third = VirtualHost.objects.create(name="mail.aaa.test", generation=1)
    sync.push_all()
    control_plane.hosts[ACME] |= FAILED
    later = {**READY["certificate"], "not_after": "2027-02-01T00:00:00+00:00"}
    control_plane.hosts[GLOBEX] |= READY
    control_plane.hosts[third.name] |= READY | {"certificate": later}
    age(ACME, GLOBEX, third.name)
    api("get", BASE)
    names = lambda query: [row["name"] for row in api("get", BASE + query).json()["results"]]  # noqa: E731
    assert names("?ordering=provisioning_status") == [ACME, third.name, GLOBEX]
    assert names("?ordering=-provisioning_status") == [third.name, GLOBEX, ACME]
    assert names("?ordering=certificate_valid_until") == [ACME, GLOBEX, third.name]
    assert names("?ordering=-certificate_valid_until") == [third.name, GLOBEX, ACME]
    town.domains["globex.test"].name = "searched.example"
    town.domains["globex.test"].save()
    assert names("?search=searched.ex") == [GLOBEX]
    assert names("?search=nobody.example") == []


@pytest.mark.parametrize("role", [role for role in ROLES if role != "SuperAdmins"])
def test_only_super_administrators_are_let_in(api, town, role):
    other = Api(town.people[role])
    for method, path in [("get", BASE), ("delete", f"{BASE}{pk(ACME)}/")]:
        assert other(method, path).status_code == 403
    assert other("get", "/api/v2/parameters/virtualhosts/").status_code == 403
    assert browser(PRIMARY).get(BASE, secure=True).status_code == 401


def test_the_old_version_of_the_api_does_not_have_it(api):
    assert api("get", "/api/v1/virtualhosts/").status_code == 404


def test_while_the_control_plane_is_away_the_mirror_is_shown_with_its_age(api, town, control_plane):
    control_plane.hosts[GLOBEX] |= READY
    age(GLOBEX)
    api("get", BASE)
    control_plane.down = True
    VirtualHost.objects.filter(name=ACME).update(mirrored_at=None)
    answer = api("get", BASE).json()
    assert answer["stale_since"]
    assert "does not answer" in answer["stale_because"]
    assert [row["provisioning_status"] for row in answer["results"]] == ["pending", "ready"]
    assert api("get", f"{BASE}{pk(ACME)}/theme/").status_code == 503
    for path in (f"{BASE}{pk(GLOBEX)}/", f"{BASE}for_domain/{town.domains['globex.test'].pk}/"):
        last_known = api("get", path).json()
        assert "does not answer" in last_known["stale_because"]
        assert last_known["stale_since"]


def test_a_wrong_token_is_said_and_not_taken_for_silence(api, control_plane):
    answer = 401, {"message": "a token is needed"}
    control_plane.answers["GET", f"/virtualhosts/{ACME}"] = answer
    age(ACME)
    listed = api("get", BASE).json()
    assert "a token is needed" in listed["stale_because"]
    assert "CONTROL_TOKEN" in listed["stale_because"]
    assert listed["stale_since"]
    control_plane.answers.clear()
    assert api("get", BASE).json()["stale_since"] is None


def test_what_the_control_plane_has_not_confirmed_says_who_waits_for_whom(api, control_plane):
    control_plane.down = True
    VirtualHost.objects.get(name=ACME).change()
    row = api("get", f"{BASE}{pk(ACME)}/").json()
    assert row["provisioning_status"] == "pending"
    assert (row["error"]["step"], row["error"]["reason"]) == ("push", "control_plane_waiting")


def test_the_hosts_of_a_page_are_asked_for_at_the_same_time(api, control_plane):
    both = threading.Barrier(2)
    for name in (ACME, GLOBEX):
        control_plane.before["GET", f"/virtualhosts/{name}"] = lambda: both.wait(10)
        control_plane.hosts[name] |= READY
    age(ACME, GLOBEX)
    answer = api("get", BASE).json()
    assert answer["stale_since"] is None
    assert [row["provisioning_status"] for row in answer["results"]] == ["ready", "ready"]


def test_an_answer_that_does_not_come_keeps_none_of_the_others_from_being_shown(api, control_plane):
    never = threading.Event()
    control_plane.before["GET", f"/virtualhosts/{ACME}"] = lambda: never.wait(10)
    control_plane.hosts[GLOBEX] |= READY
    age(ACME, GLOBEX)
    answer = api("get", BASE).json()
    never.set()
    assert answer["stale_since"]
    assert [row["provisioning_status"] for row in answer["results"]] == ["pending", "ready"]


def test_deleting_keeps_the_domains_and_the_tombstone_goes_when_confirmed(api, control_plane):
    assert api("delete", f"{BASE}{pk(GLOBEX)}/").status_code == 204
    assert [row["name"] for row in api("get", BASE).json()["results"]] == [ACME]
    assert Domain.objects.filter(name="globex.test").exists()
    control_plane.down = True
    assert sync.push_all() == 1
    control_plane.down = False
    assert sync.push_all() == 0
    assert GLOBEX not in control_plane.hosts
    assert not VirtualHost.objects.filter(name=GLOBEX).exists()


def test_a_late_push_of_an_old_generation_does_not_revive_a_deleted_host(api, control_plane):
    stale = VirtualHost.objects.get(name=GLOBEX)
    api("delete", f"{BASE}{pk(GLOBEX)}/")
    sync.push_all()
    sync.attempt(stale, sync.connect())
    assert GLOBEX not in control_plane.hosts


def test_disabling_is_told_to_the_control_plane(api, control_plane):
    answer = api("post", f"{BASE}{pk(ACME)}/set_state/", {"enabled": False})
    assert answer.json()["enabled"] is False
    sync.push_all()
    assert control_plane.hosts[ACME]["enabled"] is False


@pytest.mark.parametrize("how", ["buried", "cleared"])
@pytest.mark.parametrize(
    ("method", "part", "body"),
    [("delete", "", None), ("post", "set_state/", {"enabled": False})],
)
def test_what_somebody_else_deletes_at_the_same_moment_is_404(
    api, control_plane, method, part, body, how
):
    """Between the first look at the row and its lock."""
    path, going, left = f"{BASE}{pk(ACME)}/{part}", [pk(ACME)], []

    def meanwhile(execute, sql, *rest):
        found = execute(sql, *rest)
        if "modoboa_ext_virtualhost" in sql and going:
            host = VirtualHost.objects.get(pk=going.pop())
            host.bury(timezone.now())
            if how == "buried":
                left.append(host.generation)
            else:
                sync.push_all()
        return found

    with connection.execute_wrapper(meanwhile):
        assert api(method, path, body).status_code == 404
    rows = VirtualHost.objects.filter(name=ACME)
    assert list(rows.values_list("generation", flat=True)) == left


def test_a_retry_is_409_unless_it_failed(api, control_plane):
    path = f"{BASE}{pk(ACME)}/retry_provisioning/"
    assert api("post", path).status_code == 409
    control_plane.hosts[ACME] |= FAILED
    control_plane.answers["POST", f"/virtualhosts/{ACME}/retry"] = 202, {"status": "pending"}
    age(ACME)
    answer = api("post", path)
    assert (answer.status_code, answer.json()["provisioning_status"]) == (200, "pending")


def test_a_retry_of_a_refusal_rises_above_what_a_deleted_host_recorded(api, control_plane):
    """As after an older database was restored here: the host was changed, then deleted since."""
    VirtualHost.objects.filter(name=ACME).update(generation=1000, confirmed_generation=999)
    del control_plane.hosts[ACME]
    sync.push_all()
    refused = api("get", f"{BASE}{pk(ACME)}/").json()
    assert refused["provisioning_status"] == "failed"
    assert refused["last_provisioning_error"].startswith(f"generation 1000 of {ACME} is older")
    answer = api("post", f"{BASE}{pk(ACME)}/retry_provisioning/")
    assert (answer.status_code, answer.json()["provisioning_status"]) == (200, "pending")
    assert VirtualHost.objects.get(name=ACME).confirmed
    assert control_plane.hosts[ACME]["domains"] == ["acme.test"]


def test_a_retry_that_is_refused_again_stays_failed_with_the_sentence(api, control_plane):
    sentence = f"hostname is reserved: {ACME}"
    control_plane.answers["PUT", f"/virtualhosts/{ACME}"] = 422, {"message": sentence}
    VirtualHost.objects.get(name=ACME).change()
    sync.push_all()
    refused = api("post", f"{BASE}{pk(ACME)}/retry_provisioning/")
    assert (refused.status_code, refused.json()["detail"]) == (422, sentence)
    row = api("get", f"{BASE}{pk(ACME)}/").json()
    assert (row["provisioning_status"], row["last_provisioning_error"]) == ("failed", sentence)
    assert row["error"]["actor"] == "operator"
    assert (row["error"]["step"], row["error"]["reason"]) == ("push", "control_plane_refused")


def test_a_failure_says_what_went_wrong_and_what_to_do(api, control_plane):
    control_plane.hosts[ACME] |= FAILED
    age(ACME)
    row = api("get", f"{BASE}{pk(ACME)}/").json()
    assert row["provisioning_status"] == "failed"
    assert row["last_provisioning_error"] == "no A"
    assert row["provisioning_hint"] == "Add an A record."
    assert row["error"]["reason"] == "dns_no_address"


def test_the_detail_passes_the_chain_on(api, control_plane):
    chain = [
        {
            "subject": GLOBEX,
            "issuer": "Pebble Intermediate",
            "not_after": "2027-01-30T00:00:00+00:00",
            "sha256": "ab" * 32,
        },
        {
            "subject": "Pebble Intermediate",
            "issuer": "Pebble Root",
            "not_after": "2030-01-30T00:00:00+00:00",
            "sha256": "cd" * 32,
        },
    ]
    listed = {**READY["certificate"], "sha256": "ab" * 32}
    control_plane.hosts[GLOBEX] |= READY | {"certificate": {**listed, "chain": chain}}
    age(GLOBEX)
    detail = lambda: api("get", f"{BASE}{pk(GLOBEX)}/").json()["certificate"]  # noqa: E731
    assert detail()["chain"] == chain
    control_plane.hosts[GLOBEX]["certificate"] = listed
    jobs.note_all(connect())
    assert detail()["chain"] == chain, "the list has none; the certificate is the same"
    control_plane.hosts[GLOBEX]["certificate"] = {**listed, "sha256": "cd" * 32}
    jobs.note_all(connect())
    assert "chain" not in detail()


def test_a_theme_speaks_modoboas_names_and_keeps_what_is_left_out(api, control_plane):
    path = f"/virtualhosts/{ACME}/theme"
    shown = {"primary": "#102030", "label": None, "logos": {"login": "/api/v1/logos/ab.png"}}
    control_plane.answers["PATCH", path] = 200, shown
    answer = api("put", f"{BASE}{pk(ACME)}/theme/", {"theme_primary_color": "#102030"})
    assert control_plane.asked[-1] == ("PATCH", path, {"primary": "#102030"})
    assert answer.json()["theme_primary_color"] == "#102030"
    assert answer.json()["theme_login_logo_url"] == "/_edge/logos/ab.png"
    assert answer.json()["inherited"]["theme_primary_color"] == "#046BF8"
    bad = api("put", f"{BASE}{pk(ACME)}/theme/", {"theme_label_color": "red; }"})
    assert (bad.status_code, bad.json()) == (
        400,
        {"theme_label_color": ["A colour is written as #rrggbb."]},
    )


@pytest.mark.parametrize(
    "kind", ["image/png", "", "image/\N{CJK UNIFIED IDEOGRAPH-4E2D}", "a\x0bb"]
)
def test_a_logo_goes_to_the_control_plane_as_it_is(api, control_plane, kind):
    """Whatever its sender calls it."""
    control_plane.answers["PUT", f"/virtualhosts/{ACME}/logos/menu"] = 200, {"logos": {}}
    control_plane.answers["DELETE", f"/virtualhosts/{ACME}/logos/menu"] = 204, None
    image = io.BytesIO(b"\x89PNG not really")
    image.name, image.content_type = "logo.png", kind
    body = {"logo_type": "menu", "image": image}
    answer = api.client.post(f"{BASE}{pk(ACME)}/theme_logo/", body, secure=True)
    assert answer.status_code == 200, answer.content
    assert control_plane.asked[-1][2] == b"\x89PNG not really"
    assert api("delete", f"{BASE}{pk(ACME)}/theme_logo/?logo_type=menu").status_code == 204
    assert api("delete", f"{BASE}{pk(ACME)}/theme_logo/?logo_type=other").status_code == 400


def test_the_host_of_a_domain_is_found_by_the_domain(api, town):
    path = f"{BASE}for_domain/{town.domains['acme.test'].pk}/"
    assert api("get", path).json()["name"] == ACME
    for other in ("999999", "9" * 18, "9" * 30):
        assert api("get", f"{BASE}for_domain/{other}/").status_code == 404


def test_events_preflight_renew_and_own_certificates_are_passed_on(api, control_plane):
    host = f"/virtualhosts/{ACME}"
    control_plane.answers |= {
        ("GET", f"{host}/events"): (200, {"items": [], "next": None}),
        ("GET", f"{host}/preflight"): (200, {"items": [{"check": "a", "verdict": "pass"}]}),
        ("POST", f"{host}/renew"): (202, {"hostname": ACME, **READY}),
        ("PUT", f"{host}/certificate"): (422, {"message": "the key does not match", "errors": {}}),
        ("DELETE", f"{host}/certificate"): (204, None),
    }
    assert api("get", f"{BASE}{pk(ACME)}/events/").json() == {"items": [], "next": None}
    assert api("get", f"{BASE}{pk(ACME)}/preflight/").json()["items"][0]["verdict"] == "pass"
    assert api("post", f"{BASE}{pk(ACME)}/renew/").json()["has_certificate"] is True
    pair = {"chain": "c", "private_key": "k"}
    refused = api("put", f"{BASE}{pk(ACME)}/certificate/", pair)
    assert (refused.status_code, refused.json()["detail"]) == (422, "the key does not match")
    assert api("delete", f"{BASE}{pk(ACME)}/certificate/").status_code == 204


def test_parameters_are_the_control_planes_settings(api, control_plane):
    settings = {"acme_enabled": True, "renewal_threshold_days": None}
    control_plane.answers["GET", "/settings"] = 200, settings
    control_plane.answers["PUT", "/settings"] = 200, {**settings, "renewal_threshold_days": 30}
    path = "/api/v2/parameters/virtualhosts/"
    assert api("get", path).json() == settings
    assert api("put", path, {"renewal_threshold_days": 30}).json()["renewal_threshold_days"] == 30
    assert control_plane.asked[-1] == ("PUT", "/settings", {"renewal_threshold_days": 30})
    assert api("put", path, {"renewal_threshold_days": 0}).status_code == 400
    api("put", path, {"acme_profile": ""})
    assert control_plane.asked[-1] == ("PUT", "/settings", {"acme_profile": None})


def test_the_control_plane_tries_an_authority_itself(api, control_plane):
    items = [{"check": "directory", "verdict": "pass"}]
    control_plane.answers["POST", "/settings/test"] = 200, {"items": items}
    asked = {"acme_directory_url": "https://ca.example/directory"}
    path = "/api/v2/parameters/virtualhosts/test_authority/"
    assert api("post", path, asked).json()["items"] == items
    assert control_plane.asked[-1] == ("POST", "/settings/test", asked)
    assert api("post", path, {"acme_directory_url": "no address"}).status_code == 400


def test_modoboas_own_parameters_are_still_there(api):
    assert api("get", "/api/v2/parameters/global/core/").status_code == 200


def test_every_route_is_in_modoboas_openapi_document(api):
    paths = api("get", "/api/schema-v2/").json()["paths"]
    ours = {path for path in paths if "virtualhosts" in path}
    below = ("", "set_state/", "retry_provisioning/", "theme/", "theme_logo/", "events/")
    below += ("preflight/", "renew/", "certificate/")
    assert {f"{BASE}{{id}}/{part}" for part in below} <= ours
    assert {BASE, f"{BASE}for_domain/{{domain}}/", "/api/v2/parameters/virtualhosts/"} <= ours


def test_a_host_that_the_control_plane_lost_is_told_again(api, control_plane):
    control_plane.hosts.clear()
    control_plane.generations.clear()
    age(ACME, GLOBEX)
    api("get", BASE)
    assert sync.push_all() == 0
    assert set(control_plane.hosts) == {ACME, GLOBEX}


def test_no_database_transaction_is_held_while_the_control_plane_is_asked(api, town):
    """A slow one would keep rows locked, and with SQLite every writer waiting."""
    ours = [BASE, f"{BASE}{pk(ACME)}/", f"{BASE}for_domain/1/", f"{BASE}activate/"]
    ours += [f"{BASE}{pk(ACME)}/{part}/" for part in ("theme", "renew", "retry_provisioning")]
    ours += ["/api/v2/parameters/virtualhosts/", "/api/v2/parameters/virtualhosts/test_authority/"]
    for path in ours:
        assert "default" in resolve(path).func._non_atomic_requests, path
    assert connection.settings_dict["ATOMIC_REQUESTS"]


def test_a_mirror_is_asked_for_anew_after_two_seconds_and_not_before(api, control_plane):
    control_plane.hosts[ACME] |= READY
    for seconds, status in ((0, "pending"), (3, "ready")):
        then = timezone.now() - timedelta(seconds=seconds)
        VirtualHost.objects.filter(name=ACME).update(mirrored_at=then)
        control_plane.asked.clear()
        assert api("get", f"{BASE}{pk(ACME)}/").json()["provisioning_status"] == status
        assert len(control_plane.asked) == (seconds > 0)


def test_an_answer_without_the_chain_leaves_the_one_that_is_known(api, control_plane):
    known = {**READY["certificate"], "sha256": "ab" * 32}
    control_plane.hosts[ACME] |= READY | {"certificate": {**known, "chain": [{"subject": ACME}]}}
    age(ACME)
    api("get", f"{BASE}{pk(ACME)}/")
    answer = 202, {"hostname": ACME, **READY, "certificate": known}
    control_plane.answers["POST", f"/virtualhosts/{ACME}/renew"] = answer
    api("post", f"{BASE}{pk(ACME)}/renew/")
    assert VirtualHost.objects.get(name=ACME).certificate["chain"] == [{"subject": ACME}]


def test_what_is_stale_is_as_old_as_the_oldest_that_is_shown(api, control_plane):
    control_plane.down = True
    oldest = timezone.now() - timedelta(hours=2)
    VirtualHost.objects.filter(name=ACME).update(mirrored_at=oldest)
    age_of = timezone.now() - timedelta(hours=1)
    VirtualHost.objects.filter(name=GLOBEX).update(mirrored_at=age_of)
    assert parse_datetime(api("get", BASE).json()["stale_since"]) == oldest


def test_the_control_planes_faults_stand_by_their_field(api, control_plane):
    fault = {"acme_email": ["is no address"]}
    refused = 422, {"message": "acme_email: is no address", "errors": {"json": fault}}
    control_plane.answers["PUT", "/settings"] = refused
    answer = api("put", "/api/v2/parameters/virtualhosts/", {"acme_email": "a@b.test"})
    assert (answer.status_code, answer.json()["errors"]) == (422, fault)
