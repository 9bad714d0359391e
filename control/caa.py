"""CAA records read as a CA reads them: may it issue for this name, by HTTP-01, for our account?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from control.ports import CaaRecord

CRITICAL = 128
METHOD = "http-01"
# Tags that have a meaning for CAs; only an unknown one can be critical (RFC 8659 §4.1).
_KNOWN = {"issue", "issuewild", "iodef", "issuemail", "issuevmc", "contactemail", "contactphone"}


@dataclass(frozen=True)
class Issue:
    """An `issue` value (RFC 8659 §4.2): the CA's domain (empty: nobody) and the parameters."""

    ca: str
    parameters: tuple[tuple[str, str], ...]

    def all(self, tag: str) -> list[str]:
        """Every value of a parameter."""
        return [value for name, value in self.parameters if name == tag]


def parse(value: str) -> Issue | None:
    """An `issue` or `issuewild` value; None for one that does not follow the grammar, which allows nobody."""
    domain, *rest = (part.strip(" \t") for part in value.split(";"))
    parameters = []
    for part in rest:
        tag, equals, text = part.partition("=")
        if not part:
            continue
        if not equals or not tag.strip(" \t").isalnum() or any(c <= " " for c in text.strip(" \t")):
            return None
        parameters.append((tag.strip(" \t").lower(), text.strip(" \t")))
    if any(character <= " " for character in domain):
        return None
    return Issue(domain.lower().rstrip("."), tuple(parameters))


def verdict(
    records: Sequence[CaaRecord], identities: Sequence[str], account_uri: str
) -> str | None:
    """None when issuing is allowed, else the reason code (RFC 8659 §3, RFC 8657).

    `issuewild` counts for wildcards only. An unknown `account_uri` (empty) is held to be allowed.
    """
    if any(r.flags & CRITICAL and r.tag not in _KNOWN for r in records):
        return "caa_critical_unknown"
    values = [parse(record.value) for record in records if record.tag == "issue"]
    if not values:
        return None
    names = {identity.lower().rstrip(".") for identity in identities}
    ours = [value for value in values if value and value.ca and value.ca in names]
    if not ours:
        return "caa_forbids"
    refusals = [_refusal(value, account_uri) for value in ours]
    return None if None in refusals else refusals[0]


def _refusal(value: Issue, account_uri: str) -> str | None:
    """Why a value that names our CA does not allow us all the same; None when it does."""
    accounts, methods = value.all("accounturi"), value.all("validationmethods")
    if len(accounts) > 1 or (accounts and account_uri and accounts[0] != account_uri):
        return "caa_account_forbidden"
    if methods and METHOD not in [m.strip().lower() for m in methods[0].split(",")]:
        return "caa_method_forbidden"
    return None
