"""Which addresses a server may answer with: a name of somebody outside must not lead to machines inside.

A page of a browser may talk to the host that it came from. If that host's name stands for 127.0.0.1 or a printer the
next time that it is asked for, the page talks to those (DNS rebinding). So an address is left out of an answer if it is

    of this machine, of a link, or of nobody   whoever says so; no name of DNS has to stand for 127.0.0.1
    of the mesh                                whoever says so: those names are the cluster's own
    of a private network                       where a public server says so; one inside knows what is inside
"""

import ipaddress
from collections.abc import Iterable

import attrs

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_SIX_TO_FOUR = ipaddress.IPv6Network("2002::/16")
_NOBODY = ipaddress.IPv4Network("0.0.0.0/8")
_SHARED = ipaddress.IPv4Network("100.64.0.0/10")
_LOW_BITS = 0xFFFFFFFF


@attrs.frozen(kw_only=True)
class Rebinding:
    """What is let through. `mesh` are the networks of the mesh, `allowed` domains whose names may lead inside."""

    mesh: tuple[IPNetwork, ...] = ()
    allowed: frozenset[str] = frozenset()

    def permits(self, address: IPAddress, *, name: str, asked_inside: bool) -> bool:
        """Whether the answer for a name may have the address. `asked_inside`: the server is inside, too."""
        address = _meant(address)
        if _is_here(address):
            return False
        if any(address in network for network in self.mesh):
            return False
        return asked_inside or not _is_inside(address) or self._is_allowed(name)

    def _is_allowed(self, name: str) -> bool:
        labels = name.split(".")
        return any(".".join(labels[first:]) in self.allowed for first in range(len(labels)))


def is_inside(address: str) -> bool:
    """Whether the server at this address is on a private network, or on this machine; what is no address is outside."""
    try:
        parsed = _meant(ipaddress.ip_address(address.partition("%")[0]))
    except ValueError:
        return False
    return _is_inside(parsed) or _is_here(parsed)


def networks(texts: Iterable[str]) -> tuple[IPNetwork, ...]:
    """The networks in texts; empty ones are none."""
    return tuple(ipaddress.ip_network(text, strict=False) for text in texts if text)


def _meant(address: IPAddress) -> IPAddress:
    """The IPv4 address within an IPv6 address that leads to it, else the address."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64 or (int(address) >> 32 == 0 and int(address) > 1):
        return ipaddress.IPv4Address(int(address) & _LOW_BITS)
    if address in _SIX_TO_FOUR:
        return ipaddress.IPv4Address(int(address) >> 80 & _LOW_BITS)
    return address


def _is_here(address: IPAddress) -> bool:
    return (
        address.is_loopback
        or address.is_unspecified
        or address.is_link_local
        or address.is_multicast
        or (address.version == 4 and address in _NOBODY)
    )


def _is_inside(address: IPAddress) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        return address.is_private or address.is_site_local
    return address.is_private or address in _SHARED
