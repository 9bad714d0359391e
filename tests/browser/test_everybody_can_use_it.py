"""Our pages for everybody: axe finds nothing serious, a phone is wide enough, and they speak French."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import expect

from deploy import modoboa
from tests.browser.visitor import DESK, PHONE, PRIMARY, SCREENSHOTS, Visitor, dns

HOSTNAME, DOMAIN = "mail.acme.test", "acme.test"


def listed(visitor: Visitor) -> None:
    visitor.page.keyboard.press("Escape")
    visitor.menu.locator(".mdi-web").click()
    search = visitor.page.locator(".search input")
    if search.input_value():
        search.fill("")
    visitor.status(HOSTNAME, "ready")


def detailed(visitor: Visitor) -> None:
    listed(visitor)
    visitor.page.get_by_role("link", name=HOSTNAME, exact=True).click()
    visitor.page.locator(".host-detail .mdi-stethoscope").click()
    expect(visitor.page.locator("[data-verdict]").first).to_be_visible()


def searched(visitor: Visitor) -> None:
    listed(visitor)
    visitor.page.locator(".search input").fill("nowhere")
    expect(visitor.page.locator("tbody tr")).to_have_count(1)
    expect(visitor.row(HOSTNAME)).to_have_count(0)


def choosing(visitor: Visitor) -> None:
    listed(visitor)
    visitor.row(HOSTNAME).locator(".mdi-dots-horizontal").click()
    expect(visitor.page.locator(".v-overlay--active .mdi-delete-outline")).to_be_visible()


def bringing(visitor: Visitor) -> None:
    listed(visitor)
    visitor.page.get_by_role("link", name=HOSTNAME, exact=True).click()
    visitor.page.locator(".host-detail [aria-expanded]").click()
    expect(visitor.page.locator(".host-detail textarea").first).to_be_visible()


def deleting(visitor: Visitor) -> None:
    listed(visitor)
    visitor.row(HOSTNAME).locator(".mdi-dots-horizontal").click()
    visitor.page.locator(".v-overlay--active .mdi-delete-outline").click()


def themed(visitor: Visitor) -> None:
    listed(visitor)
    visitor.row(HOSTNAME).locator(".mdi-dots-horizontal").click()
    visitor.page.locator(".v-overlay--active .mdi-palette").click()
    expect(visitor.page.locator("[data-colour]")).to_have_count(5)


def configured(visitor: Visitor) -> None:
    listed(visitor)
    visitor.page.locator("main a .mdi-cog").click()
    expect(visitor.page.locator("form.settings")).to_be_visible()


def linked(visitor: Visitor) -> None:
    visitor.page.keyboard.press("Escape")
    visitor.menu.locator(".mdi-domain").click()
    visitor.page.get_by_role("link", name=DOMAIN, exact=True).click()
    expect(visitor.page.locator(".virtual-hosts [data-status=ready]")).to_be_visible()


def edited(visitor: Visitor) -> None:
    linked(visitor)
    visitor.page.locator(".mdi-circle-edit-outline").click()
    visitor.page.locator(".v-expansion-panel-title").last.click()
    expect(visitor.page.locator(".copy-line")).to_be_visible()


PLACES: dict[str, Callable[[Visitor], None]] = {
    "list": listed,
    "nothing": searched,
    "menu": choosing,
    "detail": detailed,
    "upload": bringing,
    "delete": deleting,
    "theme": themed,
    "settings": configured,
    "domain-form": edited,
    "domain": linked,
}


@pytest.fixture(scope="module")
def administrator(chromium) -> Iterator[Visitor]:
    """Logged in once, for all these tests."""
    visitor = Visitor(chromium, DESK, SCREENSHOTS).administer()
    yield visitor
    visitor.leave()


@pytest.mark.browser
@pytest.mark.parametrize("place", PLACES)
def test_nothing_serious_stands_in_anybodys_way(administrator, place):
    administrator.resize(DESK)
    PLACES[place](administrator)

    for width in (DESK, PHONE):
        administrator.resize(width)
        administrator.look(f"everybody-{place}", whole=place in ("theme", "settings"))
        assert administrator.serious() == []
        # Nothing is wider than the window: nobody scrolls sideways.
        assert administrator.page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.browser
def test_a_page_of_ours_survives_a_reload(administrator):
    visitor = administrator
    visitor.resize(DESK)
    detailed(visitor)
    address = visitor.page.url

    visitor.page.reload()

    expect(visitor.page.get_by_role("dialog")).to_contain_text(HOSTNAME)
    assert visitor.page.url == address


@pytest.mark.browser
def test_a_link_into_our_pages_works_on_a_busy_machine(visit):
    visitor = visit().administer()
    # Timers come so late that Modoboa's page has long settled on its dashboard.
    visitor.page.add_init_script(
        "const soon = setInterval; setInterval = (f, ms, ...rest) => soon(f, ms + 3000, ...rest)"
    )

    visitor.open(PRIMARY, "/admin/virtualhosts?host=1")

    expect(visitor.page.get_by_role("dialog")).to_contain_text(HOSTNAME)
    assert visitor.page.url.endswith("/admin/virtualhosts?host=1")


@pytest.mark.browser
def test_the_keyboard_is_enough(administrator):
    visitor = administrator
    visitor.resize(DESK)
    listed(visitor)
    page = visitor.page

    page.get_by_role("link", name=HOSTNAME, exact=True).focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_role("link", name=HOSTNAME, exact=True)).to_be_focused()

    actions = page.get_by_role("button", name=f"Actions for {HOSTNAME}")
    menu = page.locator(".v-overlay--active")
    actions.focus()
    page.keyboard.press("Enter")
    expect(menu.get_by_text("Theme")).to_be_visible()
    page.keyboard.press("Escape")
    expect(menu).to_have_count(0)
    expect(actions).to_be_focused()

    page.keyboard.press("Enter")
    expect(menu.get_by_text("Theme")).to_be_visible()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Type the hostname to confirm")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(actions).to_be_focused()


# As Modoboa would, if it had a dark theme: Vuetify's own.
WEAR = """(theme) => {
  const { provides } = document.querySelector('#app').__vue_app__._context
  provides[Symbol.for('vuetify:theme')].change(theme)
}"""


@pytest.mark.browser
@pytest.mark.parametrize("place", ["list", "menu", "detail", "upload", "theme", "settings"])
def test_it_reads_well_in_the_dark(administrator, place):
    administrator.resize(DESK)
    PLACES[place](administrator)
    administrator.page.evaluate(WEAR, "dark")
    try:
        administrator.look(f"dark-{place}", whole=place in ("theme", "settings"))
        assert administrator.serious() == []
    finally:
        administrator.page.evaluate(WEAR, "light")


@pytest.mark.browser
def test_it_speaks_french_to_who_reads_french(visit, full_stack):
    api = modoboa.Administrator(full_stack.modoboa_instance)
    me = api.call("GET", "/account/me/").json()
    api.call("PATCH", f"/accounts/{me['pk']}/", json={"language": "fr"})
    try:
        visitor = visit().administer()
        expect(visitor.menu).to_contain_text("Hôtes virtuels")
        listed(visitor)
        expect(visitor.page.get_by_role("heading", name="Hôtes virtuels")).to_be_visible()
        expect(visitor.row(HOSTNAME)).to_contain_text("encore")
        detailed(visitor)
        expect(visitor.page.get_by_role("dialog")).to_contain_text(re.compile("Ce qui s.est passé"))
        visitor.look("french")
        dns(full_stack, "add-a", host=f"{HOSTNAME}.", addresses=["192.0.2.9"])
        visitor.page.get_by_role("button", name="Vérifier à nouveau").click()
        check = visitor.page.locator("[data-verdict=fail]").first
        expect(check).to_contain_text("Aucune adresse de ce nom d’hôte")  # noqa: RUF001
        expect(check).to_contain_text("Changez les enregistrements A et AAAA")
        expect(check).not_to_contain_text("Change the")
        check.scroll_into_view_if_needed()
        visitor.look("french-failure")
    finally:
        dns(full_stack, "clear-a", host=f"{HOSTNAME}.")
        api.call("PATCH", f"/accounts/{me['pk']}/", json={"language": "en"})
