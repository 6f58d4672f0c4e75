"""Telling the neighbours of a link where an address lives now, and asking them whether one of them has it."""

from nodespan.kernel.arp import ArpSocket
from nodespan.kernel.ndisc import NdiscSocket
from nodespan.kernel.prefixes import parse_address

NeighbourSocket = ArpSocket | NdiscSocket


def open_neighbours(address: str, link_name: str, hardware_addr: str, netns: str | None) -> NeighbourSocket | None:
    """A socket to tell and ask the neighbours with, for addresses of this family; to be used as a context manager.

    None if the link has no MAC address, and so no such neighbours. Raises OSError.
    """
    mac = bytes.fromhex(hardware_addr.replace(":", ""))
    if len(mac) != 6:
        return None
    if len(parse_address(address).packed) == 4:
        return ArpSocket(link_name, mac, netns)
    return NdiscSocket(link_name, mac, netns)


def announce(address: str, link_name: str, hardware_addr: str, netns: str | None) -> None:
    """Say once that the address is here: gratuitous ARP, or an unsolicited neighbour advertisement. Raises OSError."""
    neighbours = open_neighbours(address, link_name, hardware_addr, netns)
    if neighbours is not None:
        with neighbours:
            neighbours.announce(parse_address(address).packed)
