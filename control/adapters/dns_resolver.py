"""DnsResolver and PortProbe: the ports Resolver and HttpProbe on dnspython and on one plain socket."""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Sequence
from ipaddress import ip_address
from typing import cast

import dns.exception
import dns.message
import dns.name
import dns.nameserver
import dns.rdatatype
import dns.rdtypes.ANY.CAA
import dns.resolver
import dns.rrset

from control.adapters.exchange import exchange
from control.addresses import is_public
from control.ports import AddressAnswer, CaaAnswer, CaaRecord, PortError, ProbeAnswer

LONGEST_CHAIN = 8  # CNAMEs followed; Let's Encrypt's resolver gives up at about as many
BARE_SECONDS, MOST_BARE = 60.0, 10_000


class DnsResolver:
    """Asks the given name servers, or the system's.

    Nothing is remembered but, for a minute, which parent domains have no CAA record: all hostnames of a
    zone and of its registry would ask for the same. Who is told of a new one too late hears it from the CA.
    """

    def __init__(self, servers: Sequence[str] = (), *, seconds: float = 2.0) -> None:
        """`servers` are addresses, each with an optional port (`192.0.2.1:5353`, `[2001:db8::1]:53`).

        `seconds` for one server, twice that for a question, six times for all that one call has to ask.
        ValueError for one that is no address.
        """
        try:
            self._resolver = dns.resolver.Resolver(configure=not servers)
        except dns.resolver.NoResolverConfiguration:
            self._resolver = dns.resolver.Resolver(configure=False)  # every question will fail
        if servers:
            self._resolver.nameservers = [_server(text) for text in servers]
        self._resolver.timeout = seconds
        self._resolver.lifetime = seconds * 2
        self._patience = seconds * 6
        self._resolver.search = []
        self._bare: dict[dns.name.Name, float] = {}

    def addresses(self, hostname: str) -> AddressAnswer:
        """See the port."""
        deadline = time.monotonic() + self._patience
        cnames4, ipv4 = self._follow(hostname, dns.rdatatype.A, deadline)
        cnames6, ipv6 = self._follow(hostname, dns.rdatatype.AAAA, deadline)
        return AddressAnswer(cnames4 or cnames6, ipv4, ipv6)

    def _follow(
        self, hostname: str, kind: dns.rdatatype.RdataType, deadline: float
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The CNAMEs and the records of one kind; a server that does not follow CNAMEs is asked again."""
        cnames: list[str] = []
        name = dns.name.from_text(hostname)
        while len(cnames) <= LONGEST_CHAIN:
            answer = self._ask(name, kind, deadline)
            found, after = _records(answer, name, kind), _cname(answer, name)
            while after is not None and len(cnames) <= LONGEST_CHAIN:
                cnames.append(after.to_text(omit_final_dot=True))
                name = after
                found, after = _records(answer, name, kind), _cname(answer, name)
            if found or not cnames or name == _asked(answer):
                return tuple(cnames), tuple(sorted(record.to_text() for record in found))
        raise PortError("dns_servfail", f"{hostname}: more than {LONGEST_CHAIN} CNAMEs in a row")

    def caa(self, hostname: str) -> CaaAnswer:
        """See the port (RFC 8659 §3)."""
        deadline = time.monotonic() + self._patience
        asked = name = dns.name.from_text(hostname)
        while len(name) > 1:
            if self._bare.get(name, 0) < time.monotonic() or name == asked:
                records = self._caa_at(name, deadline)
                if records:
                    return CaaAnswer(name.to_text(omit_final_dot=True), records)
                if name != asked:
                    self._remember_bare(name)
            name = name.parent()
        return CaaAnswer(None, ())

    def _remember_bare(self, name: dns.name.Name) -> None:
        if len(self._bare) >= MOST_BARE:
            self._bare.clear()
        self._bare[name] = time.monotonic() + BARE_SECONDS

    def _caa_at(self, name: dns.name.Name, deadline: float) -> tuple[CaaRecord, ...]:
        """The record set at `name`, aliases followed; empty when there is none, or no such name."""
        for _ in range(LONGEST_CHAIN):
            try:
                answer = self._ask(name, dns.rdatatype.CAA, deadline)
            except PortError as error:
                if error.reason == "dns_nxdomain":
                    return ()
                raise
            after = _cname(answer, name)
            while after is not None and not _records(answer, name, dns.rdatatype.CAA):
                name, after = after, _cname(answer, after)
            found = _records(answer, name, dns.rdatatype.CAA)
            if found or name == _asked(answer):
                return tuple(_caa_record(record) for record in found)
        raise PortError("dns_servfail", f"{name}: more than {LONGEST_CHAIN} CNAMEs in a row")

    def _ask(
        self, name: dns.name.Name, kind: dns.rdatatype.RdataType, deadline: float
    ) -> dns.message.Message:
        """One question; PortError `dns_nxdomain|dns_servfail|dns_timeout`."""
        words = f"{name.to_text(omit_final_dot=True)} {dns.rdatatype.to_text(kind)}"
        lifetime = min(self._resolver.lifetime, deadline - time.monotonic())
        if lifetime <= 0:
            raise PortError("dns_timeout", f"{words}: {self._patience:g} s were over before")
        try:
            answer = self._resolver.resolve(
                name, kind, raise_on_no_answer=False, search=False, lifetime=lifetime
            )
        except dns.resolver.NXDOMAIN as error:
            raise PortError("dns_nxdomain", f"{words}: no such name") from error
        except dns.exception.Timeout as error:
            raise PortError("dns_timeout", f"{words}: {error}") from error
        except (dns.resolver.NoNameservers, dns.resolver.YXDOMAIN) as error:
            raise PortError("dns_servfail", f"{words}: {error}") from error
        return cast(dns.message.Message, answer.response)


def _server(text: str) -> str | dns.nameserver.Nameserver:
    """A name server from its text; ValueError for anything but an address with an optional port."""
    host, separator, port = text.rpartition(":")
    if separator and host.startswith("[") and host.endswith("]"):
        return dns.nameserver.Do53Nameserver(str(ip_address(host[1:-1])), int(port))
    if separator and ":" not in host:
        return dns.nameserver.Do53Nameserver(str(ip_address(host)), int(port))
    return str(ip_address(text.strip("[]")))


def _asked(message: dns.message.Message) -> dns.name.Name:
    return message.question[0].name


def _records(
    message: dns.message.Message, name: dns.name.Name, kind: dns.rdatatype.RdataType
) -> Sequence[dns.rdata.Rdata]:
    """The records of `kind` that the answer holds for `name`."""
    for rrset in message.answer:
        if rrset.name == name and rrset.rdtype == kind:
            return list(rrset)
    return []


def _cname(message: dns.message.Message, name: dns.name.Name) -> dns.name.Name | None:
    """Where the answer says that `name` is an alias of."""
    for rrset in message.answer:
        if rrset.name == name and rrset.rdtype == dns.rdatatype.CNAME:
            return cast(dns.name.Name, rrset[0].target)
    return None


def _caa_record(record: dns.rdata.Rdata) -> CaaRecord:
    caa = cast(dns.rdtypes.ANY.CAA.CAA, record)
    return CaaRecord(
        caa.flags, caa.tag.decode("ascii", "replace").lower(), caa.value.decode("utf-8", "replace")
    )


class PortProbe:
    """One GET to the very address that was resolved, so that a second resolution cannot lead elsewhere."""

    def __init__(
        self, *, allow_private: bool = False, seconds: float = 2.0, largest: int = 4096
    ) -> None:
        """`seconds` for everything together, `largest` bytes of the body kept."""
        self._allow_private = allow_private
        self._seconds = seconds
        self._largest = largest

    def get(self, hostname: str, address: str, port: int, path: str) -> ProbeAnswer:
        """See the port; a redirect is an answer like any other and is not followed."""
        if not self._allow_private and not is_public(address):
            raise PortError("address_private", f"{address} is not a public address")
        host = hostname if port == 80 else f"{hostname}:{port}"
        request = (
            f"GET {path} HTTP/1.0\r\nHost: {host}\r\nUser-Agent: modoboa-edge/0.1 (preflight)\r\n"
            "Accept: */*\r\nConnection: close\r\n\r\n"
        )
        deadline = time.monotonic() + self._seconds
        try:
            with socket.create_connection((address, port), self._seconds) as connection:
                status, body = exchange(
                    connection, request.encode("ascii"), deadline=deadline, largest=self._largest
                )
        except (OSError, http.client.HTTPException, ValueError) as error:
            words = f"{address} port {port}: {_plain(error)}"
            raise PortError("port80_unreachable", words) from error
        return ProbeAnswer(address, status, body)


def _plain(error: Exception) -> str:
    """The error in words, without Python's numbers."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
