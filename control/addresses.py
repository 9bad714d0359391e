"""Which IP addresses the public can reach: nothing else is connected to on a tenant's behalf."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

# Networks whose addresses carry an IPv4 address in their last 32 bits (RFC 6052 §2.1, RFC 4291 §2.5.5).
_CARRIERS = (IPv6Network("64:ff9b::/96"), IPv6Network("::/96"))
_LOCAL_NAT64 = IPv6Network("64:ff9b:1::/48")


def is_public(address: str) -> bool:
    """Whether an address is global unicast, also when it wraps an IPv4 address; False for no address."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return _is_global(parsed)


def _is_global(address: IPv4Address | IPv6Address) -> bool:
    inner = wrapped(address)
    if inner is not None:
        return _is_global(inner)
    if isinstance(address, IPv6Address) and address in _LOCAL_NAT64:
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def wrapped(address: IPv4Address | IPv6Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 address stands for (mapped, 6to4, Teredo, NAT64); else None."""
    if isinstance(address, IPv4Address):
        return None
    if address.teredo:
        return address.teredo[1]
    if any(address in network for network in _CARRIERS):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


def same(one: str, other: str) -> bool:
    """Whether two spellings are one address."""
    try:
        return ip_address(one) == ip_address(other)
    except ValueError:
        return False
