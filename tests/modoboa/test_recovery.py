"""A forgotten password, recovered by SMS: the code goes to, and serves, people of the host alone."""

from __future__ import annotations

import re

import pytest
from django.core import mail
from modoboa.core import sms_backends
from modoboa.core.models import LocalConfig, User

from tests.modoboa.town import ACME, GLOBEX, PRIMARY, Town, browser
from tests.modoboa.ways import carried, post_form

pytestmark = pytest.mark.django_db
SHARED = "same@elsewhere.example"


class Phone:
    """Takes down what would have gone out, to whom."""

    def __init__(self) -> None:
        self.rung: list[str] = []

    def send(self, text: str, numbers: list[str]) -> bool:
        """One SMS."""
        self.rung += numbers
        return True


@pytest.fixture
def phone(town: Town, monkeypatch) -> Phone:
    """Recovery by SMS is on; Globex's administrator has a telephone and shares an address with its reseller."""
    config = LocalConfig.objects.first()
    config.parameters.set_value("sms_password_recovery", True, app="core")
    config.save()
    people = User.objects.filter(username__in=("domainadmins", "resellers"))
    people.update(email=SHARED, phone_number="+33612345678")
    phone = Phone()
    monkeypatch.setattr(sms_backends, "get_active_backend", lambda parameters: phone)
    return phone


def ask_for_a_code(host: str, email: str = SHARED):
    """A browser at `host` in which a code was asked for."""
    client = browser(host)
    post_form(client, "/accounts/password_reset/", {"email": email})
    return client


def test_a_code_goes_to_people_of_the_host(phone: Phone):
    ask_for_a_code(GLOBEX)
    assert phone.rung == ["+33612345678"]


@pytest.mark.parametrize("email", [SHARED, SHARED.upper()])
def test_no_code_goes_out_at_someone_elses_host(phone: Phone, town: Town, email):
    ask_for_a_code(ACME, email)
    assert phone.rung == []


def test_no_code_goes_out_where_the_address_is_shared_with_another_hosts_people(
    phone: Phone, town: Town
):
    town.domains["acme.test"].add_admin(town.people["Resellers"])
    ask_for_a_code(ACME)
    assert phone.rung == []


@pytest.mark.parametrize("path", ["/reset/resend_code/", "/reset/confirm_code/"])
def test_a_code_asked_for_elsewhere_is_not_known_here(phone: Phone, path):
    client = ask_for_a_code(PRIMARY)
    phone.rung.clear()
    assert carried(client, GLOBEX).get(path, secure=True).status_code == 200
    phone.rung.clear()
    assert carried(client, ACME).get(path, secure=True).status_code == 404
    assert phone.rung == []


@pytest.mark.parametrize("asked", [GLOBEX, f"{GLOBEX.upper()}."])
def test_the_link_in_a_mail_carries_the_tenants_hostname(town: Town, asked):
    post_form(browser(asked), "/accounts/password_reset/", {"email": "simpleusers@globex.test"})
    [message] = mail.outbox
    assert re.findall(r"https://[^/\s]+/reset/", message.body) == [f"https://{GLOBEX}/reset/"]


def test_someone_elses_address_is_answered_like_one_that_does_not_exist(phone: Phone):
    """With and without a telephone; one's own without a telephone, too."""
    answers = set()
    for host, email in [
        (ACME, SHARED),
        (ACME, "simpleusers@globex.test"),
        (GLOBEX, "simpleusers@globex.test"),
        (GLOBEX, "nobody@globex.test"),
        (GLOBEX, "nobody@acme.test"),
    ]:
        answer = post_form(browser(host), "/accounts/password_reset/", {"email": email})
        answers.add((answer.status_code, answer["Location"], "sessionid" in answer.cookies))
    assert answers == {(302, "/accounts/password_reset/done/", False)}
