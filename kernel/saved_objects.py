"""Addresses, routes and rules as the kernel sent them, to be put back exactly so.

What is saved is the body of the kernel's own message, so that it holds all attributes, also those that nothing here
knows. Put back, it is sent as it was received; of what expires, only the time that was left counts.
"""

import base64
import errno
import struct
from collections.abc import Iterable, Iterator
from socket import AF_INET, AF_INET6

import attrs

from nodespan.kernel import rtnl
from nodespan.kernel.addresses import read_address
from nodespan.kernel.routes import KernelRoute, read_route
from nodespan.kernel.rtnetlink import (
    Message,
    RtnlSocket,
    attribute,
    body_of,
    fixed_size,
    integer,
    message_of,
    number32,
)
from nodespan.kernel.rtnl import NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE
from nodespan.resources.network.address import AddressStatusSpec
from nodespan.resources.network.enums import RouteFlags

_ADDRESS = 1
_LOCAL = 2
_CACHE_INFO = 6
_ADDRESS_FLAGS = 8
_ADDRESS_PROTOCOL = 11
_MULTIPATH = 9
_ROUTE_CACHE_INFO = 12
_ROUTE_EXPIRES = 23
_OIF = 4

_LIFETIMES = struct.Struct("=IIII")
_FOREVER = 0xFFFFFFFF
_TEMPORARY = 0x01
_LINK_LOCAL_BY_KERNEL = 2
_KERNEL_PROTOCOL = 2
_ADVERTISED_PROTOCOL = 9
# Types of routes that the kernel makes by itself: local, broadcast, anycast, multicast.
_KERNEL_TYPES = frozenset({2, 3, 4, 5})
# Of the flags of next hops, those that a request may hold: pervasive, on link.
_ASKED_HOP_FLAGS = 0x2 | 0x4
_HEADER = struct.Struct("=HH")
_HOP = struct.Struct("=HBBi")  # length, flags, weight - 1, index of the link
# What the kernel answers about an object whose link or gateway is not ready.
NOT_YET = frozenset({errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EINVAL, errno.ENODEV, errno.EACCES})


@attrs.frozen
class Saved:
    """One object: the type of the message that makes it, the body, and when it was read (seconds since boot)."""

    type: int
    body: bytes = attrs.field(repr=False)
    at: float = 0.0

    @property
    def message(self) -> Message:
        """The message, to be read."""
        return message_of(self.type, self.body)

    def plain(self) -> list[object]:
        """As JSON takes it."""
        return [self.type, base64.b64encode(self.body).decode(), self.at]


def saved_from_plain(plain: object) -> Saved:
    """The opposite of `Saved.plain`. Raises ValueError."""
    match plain:
        case [int() as type, str() as body, int() | float() as at]:
            found = Saved(type, base64.b64decode(body, validate=True), at)
            _ = found.message
            return found
    raise ValueError(f"{plain!r} is no saved object")


def save(message: Message, now: float) -> Saved:
    """What is to be kept of a message that a dump has given."""
    return Saved(message.type, body_of(message), now)


def address_of(saved: Saved) -> AddressStatusSpec:
    """The saved address."""
    return read_address(saved.message)


def route_of(saved: Saved) -> KernelRoute:
    """The saved route."""
    return read_route(saved.message)


def put_back(kernel: RtnlSocket, saved: Saved, now: float, *, replace: bool = False) -> None:
    """Make the object again; what has expired meanwhile is not made. Raises OSError: EEXIST if it is there.

    `replace`: change the one that is there.
    """
    message = saved.message
    fields, attributes = message.fields, tuple(_raw(saved.body, _size(message)))
    if saved.type == rtnl.RTM_NEWADDR:
        aged = _aged_address(attributes, now - saved.at)
    elif saved.type == rtnl.RTM_NEWROUTE:
        aged = _aged_route(attributes, now - saved.at)
        # The kernel's notes about the moment are refused in a request.
        fields = (*fields[:-1], fields[-1] & _ASKED_HOP_FLAGS)
    else:
        aged = attributes
    if aged is not None:
        how = NLM_F_CREATE | (NLM_F_REPLACE if replace else NLM_F_EXCL)
        kernel.change(saved.type, how, fields, *(attribute(number, data) for number, data in aged))


_Raw = tuple[tuple[int, bytes], ...]


def _raw(body: bytes, offset: int) -> Iterator[tuple[int, bytes]]:
    """The attributes by their numbers, with the two bits for nests and byte order."""
    while offset + _HEADER.size <= len(body):
        length, number = _HEADER.unpack_from(body, offset)
        if length < _HEADER.size:
            return
        yield number, body[offset + _HEADER.size : offset + length]
        offset += (length + 3) & ~3


def _size(message: Message) -> int:
    return fixed_size(message.type)


def _aged_address(attributes: _Raw, seconds: float) -> _Raw | None:
    """With what is left of the lifetimes; None if nothing is."""
    aged: list[tuple[int, bytes]] = []
    for number, data in attributes:
        if number == _CACHE_INFO and len(data) >= _LIFETIMES.size:
            preferred, valid, _, _ = _LIFETIMES.unpack_from(data)
            left = [each if each == _FOREVER else max(0, int(each - seconds)) for each in (preferred, valid)]
            if not left[1]:
                return None
            data = _LIFETIMES.pack(*left, 0, 0)
        aged.append((number, data))
    return tuple(aged)


def _aged_route(attributes: _Raw, seconds: float) -> _Raw | None:
    aged: list[tuple[int, bytes]] = []
    for number, data in attributes:
        if number == _ROUTE_CACHE_INFO:
            # The time of IPv6 routes, in hundredths of a second, stands among what is for reading only.
            hundredths = struct.unpack_from("=i", data, 8)[0] if len(data) >= 12 else 0
            if hundredths > 0:
                left = int(hundredths / 100 - seconds)
                if left <= 0:
                    return None
                aged.append((_ROUTE_EXPIRES, struct.pack("=I", left)))
        elif number == _MULTIPATH:
            aged.append((number, _asked_hops(data)))
        else:
            aged.append((number, data))
    return tuple(aged)


def _asked_hops(data: bytes) -> bytes:
    """Next hops without the kernel's notes on whether they are reached at the moment."""
    changed, offset = bytearray(data), 0
    while offset + _HOP.size <= len(data):
        length, flags, _, _ = _HOP.unpack_from(data, offset)
        changed[offset + 2] = flags & _ASKED_HOP_FLAGS
        offset += max(_HOP.size, (length + 3) & ~3)
    return bytes(changed)


# All that hangs on one link.


def on_link(kernel: RtnlSocket, index: int, now: float) -> tuple[Saved, ...]:
    """The addresses of a link and the routes out of it, in the order in which they can be made.

    Without what the kernel makes by itself. The connection has to be a strict one. Blocks. Raises OSError.
    """
    addresses = [
        message
        for message in kernel.dump_matching(rtnl.RTM_GETADDR, (0, 0, 0, 0, index))
        if message.fields[4] == index and not _comes_by_itself(message)
    ]
    routes = [
        message
        for family in (AF_INET, AF_INET6)
        for message in kernel.dump_matching(rtnl.RTM_GETROUTE, (family, *[0] * 8), number32(_OIF, index))
        if not _is_kernels_route(message) and index in read_route(message).links
    ]
    routes.sort(key=lambda message: read_route(message).has_gateway)
    return tuple(save(message, now) for message in (*addresses, *routes))


def _comes_by_itself(message: Message) -> bool:
    """Whether the kernel makes an address when a link comes up: link-local ones, and temporary ones of IPv6."""
    if message.family != AF_INET6:
        return False
    if (integer(message.attributes, _ADDRESS_FLAGS) or message.fields[2]) & _TEMPORARY:
        return True
    own = message.attributes.get(_LOCAL) or message.attributes.get(_ADDRESS, b"")
    if own[:2] != b"\xfe\x80":
        return False
    if _ADDRESS_PROTOCOL in message.attributes:
        return integer(message.attributes, _ADDRESS_PROTOCOL) == _LINK_LOCAL_BY_KERNEL
    # Kernels before 5.18 do not say: assume those that are made of a hardware address.
    return own[11:13] == b"\xff\xfe"


def _is_kernels_route(message: Message) -> bool:
    protocol, type, flags = message.fields[5], message.fields[7], message.fields[8]
    return (
        protocol in (_KERNEL_PROTOCOL, _ADVERTISED_PROTOCOL) or type in _KERNEL_TYPES or bool(flags & RouteFlags.CLONED)
    )


def identity(saved: Saved) -> tuple[object, ...]:
    """What distinguishes an object from others, without what changes by itself (lifetimes, flags of the moment)."""
    if saved.type == rtnl.RTM_NEWADDR:
        address = address_of(saved)
        return (saved.type, address.link_index, address.address, address.local)
    route = route_of(saved)
    status = route.status
    hops = tuple((hop.gateway, link) for hop, link in zip(status.next_hops, route.hop_links, strict=True))
    return (
        *(saved.type, status.family, status.table, status.dst, status.priority, route.tos),
        *(status.type, status.gateway, status.out_link_index, hops),
    )


def missing(saved: Iterable[Saved], now: Iterable[Saved]) -> tuple[Saved, ...]:
    """Those of the saved ones that are not there now."""
    there = {identity(each) for each in now}
    return tuple(each for each in saved if identity(each) not in there)
