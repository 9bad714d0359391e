"""The control plane answers with something else, breaks at one host, or does its work and is not heard."""

from __future__ import annotations

import json
import threading

import pytest
from django.utils import timezone

from modoboa_ext import jobs, mirror, sync
from modoboa_ext.control_plane import Unreachable, connect
from modoboa_ext.models import VirtualHost
from tests.modoboa.test_rest import BASE, Api, pk
from tests.modoboa.test_sync import DUE
from tests.modoboa.town import ACME, GLOBEX, Town

pytestmark = pytest.mark.django_db
PAGE = b"<html><title>Welcome to nginx!</title></html>"
HOSTS = [f"/virtualhosts/{name}" for name in (ACME, GLOBEX)]
SHOWN = {409: 409, 500: 502}


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


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_a_host_at_which_the_control_plane_breaks_keeps_none_of_the_others_waiting(
    town, control_plane, jobs_log, method
):
    """The first in the row; refused, too, is one that the broken one could let go of."""
    control_plane.answers["PUT", HOSTS[0]] = 409, {"message": "not now"}
    control_plane.answers[method, HOSTS[0]] = 500, {"message": "look for request 7"}
    assert sync.push_all() == 1
    assert VirtualHost.objects.get(name=GLOBEX).confirmed
    assert "look for request 7" in jobs_log.text


def test_a_removal_at_which_the_control_plane_breaks_keeps_none_of_the_others_waiting(
    town, control_plane
):
    sync.push_all()
    VirtualHost.objects.get(name=ACME).bury(timezone.now())
    VirtualHost.objects.get(name=GLOBEX).change()
    control_plane.answers["DELETE", HOSTS[0]] = 500, PAGE
    assert sync.push_all() == 1
    assert VirtualHost.objects.get(name=GLOBEX).confirmed


def test_a_renewal_at_which_the_control_plane_breaks_keeps_none_of_the_others_from_being_asked_for(
    town, control_plane
):
    sync.push_all()
    for name in (ACME, GLOBEX):
        control_plane.hosts[name] |= {"status": "ready", "certificate": DUE}
    control_plane.answers["POST", f"{HOSTS[0]}/renew"] = 500, {"message": "look for request 7"}
    control_plane.answers["POST", f"{HOSTS[1]}/renew"] = 202, {}
    jobs.check_certificate_renewals()
    assert ("POST", f"{HOSTS[1]}/renew") in [asked[:2] for asked in control_plane.asked]


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


def test_a_control_plane_that_never_answers_is_not_waited_for(town, control_plane):
    never = threading.Event()
    control_plane.before["GET", "/settings"] = lambda: never.wait(60)
    with pytest.raises(Unreachable, match="does not answer"):
        connect(read_seconds=0.1).call("GET", "/settings")
    never.set()
