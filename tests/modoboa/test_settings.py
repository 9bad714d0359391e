"""What the extension does to Modoboa's settings, the checks that guard it, and that our test settings are Modoboa's."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import modoboa
import pytest
from django.apps import apps
from django.core.checks import run_checks
from django.template import Context, Engine

from modoboa_ext import settings as extension
from modoboa_ext.allowed_hosts import LiveHosts
from tests.modoboa import settings as test_settings
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
    "E011": {
        "OAUTH2_PROVIDER": lambda value: {**value, "OIDC_ISS_ENDPOINT": f"https://{PRIMARY}/api/o"}
    },
    "E013": {"VIRTUALHOSTS": lambda value: {**value, "LICENSE_KEY": "k-1"}},
    "E014": {"OAUTH2_PROVIDER": lambda value: {**value, "DCR_ENABLED": True}},
    "W001": {"VIRTUALHOSTS": lambda value: {**value, "CONTROL_TOKEN": None}},
}


@pytest.mark.parametrize("code", BROKEN)
def test_a_part_that_was_taken_away_is_named_with_the_way_to_mend_it(settings, code):
    for name, change in BROKEN[code].items():
        setattr(settings, name, change(getattr(settings, name, None)))
    found = [message for message in run_checks() if message.id == f"modoboa_ext.{code}"]
    assert found
    assert all(message.hint for message in found)


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("ALLOW_RESELLERS", "False", "True or False, without quotes"),
        ("SCOPE_DATA", None, "True or False, without quotes"),
        ("CONTROL_URL", "127.0.0.1:8480", "an address that begins with http:// or https://"),
        ("CONTROL_URL", "http://127.0.0.1:8480/api/v1", "the address of the control plane without /api/v1"),
        ("CONTROL_TOKEN", b"secret", "text"),
        ("PRIMARY_HOSTNAME", "https://mail.provider.test", "a hostname alone, such as mail.example.com"),
    ],
)  # fmt: skip
def test_a_value_that_means_nothing_is_named_and_not_shown(settings, name, value, wanted):
    settings.VIRTUALHOSTS = {**settings.VIRTUALHOSTS, name: value}
    [found] = [message for message in run_checks() if message.id == "modoboa_ext.E012"]
    assert found.msg == f"VIRTUALHOSTS[{name!r}] is not {wanted}"


def test_every_value_that_the_document_names_is_right(settings):
    licence = {"LICENSE_KEY": "k-1", "LICENSE_ENDPOINT": "https://licence.example/register"}
    control = {"CONTROL_URL": "https://control.example:8480", "CONTROL_TOKEN": "secret"}
    flags = {"ALLOW_RESELLERS": True, "SCOPE_DATA": False}
    settings.VIRTUALHOSTS = {"PRIMARY_HOSTNAME": PRIMARY, **control, **flags, **licence}
    assert set(settings.VIRTUALHOSTS) == set(extension.DEFAULTS)
    assert ours(run_checks()) == []


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


# What our test settings have otherwise than Modoboa's template, and why.
OTHERWISE = {
    "BASE_DIR": "a folder of this run",
    "STATIC_ROOT": "a folder of this run",
    "MEDIA_ROOT": "a folder of this run",
    "WEBMAIL_ATTACHMENTS_ROOT": "a folder of this run",
    "PID_FILE_STORAGE_PATH": "/var/run belongs to root",
    "SECRET_KEY": "no secret",
    "OAUTH2_PROVIDER.OIDC_RSA_PRIVATE_KEY": "made for this run",
    "REST_FRAMEWORK.DEFAULT_THROTTLE_RATES": "the matrix asks more often than a person",
    "DATABASES": "DBURL chooses SQLite, PostgreSQL or MariaDB",
    "REDIS_URL": "a Redis of this process alone, on a socket",
    "RQ_QUEUES": "a Redis of this process alone, on a socket",
    "CACHES": "nothing of one process in another",
    "LOGGING": "no syslog and no mail to administrators",
    "DISABLE_DASHBOARD_EXTERNAL_QUERIES": "no network",
    "ROOT_URLCONF": "no project around it",
    "WSGI_APPLICATION": "no project around it",
    "EMAIL_BACKEND": "mails stay here",
    "PASSWORD_HASHERS": "people sign in thousands of times",
    "DOVECOT_SUPPORTED_SCHEMES": "no doveadm",
    "VIRTUALHOSTS": "the extension's own",
    "PRIMARY": "a name for the other settings",
    "UNLIMITED": "a name for the other settings",
}


def of_template(folder: Path) -> dict[str, object]:
    """The settings that Modoboa's template gives an instance with our extension."""
    context = {
        "name": "instance",
        "devmode": False,
        "allowed_host": PRIMARY,
        "server_domain": f"https://{PRIMARY}",
        "lang": "en",
        "timezone": "UTC",
        "extensions": ["modoboa_ext"],
        "extra_settings": ["modoboa_ext"],
    }
    source = Engine().from_string(TEMPLATE.read_text()).render(Context(context, autoescape=False))
    namespace: dict[str, object] = {"__file__": str(folder / "instance" / "settings.py")}
    exec(source, namespace)
    return namespace


def flat(settings: dict[str, object]) -> dict[str, object]:
    """Each setting by its name; those of OAuth's library and of the REST framework one by one."""
    found = {name: value for name, value in settings.items() if name.isupper()}
    for name in ("OAUTH2_PROVIDER", "REST_FRAMEWORK"):
        found |= {f"{name}.{key}": value for key, value in found.pop(name).items()}
    return found


def test_our_settings_are_those_of_modoboas_template_but_for_what_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("OIDC_RSA_PRIVATE_KEY", "a key")
    theirs, ours = flat(of_template(tmp_path)), flat(vars(test_settings))
    nothing = object()
    differing = {
        name for name in {*theirs, *ours} if theirs.get(name, nothing) != ours.get(name, nothing)
    }
    assert differing == set(OTHERWISE)


def test_the_migrations_make_the_models():
    argv = [sys.executable, "-m", "django", "makemigrations", "modoboa_ext", "--check", "--dry-run"]
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.modoboa.settings"}
    done = subprocess.run(argv, env=env, cwd=ROOT, capture_output=True, text=True)
    assert "No changes detected" in done.stdout, done.stderr
