"""Announces to the neighbours of a link that an address has moved here, and probes for its other owners."""

from nodespan.kernel.packets.arp import ArpSocket
from nodespan.kernel.packets.ndisc import NdiscSocket
from nodespan.kernel.prefixes import parse_address

NeighbourSocket = ArpSocket | NdiscSocket


def open_neighbours(address: str, link_name: str, hardware_addr: str, netns: str | None) -> NeighbourSocket | None:
    """A socket for announcements and probes of addresses of this family, as a context manager.

    None if the link has no MAC address: it has no such neighbours. Raises OSError.
    """
    mac = bytes.fromhex(hardware_addr.replace(":", ""))
    if len(mac) != 6:
        return None
    if len(parse_address(address).packed) == 4:
        return ArpSocket(link_name, mac, netns)
    return NdiscSocket(link_name, mac, netns)


def announce(address: str, link_name: str, hardware_addr: str, netns: str | None) -> None:
    """Announce the address once: gratuitous ARP, or an unsolicited neighbour advertisement. Raises OSError."""
    neighbours = open_neighbours(address, link_name, hardware_addr, netns)
    if neighbours is not None:
        with neighbours:
            neighbours.announce(parse_address(address).packed)
