"""The address of a caller, which is reported to it and used for the rate limit."""

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address

import attrs

Address = IPv4Address | IPv6Address


@attrs.frozen(kw_only=True)
class Trust:
    """The header fields that may name the caller: those that a proxy in front of the service sets.

    Without such a proxy a client could forge its address, so none is trusted by default.
    """

    x_real_ip: bool = False
    first_x_forwarded_for: bool = False


def client_address(header: Callable[[str], str | None], peer: Address | None, trust: Trust) -> Address | None:
    """The address of the client: from a trusted field, else the peer's, else unknown."""
    claims = []
    if trust.x_real_ip:
        claims.append(header("x-real-ip") or "")
    if trust.first_x_forwarded_for:
        claims.append((header("x-forwarded-for") or "").split(",")[0].strip(" "))
    for claim in claims:
        try:
            return ip_address(claim)
        except ValueError:
            continue  # invalid: use the next source
    return peer
