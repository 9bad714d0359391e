"""An administrator whose own mailbox is Acme's has none at Globex's host: no colleagues, calendars or mail of Acme."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from django.db import transaction
from django.test import RequestFactory
from django.urls import URLResolver, get_resolver
from modoboa.admin.models import Mailbox
from modoboa.calendars.models import AccessRule, UserCalendar
from modoboa.core.models import LocalConfig, User
from modoboa.lib.signals import set_current_request

from modoboa_ext import hosts
from tests.modoboa.town import ACME, GLOBEX, PASSWORD, PRIMARY, Town, browser
from tests.modoboa.ways import held

pytestmark = pytest.mark.django_db
FEWEST_LISTS = 8


def person(name: str, town: Town) -> User:
    """One of Acme's people, with a mailbox and a calendar."""
    user = User(username=f"{name}@acme.test", email=f"{name}@acme.test")
    user.set_password(PASSWORD)
    user.save()
    user.role = "SimpleUsers"
    mailbox = Mailbox(
        address=name, domain=town.domains["acme.test"], user=user, use_domain_quota=True
    )
    mailbox.save(creator=User.objects.get(username="admin"))
    UserCalendar.objects.create(mailbox=mailbox, name=f"{name}'s board", color="#111111")
    return user


@pytest.fixture
def carl(town: Town) -> User:
    """Of Acme, administrator of both; shares a calendar with a colleague, who shares one with him."""
    config = LocalConfig.objects.first()
    config.parameters.set_value("server_location", "https://dav.example/", app="calendars")
    config.save()
    carl, colleague = person("carl", town), person("colleague", town)
    for one, other in ((carl, colleague), (colleague, carl)):
        calendar = UserCalendar.objects.get(mailbox=one.mailbox)
        AccessRule.objects.create(calendar=calendar, mailbox=other.mailbox, read=True)
    carl.role = "DomainAdmins"
    carl.save()
    for domain in town.domains.values():
        domain.add_admin(carl)
    return carl


def asked(host: str, user: User, path: str):
    """What the API answers at `host`; `{calendar}` is the user's own."""
    path = path.format(calendar=UserCalendar.objects.get(mailbox__user=user).pk)
    client = browser(host, authorization=f"Bearer {held(host, user)['access_token']}")
    return client.get(f"/api/v2/{path}", secure=True)


@pytest.mark.parametrize(
    ("path", "elsewhere"),
    [
        ("attendees/", 404),
        ("mailboxes/", 404),
        ("user-calendars/", 200),
        ("user-calendars/{calendar}/accessrules/", 404),
        ("calendars-shared-with-me/", 200),
    ],
)
def test_what_hangs_on_a_mailbox_is_where_the_mailbox_is(carl: User, path, elsewhere):
    for host in (ACME, PRIMARY):
        answer = asked(host, carl, path)
        assert answer.status_code == 200
        assert "acme.test" in answer.content.decode()
    answer = asked(GLOBEX, carl, path)
    assert answer.status_code == elsewhere
    assert "acme" not in answer.content.decode()


@pytest.mark.parametrize("path", ["webmail/mailboxes/share-candidates/", "account/forward/"])
def test_where_modoboa_asks_for_a_mailbox_first_there_is_none(carl: User, path):
    assert asked(GLOBEX, carl, path).status_code == 403
    assert asked(PRIMARY, carl, "account/forward/").status_code == 200


def test_a_calendar_made_here_would_be_there(carl: User):
    client = browser(GLOBEX, authorization=f"Bearer {held(GLOBEX, carl)['access_token']}")
    body = {"name": "new", "color": "#222222"}
    answer = client.post(
        "/api/v2/user-calendars/", body, content_type="application/json", secure=True
    )
    assert answer.status_code == 404


def test_the_mailbox_is_still_there_after_a_save_here(carl: User):
    client = browser(GLOBEX, authorization=f"Bearer {held(GLOBEX, carl)['access_token']}")
    body = {"first_name": "Carl", "last_name": "", "language": "en"}
    kind = "application/json"
    answer = client.put("/api/v2/account/me/", body, content_type=kind, secure=True)
    assert answer.status_code == 200, answer.content
    assert answer.json()["mailbox"] is None
    mailbox = Mailbox.objects.get(user=carl)
    assert mailbox.full_address == "carl@acme.test"
    assert User.objects.get(pk=carl.pk).first_name == "Carl"


def test_who_has_their_mailbox_here_misses_nothing(carl: User, town: Town):
    colleague = User.objects.get(username="colleague@acme.test")
    assert "carl@acme.test" in asked(ACME, colleague, "attendees/").content.decode()
    assert "carl" in asked(ACME, colleague, "calendars-shared-with-me/").content.decode()


def test_an_operator_may_switch_it_off(carl: User, settings):
    settings.VIRTUALHOSTS = {**settings.VIRTUALHOSTS, "SCOPE_DATA": False}
    assert "acme.test" in asked(GLOBEX, carl, "attendees/").content.decode()


def addresses(patterns: Iterable[Any], prefix: str = "") -> Iterator[str]:
    """Each address of Modoboa's API that has no parameter in it; its own description is left out."""
    for pattern in patterns:
        text = prefix + re.sub(r"[\^$\\]", "", str(pattern.pattern))
        if isinstance(pattern, URLResolver):
            yield from addresses(pattern.url_patterns, text)
        elif text.startswith("api/v") and not set(text) & set("<("):
            yield f"/{text}"


def telling(host: str, user: User) -> set[str]:
    """The addresses at which the API tells `user`, at `host`, of anything of Acme's but their own name."""
    client = browser(host, authorization=f"Bearer {held(host, user)['access_token']}")
    client.raise_request_exception = False
    found = set()
    for address in addresses(get_resolver().url_patterns):
        with transaction.atomic():
            answer = client.get(address, secure=True)
            transaction.set_rollback(True)
        if "acme" in answer.content.decode().replace(user.username, ""):
            found.add(address)
    return found


@pytest.mark.parametrize("role", ["DomainAdmins", "Resellers"])
def test_no_list_of_the_api_tells_of_what_belongs_to_another_host(carl: User, town: Town, role):
    carl.role = role
    carl.save()
    for domain in town.domains.values():
        domain.add_admin(carl)
    assert len(telling(PRIMARY, carl)) >= FEWEST_LISTS
    assert telling(GLOBEX, carl) == set()


def test_a_form_about_oneself_shows_and_keeps_the_mailbox(carl: User):
    """Another object of the same person is not the one who asks."""
    request = RequestFactory().get("/")
    request.virtual_host, request.user = hosts.lookup(GLOBEX), carl
    set_current_request(request)
    try:
        assert not hasattr(carl, "mailbox")
        assert User.objects.get(pk=carl.pk).mailbox.full_address == "carl@acme.test"
    finally:
        set_current_request(None)
