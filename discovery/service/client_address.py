"""Whose call it is: the address that a client is told, and that its calls are counted by."""

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address

import attrs

Address = IPv4Address | IPv6Address


@attrs.frozen(kw_only=True)
class Trust:
    """Which header fields may say whom a call comes from: those that a proxy in front of the service sets.

    Without such a proxy a client could choose its address, so nothing is trusted unless asked for.
    """

    x_real_ip: bool = False
    first_x_forwarded_for: bool = False


def client_address(header: Callable[[str], str | None], peer: Address | None, trust: Trust) -> Address | None:
    """The address of the client: as a trusted field says, else the peer's, else unknown."""
    claims = []
    if trust.x_real_ip:
        claims.append(header("x-real-ip") or "")
    if trust.first_x_forwarded_for:
        claims.append((header("x-forwarded-for") or "").split(",")[0].strip(" "))
    for claim in claims:
        try:
            return ip_address(claim)
        except ValueError:
            continue  # an unreadable field says nothing; the next source may
    return peer
