"""Modoboa in this process, with its initial data and its frontend's OAuth application."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import django
import pytest

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.modoboa.settings"
django.setup()
del os.environ["DJANGO_SETTINGS_MODULE"]  # a real Modoboa that a test starts has its own

from django.conf import settings  # noqa: E402  Django must be set up first
from django.core.cache import cache  # noqa: E402
from modoboa.core.utils import add_allowed_hosts  # noqa: E402

from modoboa_ext import hosts, people  # noqa: E402
from modoboa_ext.allowed_hosts import LiveHosts  # noqa: E402
from tests.modoboa.control_plane import ControlPlaneInMemory  # noqa: E402
from tests.modoboa.town import ACME, GLOBEX, PRIMARY, Town, initial_data  # noqa: E402


@pytest.fixture(scope="session")
def django_db_use_migrations() -> bool:
    """Tables straight from the models, unless MIGRATIONS=1 asks for the real way."""
    return bool(os.environ.get("MIGRATIONS"))


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup, django_db_blocker) -> None:
    """Modoboa's initial data and the town, once."""
    with django_db_blocker.unblock():
        initial_data()
        if os.environ.get("ONLY_LOGIN_HOOK"):
            add_allowed_hosts([ACME, GLOBEX])
        Town.build()


@pytest.fixture(scope="session", autouse=True)
def live_hosts(django_test_environment) -> None:
    """Django's test environment replaces ALLOWED_HOSTS by a plain list: put ours back."""
    settings.ALLOWED_HOSTS = LiveHosts([PRIMARY])


@pytest.fixture(autouse=True)
def nothing_remembered() -> Iterator[None]:
    """Each test asks the database anew."""
    hosts.recent.forget()
    people.recent.forget()
    cache.clear()
    yield
    hosts.recent.forget()
    people.recent.forget()


@pytest.fixture
def town(db) -> Town:
    """Two tenants at their hosts, and people of every role; changes last for one test."""
    return Town.load()


@pytest.fixture
def control_plane(settings) -> Iterator[ControlPlaneInMemory]:
    """A control plane that speaks docs/api.md over real HTTP and remembers what it was asked."""
    with ControlPlaneInMemory() as running:
        settings.VIRTUALHOSTS = {**settings.VIRTUALHOSTS, "CONTROL_URL": running.url}
        yield running


@pytest.fixture
def jobs_log(caplog):
    """What the logger `modoboa.jobs` says."""
    logging.getLogger("modoboa.jobs").addHandler(caplog.handler)
    caplog.set_level(logging.INFO, "modoboa.jobs")
    yield caplog
    logging.getLogger("modoboa.jobs").removeHandler(caplog.handler)
