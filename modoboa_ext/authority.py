"""Try an ACME directory from here: does it answer like one (RFC 8555 §7.1.1), and what are its terms."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import requests

NEEDED = ("newNonce", "newAccount", "newOrder")
SECONDS = 10
MOST_BYTES = 100_000


def examine(url: str) -> list[dict[str, Any]]:
    """The checks, each `{check, verdict, evidence, fix, url}`."""
    try:
        directory = read(url)
    except (requests.RequestException, ValueError) as problem:
        return [found("directory", "fail", *in_words(problem, url))]
    missing = [name for name in NEEDED if not isinstance(directory.get(name), str)]
    if missing:
        fix = "Use the address of the authority's ACME directory."
        return [found("directory", "fail", f"no {', '.join(missing)} in its answer", fix)]
    meta = directory.get("meta") if isinstance(directory.get("meta"), dict) else {}
    checks = [found("directory", "pass", directory["newOrder"])]
    terms = meta.get("termsOfService")
    if isinstance(terms, str) and terms.startswith("https://"):
        checks.append({**found("terms", "pass", ""), "url": terms})
    if meta.get("externalAccountRequired"):
        fix = "Set ACME_EAB_KID and ACME_EAB_HMAC_KEY of the control plane."
        checks.append(found("account", "warn", "it asks for an external account", fix))
    return checks


def in_words(problem: Exception, url: str) -> tuple[str, str]:
    """What stands in the way, and what to do about it."""
    origin = urlsplit(url).netloc
    reach = "Check the address, and that this server can reach it."
    if isinstance(problem, requests.exceptions.SSLError):
        fix = (
            "For a private authority that is no harm, if the control plane has its ACME_CA_BUNDLE."
        )
        return f"{origin} has a TLS certificate that this server does not trust", fix
    if isinstance(problem, requests.Timeout):
        return f"{origin} has not answered in {SECONDS} s", reach
    if isinstance(problem, requests.HTTPError) and problem.response is not None:
        return f"{origin} answered {problem.response.status_code}", reach
    if isinstance(problem, requests.RequestException):
        return f"no connection to {origin}", reach
    return str(problem), "Use the address of the authority's ACME directory."


def read(url: str) -> dict[str, Any]:
    """The directory; ValueError where the answer is no JSON object of a reasonable size."""
    if not url.startswith("https://"):
        raise ValueError("an ACME directory is read over https")
    with requests.get(url, timeout=SECONDS, stream=True, allow_redirects=False) as answer:
        answer.raise_for_status()
        data = answer.raw.read(MOST_BYTES + 1, decode_content=True)
    if len(data) > MOST_BYTES:
        raise ValueError("its answer is too long for a directory")
    directory = requests.compat.json.loads(data)
    if not isinstance(directory, dict):
        raise ValueError("its answer is no JSON object")
    return directory


def found(check: str, verdict: str, evidence: str, fix: str | None = None) -> dict[str, Any]:
    """One check's outcome."""
    return {"check": check, "verdict": verdict, "evidence": evidence, "fix": fix}
