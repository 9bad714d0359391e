"""A tenant comes online, is dressed, fails, recovers and leaves: in a real browser on the real stack."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Error, expect

from deploy import modoboa
from deploy.branding import PASSWORD, Tenant
from deploy.process import wait_until
from tests.browser.visitor import dns

HOSTNAME, DOMAIN = "mail.hooli.test", "hooli.test"
BROKEN, BROKEN_DOMAIN = "mail.umbrella.test", "umbrella.test"
ELSEWHERE = "192.0.2.9"
PRIMARY_COLOUR, RGB = "#5e35b1", "rgb(94, 53, 177)"
HOOLI = Tenant(HOSTNAME, DOMAIN, f"alice@{DOMAIN}", "Hooli", {"secondary": "#00897b"})


def refused(visitor, hostname: str) -> bool:
    """Whether the handshake for that hostname is refused."""
    try:
        visitor.open(hostname)
    except Error as problem:
        return "ERR_SSL" in str(problem) or "ERR_CONNECTION" in str(problem)
    return False


@pytest.mark.browser
def test_a_tenant_comes_online_and_leaves(visit, full_stack):
    admin = visit().administer()
    page = admin.page

    # A domain with a hostname: pending at first, ready by itself.
    admin.new_domain(DOMAIN, HOSTNAME, look=True)
    block = page.locator(".v-card", has_text="Virtual host").last
    expect(block.locator("[data-status]")).to_have_attribute("data-status", "ready", timeout=60_000)
    admin.look("domain")
    admin.virtual_hosts()
    admin.status(HOSTNAME, "ready")
    expect(admin.row(HOSTNAME)).to_contain_text("Pebble")
    admin.look("list")
    modoboa.create_account(modoboa.Administrator(full_stack.modoboa_instance), HOOLI.user, PASSWORD)

    # Its own look, seen before it is saved.
    admin.act(HOSTNAME, "Theme")
    page.locator("[data-colour=theme_primary_color] input[type=text]").fill("#f2a33a")
    expect(page.get_by_text("Hard to read: contrast with white is 2.1 to 1")).to_be_visible()
    page.locator("[data-colour=theme_primary_color] input[type=text]").fill(PRIMARY_COLOUR)
    page.locator("[data-logo=login] input[type=file]").set_input_files(
        {"name": "hooli.png", "mimeType": "image/png", "buffer": HOOLI.logo("#ffffff")}
    )
    expect(page.locator(".side")).to_have_css("background-color", RGB)
    admin.look("theme", whole=True)
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("The theme is saved")).to_be_visible()

    # Its people meet it at the door; others stay outside.
    alice = visit()
    answer = alice.open(HOSTNAME)
    assert answer.security_details()["subjectName"] == HOSTNAME
    assert "Pebble" in answer.security_details()["issuer"]
    wait_until(lambda: wears(alice, RGB), 10, "the login page does not wear the tenant's colour")
    expect(alice.page.locator(".logo img")).to_have_attribute("src", re.compile("^/_edge/logos/"))
    alice.look_twice("tenant-login")
    alice.page.fill("#id_username", HOOLI.user)
    alice.page.fill("#id_password", PASSWORD)
    alice.page.click("button[type=submit]")
    alice.page.wait_for_url(re.compile(rf"https://{HOSTNAME}/(user|account)(/|$)"))
    alice.open(HOSTNAME, "/account")
    expect(alice.menu).to_have_css("background-color", RGB)
    alice.look("tenant-inside")
    bob = visit()
    bob.enter(HOSTNAME, "bob@globex.test", PASSWORD)
    expect(bob.page.locator(".alert-box")).to_be_visible()
    bob.look_twice("tenant-refused")

    # Another tenant's DNS leads elsewhere: the failure says so, in words, and what to do.
    dns(full_stack, "add-a", host=f"{BROKEN}.", addresses=[ELSEWHERE])
    admin.new_domain(BROKEN_DOMAIN, BROKEN)
    admin.virtual_hosts()
    admin.status(BROKEN, "failed")
    page.get_by_role("link", name=BROKEN, exact=True).click()
    failure = page.locator("[data-part=failure]")
    expect(failure).to_contain_text("No address of the hostname is one of this edge.")
    expect(failure).to_contain_text(ELSEWHERE)
    expect(failure).to_contain_text(f"Change the A and AAAA records of {BROKEN}")
    expect(failure).to_contain_text("It is tried again by itself")
    admin.look_twice("failure")
    page.get_by_role("button", name="Check now").click()
    first = page.locator("[data-verdict=fail]").first
    expect(first).to_contain_text("IPv4 address (A record)")
    first.get_by_role("button", name="Copy").click()
    assert f"{BROKEN}." in page.evaluate("navigator.clipboard.readText()")
    first.scroll_into_view_if_needed()
    admin.look_twice("preflight")

    # DNS is mended, one click, and it is ready while one looks on.
    dns(full_stack, "clear-a", host=f"{BROKEN}.")
    failure.get_by_role("button", name="Try again now").click()
    drawer = page.get_by_role("dialog")
    expect(drawer.locator("[data-status]")).to_have_attribute(
        "data-status", "ready", timeout=60_000
    )
    expect(drawer.get_by_text("Certificate issued").first).to_be_visible()
    admin.look("ready")
    drawer.get_by_role("button", name="Close").click()

    # Disabled: nobody gets in. Deleted: gone, after the hostname was typed.
    admin.row(BROKEN).get_by_role("switch").click()
    admin.status(BROKEN, "disabled")
    stranger = visit()
    wait_until(lambda: refused(stranger, BROKEN), 15, "a disabled host is still served")
    admin.act(BROKEN, "Delete")
    confirm = page.get_by_role("dialog").get_by_role("button", name="Delete")
    expect(confirm).to_be_disabled()
    page.get_by_label("Type the hostname to confirm").fill(BROKEN)
    admin.look("delete")
    confirm.click()
    expect(admin.row(BROKEN)).to_have_count(0)
    assert refused(visit(), BROKEN)
    assert admin.complaints == []


def wears(visitor, colour: str) -> bool:
    """Whether the login page's side is of that colour; loads it anew."""
    visitor.open(HOSTNAME)
    side = visitor.page.locator(".left-column")
    return side.evaluate("side => getComputedStyle(side).backgroundColor") == colour
