"""ACME Renewal Information (RFC 9773): a certificate's identifier and the window that the CA suggests."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509

from control.ports import AuthorityError, RenewalInfo

SHORTEST_POLL = timedelta(minutes=1)
USUAL_POLL = timedelta(hours=6)
LONGEST_POLL = timedelta(days=1)


def certificate_id(certificate: x509.Certificate) -> str | None:
    """`base64url(AKI).base64url(serial)` (RFC 9773 §4.1); None without an authority key identifier."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    except x509.ExtensionNotFound:
        return None
    if not extension.value.key_identifier:
        return None
    serial = certificate.serial_number
    der = serial.to_bytes(serial.bit_length() // 8 + 1, "big")
    return f"{_text(extension.value.key_identifier)}.{_text(der)}"


def _text(data: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def read(document: dict[str, Any], asked_back: datetime | None, now: datetime) -> RenewalInfo:
    """The CA's answer; AuthorityError `ca_unreadable` for no window or one that ends before it starts."""
    window = document.get("suggestedWindow")
    try:
        start, end = moment(window["start"]), moment(window["end"])  # type: ignore[index]
    except (TypeError, KeyError, ValueError) as error:
        raise AuthorityError("ca_unreadable", f"no suggestedWindow in {document!r}") from error
    if end <= start:
        raise AuthorityError("ca_unreadable", f"suggestedWindow ends before it starts: {window!r}")
    explanation = document.get("explanationURL")
    return RenewalInfo(
        start, end, next_poll(asked_back, now), explanation if _is_link(explanation) else None
    )


def moment(text: str) -> datetime:
    """An RFC 3339 moment in UTC; ValueError for anything else."""
    value = datetime.fromisoformat(text)
    if value.tzinfo is None:
        raise ValueError(f"no time zone in {text!r}")
    return value.astimezone(UTC)


def next_poll(asked_back: datetime | None, now: datetime) -> datetime:
    """When to ask again: as the CA asks, within 1 minute … 1 day, else in 6 hours (RFC 9773 §4.3)."""
    if asked_back is None:
        return now + USUAL_POLL
    return min(max(asked_back, now + SHORTEST_POLL), now + LONGEST_POLL)


def _is_link(text: object) -> bool:
    """Whether an explanation may be shown as a link: http or https, and nothing that runs."""
    return isinstance(text, str) and text.startswith(("https://", "http://"))
