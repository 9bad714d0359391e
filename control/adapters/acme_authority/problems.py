"""A CA's refusal turned into the port's error: problem document (RFC 8555 §6.7) to stable reason."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from control.ports import AccountUnknown, AlreadyReplaced, AuthorityError, OrderGone, Problem

_PREFIX = "urn:ietf:params:acme:error:"

# Boulder reports a paused name as a rate limit whose words hold this path of its self-service pages.
_UNPAUSE = re.compile(r"/unpause\b")

# Errors of a request, by type (RFC 8555 §6.7, RFC 9773 §7.4, ACME profiles §5).
_OF_REQUEST: Mapping[str, str] = {
    "accountDoesNotExist": "account_unknown",
    "alreadyReplaced": "already_replaced",
    "badCSR": "ca_rejected_csr",
    "badNonce": "ca_bad_nonce",
    "badPublicKey": "ca_rejected_key",
    "badRevocationReason": "revocation_refused",
    "badSignatureAlgorithm": "ca_rejected_key",
    "caa": "caa_forbids",
    "externalAccountRequired": "eab_required",
    "invalidContact": "ca_rejected_contact",
    "invalidProfile": "ca_profile_unknown",
    "malformed": "ca_malformed",
    "rateLimited": "ca_rate_limited",
    "rejectedIdentifier": "ca_rejected_identifier",
    "serverInternal": "ca_unavailable",
    "unauthorized": "ca_unauthorized",
    "unsupportedContact": "ca_rejected_contact",
    "unsupportedIdentifier": "ca_rejected_identifier",
    "userActionRequired": "ca_terms_changed",
}

# Errors of a challenge: what the CA saw when it looked at the hostname.
_OF_VALIDATION: Mapping[str, str] = {
    "caa": "caa_forbids",
    "connection": "port80_unreachable",
    "dns": "ca_dns_failed",
    "incorrectResponse": "port80_wrong_answer",
    "rateLimited": "ca_rate_limited",
    "rejectedIdentifier": "ca_rejected_identifier",
    "serverInternal": "ca_unavailable",
    "tls": "ca_tls_failed",
    "unauthorized": "port80_wrong_answer",
}

_CLASSES: Mapping[str, type[AuthorityError]] = {
    "account_unknown": AccountUnknown,
    "already_replaced": AlreadyReplaced,
    "order_gone": OrderGone,
}


def read(document: Any) -> Problem | None:
    """A problem document as the port's record; None for anything that is not one."""
    if not isinstance(document, Mapping) or not isinstance(document.get("type"), str):
        return None
    identifier = document.get("identifier")
    value = identifier.get("value") if isinstance(identifier, Mapping) else None
    instance = document.get("instance")
    parts = document.get("subproblems")
    return Problem(
        type=document["type"].removeprefix(_PREFIX),
        detail=str(document.get("detail") or document.get("title") or ""),
        identifier=str(value) if value else None,
        subproblems=tuple(p for p in map(read, parts if isinstance(parts, list) else ()) if p),
        instance=str(instance) if instance else None,
    )


def refusal(
    problem: Problem | None, status: int, words: str, not_before: datetime | None
) -> AuthorityError:
    """The error for a refused request; `words` describe an answer that is no problem document."""
    reason = _reason(problem, status)
    kind = _CLASSES.get(reason, AuthorityError)
    return kind(reason, _words(problem) or words, problem=problem, not_before=not_before)


def failed_validation(problem: Problem | None) -> AuthorityError:
    """The error for a challenge that the CA found wrong."""
    first = _first(problem)
    reason = _OF_VALIDATION.get(first.type if first else "", "validation_failed")
    return AuthorityError(reason, _words(problem) or "the CA gave no details", problem=problem)


def _reason(problem: Problem | None, status: int) -> str:
    """Type first, since it is the more exact; then the status (RFC 8555 §6.7 lets types be added)."""
    first = _first(problem)
    reason = _OF_REQUEST.get(first.type if first else "")
    if status == 429 or reason == "ca_rate_limited":
        return "ca_paused" if problem and _UNPAUSE.search(problem.detail) else "ca_rate_limited"
    if status >= 500:
        return "ca_unavailable"
    if status == 404:
        return "ca_not_found"
    return reason or "ca_refused"


def _first(problem: Problem | None) -> Problem | None:
    """The problem that counts: a `compound` one (RFC 8555 §6.7) stands for its first part."""
    if problem and problem.type == "compound" and problem.subproblems:
        return problem.subproblems[0]
    return problem


def _words(problem: Problem | None) -> str:
    """The CA's own words, those of the parts appended."""
    if problem is None:
        return ""
    parts = [
        f"{part.identifier}: {part.detail}" if part.identifier else part.detail
        for part in problem.subproblems
    ]
    return "; ".join(text for text in [problem.detail, *parts] if text) or problem.type
