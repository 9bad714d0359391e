"""The tenant's look: from the edge's header, validated again, never a fault whatever arrives."""

from __future__ import annotations

import json
import re

import pytest
from django.core import mail
from django.http import HttpResponse as Response
from django.test import Client
from django_otp.plugins.otp_totp.models import TOTPDevice
from hypothesis import given
from hypothesis import strategies as st

from modoboa_ext import theme
from tests.modoboa.town import GLOBEX, PRIMARY, Town, browser, sign_in
from tests.modoboa.ways import held

LOGO = f"/_edge/logos/{'ab' * 32}.png"
GIVEN = {
    "theme_primary_color": "#102030",
    "theme_primary_color_light": "#203040",
    "theme_primary_color_dark": "#0a0b0c",
    "theme_secondary_color": "#AABBCC",
    "theme_label_color": "#000000",
    "theme_login_logo_url": LOGO,
    "theme_menu_logo_url": LOGO,
    "theme_creation_form_logo_url": LOGO,
}
PAGES = ("/accounts/login/", "/accounts/password_reset/", "/accounts/password_reset/done/")


@pytest.mark.django_db
@pytest.mark.parametrize("page", PAGES)
def test_the_pages_before_login_wear_the_tenants_colours(town: Town, page):
    answer = browser(GLOBEX, x_virtual_host_theme=json.dumps(GIVEN)).get(page, secure=True)
    assert "#102030" in answer.content.decode()
    assert LOGO in answer.content.decode()
    at_primary = browser(PRIMARY, x_virtual_host_theme=json.dumps(GIVEN)).get(page, secure=True)
    assert "#102030" not in at_primary.content.decode()


def second_factor(client: Client, town: Town) -> Response:
    """The page that asks for a code after the password."""
    user = town.people["SimpleUsers"]
    TOTPDevice.objects.create(user=user, name="phone", confirmed=True)
    user.totp_enabled = True
    user.save()
    sign_in(client, user)
    return client.get("/accounts/2fa_verify/", secure=True)


def code_by_sms(client: Client, town: Town) -> Response:
    """The page that asks for a code that went to a telephone."""
    session = client.session
    session["totp_secret"] = "a secret"
    session.save()
    client.cookies["sessionid"] = session.session_key
    return client.get("/reset/confirm_code/", secure=True)


def new_password(client: Client, town: Town) -> Response:
    """The page behind the link in a mail."""
    form = {"email": town.people["SimpleUsers"].email}
    client.post("/accounts/password_reset/", form, secure=True)
    [link] = re.findall(r"/reset/[^/]+/[^/\s]+/", mail.outbox[-1].body)
    return client.get(link, secure=True, follow=True)


@pytest.mark.django_db
@pytest.mark.parametrize("page", [second_factor, code_by_sms, new_password])
def test_the_pages_of_a_sign_in_under_way_wear_them_too(town: Town, page):
    answer = page(browser(GLOBEX, x_virtual_host_theme=json.dumps(GIVEN)), town)
    text = answer.content.decode()
    assert (answer.status_code, "csrfmiddlewaretoken" in text) == (200, True)
    assert "#102030" in text
    assert LOGO in text


@pytest.mark.django_db
def test_the_single_page_application_gets_five_colours_and_three_logos(town: Town):
    token = held(GLOBEX, town.people["SimpleUsers"])["access_token"]
    client = browser(
        GLOBEX, authorization=f"Bearer {token}", x_virtual_host_theme=json.dumps(GIVEN)
    )
    assert client.get("/api/v2/theme/", secure=True).json() == GIVEN


@pytest.mark.django_db
def test_blanks_fall_back_to_the_installations_own(town: Town):
    token = held(GLOBEX, town.people["SimpleUsers"])["access_token"]
    given = json.dumps({"theme_label_color": "#123456"})
    client = browser(GLOBEX, authorization=f"Bearer {token}", x_virtual_host_theme=given)
    shown = client.get("/api/v2/theme/", secure=True).json()
    assert (shown["theme_label_color"], shown["theme_primary_color"]) == ("#123456", "#046BF8")


@pytest.mark.django_db
@pytest.mark.parametrize(
    "header",
    [
        "{",
        "[]",
        "null",
        "1e999",
        '"x"',
        "[" * 5000,
        "\x00",
        '{"theme_primary_color": {"a": 1}}',
        "é",
        "x" * 9000,
    ],
)
def test_a_bad_header_is_no_theme_and_no_fault(town: Town, header):
    answer = browser(GLOBEX, x_virtual_host_theme=header).get("/accounts/login/", secure=True)
    assert (answer.status_code, b"#046BF8" in answer.content) == (200, True)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from(sorted(theme.RULES)) | st.text(), inner)
    ),
)


@given(JSON | st.text())
def test_only_colours_and_our_own_logos_ever_come_through(value):
    text = value if isinstance(value, str) else json.dumps(value)
    for name, kept in theme.parse(text).items():
        assert theme.RULES[name].fullmatch(kept)


@pytest.mark.parametrize(
    "value",
    [
        "red",
        "#12345",
        "#1234567",
        "#12345g",
        "#123456;}",
        "url(x)",
        "//evil.example/x.png",
        "\n#123456",
    ],
)
def test_anything_but_rrggbb_and_our_logos_is_left_out(value):
    assert theme.parse(json.dumps(dict.fromkeys(theme.RULES, value))) == {}
