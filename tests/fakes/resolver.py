"""FakeResolver and FakeProbe: DNS and port 80 in memory; both remember what they were asked."""

from __future__ import annotations

from dataclasses import dataclass, field

from control.addresses import is_public
from control.ports import AddressAnswer, CaaAnswer, CaaRecord, PortError, ProbeAnswer


@dataclass
class FakeResolver:
    """`names` maps a hostname to its addresses or to the error that asking for it raises."""

    names: dict[str, AddressAnswer | PortError] = field(default_factory=dict)
    caa_records: dict[str, tuple[CaaRecord, ...]] = field(default_factory=dict)
    default: AddressAnswer | None = None
    asked: list[str] = field(default_factory=list)

    def addresses(self, hostname: str) -> AddressAnswer:
        """See the port."""
        self.asked.append(hostname)
        found = self.names.get(hostname, self.default)
        if isinstance(found, PortError):
            raise found
        if found is None:
            raise PortError("dns_nxdomain", f"{hostname} A: no such name")
        return found

    def caa(self, hostname: str) -> CaaAnswer:
        """See the port."""
        labels = hostname.split(".")
        for start in range(len(labels)):
            owner = ".".join(labels[start:])
            if self.caa_records.get(owner):
                return CaaAnswer(owner, self.caa_records[owner])
        return CaaAnswer(None, ())


@dataclass
class FakeProbe:
    """`answers` maps (address, path) to a body; an address in `refused` does not answer at all."""

    answers: dict[tuple[str, str], bytes] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    allow_private: bool = True
    asked: list[tuple[str, str, int, str]] = field(default_factory=list)

    def get(self, hostname: str, address: str, port: int, path: str) -> ProbeAnswer:
        """See the port."""
        self.asked.append((hostname, address, port, path))
        if not self.allow_private and not is_public(address):
            raise PortError("address_private", f"{address} is not a public address")
        if address in self.refused:
            raise PortError("port80_unreachable", f"{address} port {port}: Connection refused")
        body = self.answers.get((address, path))
        return ProbeAnswer(address, 404 if body is None else 200, body or b"not here")
