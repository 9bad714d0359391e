"""The CA's JSON objects (RFC 8555 §7.1) as the port's records; AuthorityError `ca_unreadable` for others."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from control.adapters.acme_authority import problems, renewal_info
from control.adapters.acme_authority.signing import Signer
from control.adapters.acme_authority.wire import Answer
from control.ports import AuthorityError, Challenge, DirectoryMeta, Order, Problem

# What may become part of a Redis key and of a path on port 80.
_TOKEN = re.compile(r"[A-Za-z0-9_-]{16,128}")


def meta(directory: Mapping[str, Any]) -> DirectoryMeta:
    """What the directory says of the CA (§7.1.1); what it says in no known form is left out."""
    said = _object(directory.get("meta"))
    terms = said.get("termsOfService")
    return DirectoryMeta(
        terms_of_service=terms if isinstance(terms, str) else None,
        caa_identities=_texts(said.get("caaIdentities")),
        external_account_required=said.get("externalAccountRequired") is True,
        profiles=tuple(_object(said.get("profiles"))),
        renewal_info="renewalInfo" in directory,
    )


def order(answer: Answer, url: str) -> Order:
    """An order object (§7.1.3)."""
    body = answer.object()
    try:
        expires, certificate = body.get("expires"), body.get("certificate")
        return Order(
            url=url,
            status=_text(body["status"]),
            hostnames=tuple(_text(one["value"]) for one in _objects(body["identifiers"])),
            authorizations=_texts(body["authorizations"]),
            finalize=_text(body["finalize"]),
            certificate=None if certificate is None else _text(certificate),
            expires=renewal_info.moment(expires) if expires else None,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise AuthorityError("ca_unreadable", f"{answer.url} is no order: {error!r}") from error


def challenge(authorization: Mapping[str, Any], signer: Signer) -> Challenge:
    """The HTTP-01 challenge of an authorization (§8.3); AuthorityError too when none is offered."""
    hostname = str(_object(authorization.get("identifier")).get("value"))
    for found in _objects(authorization.get("challenges")):
        if found.get("type") != "http-01":
            continue
        token, url = str(found.get("token")), found.get("url")
        if not _TOKEN.fullmatch(token) or not isinstance(url, str):
            raise AuthorityError(
                "ca_unreadable", f"the challenge for {hostname} has no usable token"
            )
        return Challenge(hostname, url, token, signer.key_authorization(token))
    raise AuthorityError("challenge_not_offered", f"no http-01 challenge for {hostname}")


def challenge_problem(authorization: Mapping[str, Any]) -> Problem | None:
    """What the CA says went wrong with a challenge of this authorization."""
    for found in _objects(authorization.get("challenges")):
        problem = problems.read(found.get("error"))
        if problem:
            return problem
    return None


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _objects(value: Any) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def _text(value: Any) -> str:
    """`value`, which must be text; TypeError otherwise."""
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list) else ()
