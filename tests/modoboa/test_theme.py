"""The tenant's look: from the edge's header, validated again, never a fault whatever arrives."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modoboa_ext import theme
from tests.modoboa.town import GLOBEX, PRIMARY, Town, browser
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
