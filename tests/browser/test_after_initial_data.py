"""Modoboa's initial data is loaded at every upgrade: tenants' people log in afterwards as before."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from deploy import modoboa
from deploy.branding import PASSWORD, TENANTS
from tests.running import RunningStack


@pytest.fixture(scope="module")
def twice_loaded(full_stack: RunningStack) -> RunningStack:
    """The stack after two upgrades' worth of `load_initial_data`."""
    for _ in range(2):
        modoboa.manage(full_stack.modoboa_instance, "load_initial_data")
    return full_stack


@pytest.mark.browser
@pytest.mark.parametrize("tenant", TENANTS, ids=lambda tenant: tenant.hostname)
def test_tenants_log_in_through_oauth_after_the_initial_data_came_twice(
    visit, twice_loaded, tenant
):
    visitor = visit()
    with visitor.page.expect_request(
        f"https://{tenant.hostname}/login/logged?code=*", timeout=60_000
    ):
        visitor.enter(tenant.hostname, tenant.user, PASSWORD)
    expect(visitor.menu).to_be_visible()
    assert visitor.page.url.startswith(f"https://{tenant.hostname}/")


@pytest.mark.browser
def test_the_administrator_logs_in_at_the_primary_hostname_too(visit, twice_loaded):
    visit().administer()
