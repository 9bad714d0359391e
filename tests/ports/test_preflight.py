"""Preflight through the real resolver and probe: each finding with its reason, its fix and its record."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from control import preflight
from control.adapters.dns_resolver import DnsResolver, PortProbe
from control.ports import Challenge, ProbeAnswer
from control.preflight import Check, Expected
from deploy.process import free_port
from tests.fakes.dns_server import DnsServer
from tests.fakes.listener import listener
from tests.fakes.port80 import Port80
from tests.fakes.resolver import FakeProbe

EDGE = "9.9.9.9"
EDGE6 = "2620:fe::fe"
OTHER = "8.8.8.8"
HOST = "mail.acme.test"
PUBLIC = Expected(addresses=(EDGE, EDGE6), caa_identities=("letsencrypt.org",))


@pytest.fixture
def dns() -> Iterator[DnsServer]:
    """A DNS server of this test's own."""
    server = DnsServer()
    yield server
    server.close()


def examine(
    dns: DnsServer, expected: Expected = PUBLIC, host: str = HOST, seconds: float = 2.0
) -> dict[str, Check]:
    """The findings by check, through the real adapters."""
    resolver = DnsResolver([dns.address], seconds=seconds)
    probe = PortProbe(allow_private=expected.allow_private)
    return {check.check: check for check in preflight.examine(host, resolver, probe, expected)}


def test_all_is_well(dns: DnsServer) -> None:
    dns.add(HOST, "A", EDGE)
    dns.add(HOST, "AAAA", EDGE6)
    found = examine(dns)
    assert {name: check.verdict for name, check in found.items()} == {
        "a": "pass",
        "aaaa": "pass",
        "cname": "pass",
        "caa": "pass",
    }
    assert preflight.blocking(list(found.values())) is None


def test_a_name_that_does_not_exist_comes_with_the_records_to_set(dns: DnsServer) -> None:
    check = examine(dns)["a"]
    assert (check.verdict, check.reason, check.actor) == ("fail", "dns_nxdomain", "tenant")
    assert check.record == (
        "mail.acme.test. 300 IN A 9.9.9.9\nmail.acme.test. 300 IN AAAA 2620:fe::fe"
    )


def test_a_name_without_addresses(dns: DnsServer) -> None:
    dns.add(HOST, "TXT", '"x"')
    assert examine(dns)["a"].reason == "dns_no_address"


def test_an_address_elsewhere_says_which_and_what_to_set(dns: DnsServer) -> None:
    dns.add(HOST, "A", OTHER)
    check = examine(dns)["a"]
    assert (check.verdict, check.reason) == ("fail", "dns_points_elsewhere")
    assert check.evidence == (
        "mail.acme.test resolves to 8.8.8.8, this edge is 9.9.9.9 and 2620:fe::fe"
    )
    assert check.record == "mail.acme.test. 300 IN A 9.9.9.9"
    assert check.fix == (
        "Change the A and AAAA records of mail.acme.test to 9.9.9.9 and 2620:fe::fe."
    )


def test_an_ipv6_address_elsewhere_fails_though_ipv4_is_ours(dns: DnsServer) -> None:
    dns.add(HOST, "A", EDGE)
    dns.add(HOST, "AAAA", "2001:4860:4860::8888")
    found = examine(dns)
    assert found["a"].verdict == "pass"
    assert (found["aaaa"].verdict, found["aaaa"].reason) == ("fail", "dns_points_elsewhere")


def test_one_address_of_several_elsewhere_is_a_warning(dns: DnsServer) -> None:
    dns.add(HOST, "A", EDGE, OTHER)
    check = examine(dns)["a"]
    assert (check.verdict, check.reason) == ("warn", "dns_partly_elsewhere")


def test_an_alias_is_told_with_its_target(dns: DnsServer) -> None:
    dns.add(HOST, "CNAME", "edge.provider.test.")
    dns.add("edge.provider.test", "A", EDGE)
    found = examine(dns)
    assert "mail.acme.test → edge.provider.test" in found["cname"].evidence
    assert found["a"].verdict == "pass"


@pytest.mark.parametrize("code", ["SERVFAIL", "REFUSED"])
def test_a_broken_zone(dns: DnsServer, code: str) -> None:
    dns.codes[HOST] = code
    assert examine(dns)["a"].reason == "dns_servfail"


def test_silence_does_not_stop_the_order(dns: DnsServer) -> None:
    dns.silent.add(HOST)
    check = examine(dns, seconds=0.1)["a"]
    assert (check.verdict, check.reason, check.actor) == ("warn", "dns_timeout", "nobody")


def test_a_private_address_in_public_dns(dns: DnsServer) -> None:
    dns.add(HOST, "A", "192.168.1.4")
    assert examine(dns)["a"].reason == "address_private"
    allowed = replace(PUBLIC, addresses=("192.168.1.4",), allow_private=True)
    assert examine(dns, allowed)["a"].verdict == "pass"


@pytest.mark.parametrize(
    ("records", "reason"),
    [
        (['0 issue "other-ca.example"'], "caa_forbids"),
        (['0 issue ";"'], "caa_forbids"),
        (['0 issue "letsencrypt.org"'], None),
        (['0 issue "LetsEncrypt.org "'], None),
        (['0 issue "other-ca.example"', '0 issue "letsencrypt.org"'], None),
        (['0 issuewild "other-ca.example"'], None),
        (['0 iodef "mailto:x@acme.test"'], None),
        (['128 tbs "unknown"'], "caa_critical_unknown"),
        (['128 issue "letsencrypt.org"'], None),
        (['0 issue "letsencrypt.org; validationmethods=dns-01"'], "caa_method_forbidden"),
        (['0 issue "letsencrypt.org; validationmethods=dns-01,http-01"'], None),
        (
            ['0 issue "letsencrypt.org; accounturi=https://ca.example/acct/2"'],
            "caa_account_forbidden",
        ),
        (['0 issue "letsencrypt.org; accounturi=https://ca.example/acct/1"'], None),
    ],
)
def test_caa(dns: DnsServer, records: list[str], reason: str | None) -> None:
    dns.add(HOST, "A", EDGE)
    dns.add("acme.test", "CAA", *records)
    check = examine(dns, replace(PUBLIC, account_uri="https://ca.example/acct/1"))["caa"]
    assert (check.reason, check.verdict) == (reason, "fail" if reason else "pass")
    if reason:
        assert check.record == 'acme.test. 300 IN CAA 0 issue "letsencrypt.org"'
        assert "CAA at acme.test:" in check.evidence


def test_a_ca_that_names_no_identity_cannot_be_judged(dns: DnsServer) -> None:
    dns.add(HOST, "A", EDGE)
    dns.add(HOST, "CAA", '0 issue "other-ca.example"')
    assert examine(dns, replace(PUBLIC, caa_identities=()))["caa"].verdict == "warn"


@pytest.fixture
def web() -> Iterator[Port80]:
    """This edge's port 80, on loopback."""
    web = Port80()
    yield web
    web.close()


def probed(web: Port80) -> Expected:
    """An edge on loopback that answers a probe."""
    token = "p" * 32
    web.publish(Challenge(HOST, "", token, "probe.thumbprint"))
    return Expected(
        addresses=("127.0.0.1",),
        port=web.port,
        token=token,
        answer="probe.thumbprint",
        allow_private=True,
    )


def test_port_80_answers_our_challenge(dns: DnsServer, web: Port80) -> None:
    dns.add(HOST, "A", "127.0.0.1")
    check = examine(dns, probed(web))["port80"]
    assert check.verdict == "pass"
    assert "answers 200 with this edge's challenge" in check.evidence


def test_something_else_on_port_80(dns: DnsServer, web: Port80) -> None:
    dns.add(HOST, "A", "127.0.0.1")
    check = examine(dns, replace(probed(web), token="q" * 32))["port80"]
    assert (check.verdict, check.reason) == ("fail", "port80_wrong_answer")


def test_a_redirect_on_port_80_is_a_warning(dns: DnsServer) -> None:
    def talk(client: socketserver.StreamRequestHandler) -> None:
        client.wfile.write(b"HTTP/1.1 301 Moved\r\nLocation: https://mail.acme.test/\r\n\r\n")

    dns.add(HOST, "A", "127.0.0.1")
    expected = Expected(addresses=("127.0.0.1",), token="p" * 32, answer="x", allow_private=True)
    with listener(talk) as port:
        check = examine(dns, replace(expected, port=port))["port80"]
    assert (check.verdict, check.reason) == ("warn", "port80_redirects")


def test_nothing_on_port_80(dns: DnsServer, web: Port80) -> None:
    dns.add(HOST, "A", "127.0.0.1")
    check = examine(dns, replace(probed(web), port=free_port()))["port80"]
    assert (check.verdict, check.reason) == ("fail", "port80_unreachable")


def test_an_address_that_is_not_ours_but_reaches_us_is_well(dns: DnsServer, web: Port80) -> None:
    dns.add(HOST, "A", "127.0.0.1")
    found = examine(dns, replace(probed(web), addresses=(EDGE,)))
    assert (found["a"].verdict, found["port80"].verdict) == ("pass", "pass")


@pytest.mark.parametrize("addresses", [(EDGE,), ()])
def test_a_network_that_cannot_ask_itself_does_not_stop_the_order(
    dns: DnsServer, addresses: tuple[str, ...]
) -> None:
    dns.add(HOST, "A", EDGE)
    probe = FakeProbe(refused={EDGE})
    expected = replace(PUBLIC, addresses=addresses, token="p" * 32, answer="x")
    resolver = DnsResolver([dns.address])
    checks = preflight.examine(HOST, resolver, probe, expected)
    assert [(c.verdict, c.reason) for c in checks if c.check == "port80"] == [
        ("warn", "port80_not_seen_from_here")
    ]
    assert preflight.blocking(checks) is None


@pytest.mark.parametrize(
    ("addresses", "verdict"), [((EDGE,), "warn"), ((OTHER,), "fail"), ((), "fail")]
)
def test_a_router_that_answers_at_our_own_public_address_does_not_stop_the_order(
    dns: DnsServer, addresses: tuple[str, ...], verdict: str
) -> None:
    dns.add(HOST, "A", EDGE)
    path = preflight.PROBE_PREFIX + "p" * 32
    probe = FakeProbe(answers={(EDGE, path): b"<title>Router</title>"})
    expected = replace(PUBLIC, addresses=addresses, token="p" * 32, answer="x")
    checks = preflight.examine(HOST, DnsResolver([dns.address]), probe, expected)
    assert [(c.verdict, c.reason) for c in checks if c.check == "port80"] == [
        (verdict, "port80_wrong_answer")
    ]


def test_a_private_address_is_not_connected_to(dns: DnsServer, web: Port80) -> None:
    dns.add(HOST, "A", "127.0.0.1")
    found = examine(dns, replace(probed(web), allow_private=False))
    assert found["port80"].reason == "address_private"
    assert web.asked == []


def test_a_name_of_many_addresses_is_told_so_and_none_of_them_is_asked(dns: DnsServer) -> None:
    dns.add(HOST, "A", *(f"9.9.8.{number}" for number in range(200)))
    probe = FakeProbe()
    expected = replace(PUBLIC, token="p" * 32, answer="x")
    checks = preflight.examine(HOST, DnsResolver([dns.address]), probe, expected)
    found = preflight.blocking(checks)
    assert found is not None
    assert (found.check, found.reason, found.actor) == ("a", "dns_too_many_addresses", "tenant")
    assert found.evidence == "mail.acme.test has 200 A and 0 AAAA records"
    assert (
        found.record == "mail.acme.test. 300 IN A 9.9.9.9\nmail.acme.test. 300 IN AAAA 2620:fe::fe"
    )
    assert probe.asked == []


def test_an_edge_of_many_addresses_may_have_them_all_in_dns(dns: DnsServer) -> None:
    addresses = tuple(f"9.9.8.{number}" for number in range(12))
    dns.add(HOST, "A", *addresses)
    probe = FakeProbe(answers={(a, preflight.PROBE_PREFIX + "p" * 32): b"x" for a in addresses})
    expected = replace(PUBLIC, addresses=addresses, token="p" * 32, answer="x")
    checks = preflight.examine(HOST, DnsResolver([dns.address]), probe, expected)
    assert preflight.blocking(checks) is None
    assert len(probe.asked) == 12


class Together:
    """A probe that answers nobody until everybody has been asked."""

    def __init__(self, addresses: int) -> None:
        self._asked = threading.Barrier(addresses)

    def get(self, hostname: str, address: str, port: int, path: str) -> ProbeAnswer:
        """See the port."""
        self._asked.wait(10)
        return ProbeAnswer(address, 200, b"x")


def test_addresses_are_asked_at_the_same_time(dns: DnsServer) -> None:
    dns.add(HOST, "A", *(f"9.9.8.{number}" for number in range(8)))
    expected = replace(PUBLIC, token="p" * 32, answer="x")
    checks = preflight.examine(HOST, DnsResolver([dns.address]), Together(8), expected)
    assert [check.verdict for check in checks if check.check == "port80"] == ["pass"]


def test_evidence_is_short_however_long_the_records_are(dns: DnsServer) -> None:
    dns.add(HOST, "A", EDGE)
    dns.add("acme.test", "CAA", *(f'0 issue "{number}{"x" * 200}"' for number in range(12)))
    check = examine(dns)["caa"]
    assert check.reason == "caa_forbids"
    assert len(check.evidence) == preflight.LONGEST_EVIDENCE


def test_dns_that_has_left_is_told_from_other_faults(dns: DnsServer) -> None:
    dns.add("gone.acme.test", "A", OTHER)
    dns.codes["broken.acme.test"] = "SERVFAIL"
    assert preflight.points_elsewhere(list(examine(dns, host="gone.acme.test").values()))
    assert not preflight.points_elsewhere(list(examine(dns, host="broken.acme.test").values()))
