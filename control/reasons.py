"""Every stable reason code: who must act, what it means, and what that person should do next.

`docs/reasons.md` documents each of them; a test keeps the two equal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

ACTORS = ("tenant", "operator", "ca", "nobody")


@dataclass(frozen=True)
class Reason:
    """One code; `actor` is one of ACTORS, `hint` a template over the names in `KNOWN`."""

    code: str
    actor: str
    meaning: str
    hint: str


# What a hint may name, and how it reads where the caller does not know it.
KNOWN: Mapping[str, str] = {
    "hostname": "the hostname",
    "addresses": "the addresses of this edge",
    "ca": "the CA",
    "when": "the time in next_attempt_at",
}


class _Words(dict[str, str]):
    """Values for a hint; a name that the caller left out reads as `KNOWN` says."""

    def __missing__(self, name: str) -> str:
        return KNOWN[name]


_TABLE: tuple[Reason, ...] = (
    # What the tenant's DNS says.
    Reason(
        "dns_nxdomain",
        "tenant",
        "The hostname does not exist in public DNS.",
        "Create the DNS record for {hostname}; it must say {addresses}.",
    ),
    Reason(
        "dns_no_address",
        "tenant",
        "The hostname exists but has neither an A nor an AAAA record.",
        "Add an A or AAAA record for {hostname} that says {addresses}.",
    ),
    Reason(
        "dns_points_elsewhere",
        "tenant",
        "No address of the hostname is one of this edge.",
        "Change the A and AAAA records of {hostname} to {addresses}.",
    ),
    Reason(
        "dns_partly_elsewhere",
        "tenant",
        "Some addresses of the hostname are ours, others are not; the CA may ask any of them.",
        "Remove the A and AAAA records of {hostname} that are not {addresses}.",
    ),
    Reason(
        "dns_too_many_addresses",
        "tenant",
        "The hostname has more addresses than any edge has: none of them was asked.",
        "Change the A and AAAA records of {hostname} to {addresses}.",
    ),
    Reason(
        "dns_servfail",
        "tenant",
        "The hostname's name servers answer with an error (often a DNSSEC mistake).",
        "Ask the DNS provider of {hostname} to repair the zone; a DNSSEC checker names the fault.",
    ),
    Reason(
        "dns_timeout",
        "nobody",
        "No name server answered in time.",
        "It is tried again at {when}; if it stays, check the name servers of {hostname} and RESOLVER.",
    ),
    Reason(
        "dns_moved",
        "tenant",
        "DNS has pointed elsewhere for 7 days: no more orders, served until the certificate ends.",
        "Point {hostname} back to {addresses} and retry, or delete the virtual host.",
    ),
    Reason(
        "address_private",
        "tenant",
        "The hostname resolves to a private, loopback or link-local address.",
        "Publish public addresses for {hostname}; or set ALLOW_PRIVATE_ADDRESSES on a closed network.",
    ),
    Reason(
        "caa_forbids",
        "tenant",
        "A CAA record does not name the CA that this edge uses.",
        'Add the CAA record `0 issue "{ca}"` for {hostname}, or remove the CAA records.',
    ),
    Reason(
        "caa_account_forbidden",
        "tenant",
        "A CAA record allows the CA, but only for another ACME account (accounturi, RFC 8657).",
        "Put this edge's account into accounturi of the CAA record of {hostname}, or drop accounturi.",
    ),
    Reason(
        "caa_method_forbidden",
        "tenant",
        "A CAA record allows the CA, but not by HTTP-01 (validationmethods, RFC 8657).",
        "Add http-01 to validationmethods in the CAA record of {hostname}, or drop validationmethods.",
    ),
    Reason(
        "caa_critical_unknown",
        "tenant",
        "A CAA record is marked critical with a tag that CAs do not know.",
        "Remove the critical flag (128) or the unknown CAA record of {hostname}.",
    ),
    # What port 80 answers.
    Reason(
        "port80_unreachable",
        "operator",
        "Nothing answers on port 80 of the hostname's address.",
        "Open port 80 of {addresses} to the whole Internet and check that nginx listens there.",
    ),
    Reason(
        "port80_wrong_answer",
        "operator",
        "Port 80 answers, but not with the challenge that this edge published.",
        "Check that {hostname} reaches this edge and not another server, proxy or CDN in front of it.",
    ),
    Reason(
        "port80_redirects",
        "operator",
        "Port 80 redirects the challenge path instead of answering it.",
        "Let /.well-known/acme-challenge/ of {hostname} reach this edge without a redirect.",
    ),
    Reason(
        "port80_not_seen_from_here",
        "nobody",
        "Only our own request to port 80 failed; behind NAT that says nothing about the CA's.",
        "Nothing to do unless the CA reports the same; the order goes on.",
    ),
    # What the CA found when it looked.
    Reason(
        "ca_dns_failed",
        "tenant",
        "The CA could not resolve the hostname.",
        "Read the CA's words: the name servers of {hostname} must answer the whole Internet alike.",
    ),
    Reason(
        "ca_tls_failed",
        "operator",
        "The CA was redirected to HTTPS and could not complete the handshake there.",
        "Let /.well-known/acme-challenge/ of {hostname} answer on port 80 without a redirect.",
    ),
    Reason(
        "validation_failed",
        "tenant",
        "The CA could not validate the hostname.",
        "Read the CA's words, correct DNS or port 80 of {hostname}, then retry.",
    ),
    Reason(
        "validation_slow",
        "ca",
        "The CA has not come back with a verdict in time.",
        "Nothing to do: the same order is looked at again at {when}.",
    ),
    Reason(
        "challenge_not_offered",
        "ca",
        "The CA offers no HTTP-01 challenge for the hostname.",
        "Use a CA that validates by HTTP-01 for {hostname}.",
    ),
    # What the CA refuses.
    Reason(
        "ca_rate_limited",
        "nobody",
        "The CA's rate limit is reached.",
        "Nothing to do: it is tried again at {when}. Retrying earlier does not help.",
    ),
    Reason(
        "ca_paused",
        "operator",
        "The CA has paused the hostname after many failures.",
        "Correct DNS of {hostname}, open the link in the CA's words to unpause, then retry.",
    ),
    Reason(
        "ca_unavailable",
        "ca",
        "The CA has an internal error or is overloaded.",
        "Nothing to do: it is tried again at {when}. The CA's status page may say more.",
    ),
    Reason(
        "ca_unreachable",
        "operator",
        "No connection to the CA.",
        "If it stays, check that this machine may open HTTPS connections to {ca}.",
    ),
    Reason(
        "ca_untrusted",
        "operator",
        "The CA's own TLS certificate is not trusted here.",
        "Check ACME_DIRECTORY_URL, this machine's clock and, for a private CA, ACME_CA_BUNDLE.",
    ),
    Reason(
        "ca_timeout",
        "ca",
        "The CA accepted the connection but did not answer in time.",
        "Nothing to do: it is tried again at {when}.",
    ),
    Reason(
        "ca_unreadable",
        "ca",
        "The CA's answer is not what the protocol allows.",
        "Check that ACME_DIRECTORY_URL is the address of an ACME directory; else report it to {ca}.",
    ),
    Reason(
        "ca_not_found",
        "operator",
        "The CA answers that there is nothing at the address it gave us, or that we were given.",
        "Check ACME_DIRECTORY_URL; if it is right, the CA has moved its endpoints, and it is tried again.",
    ),
    Reason(
        "ca_foreign_endpoint",
        "operator",
        "The CA's directory is not https, or sends us to another origin; nothing is sent there.",
        "Set ACME_DIRECTORY_URL to the CA's own https directory.",
    ),
    Reason(
        "ca_bad_nonce",
        "ca",
        "The CA refused ten fresh nonces in a row.",
        "Nothing to do: it is tried again at {when}. If it stays, several CAs share one address.",
    ),
    Reason(
        "ca_rejected_identifier",
        "tenant",
        "The CA does not issue for this hostname (blocked, reserved or not public).",
        "Choose another hostname than {hostname}, or ask the CA why it refuses it.",
    ),
    Reason(
        "ca_rejected_contact",
        "operator",
        "The CA does not accept the contact address of the account.",
        "Set ACME_EMAIL to a valid address, or leave it empty.",
    ),
    Reason(
        "ca_rejected_csr",
        "operator",
        "The CA does not accept the certificate request.",
        "Read the CA's words; the profile may not allow what was asked (ACME_PROFILE).",
    ),
    Reason(
        "ca_rejected_key",
        "operator",
        "The CA does not accept the account's key or its signature algorithm.",
        "Use a CA that accepts ES256 (P-256) keys.",
    ),
    Reason(
        "ca_terms_changed",
        "operator",
        "The CA's terms have changed and must be agreed to again.",
        "Open the link in the CA's words and agree, then retry.",
    ),
    Reason(
        "ca_profile_unknown",
        "operator",
        "The CA does not offer the certificate profile that is set.",
        "Clear acme_profile in the settings or choose a profile that {ca} lists.",
    ),
    Reason(
        "ca_unauthorized",
        "operator",
        "The CA does not let the account do this (it may be deactivated).",
        "Read the CA's words; delete the stored account so that a new one is registered.",
    ),
    Reason(
        "ca_malformed",
        "operator",
        "The CA could not understand the request.",
        "Read the CA's words; if they do not help, report them with the version of modoboa-edge.",
    ),
    Reason(
        "ca_refused",
        "operator",
        "The CA refused for a reason that has no code of its own.",
        "Read the CA's words in detail.",
    ),
    Reason(
        "eab_required",
        "operator",
        "The CA asks for an external account binding.",
        "Set ACME_EAB_KID and ACME_EAB_HMAC_KEY to what {ca} gave you.",
    ),
    Reason(
        "eab_refused",
        "operator",
        "The CA does not accept the external account binding.",
        "Check ACME_EAB_KID and ACME_EAB_HMAC_KEY; many CAs accept each pair only once.",
    ),
    Reason(
        "account_unknown",
        "nobody",
        "The CA does not know the account any more.",
        "Nothing to do: the account is registered again and the order repeated.",
    ),
    Reason(
        "order_gone",
        "nobody",
        "The CA does not know the order any more, or it has become invalid.",
        "Nothing to do: a new order is made.",
    ),
    Reason(
        "issuance_slow",
        "ca",
        "The order is finalized, but the CA has not issued in time.",
        "Nothing to do: the same order is looked at again at {when}.",
    ),
    Reason(
        "already_replaced",
        "nobody",
        "The certificate to be replaced has a successor already.",
        "Nothing to do: the order is made without naming a predecessor.",
    ),
    Reason(
        "revocation_refused",
        "operator",
        "The CA does not revoke the certificate.",
        "Read the CA's words; only the account that ordered a certificate may revoke it.",
    ),
    # What is held back or missing on our own side.
    Reason(
        "limit_reserved",
        "nobody",
        "Held back so as to stay under the CA's published rate limit.",
        "Nothing to do: its turn comes at {when}.",
    ),
    Reason(
        "edge_absent",
        "operator",
        "No edge has sent a heartbeat.",
        "Start nginx with lua/edge and check its EDGE_REDIS_URL and EDGE_HEARTBEAT_REDIS_URL.",
    ),
    Reason(
        "edge_lagging",
        "operator",
        "A live edge has not applied the published revision yet.",
        "Look at `lag` and `refusing` in GET /edges; that edge may read from a Redis replica that stands still, "
        "or refuse more hosts than it names.",
    ),
    Reason(
        "edge_refused",
        "operator",
        "An edge refused what was published and keeps serving what it had.",
        "Look at `refused` in GET /edges and at that edge's error log; check that its keyring is ours.",
    ),
    Reason(
        "redis_unavailable",
        "operator",
        "Redis cannot be reached or refuses writes; edges go on serving what they have.",
        "Check REDIS_URL and the Redis server; publishing resumes by itself.",
    ),
    Reason(
        "publish_refused",
        "nobody",
        "A newer change of the same host came first, or the data set was rebuilt.",
        "Nothing to do: the host is published again from the database.",
    ),
    Reason(
        "certificate_absent",
        "operator",
        "Issuance is switched off and the host has no certificate of its own.",
        "Upload a certificate for {hostname}, or switch acme_enabled on.",
    ),
    Reason(
        "certificate_expiring",
        "tenant",
        "The host's own (uploaded) certificate nears its end.",
        "Upload its successor for {hostname}, or delete it to go back to the CA.",
    ),
    Reason(
        "certificate_unusable",
        "operator",
        "The certificate does not parse, match its key, cover the hostname or lie within its dates.",
        "Upload a chain (leaf first) and key that belong to {hostname}; the old one stays in use.",
    ),
    Reason(
        "key_unopenable",
        "operator",
        "A sealed key cannot be opened with any key of the keyring.",
        "Restore the missing line of EDGE_KEYRING; without it the certificate must be issued again.",
    ),
    Reason(
        "internal_error",
        "operator",
        "Something went wrong in modoboa-edge itself.",
        "Look into the worker's log for the same request id and report it.",
    ),
)

REASONS: Mapping[str, Reason] = {reason.code: reason for reason in _TABLE}


def actor(code: str) -> str:
    """Who must act; `operator` for a code that nobody listed, since somebody must look."""
    reason = REASONS.get(code)
    return reason.actor if reason else "operator"


def known(hostname: str, addresses: Sequence[str], when: datetime | None) -> dict[str, str]:
    """Values for a hint, of those in `KNOWN` that there are."""
    values = {"hostname": hostname}
    if addresses:
        values["addresses"] = " and ".join(addresses)
    if when is not None:
        values["when"] = f"{when:%Y-%m-%d %H:%M:%S} UTC"
    return values


def hint(code: str, **known: str) -> str:
    """The sentence for `code`, with the values of `KNOWN` that the caller has; empty for no such code."""
    reason = REASONS.get(code)
    return reason.hint.format_map(_Words(known)) if reason else ""
