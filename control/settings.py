"""What an operator may set, read once from the environment."""

from __future__ import annotations

import difflib
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from control import endpoint
from control import hostname as hostnames

LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"

_ELSEWHERE = frozenset(
    {
        "CA_BUNDLE",
        "CONTROL_PORT",
        "CONTROL_TOKEN",
        "CONTROL_URL",
        "EDGE_CLIENT_LIMITS",
        "EDGE_HEARTBEAT_REDIS_URL",
        "EDGE_HTTP",
        "EDGE_HTTPS",
        "EDGE_HTTPS_PORT",
        "EDGE_HTTP_PORT",
        "EDGE_ID",
        "EDGE_PUBLIC_HTTPS_PORT",
        "EDGE_REDIS_URL",
        "EDGE_STATUS_PORT",
        "EDGE_UPSTREAM",
        "MODOBOA_PRIMARY",
        "NGINX_PID",
        "REDIS_PORT",
    }
)
"""Names of docs/settings.md and `var/demo.env` that other parts read: known here so that they are not reported."""


class InvalidSetting(ValueError):
    """One environment variable has a value that cannot be used; the text says what to write instead."""


@dataclass(frozen=True)
class Settings:
    """Every setting of the control plane, typed; `from_environment` is how it is made."""

    database_url: str = field(default="sqlite:///var/control.sqlite3", repr=False)
    redis_url: str = field(default="redis://127.0.0.1:8379/0", repr=False)
    acme_directory_url: str = LETS_ENCRYPT
    acme_email: str | None = None
    acme_ca_bundle: Path | None = None
    acme_profile: str | None = None
    acme_eab_kid: str | None = None
    acme_eab_hmac_key: str | None = field(default=None, repr=False)
    acme_fallback_directory_url: str | None = None
    edge_keyring: Path = Path("var/edge.keyring")
    resolver: tuple[str, ...] = ()
    edge_public_addresses: tuple[str, ...] = ()
    edge_status: tuple[str, ...] = ()
    preflight_port: int = 80
    allow_private_addresses: bool = False
    reserved_hostnames: tuple[str, ...] = ()
    primary_hostname: str | None = None
    control_bind: str = "127.0.0.1:8480"
    preflight: bool = True
    worker_threads: int = 16


def from_environment(environment: Mapping[str, str]) -> Settings:
    """Return the settings in `environment`; empty values count as not set. Raises InvalidSetting."""
    given = {name: text for name, text in environment.items() if text.strip()}
    values = {
        name.lower(): read(name, given[name].strip())
        for name, read in _READERS.items()
        if name in given
    }
    if "CONTROL_BIND" not in given and "CONTROL_PORT" in given:
        values["control_bind"] = _bind("CONTROL_PORT", f"127.0.0.1:{given['CONTROL_PORT']}")
    settings = Settings(**values)  # type: ignore[arg-type] # each reader returns its field's type
    if bool(settings.acme_eab_kid) != bool(settings.acme_eab_hmac_key):
        raise InvalidSetting("ACME_EAB_KID and ACME_EAB_HMAC_KEY belong together: set both or none")
    return settings


def unknown_names(environment: Mapping[str, str]) -> list[str]:
    """One sentence for each name with our prefixes that nobody reads, with the nearest known name."""
    known = sorted(_READERS.keys() | _ELSEWHERE)
    prefixes = tuple(sorted({name.split("_")[0] + "_" for name in _READERS if "_" in name}))
    sentences = []
    for name in sorted(environment):
        if name in known or not name.startswith(prefixes):
            continue
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else "it has no effect"
        sentences.append(f"{name} is not a setting: {hint}")
    return sentences


def _text(name: str, text: str) -> str:
    return text


def _path(name: str, text: str) -> Path:
    return Path(text).expanduser()


def _switch(name: str, text: str) -> bool:
    words = {"on": True, "true": True, "yes": True, "1": True}
    words |= {"off": False, "false": False, "no": False, "0": False}
    if text.lower() not in words:
        raise InvalidSetting(f"{name} must be on or off, not {text!r}")
    return words[text.lower()]


def _number(name: str, text: str, lowest: int, highest: int) -> int:
    if not text.isdecimal() or not lowest <= int(text) <= highest:
        raise InvalidSetting(
            f"{name} must be a whole number from {lowest} to {highest}, not {text!r}"
        )
    return int(text)


def _port(name: str, text: str) -> int:
    return _number(name, text, 1, 65535)


def _threads(name: str, text: str) -> int:
    return _number(name, text, 1, 256)


def _names(name: str, text: str) -> tuple[str, ...]:
    return tuple(text.replace(",", " ").split())


def _hostnames(name: str, text: str) -> tuple[str, ...]:
    """Canonical hostnames: one that is spelled otherwise would keep nobody from taking it."""
    return tuple(_hostname(name, hostname) for hostname in _names(name, text))


def _hostname(name: str, text: str) -> str:
    try:
        return hostnames.parse(text)
    except hostnames.InvalidHostname as problem:
        raise InvalidSetting(f"{name}: {problem}") from problem


def _addresses(name: str, text: str) -> tuple[str, ...]:
    addresses = _names(name, text)
    for address in addresses:
        try:
            ipaddress.ip_address(address)
        except ValueError:
            raise InvalidSetting(
                f"{name} must list IP addresses separated by commas, not {address!r}"
            ) from None
    return addresses


def _resolvers(name: str, text: str) -> tuple[str, ...]:
    """Addresses, each with an optional port: `192.0.2.53`, `127.0.0.1:8053`, `[2001:db8::1]:53`."""
    servers = _names(name, text)
    for server in servers:
        bare = server.strip("[]")
        if server.count(":") == 1 or "]:" in server:
            bare, _, port = server.rpartition(":")
            _port(name, port)
        _addresses(name, bare.strip("[]"))
    return servers


def _bind(name: str, text: str) -> str:
    host, separator, port = text.rpartition(":")
    if not text.startswith("unix:") and not (separator and host and port.isdecimal()):
        raise InvalidSetting(
            f"{name} must be address:port, for example 127.0.0.1:8480, not {text!r}"
        )
    return text


def _url(name: str, text: str, schemes: Sequence[str]) -> str:
    if urlsplit(text).scheme not in schemes:
        wanted = ", ".join(f"{scheme}://…" for scheme in schemes)
        raise InvalidSetting(f"{name} must be a URL of the form {wanted}")
    return text


def _status_listeners(name: str, text: str) -> tuple[str, ...]:
    """Base URLs: `http://127.0.0.1:8081`, several with commas."""
    return tuple(_url(name, url, ("http", "https")).rstrip("/") for url in _names(name, text))


def _directory_url(name: str, text: str) -> str:
    """ACME is spoken over https only, except to a CA on this machine (RFC 8555 §6.1)."""
    try:
        endpoint.check(text, plain=endpoint.on_this_machine)
    except endpoint.BadUrl as problem:
        raise InvalidSetting(f"{name} {problem}, not {text!r}") from problem
    return text


def _database_url(name: str, text: str) -> str:
    scheme = urlsplit(text).scheme
    if scheme in {"postgres", "postgresql"}:
        return "postgresql+psycopg" + text[len(scheme) :]
    return _url(name, text, ("sqlite", "postgresql+psycopg"))


def _redis_url(name: str, text: str) -> str:
    return _url(name, text, ("redis", "rediss", "unix", "redis+sentinel"))


_READERS = {
    "DATABASE_URL": _database_url,
    "REDIS_URL": _redis_url,
    "ACME_DIRECTORY_URL": _directory_url,
    "ACME_EMAIL": _text,
    "ACME_CA_BUNDLE": _path,
    "ACME_PROFILE": _text,
    "ACME_EAB_KID": _text,
    "ACME_EAB_HMAC_KEY": _text,
    "ACME_FALLBACK_DIRECTORY_URL": _directory_url,
    "EDGE_KEYRING": _path,
    "RESOLVER": _resolvers,
    "EDGE_PUBLIC_ADDRESSES": _addresses,
    "EDGE_STATUS": _status_listeners,
    "PREFLIGHT_PORT": _port,
    "ALLOW_PRIVATE_ADDRESSES": _switch,
    "RESERVED_HOSTNAMES": _hostnames,
    "PRIMARY_HOSTNAME": _hostname,
    "CONTROL_BIND": _bind,
    "PREFLIGHT": _switch,
    "WORKER_THREADS": _threads,
}
