"""Gratuitous ARP: telling the neighbours of a link that an IPv4 address lives here now."""

import socket
import struct

from controllers.network.kernel.netns import in_netns
from controllers.network.kernel.prefixes import parse_address

_ETHERTYPE_ARP = 0x0806
_ETHERNET = 1
_ETHERTYPE_IPV4 = 0x0800
_REQUEST = 1
_BROADCAST = b"\xff" * 6


def frame(address: bytes, hardware_address: bytes) -> bytes:
    """The frame: a request in which sender and target are this link."""
    header = _BROADCAST + hardware_address + struct.pack("!H", _ETHERTYPE_ARP)
    body = struct.pack("!HHBBH", _ETHERNET, _ETHERTYPE_IPV4, 6, 4, _REQUEST)
    return header + body + 2 * (hardware_address + address)


def announce(address: str, link_name: str, hardware_addr: str, netns: str | None) -> None:
    """Send it once, if the address is IPv4 and the link has a MAC address. Blocks. Raises OSError."""
    packed = parse_address(address).packed
    mac = bytes.fromhex(hardware_addr.replace(":", ""))
    if len(packed) != 4 or len(mac) != 6:
        return
    with in_netns(netns):
        sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC)
    with sender:
        sender.bind((link_name, _ETHERTYPE_ARP))
        sender.send(frame(packed, mac))
