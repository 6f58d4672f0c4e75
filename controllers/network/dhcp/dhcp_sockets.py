"""The sockets of DHCP clients. What comes in are the payloads of answers on one link, and nothing else.

DHCPv4 has to speak before the link has an address, so packets to everybody are put together by hand and all answers are
taken from the link itself, also those to an address that the link does not have yet. A second, ordinary socket
sends to one server through the routing of the kernel, and holds the port, lest the kernel refuse the answers.
"""

import contextlib
import errno
import socket
import struct
from collections.abc import AsyncIterator, Iterable
from ipaddress import IPv4Address
from typing import Any, Protocol

import attrs
import trio

from nodespan.controllers.network.dhcp.udp_datagram import Datagram, DatagramError, decode, encode
from nodespan.kernel.netns import in_netns
from nodespan.kernel.outside_text import bytes_of
from nodespan.kernel.packet_sockets import bind_to_link, restrict_to_link
from nodespan.kernel.socket_filter import DROP, TAKE, attach

_CLIENT4, _SERVER4 = 68, 67
_CLIENT6, _SERVER6 = 546, 547
_BROADCAST = "255.255.255.255"
_ETHERTYPE_IPV4 = 0x0800
_LARGEST = 65536
_RECEIVE_BUFFER = 1 << 18

# From Linux's headers; Python does not name them.
_SOL_PACKET, _PACKET_AUXDATA = 263, 8
_IP_PKTINFO = 8
_CHECKSUM_NOT_READY = 1 << 3
_FOR_OTHERS = 3
_AUXDATA = struct.Struct("=IIIHHHH")

# Unfragmented UDP to the client's port, of a packet that begins with its IP header: `udp and dst port 68`.
_TO_CLIENT4 = (
    (0x30, 0, 0, 9),  # the protocol
    (0x15, 0, 6, 17),  # is UDP, else drop
    (0x28, 0, 0, 6),  # flags and fragment offset
    (0x45, 4, 0, 0x1FFF),  # a later fragment: drop
    (0xB1, 0, 0, 0),  # X = length of the IP header
    (0x48, 0, 0, 2),  # the destination port
    (0x15, 0, 1, _CLIENT4),  # is the client's, else drop
    TAKE,
    DROP,
)
_GOING_AWAY = frozenset({errno.ENETDOWN, errno.ENODEV, errno.ENXIO})


class Transport(Protocol):
    """What carries a client's packets on one link."""

    async def send(self, payload: bytes, *, source: str, destination: str) -> None:
        """Send a packet; source "" is the link's own address, or none while it has none. Raises OSError."""

    async def receive(self) -> bytes:
        """Wait for the payload of the next answer. Raises OSError if the link is gone."""


@attrs.frozen
class _Transport4:
    link: trio.socket.SocketType
    port: trio.socket.SocketType
    link_name: str
    broadcast_address: bytes

    async def send(self, payload: bytes, *, source: str, destination: str) -> None:
        if destination != _BROADCAST:
            # The source address matters to the server: it must be the leased one.
            info = struct.pack("=i4s4s", 0, IPv4Address(source).packed, b"")
            control = [(socket.IPPROTO_IP, _IP_PKTINFO, info)]
            await self.port.sendmsg([payload], control, 0, (destination, _SERVER4))
            return
        datagram = Datagram(
            source=IPv4Address(source or 0),
            destination=IPv4Address(destination),
            source_port=_CLIENT4,
            destination_port=_SERVER4,
            payload=payload,
        )
        target = (self.link_name, _ETHERTYPE_IPV4, 0, 0, self.broadcast_address)
        await self.link.sendto(encode(datagram), target)

    async def receive(self) -> bytes:
        while True:
            try:
                data, control, _, address = await self.link.recvmsg(_LARGEST, socket.CMSG_SPACE(_AUXDATA.size))
            except OSError as error:
                if error.errno not in _GOING_AWAY:
                    raise
                # Said once when a link goes down; whether to go on is for those to say who follow the link.
                continue
            if _packet_type(address) == _FOR_OTHERS:
                continue
            with contextlib.suppress(DatagramError):
                datagram = decode(data, is_summed=_is_summed(control))
                if datagram.destination_port == _CLIENT4:
                    return datagram.payload


def _packet_type(address: Any) -> int:
    return int(address[2])


def _is_summed(control: Iterable[tuple[int, int, bytes]]) -> bool:
    for level, type, data in control:
        if (level, type) == (_SOL_PACKET, _PACKET_AUXDATA):
            status = _AUXDATA.unpack_from(data)[0]
            return not status & _CHECKSUM_NOT_READY
    return True


@contextlib.asynccontextmanager
async def open_transport4(link_name: str, broadcast_address: str, netns: str | None) -> AsyncIterator[Transport]:
    """What a DHCPv4 client speaks through on a link. Raises OSError: EPERM without CAP_NET_RAW, ENODEV without link."""
    if bytes_of(link_name) != link_name.encode():
        # Python tells from where packets came by the name of the link, as text.
        raise OSError(errno.EINVAL, f"the name {link_name} is not text, so DHCPv4 cannot run there: rename the link")
    with contextlib.ExitStack() as stack:
        with in_netns(netns):
            flags = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
            # Protocol 0 receives nothing yet: not before it is bound to one link and has its filter.
            link = stack.enter_context(socket.socket(socket.AF_PACKET, flags, 0))
            port = stack.enter_context(socket.socket(socket.AF_INET, flags))
        attach(link, _TO_CLIENT4)
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        link.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
        bind_to_link(link, link_name, _ETHERTYPE_IPV4)
        attach(port, (DROP,))
        port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        restrict_to_link(port, link_name)
        port.bind(("0.0.0.0", _CLIENT4))  # noqa: S104  # of one link only, and its filter takes nothing in
        broadcast = bytes.fromhex(broadcast_address.replace(":", ""))
        yield _Transport4(
            trio.socket.from_stdlib_socket(link), trio.socket.from_stdlib_socket(port), link_name, broadcast
        )


@attrs.frozen
class _Transport6:
    port: trio.socket.SocketType
    link_index: int

    async def send(self, payload: bytes, *, source: str, destination: str) -> None:  # noqa: ARG002
        await self.port.sendto(payload, (destination, _SERVER6, 0, self.link_index))

    async def receive(self) -> bytes:
        return await self.port.recv(_LARGEST)


@contextlib.asynccontextmanager
async def open_transport6(link_name: str, link_index: int, netns: str | None) -> AsyncIterator[Transport]:
    """What a DHCPv6 client speaks through on a link, from its link-local address. Raises OSError."""
    with in_netns(netns):
        flags = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        port = socket.socket(socket.AF_INET6, flags)
    with port:
        port.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        restrict_to_link(port, link_name)
        port.bind(("::", _CLIENT6))
        yield _Transport6(trio.socket.from_stdlib_socket(port), link_index)
