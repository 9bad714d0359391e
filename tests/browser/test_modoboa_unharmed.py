"""Modoboa's own pages are as they were: nothing on the console, whatever of ours is missing."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.visitor import PRIMARY

CORE_PAGES = (
    "/admin",
    "/admin/domains",
    "/admin/identities",
    "/admin/alarms",
    "/admin/monitoring/statistics",
    "/admin/monitoring/audit_trail",
    "/admin/monitoring/messages",
    "/admin/information",
    "/admin/parameters/core",
    "/account",
)

# As a click on a link of Modoboa's does, without loading everything anew.
GO = "path => document.querySelector('#app').__vue_app__.config.globalProperties.$router.push(path)"


def stroll(visitor) -> list[str]:
    """Walk through every core page, and a domain's with our parts; what the console said."""
    for path in CORE_PAGES:
        visitor.page.evaluate(GO, path)
        visitor.page.wait_for_url(f"https://{PRIMARY}{path}*")
        visitor.page.wait_for_load_state("networkidle")
    visitor.page.evaluate(GO, "/admin/domains")
    visitor.page.get_by_role("link", name="acme.test", exact=True).click()
    visitor.page.locator(".mdi-circle-edit-outline").click()
    visitor.page.locator(".v-expansion-panel-title").last.click()
    visitor.page.wait_for_load_state("networkidle")
    return visitor.complaints


@pytest.mark.browser
def test_no_core_page_complains_with_the_extension(visit):
    assert stroll(visit().administer()) == []


@pytest.mark.browser
def test_nor_with_the_control_plane_down(visit, full_stack):
    with full_stack.without("control-api"):
        assert stroll(visit().administer()) == []


@pytest.mark.browser
def test_nor_with_the_remotes_file_missing(visit, full_stack):
    collected = full_stack.modoboa_instance / "sitestatic" / "modoboa_ext"
    aside = collected.with_name("modoboa_ext-aside")
    collected.rename(aside)
    try:
        visitor = visit().administer()
        assert stroll(visitor) == []
        expect(visitor.menu.locator(".mdi-web")).to_have_count(0)
    finally:
        aside.rename(collected)
