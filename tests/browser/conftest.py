"""Chromium in front of the real stack: hostnames resolve to the edge, what the console says is remembered."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Playwright, sync_playwright

from tests.browser.visitor import DESK, SCREENSHOTS, Visitor
from tests.running import RunningStack


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    """Playwright's driver; the browser itself is Debian's."""
    with sync_playwright() as driver:
        yield driver


@pytest.fixture(scope="session")
def chromium(playwright: Playwright, full_stack: RunningStack) -> Iterator[Browser]:
    """Debian's Chromium; every .test name is the edge, nothing else exists, no name needs a port."""
    rules = f"MAP *.test 127.0.0.1:{full_stack.ports.edge_https}, MAP * ~NOTFOUND"
    browser = playwright.chromium.launch(
        executable_path=shutil.which("chromium"),
        args=[
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            f"--host-resolver-rules={rules}",
        ],
    )
    yield browser
    browser.close()


@pytest.fixture
def visit(chromium: Browser) -> Iterator[type]:
    """`visit()`: a fresh visitor, without cookies; all leave when the test ends."""
    present: list[Visitor] = []

    def arrive(width: int = DESK, **options: object) -> Visitor:
        present.append(Visitor(chromium, width, SCREENSHOTS, **options))
        return present[-1]

    yield arrive
    for visitor in present:
        visitor.leave()
