"""Somebody at a browser: enters at a hostname, looks, clicks; remembers what the console complained about."""

from __future__ import annotations

import json
import re
import urllib.request
from pathlib import Path

from playwright.sync_api import Browser, Page, Response, expect

PRIMARY = "mail.provider.test"
DESK, PHONE = 1280, 390
HEIGHTS = {DESK: 800, PHONE: 844}
ROOT = Path(__file__).resolve().parents[2]
SCREENSHOTS = ROOT / "var" / "screenshots"
AXE = ROOT / "modoboa_ext/frontend/node_modules/axe-core/axe.min.js"
PATIENCE_MS = 30_000
expect.set_options(timeout=PATIENCE_MS)

# Modoboa's page asks Google for a font, which does not exist in here.
NOT_OURS = re.compile(r"ERR_NAME_NOT_RESOLVED")


class Visitor:
    """One browser context with one page."""

    def __init__(self, chromium: Browser, width: int, screenshots: Path, **options: object) -> None:
        self.width = width
        self.screenshots = screenshots
        self.context = chromium.new_context(
            viewport={"width": width, "height": HEIGHTS[width]},
            ignore_https_errors=True,
            permissions=["clipboard-read", "clipboard-write"],
            **options,
        )
        self.context.set_default_timeout(PATIENCE_MS)
        self.page: Page = self.context.new_page()
        self.complaints: list[str] = []
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _heard(self, message: object) -> None:
        if message.type == "error" and not NOT_OURS.search(message.text):
            self.complaints.append(f"{self.page.url}: {message.text} ({message.location['url']})")

    def leave(self) -> None:
        """Close everything."""
        self.context.close()

    def open(self, hostname: str, path: str = "/") -> Response | None:
        """Navigate; the answer of the last redirect."""
        return self.page.goto(f"https://{hostname}{path}")

    def enter(self, hostname: str, user: str, password: str) -> None:
        """Open the hostname and fill in the login form; where that leads is the caller's to see."""
        self.open(hostname)
        self.page.fill("#id_username", user)
        self.page.fill("#id_password", password)
        self.page.click("button[type=submit]")

    def administer(self, user: str = "admin", password: str = "password") -> Visitor:
        """Log in at the primary hostname and wait for the menu."""
        self.enter(PRIMARY, user, password)
        logout = self.page.get_by_role("heading", name="Confirm Logout")
        expect(self.menu.or_(logout).first).to_be_visible()
        if logout.is_visible():
            # On its first requests Modoboa's page may ask for its theme before it has a token, and
            # then offers to log out; the session is there, so opening it again goes straight in.
            self.open(PRIMARY)
        expect(self.menu).to_be_visible()
        return self

    def resize(self, width: int) -> None:
        """Another window; on a phone, Modoboa's menu leaves little room until it is folded."""
        self.width = width
        self.page.set_viewport_size({"width": width, "height": HEIGHTS[width]})
        fold = self.page.locator(".v-navigation-drawer .mdi-chevron-left")
        if width == PHONE and fold.count():
            fold.evaluate("it => it.click()")

    @property
    def menu(self) -> object:
        """Modoboa's menu at the left."""
        return self.page.locator("nav.v-navigation-drawer").first

    def virtual_hosts(self) -> None:
        """By the menu, as a person would."""
        self.menu.locator(".mdi-web").click()
        expect(self.page.get_by_role("heading", name="Virtual hosts")).to_be_visible()

    def row(self, hostname: str) -> object:
        """The table's row of a virtual host."""
        return self.page.locator("tr", has=self.page.get_by_role("link", name=hostname, exact=True))

    def status(self, hostname: str, status: str, within: float = 60) -> None:
        """Wait until the row says so, without a reload."""
        chip = self.row(hostname).locator("[data-status]")
        expect(chip).to_have_attribute("data-status", status, timeout=within * 1000)

    def act(self, hostname: str, action: str) -> None:
        """Choose an entry of the row's menu."""
        self.row(hostname).get_by_role("button", name=f"Actions for {hostname}").click()
        self.page.locator(".v-overlay--active").get_by_text(action, exact=True).click()

    def look(self, name: str, *, whole: bool = False) -> None:
        """Keep a screenshot under var/, named with the width, once everything stands still."""
        if whole:
            self.page.evaluate("scrollTo(0, 0)")
        self.page.wait_for_timeout(400)  # Vuetify's longest transition
        self.screenshots.mkdir(parents=True, exist_ok=True)
        path = self.screenshots / f"{name}-{self.width}.png"
        self.page.screenshot(path=path, full_page=whole, animations="disabled")

    def look_twice(self, name: str) -> None:
        """The same at a desk and on a phone; at either, what is ours has no serious fault and is not too wide."""
        for width in (DESK, PHONE):
            self.resize(width)
            self.look(name)
            assert self.serious() == []
            if self.page.locator(".virtual-hosts").count():
                assert self.page.evaluate("document.documentElement.scrollWidth") <= width
        self.resize(DESK)

    def serious(self) -> list[str]:
        """What axe finds serious or critical in what is ours; nothing where nothing is."""
        self.page.evaluate(AXE.read_text())
        found = self.page.evaluate(
            """() => document.querySelector('.virtual-hosts')
              ? axe.run({include: [['.virtual-hosts']]}, {resultTypes: ['violations']})
              : {violations: []}"""
        )
        return [
            f"{v['id']}: {node['target']} {node['failureSummary']}"
            for v in found["violations"]
            if v["impact"] in ("serious", "critical")
            for node in v["nodes"]
        ]

    def new_domain(self, name: str, hostname: str, look: bool = False) -> None:
        """Through the wizard of the domains page; ends on the new domain's own page."""
        page = self.page
        self.open(PRIMARY, "/admin/domains")
        page.get_by_role("button", name="New").click()
        page.locator(".v-overlay--active .v-list-item").first.click()
        page.get_by_label("Domain name").fill(name)
        self._next()
        page.get_by_role("checkbox", name="Enable DNS checks").uncheck()
        for _ in range(3):
            self._next()
        field = page.get_by_role("textbox", name="Hostname of the virtual host")
        field.fill(hostname.title())
        expect(page.get_by_text(f"hostname must be lowercase: {hostname}")).to_be_visible()
        field.fill(hostname)
        expect(page.get_by_text(f"{hostname}. 300 IN CNAME {PRIMARY}.")).to_be_visible()
        if look:
            self.look_twice("wizard")
        self._next()
        page.get_by_role("button", name="Confirm and create").click()
        page.wait_for_url("**/admin/domains/*")
        # Modoboa's own page asks for a domain "undefined" when it is left before it has loaded.
        expect(page.get_by_text("General information")).to_be_visible()
        page.wait_for_load_state("networkidle")

    def _next(self) -> None:
        """To the wizard's following step."""
        self.page.locator("button:visible", has_text="Next").click()
        self.page.wait_for_timeout(350)  # the steps slide, and both have a button meanwhile


def dns(stack, path: str, **body: object) -> None:
    """Tell the DNS stub what a name says."""
    url = f"http://127.0.0.1:{stack.ports.dns_management}/{path}"
    urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode())).close()
