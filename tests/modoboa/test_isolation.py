"""The isolation matrix: every way in, every role, every host, every spelling; no leak and no false refusal."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from collections import Counter

import pytest

from modoboa_ext import hosts, people
from tests.modoboa.applications import (
    CodeOfAnApplication,
    CodeOfAnOwnApplication,
    DeviceGrant,
    ForgedIdToken,
    ImplicitToken,
    OwnApplicationsToken,
    OwnPasswordGrant,
    OwnRadicale,
    OwnRadicaleAlone,
    PasswordGrant,
)
from tests.modoboa.town import ACME, GLOBEX, PRIMARY, ROLES, UNKNOWN, Town
from tests.modoboa.ways import (
    ApiToken,
    AuthorizeForElsewhere,
    Bearer,
    CodeExchange,
    IdToken,
    PasswordForm,
    Refresh,
    ResetLink,
    ResetMail,
    SecondFactorElsewhere,
    SecondFactorHere,
    SecurityKeyElsewhere,
    SessionAtApplications,
    SessionReplay,
    UserInfo,
    Way,
)

pytestmark = pytest.mark.django_db

HOSTS = {"own": GLOBEX, "foreign": ACME, "primary": PRIMARY, "unknown": UNKNOWN}
SPELLINGS = {
    "as is": "{}",
    "upper case": "{upper}",
    "trailing dot": "{}.",
    "port": "{}:443",
}
FEWEST_CELLS = 1000
ONLY_LOGIN_HOOK = bool(os.environ.get("ONLY_LOGIN_HOOK"))
if ONLY_LOGIN_HOOK:
    SPELLINGS = {"as is": "{}"}
    ROLES = ("SimpleUsers",)
WAYS: tuple[type[Way], ...] = (
    PasswordForm,
    SessionReplay,
    SessionAtApplications,
    CodeExchange,
    AuthorizeForElsewhere,
    Bearer,
    UserInfo,
    IdToken,
    Refresh,
    ApiToken,
    PasswordGrant,
    OwnPasswordGrant,
    OwnApplicationsToken,
    OwnRadicale,
    OwnRadicaleAlone,
    CodeOfAnApplication,
    CodeOfAnOwnApplication,
    ImplicitToken,
    ForgedIdToken,
    DeviceGrant,
    SecondFactorElsewhere,
    SecondFactorHere,
    SecurityKeyElsewhere,
    ResetMail,
    ResetLink,
)
CARRIED: tuple[type[Way], ...] = (
    SessionReplay,
    Bearer,
    UserInfo,
    IdToken,
    Refresh,
    CodeExchange,
    CodeOfAnApplication,
    ImplicitToken,
)
OWN_APPLICATIONS = (
    CodeOfAnOwnApplication,
    OwnApplicationsToken,
    OwnPasswordGrant,
    OwnRadicale,
)
executed: Counter[str] = Counter()


def spell(host: str, spelling: str) -> str:
    return SPELLINGS[spelling].format(host, upper=host.upper())


def expected(way: type[Way], role: str, place: str) -> bool:
    """What must happen, said again without the extension's own rule."""
    if way is ForgedIdToken:
        return False
    if issubclass(way, OWN_APPLICATIONS) and role != "SuperAdmins":
        return False
    if way is AuthorizeForElsewhere:
        return place == "primary"
    if way is SessionAtApplications:
        return place == "primary" and role == "SuperAdmins"
    return place == "primary" or place == "own" or (role == "SuperAdmins" and place == "foreign")


def try_out(way: Way, host: str) -> bool:
    executed[type(way).__name__] += 1
    return way.enters(host)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_no_leak_and_no_false_refusal(town: Town, way: type[Way]) -> None:
    leaks, refusals = [], []
    for role in ROLES:
        attempt = way(town.people[role])
        for place, spelling in itertools.product(HOSTS, SPELLINGS):
            entered = try_out(attempt, spell(HOSTS[place], spelling))
            wanted = expected(way, role, place)
            if entered and not wanted:
                leaks.append((role, place, spelling))
            if wanted and not entered:
                refusals.append((role, place, spelling))
    assert (leaks, refusals) == ([], [])


@pytest.mark.parametrize("way", CARRIED, ids=lambda way: way.__name__)
def test_what_began_at_a_tenants_host_is_worth_nothing_at_any_other(town: Town, way) -> None:
    for role in ROLES:
        attempt = way(town.people[role], born_at=GLOBEX)
        for place, host in HOSTS.items():
            everywhere = role == "SuperAdmins" and place != "unknown"
            assert try_out(attempt, host) == (place == "own" or everywhere), (role, place)


def unlink(town: Town) -> None:
    town.domains["globex.test"].virtual_host_link.delete()


def disable_host(town: Town) -> None:
    town.hosts[GLOBEX].change(enabled=False)


def disable_people(town: Town) -> None:
    for user in town.people.values():
        user.is_active = False
        user.save()


def demote(town: Town) -> None:
    for role in ("DomainAdmins", "Resellers", "SuperAdmins"):
        town.people[role].role = "SimpleUsers"
        town.people[role].save()


def rename(town: Town) -> None:
    domain = town.domains["globex.test"]
    domain.name = "renamed.test"
    domain.save()


# After each change: who still enters at the own host, and at the primary one.
ADMINISTRATORS = {"DomainAdmins", "Resellers", "SuperAdmins"}
CHANGES = {
    unlink: ({"SuperAdmins"}, set(ROLES)),
    disable_host: (set(), set(ROLES)),
    disable_people: (set(), set()),
    demote: ({"SimpleUsers"}, set(ROLES)),
    rename: (set(ROLES), set(ROLES)),
}
LIVING: tuple[type[Way], ...] = (
    SessionReplay,
    CodeExchange,
    Bearer,
    UserInfo,
    IdToken,
    Refresh,
    ApiToken,
    PasswordGrant,
    SecondFactorElsewhere,
    ResetLink,
)


@pytest.mark.parametrize("way", LIVING, ids=lambda way: way.__name__)
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_change_acts_on_what_was_issued_before_it(town: Town, change, way) -> None:
    attempts = [(role, way(town.people[role])) for role in ROLES]
    for role, attempt in attempts:
        assert try_out(attempt, GLOBEX), (role, attempt)
    change(town)
    hosts.recent.forget()
    people.recent.forget()
    at_own, at_primary = CHANGES[change]
    for role, attempt in attempts:
        assert try_out(attempt, GLOBEX) == (role in at_own), (role, attempt)
        assert try_out(attempt, PRIMARY) == (role in at_primary), (role, attempt)


def test_at_least_a_thousand_cells_were_executed() -> None:
    total = sum(executed.values())
    print(f"{total} cells: {dict(executed)}")
    assert total >= FEWEST_CELLS


HOLES = {
    "AuthorizeForElsewhere",
    "CodeOfAnApplication",
    "CodeOfAnOwnApplication",
    "DeviceGrant",
    "ForgedIdToken",
    "OwnApplicationsToken",
    "OwnPasswordGrant",
    "OwnRadicale",
    "OwnRadicaleAlone",
    "SessionReplay",
    "SessionAtApplications",
    "CodeExchange",
    "Bearer",
    "UserInfo",
    "IdToken",
    "ImplicitToken",
    "Refresh",
    "ApiToken",
    "PasswordGrant",
    "SecondFactorElsewhere",
    "SecurityKeyElsewhere",
    "ResetMail",
    "ResetLink",
}


@pytest.mark.skipif(ONLY_LOGIN_HOOK, reason="this is the run that the test starts")
def test_with_the_login_hook_alone_the_same_matrix_shows_the_known_holes() -> None:
    argv = [sys.executable, "-m", "pytest", __file__, "-q", "-k", "no_leak", "--tb=no"]
    kept = {
        name: value for name, value in os.environ.items() if name not in ("DBURL", "MIGRATIONS")
    }
    env = {**kept, "ONLY_LOGIN_HOOK": "1"}
    done = subprocess.run(argv, env=env, capture_output=True, text=True)
    assert set(re.findall(r"^FAILED .*\[(\w+)\]", done.stdout, re.MULTILINE)) == HOLES, done.stdout
