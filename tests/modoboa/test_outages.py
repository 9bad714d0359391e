"""The control plane answers with something else, or does its work and is not heard."""

from __future__ import annotations

import json

import pytest
from django.utils import timezone

from modoboa_ext import jobs, mirror, sync
from modoboa_ext.models import VirtualHost
from tests.modoboa.test_rest import BASE, Api, pk
from tests.modoboa.town import ACME, GLOBEX, Town

pytestmark = pytest.mark.django_db
PAGE = b"<html><title>Welcome to nginx!</title></html>"
HOSTS = [f"/virtualhosts/{name}" for name in (ACME, GLOBEX)]
SHOWN = {409: 409}


def script(control_plane, status: int, answer: object) -> None:
    """Let whatever the extension asks be answered so."""
    for path in ("/events", "/settings", "/settings/reserved_hostnames", "/virtualhosts"):
        control_plane.answers["GET", path] = status, answer
    for path in HOSTS:
        for method, part in (("GET", ""), ("PUT", ""), ("DELETE", ""), ("GET", "/theme")):
            control_plane.answers[method, path + part] = status, answer


@pytest.mark.parametrize("status", [200, 404, 409, 500, 502])
@pytest.mark.parametrize(
    "answer",
    [PAGE, b"", b'{"hostname": "mail.ac', b"\xff\xfe", [], "no", 5, {}],
    ids=["page", "nothing", "cut off", "bytes", "list", "text", "number", "empty"],
)
def test_an_answer_that_is_not_the_control_planes_confirms_nothing_and_breaks_nothing(
    town: Town, control_plane, status, answer
):
    mirror.rests_until = 0.0
    town.hosts[GLOBEX].bury(timezone.now())
    raw = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    script(control_plane, status, raw)
    assert sync.push_all() == 2
    jobs.every_minute()
    jobs.check_certificate_renewals()
    client = Api(town.people["SuperAdmins"])
    assert client("get", BASE).status_code == 200
    assert client("get", f"{BASE}{pk(ACME)}/").json()["provisioning_status"] != "ready"
    assert client("get", f"{BASE}{pk(ACME)}/theme/").status_code == SHOWN.get(status, 503)
    assert not VirtualHost.objects.get(name=ACME).confirmed
    control_plane.answers.clear()
    assert sync.push_all() == 0


def test_another_servers_page_is_named_with_the_setting_to_check(town, control_plane, jobs_log):
    script(control_plane, 200, PAGE)
    sync.push_all()
    [said] = [record.getMessage() for record in jobs_log.records]
    assert "is not the control plane: check VIRTUALHOSTS" in said


def test_what_was_done_and_not_heard_is_done_once_more_and_confirmed(town, control_plane):
    control_plane.loses = {("PUT", path) for path in HOSTS}
    assert sync.push_all() == 2
    assert set(control_plane.hosts) == {ACME}
    control_plane.loses = {("DELETE", HOSTS[1])}
    assert sync.push_all() == 0
    VirtualHost.objects.get(name=GLOBEX).bury(timezone.now())
    assert sync.push_all() == 1
    assert GLOBEX not in control_plane.hosts
    control_plane.loses.clear()
    assert sync.push_all() == 0
    assert not VirtualHost.objects.filter(name=GLOBEX).exists()
