"""Modoboa's own pages are as they were: nothing on the console, whatever of ours is missing."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from deploy import modoboa
from deploy.branding import PASSWORD
from tests.browser.visitor import PRIMARY

TENANT, ALICE = "mail.acme.test", "alice@acme.test"

CORE_PAGES = (
    "/admin",
    "/admin/domains",
    "/admin/identities",
    "/admin/identities/accounts/{account}",
    "/admin/identities/accounts/{account}/edit",
    "/admin/identities/aliases/{alias}",
    "/admin/identities/aliases/{alias}/edit",
    "/admin/imap_migration/migrations",
    "/admin/imap_migration/providers",
    "/admin/alarms",
    "/admin/monitoring/statistics",
    "/admin/monitoring/audit_trail",
    "/admin/monitoring/messages",
    "/admin/information",
    "/account",
)
# As a person of a tenant; webmail and calendars ask an IMAP server and Radicale, which are not here.
PERSONAL_PAGES = ("/user", "/user/contacts", "/account")

# As a click on a link of Modoboa's does, without loading everything anew.
GO = "path => document.querySelector('#app').__vue_app__.config.globalProperties.$router.push(path)"


@pytest.fixture(scope="module")
def pages(full_stack) -> tuple[str, ...]:
    """CORE_PAGES with an account and an alias that are there, and the parameters of every application."""
    api = modoboa.Administrator(full_stack.modoboa_instance)
    people = api.call("GET", f"/accounts/?search={ALICE}").json()["results"]
    address = f"sales@{ALICE.partition('@')[2]}"
    aliases = api.call("GET", f"/identities/?search={address}").json()
    rows = aliases["results"] if isinstance(aliases, dict) else aliases
    alias = next((row for row in rows if row["type"] == "alias"), None)
    if alias is None:
        body = {"address": address, "recipients": [ALICE], "enabled": True}
        alias = api.call("POST", "/aliases/", json=body).json()
    known = {"account": people[0]["pk"], "alias": alias["pk"]}
    apps = api.call("GET", "/parameters/global/applications/").json()
    parameters = [f"/admin/parameters/{app['name']}" for app in apps]
    return (*(path.format(**known) for path in CORE_PAGES), *parameters)


def walk(visitor, hostname: str, pages: tuple[str, ...]) -> None:
    """From page to page, each until it has asked for everything."""
    for path in pages:
        visitor.page.evaluate(GO, path)
        visitor.page.wait_for_url(f"https://{hostname}{path}*")
        visitor.page.wait_for_load_state("networkidle")


def stroll(visitor, pages: tuple[str, ...]) -> list[str]:
    """Walk through every core page, and a domain's with our parts; what the console said."""
    walk(visitor, PRIMARY, pages)
    visitor.page.evaluate(GO, "/admin/domains")
    visitor.page.get_by_role("link", name="acme.test", exact=True).click()
    visitor.page.locator(".mdi-circle-edit-outline").click()
    visitor.page.locator(".v-expansion-panel-title").last.click()
    visitor.page.wait_for_load_state("networkidle")
    return visitor.complaints


@pytest.mark.browser
def test_no_core_page_complains_with_the_extension(visit, pages):
    assert stroll(visit().administer(), pages) == []


@pytest.mark.browser
def test_nor_does_a_page_of_a_tenants_person(visit):
    alice = visit()
    alice.enter(TENANT, ALICE, PASSWORD)
    alice.page.wait_for_url(f"https://{TENANT}/*")
    expect(alice.menu).to_be_visible()
    walk(alice, TENANT, PERSONAL_PAGES)
    assert alice.complaints == []


@pytest.mark.browser
def test_nor_with_the_control_plane_down(visit, full_stack, pages):
    with full_stack.without("control-api"):
        assert stroll(visit().administer(), pages) == []


@pytest.mark.browser
def test_nor_with_the_remotes_file_missing(visit, full_stack, pages):
    collected = full_stack.modoboa_instance / "sitestatic" / "modoboa_ext"
    aside = collected.with_name("modoboa_ext-aside")
    collected.rename(aside)
    try:
        visitor = visit().administer()
        assert stroll(visitor, pages) == []
        expect(visitor.menu.locator(".mdi-web")).to_have_count(0)
    finally:
        aside.rename(collected)
