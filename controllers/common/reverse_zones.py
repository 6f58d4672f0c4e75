"""The zones of DNS that hold what addresses lead back to."""

import ipaddress

_NIBBLE = 4


def reverse_zones(subnet: str) -> tuple[str, ...]:
    """The zone of the addresses of a subnet with whole nibbles, if it is one of IPv6."""
    if not subnet:
        return ()
    network = ipaddress.ip_network(subnet, strict=False)
    if not isinstance(network, ipaddress.IPv6Network) or network.prefixlen % _NIBBLE:
        return ()
    digits = network.network_address.exploded.replace(":", "")[: network.prefixlen // _NIBBLE]
    return (".".join((*reversed(digits), "ip6", "arpa")),)
