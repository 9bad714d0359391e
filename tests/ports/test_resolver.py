"""DNS through the real adapter, against a small server that a test fills, and against Pebble's stub."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest

from control.adapters.dns_resolver import DnsResolver
from control.ports import AddressAnswer, CaaAnswer, CaaRecord, PortError, Resolver
from tests.conftest import Pebble
from tests.fakes.dns_server import DnsServer
from tests.fakes.resolver import FakeResolver


@pytest.fixture(scope="module")
def server() -> Iterator[DnsServer]:
    """A DNS server with one of everything."""
    server = DnsServer()
    server.add("mail.acme.test", "A", "198.51.100.4", "198.51.100.3")
    server.add("mail.acme.test", "AAAA", "2001:db8::4")
    server.add("www.acme.test", "CNAME", "edge.provider.test.")
    server.add("edge.provider.test", "CNAME", "a.provider.test.")
    server.add("a.provider.test", "A", "198.51.100.4")
    server.add("empty.acme.test", "TXT", '"nothing here"')
    server.add("loop.acme.test", "CNAME", "loop.acme.test.")
    server.add("acme.test", "CAA", '0 issue "letsencrypt.org"', '128 iodef "mailto:x@acme.test"')
    server.codes["broken.acme.test"] = "SERVFAIL"
    server.codes["caabroken.acme.test"] = "SERVFAIL"
    yield server
    server.close()


@pytest.fixture(params=["fake", "real"])
def resolver(request: pytest.FixtureRequest, server: DnsServer) -> Resolver:
    """The fake and the real one, holding the same."""
    if request.param == "real":
        return DnsResolver([server.address])
    return FakeResolver(
        {
            "mail.acme.test": AddressAnswer((), ("198.51.100.3", "198.51.100.4"), ("2001:db8::4",)),
            "www.acme.test": AddressAnswer(
                ("edge.provider.test", "a.provider.test"), ("198.51.100.4",), ()
            ),
            "empty.acme.test": AddressAnswer((), (), ()),
            "broken.acme.test": PortError("dns_servfail", "SERVFAIL"),
        },
        {
            "acme.test": (
                CaaRecord(0, "issue", "letsencrypt.org"),
                CaaRecord(128, "iodef", "mailto:x@acme.test"),
            )
        },
    )


def test_both_families_are_asked_for(resolver: Resolver) -> None:
    assert resolver.addresses("mail.acme.test") == AddressAnswer(
        (), ("198.51.100.3", "198.51.100.4"), ("2001:db8::4",)
    )


def test_aliases_are_followed_and_told(resolver: Resolver) -> None:
    assert resolver.addresses("www.acme.test") == AddressAnswer(
        ("edge.provider.test", "a.provider.test"), ("198.51.100.4",), ()
    )


def test_a_name_without_addresses_is_not_a_name_that_does_not_exist(resolver: Resolver) -> None:
    assert resolver.addresses("empty.acme.test") == AddressAnswer((), (), ())
    with pytest.raises(PortError) as caught:
        resolver.addresses("nobody.acme.test")
    assert caught.value.reason == "dns_nxdomain"


def test_a_server_s_failure_is_told_apart(resolver: Resolver) -> None:
    with pytest.raises(PortError) as caught:
        resolver.addresses("broken.acme.test")
    assert caught.value.reason == "dns_servfail"


def test_caa_is_found_on_the_way_up(resolver: Resolver) -> None:
    answer = resolver.caa("deep.mail.acme.test")
    assert (answer.owner, {record.tag for record in answer.records}) == (
        "acme.test",
        {"issue", "iodef"},
    )
    assert resolver.caa("mail.globex.test") == CaaAnswer(None, ())


def test_parents_without_caa_are_asked_once_but_the_name_itself_each_time(
    server: DnsServer,
) -> None:
    resolver = DnsResolver([server.address])
    assert resolver.caa("one.initech.test") == CaaAnswer(None, ())
    server.add("two.initech.test", "CAA", '0 issue "other.test"')
    before = len(server.asked)
    assert resolver.caa("three.initech.test") == CaaAnswer(None, ())
    assert server.asked[before:] == [("three.initech.test", "CAA")]
    assert resolver.caa("two.initech.test").owner == "two.initech.test"
    server.add("one.initech.test", "CAA", '0 issue "other.test"')
    assert resolver.caa("one.initech.test").owner == "one.initech.test"


def test_silence_is_a_time_out(server: DnsServer) -> None:
    server.silent.add("silent.acme.test")
    with pytest.raises(PortError) as caught:
        DnsResolver([server.address], seconds=0.1).addresses("silent.acme.test")
    assert caught.value.reason == "dns_timeout"


def test_a_zone_of_many_slow_answers_is_given_up() -> None:
    server = DnsServer()
    for number in range(7):
        server.add(f"n{number}.acme.test", "CNAME", f"n{number + 1}.acme.test.")
    server.add("n7.acme.test", "A", "198.51.100.4")
    resolver = DnsResolver([server.address], seconds=0.5)
    assert resolver.addresses("n0.acme.test").ipv4 == ("198.51.100.4",)
    server.pause = 0.3
    with pytest.raises(PortError) as caught:
        resolver.addresses("n0.acme.test")
    server.close()
    assert caught.value.reason == "dns_timeout"


def test_an_alias_of_itself_is_given_up(server: DnsServer) -> None:
    with pytest.raises(PortError) as caught:
        DnsResolver([server.address]).addresses("loop.acme.test")
    assert caught.value.reason == "dns_servfail"


def test_caa_climbing_stops_at_a_failing_server(server: DnsServer) -> None:
    with pytest.raises(PortError) as caught:
        DnsResolver([server.address]).caa("caabroken.acme.test")
    assert caught.value.reason == "dns_servfail"


def test_the_stub_that_pebble_asks_is_asked_alike(pebble: Pebble) -> None:
    pebble.dns("add-a", host="stub.acme.test.", addresses=["127.0.0.9"])
    policies = [{"tag": "issue", "value": "pebble.test"}]
    pebble.dns("add-caa", host="stub.acme.test.", policies=policies)
    resolver = DnsResolver([f"127.0.0.1:{pebble.dns_port}"])
    assert resolver.addresses("stub.acme.test").ipv4 == ("127.0.0.9",)
    assert [dataclasses.astuple(r) for r in resolver.caa("stub.acme.test").records] == [
        (0, "issue", "pebble.test")
    ]


@pytest.mark.parametrize("text", ["ns.acme.test", "192.0.2.1:dns", "192.0.2.300", ""])
def test_a_name_server_must_be_an_address(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        DnsResolver([text])


@pytest.mark.parametrize("text", ["192.0.2.1", "192.0.2.1:5353", "2001:db8::1", "[2001:db8::1]:53"])
def test_a_name_server_may_have_a_port(text: str) -> None:
    DnsResolver([text])
