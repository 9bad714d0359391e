"""parse(text): the one spelling of a hostname, or InvalidHostname with the fault and the fix in one sentence."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable

import idna

LONGEST = 253
LONGEST_LABEL = 63
ALWAYS_RESERVED = frozenset({"localhost"})

_ALLOWED = re.compile(r"[a-z0-9.-]*")
_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://|/")
_PORT = re.compile(r"(?P<name>[^:\[\]]+):[0-9]*")


class InvalidHostname(ValueError):
    """The text is no canonical hostname; `str(error)` is the sentence to show to whoever typed it."""


def parse(text: str, reserved: Iterable[str] = ()) -> str:
    """Return `text` when it is a canonical hostname; raise InvalidHostname otherwise.

    Checked in this order, the first fault is the one named:
      1. presence, spaces, scheme or path, wildcard, IP address, port, trailing dot
      2. ASCII (RFC 5890 A-labels), lower case
      3. length, characters, then each label from left to right
      4. names that nobody may take: `localhost` and `reserved`
    """
    for check in _CHECKS:
        check(text)
    if text in ALWAYS_RESERVED or text in reserved:
        raise InvalidHostname(f"hostname is reserved: {text}")
    labels = text.split(".")
    if len(labels) < 2:
        raise InvalidHostname(f"hostname must have at least two labels: {text}")
    for label in labels:
        _check_label(label)
    if labels[-1].isdigit():
        raise InvalidHostname(f"hostname must not end with a label of digits only: {labels[-1]}")
    return text


def is_canonical(text: str) -> bool:
    """Whether `parse` would return `text`; reserved names of the operator apart."""
    try:
        return parse(text) == text
    except InvalidHostname:
        return False


def _refuse(sentence: str, text: str) -> None:
    """Raise with the nearest canonical spelling of `text` behind the sentence, where there is one."""
    fix = _nearest(text)
    raise InvalidHostname(f"{sentence}: {fix}" if fix else sentence)


def _nearest(text: str) -> str | None:
    """The canonical hostname that `text` most likely means, or None."""
    if len(text) > 4 * LONGEST:
        return None
    name = re.sub(r"^[a-zA-Z][a-zA-Z0-9+.-]*://", "", text.strip()).split("/")[0]
    name = re.sub(r":[0-9]*$", "", name).removesuffix(".")
    if not name.isascii():
        try:
            name = idna.encode(name, uts46=True).decode("ascii")
        except (idna.IDNAError, UnicodeError):
            return None
    name = name.lower()
    return name if name != text and is_canonical(name) else None


def _check_present(text: str) -> None:
    if not text:
        raise InvalidHostname("hostname must not be empty")


def _check_spaces(text: str) -> None:
    if any(character.isspace() for character in text):
        _refuse("hostname must not contain spaces", text)


def _check_url(text: str) -> None:
    if _URL.search(text):
        _refuse("hostname must be a name alone, without scheme or path", text)


def _check_wildcard(text: str) -> None:
    if "*" in text:
        raise InvalidHostname("hostname must not be a wildcard: add each hostname by itself")


def _check_address(text: str) -> None:
    bracketed = re.match(r"\[([^\]]*)\]", text)
    bare = (bracketed[1] if bracketed else text).split("%")[0].removesuffix(".")
    without_port = re.sub(r":[0-9]*$", "", bare)
    for candidate in (bare, without_port):
        try:
            ipaddress.ip_address(candidate)
        except ValueError:
            continue
        raise InvalidHostname("hostname must not be an IP address: use a name that points to it")


def _check_port(text: str) -> None:
    if _PORT.fullmatch(text):
        _refuse("hostname must not carry a port", text)


def _check_trailing_dot(text: str) -> None:
    if text.endswith(".") and text.strip("."):
        _refuse("hostname must not end with a dot", text)


def _check_ascii(text: str) -> None:
    if not text.isascii():
        _refuse("hostname must be ASCII, internationalized names as their A-label", text)


def _check_lowercase(text: str) -> None:
    if text != text.lower():
        _refuse("hostname must be lowercase", text)


def _check_length(text: str) -> None:
    if len(text) > LONGEST:
        raise InvalidHostname(
            f"hostname must have at most {LONGEST} characters, this one has {len(text)}"
        )


def _check_characters(text: str) -> None:
    if "_" in text:
        raise InvalidHostname("hostname must not contain an underscore: use a hyphen instead")
    allowed = _ALLOWED.match(text)
    end = allowed.end() if allowed else 0
    if end < len(text):
        raise InvalidHostname(
            f"hostname may contain only letters, digits and hyphens, not {text[end]!r}"
        )


_CHECKS: tuple[Callable[[str], None], ...] = (
    _check_present,
    _check_spaces,
    _check_url,
    _check_wildcard,
    _check_address,
    _check_port,
    _check_trailing_dot,
    _check_ascii,
    _check_lowercase,
    _check_length,
    _check_characters,
)


def _check_label(label: str) -> None:
    """One label: RFC 1123 §2.1 and, for the hyphens, RFC 5891 §4.2.3.1."""
    if not label:
        raise InvalidHostname("hostname must not contain an empty label: remove the extra dot")
    if len(label) > LONGEST_LABEL:
        raise InvalidHostname(
            f"hostname has a label of {len(label)} characters, at most {LONGEST_LABEL} are allowed"
        )
    if label.startswith("-") or label.endswith("-"):
        raise InvalidHostname(f"hostname has a label that starts or ends with a hyphen: {label}")
    if label[2:4] == "--":
        _check_a_label(label)


def _check_a_label(label: str) -> None:
    """Only A-labels may have hyphens in third and fourth place, and they must be valid (RFC 5891)."""
    if not label.startswith("xn--"):
        raise InvalidHostname(
            f"hostname has a label with hyphens in third and fourth place: {label}"
        )
    try:
        valid = idna.alabel(idna.ulabel(label)).decode("ascii") == label
    except (idna.IDNAError, UnicodeError):
        valid = False
    if not valid:
        raise InvalidHostname(f"hostname has an invalid internationalized label: {label}")
