"""DNS, CAA, port 80: would issuance succeed, and if not, what to fix and which record to set."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from ipaddress import ip_address

from control import caa, reasons
from control.addresses import is_public, same
from control.ports import AddressAnswer, HttpProbe, PortError, ProbeAnswer, Resolver

TTL = 300  # seconds, in the records we suggest: a mistake is soon forgotten
PROBE_PREFIX = "/.well-known/acme-challenge/"
MOST_ADDRESSES = 8  # of one hostname that are connected to; more where the edge itself has more
LONGEST_EVIDENCE = 1000  # characters


@dataclass(frozen=True)
class Expected:
    """What a tenant's DNS and port 80 should say.

    `addresses` are this edge's public ones (none: not compared). `token` and `answer` are a challenge
    that the edges already answer for the hostname; without a token port 80 is not asked.
    `caa_identities` and `account_uri` are of the CA that would be used, as far as known.
    """

    addresses: tuple[str, ...] = ()
    port: int = 80
    token: str = ""
    answer: str = ""
    caa_identities: tuple[str, ...] = ()
    account_uri: str = ""
    allow_private: bool = False


@dataclass(frozen=True)
class Check:
    """One finding; `check` is a|aaaa|cname|caa|port80, `verdict` pass|warn|fail, `record` ready to paste."""

    check: str
    verdict: str
    evidence: str
    reason: str | None = None
    actor: str | None = None
    fix: str | None = None
    record: str | None = None


def examine(
    hostname: str, resolver: Resolver, probe: HttpProbe, expected: Expected
) -> tuple[Check, ...]:
    """Every check, in the order in which a CA would stumble. Never raises for what it finds.

    However much a tenant puts into DNS: no more than MOST_ADDRESSES are connected to, all at the same time,
    and no evidence is longer than LONGEST_EVIDENCE.
    """
    checks = _examine(hostname, resolver, probe, expected)
    return tuple(replace(check, evidence=_short(check.evidence)) for check in checks)


def _examine(
    hostname: str, resolver: Resolver, probe: HttpProbe, expected: Expected
) -> Sequence[Check]:
    try:
        found = resolver.addresses(hostname)
    except PortError as error:
        return (_unresolved(hostname, error, expected), _caa(hostname, resolver, expected))
    if len(found.ipv4) + len(found.ipv6) > max(MOST_ADDRESSES, len(expected.addresses)):
        many = _too_many(hostname, found, expected)
        return (many, _cname(hostname, found), _caa(hostname, resolver, expected))
    probes = _probe_all(hostname, found, probe, expected)
    reached = {p.address for p in probes if isinstance(p, ProbeAnswer) and _ours(p, expected)}
    checks = [
        *_families(hostname, found, expected, reached),
        _cname(hostname, found),
        _caa(hostname, resolver, expected),
    ]
    if expected.token and (found.ipv4 or found.ipv6):
        checks.append(_port80(hostname, probes, expected))
    return checks


def _short(evidence: str) -> str:
    return evidence if len(evidence) <= LONGEST_EVIDENCE else f"{evidence[: LONGEST_EVIDENCE - 1]}…"


def blocking(checks: Sequence[Check]) -> Check | None:
    """The finding that makes an order pointless; None when the CA may be asked."""
    return next((check for check in checks if check.verdict == "fail"), None)


def points_elsewhere(checks: Sequence[Check]) -> bool | None:
    """Whether DNS says that the tenant has left, or never came; None where it leaves that open."""
    if any(c.verdict == "fail" and c.reason in _AWAY for c in checks):
        return True
    return None if undecided(checks) else False


def undecided(checks: Sequence[Check]) -> Check | None:
    """The finding that leaves open where the name points; None when DNS has said it."""
    return next((c for c in checks if c.check in ("a", "aaaa") and c.reason in _UNDECIDED), None)


_AWAY = ("dns_points_elsewhere", "dns_nxdomain", "dns_no_address")
_UNDECIDED = ("dns_timeout", "dns_servfail", "address_private")


def _finding(
    check: str,
    verdict: str,
    evidence: str,
    reason: str,
    hostname: str,
    expected: Expected,
    record: str | None = None,
) -> Check:
    """A finding with the words of its reason."""
    known = {"hostname": hostname}
    if expected.addresses:
        known["addresses"] = " and ".join(expected.addresses)
    if expected.caa_identities:
        known["ca"] = expected.caa_identities[0]
    fix = reasons.hint(reason, **known)
    return Check(check, verdict, evidence, reason, reasons.actor(reason), fix, record)


def _unresolved(hostname: str, error: PortError, expected: Expected) -> Check:
    """DNS gave no answer; a time-out may be ours alone, so the CA is asked all the same."""
    verdict = "warn" if error.reason == "dns_timeout" else "fail"
    record = _address_records(hostname, expected) if error.reason == "dns_nxdomain" else None
    return _finding("a", verdict, error.detail, error.reason, hostname, expected, record)


def _too_many(hostname: str, found: AddressAnswer, expected: Expected) -> Check:
    """So many addresses that none of them is asked: we would be somebody's amplifier."""
    evidence = f"{hostname} has {len(found.ipv4)} A and {len(found.ipv6)} AAAA records"
    record = _address_records(hostname, expected)
    return _finding("a", "fail", evidence, "dns_too_many_addresses", hostname, expected, record)


def _families(
    hostname: str, found: AddressAnswer, expected: Expected, reached: set[str]
) -> list[Check]:
    """One check for A, one for AAAA."""
    if not found.ipv4 and not found.ipv6:
        evidence = f"{hostname} has neither an A nor an AAAA record"
        record = _address_records(hostname, expected)
        return [
            _finding("a", "fail", evidence, "dns_no_address", hostname, expected, record),
            Check("aaaa", "pass", f"{hostname} has no AAAA record"),
        ]
    good = {a for a in (*found.ipv4, *found.ipv6) if a in reached or _is_ours(a, expected)}
    families = (("a", found.ipv4), ("aaaa", found.ipv6))
    return [_family(hostname, name, is_at, good, reached, expected) for name, is_at in families]


def _family(
    hostname: str,
    name: str,
    addresses: tuple[str, ...],
    good: set[str],
    reached: set[str],
    expected: Expected,
) -> Check:
    """What the addresses of one family mean for a CA, which asks IPv6 first and any address of it."""
    record = _address_records(hostname, expected, name)
    if not addresses:
        return Check(name, "pass", f"{hostname} has no {name.upper()} record")
    evidence = f"{hostname} resolves to {' and '.join(addresses)}"
    private = [a for a in addresses if not is_public(a)]
    if private and not expected.allow_private:
        return _finding(name, "fail", evidence, "address_private", hostname, expected, record)
    if not expected.addresses and not reached:
        return Check(name, "pass", f"{evidence}; this edge's addresses are not set")
    foreign = [a for a in addresses if a not in good]
    if expected.addresses:
        evidence += f", this edge is {' and '.join(expected.addresses)}"
    if not foreign:
        return Check(name, "pass", evidence)
    if len(foreign) == len(addresses) and (name == "aaaa" or not good):
        return _finding(name, "fail", evidence, "dns_points_elsewhere", hostname, expected, record)
    return _finding(name, "warn", evidence, "dns_partly_elsewhere", hostname, expected, record)


def _is_ours(address: str, expected: Expected) -> bool:
    return any(same(address, ours) for ours in expected.addresses)


def _address_records(hostname: str, expected: Expected, family: str | None = None) -> str | None:
    """The records to paste into the zone: of one family, or of both; None when we do not know any."""
    lines = []
    for address in expected.addresses:
        kind = "A" if ip_address(address).version == 4 else "AAAA"
        if family in (None, kind.lower()):
            lines.append(f"{hostname}. {TTL} IN {kind} {address}")
    return "\n".join(lines) or None


def _cname(hostname: str, found: AddressAnswer) -> Check:
    """An alias is no fault; it says where the addresses have to be changed."""
    if not found.cnames:
        return Check("cname", "pass", f"{hostname} is no alias")
    return Check(
        "cname", "pass", f"{' → '.join((hostname, *found.cnames))}: change addresses there"
    )


def _caa(hostname: str, resolver: Resolver, expected: Expected) -> Check:
    """Whether CAA lets the CA issue (RFC 8659, RFC 8657)."""
    try:
        answer = resolver.caa(hostname)
    except PortError as error:
        # A CA must treat a failed CAA lookup as a refusal, but our resolver is not its resolver.
        return _finding("caa", "warn", error.detail, error.reason, hostname, expected)
    if answer.owner is None:
        return Check("caa", "pass", f"no CAA record at {hostname} or above it")
    said = "; ".join(f'{r.flags} {r.tag} "{r.value}"' for r in answer.records)
    evidence = f"CAA at {answer.owner}: {said}"
    reason = caa.verdict(answer.records, expected.caa_identities, expected.account_uri)
    if reason is None:
        return Check("caa", "pass", evidence)
    if not expected.caa_identities and reason != "caa_critical_unknown":
        return _finding("caa", "warn", evidence, reason, hostname, expected)
    wanted = (
        f'{answer.owner}. {TTL} IN CAA 0 issue "{expected.caa_identities[0]}"'
        if (expected.caa_identities)
        else None
    )
    return _finding("caa", "fail", evidence, reason, hostname, expected, wanted)


def _probe_all(
    hostname: str, found: AddressAnswer, probe: HttpProbe, expected: Expected
) -> list[ProbeAnswer | tuple[str, PortError]]:
    """What port 80 of each address answers, all asked at the same time; IPv6 first, as the CA asks."""
    addresses = (*found.ipv6, *found.ipv4)
    if not expected.token or not addresses:
        return []

    def ask(address: str) -> ProbeAnswer | tuple[str, PortError]:
        try:
            return probe.get(hostname, address, expected.port, PROBE_PREFIX + expected.token)
        except PortError as error:
            return (address, error)

    if len(addresses) == 1:
        return [ask(addresses[0])]
    with ThreadPoolExecutor(len(addresses), thread_name_prefix="probe") as pool:
        return list(pool.map(ask, addresses))


def _ours(answer: ProbeAnswer, expected: Expected) -> bool:
    """Whether the answer is the challenge that our edges were told to give."""
    return answer.status == 200 and answer.body.strip() == expected.answer.encode()


def _port80(
    hostname: str, probes: list[ProbeAnswer | tuple[str, PortError]], expected: Expected
) -> Check:
    """The worst of what the addresses answered."""
    each = [_one_probe(hostname, answer, expected) for answer in probes]
    worst = max(each, key=lambda check: ("pass", "warn", "fail").index(check.verdict))
    return replace(worst, evidence="; ".join(check.evidence for check in each))


def _one_probe(
    hostname: str, answer: ProbeAnswer | tuple[str, PortError], expected: Expected
) -> Check:
    if not isinstance(answer, ProbeAnswer):
        return _no_answer(hostname, *answer, expected)
    words = f"{answer.address} port {expected.port} answers {answer.status}"
    if _ours(answer, expected):
        return Check("port80", "pass", f"{words} with this edge's challenge")
    if 300 <= answer.status < 400:
        return _finding("port80", "warn", words, "port80_redirects", hostname, expected)
    words += " with something else than this edge's challenge"
    # Behind NAT our own public address may lead to the router, which says nothing about the CA's way.
    own = is_public(answer.address) and _is_ours(answer.address, expected)
    verdict = "warn" if own else "fail"
    return _finding("port80", verdict, words, "port80_wrong_answer", hostname, expected)


def _no_answer(hostname: str, address: str, error: PortError, expected: Expected) -> Check:
    """No connection. To a public address that says little: many networks cannot ask themselves, or no IPv6."""
    if error.reason == "address_private":
        return _finding("port80", "fail", error.detail, error.reason, hostname, expected)
    if is_public(address):
        reason = "port80_not_seen_from_here"
        return _finding("port80", "warn", error.detail, reason, hostname, expected)
    return _finding("port80", "fail", error.detail, error.reason, hostname, expected)
