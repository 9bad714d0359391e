"""What the extension does to Modoboa's settings, the checks that guard it, and that our test settings are Modoboa's."""

from __future__ import annotations

import ast
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import modoboa
import pytest
from django.apps import apps
from django.core.checks import run_checks

from modoboa_ext import settings as extension
from modoboa_ext.allowed_hosts import LiveHosts
from tests.modoboa.town import PRIMARY, browser

pytestmark = pytest.mark.django_db
ROOT = Path(__file__).parents[2]
PLAIN_VALIDATOR = "oauth2_provider.oauth2_validators.OAuth2Validator"
TEMPLATE = Path(modoboa.__file__).parent / "core/commands/templates/settings.py.tpl"


def ours(messages) -> list[str]:
    return sorted(message.id for message in messages if message.id.startswith("modoboa_ext."))


def test_nothing_is_wrong_as_installed():
    assert ours(run_checks()) == []


BROKEN = {
    "E001": {"MIDDLEWARE": lambda value: value[1:]},
    "E002": {"MIDDLEWARE": lambda value: value[:-1]},
    "E003": {
        "OAUTH2_PROVIDER": lambda value: {
            **value,
            "OAUTH2_VALIDATOR_CLASS": "oauth2_provider.oauth2_validators.OAuth2Validator",
        }
    },
    "E004": {
        "REST_FRAMEWORK": lambda value: {
            **value,
            "DEFAULT_AUTHENTICATION_CLASSES": (
                "rest_framework.authentication.BasicAuthentication",
                *value["DEFAULT_AUTHENTICATION_CLASSES"],
            ),
        }
    },
    "E009": {
        "REST_FRAMEWORK": lambda value: {
            **value,
            "DEFAULT_AUTHENTICATION_CLASSES": (extension.OAUTH,),
        }
    },
    "E010": {"VIRTUALHOSTS": lambda value: {**value, "PRIMARY_HOSTNAME": "other.test"}},
    "E005": {"ALLOWED_HOSTS": list},
    "E006": {"ALLOWED_HOSTS": lambda value: LiveHosts([*value.static, ".provider.test"])},
    "E007": {"USE_X_FORWARDED_HOST": lambda value: True},
    "E008": {"VIRTUALHOSTS": lambda value: {**value, "CONTROL_ULR": "x"}},
    "W001": {"VIRTUALHOSTS": lambda value: {**value, "CONTROL_TOKEN": None}},
}


@pytest.mark.parametrize("code", BROKEN)
def test_a_part_that_was_taken_away_is_named_with_the_way_to_mend_it(settings, code):
    for name, change in BROKEN[code].items():
        setattr(settings, name, change(getattr(settings, name, None)))
    found = [message for message in run_checks() if message.id == f"modoboa_ext.{code}"]
    assert found
    assert all(message.hint for message in found)


def test_plain_api_tokens_are_named(settings):
    classes = (extension.OAUTH, extension.PLAIN_TOKENS)
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "DEFAULT_AUTHENTICATION_CLASSES": classes}
    assert ours(run_checks()) == ["modoboa_ext.E004", "modoboa_ext.E009"]


def test_upper_case_in_the_settings_locks_nobody_out(settings):
    target = {"ALLOWED_HOSTS": ["Mail.Provider.Test"]}
    extension.apply(target)
    settings.ALLOWED_HOSTS = target["ALLOWED_HOSTS"]
    settings.VIRTUALHOSTS = {**settings.VIRTUALHOSTS, "PRIMARY_HOSTNAME": "Mail.Provider.Test"}
    assert ours(run_checks()) == []
    assert browser(PRIMARY).get("/accounts/login/", secure=True).status_code == 200


def test_a_part_that_is_missing_is_logged_where_no_check_runs(settings, monkeypatch):
    settings.MIDDLEWARE = settings.MIDDLEWARE[:-1]
    said = []
    monkeypatch.setattr(logging.getLogger("modoboa.jobs"), "error", lambda *args: said.append(args))
    apps.get_app_config("modoboa_ext").ready()
    assert "IsolationMiddleware" in str(said)


def test_applying_twice_is_applying_once():
    target = {"ALLOWED_HOSTS": ["a.test"], "MIDDLEWARE": ("x",), "LOGGING": {"version": 1}}
    extension.apply(target)
    once = dict(target)
    extension.apply(target)
    assert target == once
    assert target["ALLOWED_HOSTS"].static == ["a.test"]
    assert target["MIDDLEWARE"] == (extension.FIRST, "x", extension.LAST)


def listed(source: str, name: str) -> list[str]:
    """The strings of a tuple that Modoboa's settings template assigns to `name`."""
    text = re.search(rf"^{name} = \((.*?)^\)", source, re.MULTILINE | re.DOTALL)[1]
    text = re.sub(r"{%.*?%}.*?{%.*?%}", "", text, flags=re.DOTALL)
    return list(ast.literal_eval(f"({text})"))


@pytest.mark.parametrize(
    "name", ["INSTALLED_APPS", "MODOBOA_APPS", "MIDDLEWARE", "AUTHENTICATION_BACKENDS"]
)
def test_our_settings_have_not_drifted_from_modoboas_template(settings, name):
    wanted = listed(TEMPLATE.read_text(), name)
    mine = [app for app in getattr(settings, name) if not app.startswith("modoboa_ext")]
    if name == "INSTALLED_APPS":
        mine = [app for app in mine if app not in settings.MODOBOA_APPS]
    assert mine == wanted


def test_the_migrations_make_the_models():
    argv = [sys.executable, "-m", "django", "makemigrations", "modoboa_ext", "--check", "--dry-run"]
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.modoboa.settings"}
    done = subprocess.run(argv, env=env, cwd=ROOT, capture_output=True, text=True)
    assert "No changes detected" in done.stdout, done.stderr
