"""check(text): whether a text is the URL of a web service that an operator may name, a CA's or a webhook's."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from urllib.parse import SplitResult, urlsplit

LONGEST_NAME = 253
_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")


class BadUrl(ValueError):
    """The text is no such URL; `str(error)` goes on behind the name of what was set: `must be …`."""


def nowhere(host: str) -> bool:
    """Plain http to nobody."""
    return False


def anywhere(host: str) -> bool:
    """Plain http to everybody: on a closed network."""
    return True


def on_this_machine(host: str) -> bool:
    """Whether a URL's host is this machine by its spelling; a name that only resolves to it is not."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check(text: str, *, plain: Callable[[str], bool]) -> SplitResult:
    """The parts of `https://host[:port][/path][?query]`, or of http where `plain(host)`; raise BadUrl.

    Printable ASCII, a host that can be looked up, a port from 1 to 65535, no user, no fragment.
    """
    if not text.isascii() or not text.isprintable() or " " in text:
        raise BadUrl("must be printable ASCII without blanks: percent-encode the rest")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as problem:
        raise BadUrl(f"must be an https:// URL ({problem})") from problem
    host = parts.hostname or ""
    if parts.scheme != "https" and not (parts.scheme == "http" and plain(host)):
        raise BadUrl("must be an https:// URL")
    if not _is_host(host):
        raise BadUrl("must be an https:// URL with a host name or address that can be looked up")
    if port == 0:
        raise BadUrl("must have a port from 1 to 65535, or none")
    if "@" in parts.netloc or parts.fragment:
        raise BadUrl("must have neither a user nor a fragment")
    return parts


def _is_host(host: str) -> bool:
    """An address, or a name whose labels fit into DNS (RFC 1035 §2.3.4); underscores as Docker makes them."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return len(host) <= LONGEST_NAME and all(map(_LABEL.fullmatch, host.split(".")))
    return True
