"""System checks: each part of the isolation that a later setting took away is named, with the way to mend it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.utils.module_loading import import_string

from modoboa_ext import hosts
from modoboa_ext import settings as ours
from modoboa_ext.hostname import is_canonical

ADDRESSES = ("CONTROL_URL", "LICENSE_ENDPOINT")
MEND = (
    "Let the last lines of settings.py be `from modoboa_ext import settings as virtualhosts; "
    "virtualhosts.apply(globals())`."
)


@register()
def isolation_is_complete(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Every part of the isolation is installed, at its place."""
    return [Error(text, hint=hint, id=f"modoboa_ext.{code}") for code, text, hint in faults()]


@register()
def control_plane_is_known(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """A warning only: `deploy` runs before an administrator can have set these."""
    given = getattr(settings, "VIRTUALHOSTS", {})
    missing = [name for name in ("CONTROL_URL", "CONTROL_TOKEN") if not given.get(name)]
    hint = "Hostnames are kept and told to the control plane once it is set in settings.py."
    return [
        Warning(f"VIRTUALHOSTS[{name!r}] is not set", hint=hint, id="modoboa_ext.W001")
        for name in missing
    ]


def faults() -> Iterator[tuple[str, str, str]]:
    """Each fault as its code, its sentence and the way to mend it."""
    yield from middleware_faults()
    if not is_kind(settings.OAUTH2_PROVIDER.get("OAUTH2_VALIDATOR_CLASS"), ours.VALIDATOR):
        yield "E003", f"OAUTH2_PROVIDER['OAUTH2_VALIDATOR_CLASS'] is not {ours.VALIDATOR}", MEND
    if settings.OAUTH2_PROVIDER.get("OIDC_ISS_ENDPOINT"):
        text = "OAUTH2_PROVIDER['OIDC_ISS_ENDPOINT'] gives all hosts one issuer"
        hint = "Remove it: an id_token is known to be of a host by its issuer, the host itself."
        yield "E011", text, hint
    yield from application_faults()
    yield from authentication_faults()
    yield from host_faults()
    yield from option_faults()


def middleware_faults() -> Iterator[tuple[str, str, str]]:
    """HostMiddleware is first, IsolationMiddleware stands behind authentication."""
    installed = list(settings.MIDDLEWARE)
    if installed[:1] != [ours.FIRST]:
        yield "E001", f"MIDDLEWARE does not begin with {ours.FIRST}", MEND
    if ours.LAST not in installed[-1:]:
        yield "E002", f"MIDDLEWARE does not end with {ours.LAST}", MEND


def application_faults() -> Iterator[tuple[str, str, str]]:
    """Nobody makes OAuth applications but super administrators and `createapplication`."""
    for name in ("DCR_ENABLED", "CIMD_ENABLED"):
        if settings.OAUTH2_PROVIDER.get(name):
            fault = (
                f"OAUTH2_PROVIDER[{name!r}] lets anybody make applications that count everywhere"
            )
            yield "E014", fault, "Remove it; make applications with `manage.py createapplication`."


def authentication_faults() -> Iterator[tuple[str, str, str]]:
    """The API asks for OAuth's tokens and for API tokens, by classes that know of hosts, and for nothing else."""
    installed = settings.REST_FRAMEWORK.get("DEFAULT_AUTHENTICATION_CLASSES", ())
    for path in installed:
        if not is_kind(path, ours.TOKENS) and not is_kind(path, ours.OAUTH):
            yield "E004", f"REST_FRAMEWORK lets people in everywhere by {path}", MEND
    if not any(is_kind(path, ours.TOKENS) for path in installed):
        yield "E009", f"REST_FRAMEWORK does not authenticate by {ours.TOKENS}", MEND


def host_faults() -> Iterator[tuple[str, str, str]]:
    """ALLOWED_HOSTS knows the virtual hosts and lets nothing else through."""
    static = list(getattr(settings.ALLOWED_HOSTS, "static", settings.ALLOWED_HOSTS))
    if not hasattr(settings.ALLOWED_HOSTS, "static"):
        yield "E005", "ALLOWED_HOSTS was replaced: new hostnames would be refused", MEND
    if any(name.startswith((".", "*")) for name in static):
        hint = "List each hostname; those of tenants are added by themselves."
        yield "E006", "ALLOWED_HOSTS has a pattern, which would open the hosts of tenants", hint
    primary = hosts.primary_hostname()
    if primary not in static:
        hint = "Write it into ALLOWED_HOSTS, or mend VIRTUALHOSTS['PRIMARY_HOSTNAME']."
        yield "E010", f"the primary hostname {primary} is not in ALLOWED_HOSTS", hint
    if getattr(settings, "USE_X_FORWARDED_HOST", False):
        yield "E007", "USE_X_FORWARDED_HOST lets a visitor choose the tenant", "Remove it."


def option_faults() -> Iterator[tuple[str, str, str]]:
    """VIRTUALHOSTS has only names that exist, with values that mean something, and a licence whole or not at all."""
    given = getattr(settings, "VIRTUALHOSTS", {})
    known = ", ".join(sorted(ours.DEFAULTS))
    for name in sorted(set(given) - set(ours.DEFAULTS)):
        yield "E008", f"VIRTUALHOSTS has an unknown key {name!r}", f"Known keys: {known}."
    for name in sorted(set(given) & set(ours.DEFAULTS)):
        wanted = unlike(name, given[name])
        if wanted:
            yield "E012", f"VIRTUALHOSTS[{name!r}] is not {wanted}", "Mend it in settings.py."
    if bool(given.get("LICENSE_KEY")) != bool(given.get("LICENSE_ENDPOINT")):
        text = "VIRTUALHOSTS has one of LICENSE_KEY and LICENSE_ENDPOINT: no licence is asked for"
        yield "E013", text, "Set both, or neither."


def unlike(name: str, value: Any) -> str | None:
    """What the value of this key should be and is not; None where it is right, or left out by None."""
    if isinstance(ours.DEFAULTS[name], bool):
        return None if isinstance(value, bool) else "True or False, without quotes"
    if value is None:
        return None
    if not isinstance(value, str):
        return "text"
    if name in ADDRESSES and not re.fullmatch(r"https?://[^/\s]+\S*", value):
        return "an address that begins with http:// or https://"
    if name == "CONTROL_URL" and "/api/" in value:
        return "the address of the control plane without /api/v1"
    if name == "PRIMARY_HOSTNAME" and not is_canonical(value.lower()):
        return "a hostname alone, such as mail.example.com"
    return None


def is_kind(path: str | None, wanted: str) -> bool:
    """Whether the class at `path` is the wanted one or derives from it."""
    return bool(path) and issubclass(import_string(path), import_string(wanted))
