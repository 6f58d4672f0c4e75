"""rtnetlink: asking the kernel, telling it, and the form of its messages.

Messages are read and written here and not by pyroute2, which makes objects of attributes: 5,000 routes take it more
than half a second, in which the interpreter's lock and the garbage hold up all other tasks; this takes a tenth of that.
It also knows neither the newer options of bonds nor hardware addresses of other than 6 bytes.

A message is a header (netlink's own), a fixed part whose fields depend on the type, and attributes: a length, a number
and bytes each, padded to 4. An attribute's bytes may be attributes in turn. Numbers are in the machine's byte order.
"""

import errno
import os
import socket
import struct
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

import attrs

from nodespan.kernel import rtnl
from nodespan.kernel.netns import in_netns
from nodespan.kernel.outside_text import bytes_of, c_text
from nodespan.kernel.rtnl import NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR

AF_UNSPEC = 0

_DUMP_INTERRUPTED = 0x10
_DATAGRAM = 65536
_SOL_NETLINK = 270
_CAPPED_ACK = 10
_EXTENDED_ACK = 11
_STRICT_CHECK = 12
_EXTENDED_ANSWER = 0x200
_REASON = 1
_IFNAME = 3
_EXT_MASK = 29
_SKIP_STATS = 8
# Of a route: its destination, and the mark of the packets.
_DST = 1
_MARK = 16
_LONGEST = 0xFFFF
_NESTED = 0x8000
_HEADER = struct.Struct("=IHHII")
_NUMBER = struct.Struct("=I")  # the sequence number, the last field but one of the header
_NUMBER_OFFSET = 8
# So many requests, of so many bytes together, are sent at once. The kernel takes what fits into the send buffer, which
# has 208 KiB by default.
_BATCH = 128
_LONGEST_DATAGRAM = 1 << 15
_LAST_SEQUENCE = 1 << 31
# The ports of so many connections that were closed are remembered: notifications arrive within moments of a change.
_REMEMBERED = 1024
_ATTRIBUTE = struct.Struct("=HH")
# Beside its number, the number of an attribute says whether it holds others and in which byte order it is.
_ATTRIBUTE_NUMBER = 0x3FFF

_LINK = struct.Struct("=BxHiII")  # family, type, index, flags, change
_ADDRESS = struct.Struct("=BBBBi")  # family, prefix length, flags, scope, index
_ROUTE = struct.Struct("=8BI")  # family, lengths of destination and source, tos, table, protocol, scope, type, flags
_RULE = struct.Struct("=8BI")  # family, lengths of destination and source, tos, table, -, -, action, flags
_QUEUE = struct.Struct("=B3xiIII")  # family, index of the link, handle, parent, info
_FIXED_PARTS = {
    rtnl.RTM_NEWLINK: _LINK,
    rtnl.RTM_DELLINK: _LINK,
    rtnl.RTM_GETLINK: _LINK,
    rtnl.RTM_NEWLINKPROP: _LINK,
    rtnl.RTM_DELLINKPROP: _LINK,
    rtnl.RTM_NEWADDR: _ADDRESS,
    rtnl.RTM_DELADDR: _ADDRESS,
    rtnl.RTM_GETADDR: _ADDRESS,
    rtnl.RTM_NEWROUTE: _ROUTE,
    rtnl.RTM_DELROUTE: _ROUTE,
    rtnl.RTM_GETROUTE: _ROUTE,
    rtnl.RTM_NEWRULE: _RULE,
    rtnl.RTM_DELRULE: _RULE,
    rtnl.RTM_GETRULE: _RULE,
    rtnl.RTM_NEWQDISC: _QUEUE,
    rtnl.RTM_DELQDISC: _QUEUE,
}

Attributes = Mapping[int, bytes]


@attrs.frozen
class Message:
    """A message of a known type: netlink's flags, the fields of the fixed part, the attributes by number.

    `port` is, in a notification, that of the socket which asked for the change, 0 if the kernel made it by itself or
    does not say (it does for links since Linux 6.2). The first socket of a process has the process's id.
    """

    type: int
    flags: int
    fields: tuple[int, ...]
    attributes: Attributes
    port: int = 0

    @property
    def family(self) -> int:
        """The address family, which every fixed part starts with."""
        return self.fields[0]


class _Unread(Mapping[int, bytes]):
    """The attributes of a message, taken apart when they are asked for: of most messages only the fixed part matters.

    The last of one number is the one that counts.
    """

    __slots__ = ("_data", "_end", "_found", "_start")

    def __init__(self, data: bytes, start: int, end: int) -> None:
        self._data, self._start, self._end = data, start, end
        self._found: dict[int, bytes] | None = None

    @property
    def taken_apart(self) -> dict[int, bytes]:
        """All of them."""
        if self._found is None:
            self._found = _attributes(self._data, self._start, self._end)
        return self._found

    def __getitem__(self, number: int) -> bytes:
        return self.taken_apart[number]

    def get(self, number: int, default: Any = None) -> Any:
        # That of mappings raises an error, and catches it, for each attribute that is not there.
        found = self._found
        return (self.taken_apart if found is None else found).get(number, default)

    def __contains__(self, number: object) -> bool:
        return number in self.taken_apart

    def __iter__(self) -> Iterator[int]:
        return iter(self.taken_apart)

    def __len__(self) -> int:
        return len(self.taken_apart)

    @property
    def encoded(self) -> bytes:
        """All attributes as the kernel sent them."""
        return self._data[self._start : self._end]


def parse(data: bytes) -> Iterator[Message]:
    """The messages of a datagram; types that nothing here is about are left out."""
    offset, size = 0, len(data)
    while offset + _HEADER.size <= size:
        length, type, flags, _, port = _HEADER.unpack_from(data, offset)
        if length < _HEADER.size:
            return
        fixed = _FIXED_PARTS.get(type)
        if fixed is not None:
            start = offset + _HEADER.size
            attributes = _Unread(data, start + fixed.size, offset + length)
            yield Message(type, flags, fixed.unpack_from(data, start), attributes, port)
        offset += (length + 3) & ~3


def body_of(message: Message) -> bytes:
    """The fixed part and the attributes of a message of the kernel, as they were received."""
    return _FIXED_PARTS[message.type].pack(*message.fields) + encoded_of(message)


def encoded_of(message: Message) -> bytes:
    """The attributes of a message of the kernel, as they were received."""
    if not isinstance(message.attributes, _Unread):
        raise TypeError("only a message that was received has a body")
    return message.attributes.encoded


def fixed_size(type: int) -> int:
    """The length of the fixed part of messages of this type."""
    return _FIXED_PARTS[type].size


def message_of(type: int, body: bytes) -> Message:
    """The message of this type and body, as `body_of` gives it. Raises ValueError for one that is too short."""
    fixed = _FIXED_PARTS[type]
    if len(body) < fixed.size:
        raise ValueError(f"{len(body)} bytes are no rtnetlink message of type {type}")
    return Message(type, 0, fixed.unpack_from(body), _Unread(body, fixed.size, len(body)))


def split(data: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Of each message of a datagram: type, flags, and where its content starts and ends."""
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, type, flags, _, _ = _HEADER.unpack_from(data, offset)
        if length < _HEADER.size:
            return
        yield type, flags, offset + _HEADER.size, offset + length
        offset += _aligned(length)


def _walk(data: bytes, offset: int, end: int) -> Iterator[tuple[int, bytes]]:
    while offset + _ATTRIBUTE.size <= end:
        length, number = _ATTRIBUTE.unpack_from(data, offset)
        if length < _ATTRIBUTE.size:
            return
        yield number & _ATTRIBUTE_NUMBER, data[offset + _ATTRIBUTE.size : offset + length]
        offset += _aligned(length)


def _attributes(data: bytes, offset: int, end: int) -> dict[int, bytes]:
    """The same at once, for the long lists of links."""
    found: dict[int, bytes] = {}
    unpack, size = _ATTRIBUTE.unpack_from, _ATTRIBUTE.size
    while offset + size <= end:
        length, number = unpack(data, offset)
        if length < size:
            break
        found[number & _ATTRIBUTE_NUMBER] = data[offset + size : offset + length]
        offset += (length + 3) & ~3
    return found


def _aligned(length: int) -> int:
    return (length + 3) & ~3


def members(nest: bytes) -> Iterator[tuple[int, bytes]]:
    """The attributes inside an attribute, in order; a number may come more than once."""
    return _walk(nest, 0, len(nest))


def inside(attributes: Attributes, number: int) -> Attributes:
    """The attributes inside an attribute by number, none if it is missing."""
    nest = attributes.get(number, b"")
    return _attributes(nest, 0, len(nest))


def all_of(message: Message) -> Attributes:
    """All attributes of a message, for one who looks at most of them: a plain dict is asked faster."""
    attributes = message.attributes
    return attributes.taken_apart if isinstance(attributes, _Unread) else attributes


def integer(attributes: Attributes, number: int) -> int:
    """A whole number of any size, 0 if it is missing."""
    return int.from_bytes(attributes.get(number, b""), sys.byteorder)


def text(attributes: Attributes, number: int) -> str:
    """A text, "" if it is missing."""
    return c_text(attributes.get(number, b""))


def ip_address(data: bytes) -> str:
    """An IP address of 4 or 16 bytes, "" for none."""
    if not data:
        return ""
    return socket.inet_ntop(socket.AF_INET if len(data) == 4 else socket.AF_INET6, data)


def ip_prefix(data: bytes, length: int) -> str:
    """`10.0.0.0/8`; "" for the prefix that holds everything."""
    return f"{ip_address(data)}/{length}" if length and data else ""


def attribute(number: int, data: bytes) -> bytes:
    """An attribute, padded, to be joined with others. Raises ValueError for one that is too long to have a length."""
    length = _ATTRIBUTE.size + len(data)
    if length > _LONGEST:
        raise ValueError(f"netlink attribute {number} is {length} bytes long, more than {_LONGEST}")
    return _ATTRIBUTE.pack(length, number) + data + bytes(_aligned(length) - length)


def number8(number: int, value: int) -> bytes:
    """An attribute of one byte."""
    return attribute(number, struct.pack("=B", value))


def number16(number: int, value: int) -> bytes:
    """An attribute of two bytes."""
    return attribute(number, struct.pack("=H", value))


def number32(number: int, value: int) -> bytes:
    """An attribute of four bytes."""
    return attribute(number, struct.pack("=I", value))


def nest(number: int, *attributes: bytes) -> bytes:
    """An attribute that holds others."""
    return attribute(number | _NESTED, b"".join(attributes))


def zero_terminated(number: int, value: str) -> bytes:
    """A text."""
    return attribute(number, bytes_of(value) + b"\0")


@attrs.frozen
class Request:
    """A change to request: the type (RTM_NEW..., RTM_DEL...), flags, the fields of the fixed part, attributes."""

    type: int
    flags: int
    fields: tuple[int, ...]
    attributes: tuple[bytes, ...] = ()

    @property
    def body(self) -> bytes:
        """What follows the header."""
        return _FIXED_PARTS[self.type].pack(*self.fields) + b"".join(self.attributes)


class RtnlSocket:
    """A connection to ask over; see `open_rtnl_socket`. Every call blocks, and raises OSError if the kernel refuses."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        # Whether what was listed changed meanwhile, so that the answer may lack something.
        self.interrupted = False
        # Of the next request or question.
        self._sequence = 1

    def dump(self, type: int, family: int = AF_UNSPEC) -> Iterator[Message]:
        """All objects of a kind (RTM_GET...) and family. Consume all of them before the next request."""
        yield from self._dump(type, struct.pack("=B", family))

    def dump_links(self) -> Iterator[Message]:
        """All links, without what they count; as `dump`. Kernels before 4.6 count all the same."""
        yield from self._dump(rtnl.RTM_GETLINK, _LINK.pack(AF_UNSPEC, 0, 0, 0, 0) + number32(_EXT_MASK, _SKIP_STATS))

    def dump_matching(self, type: int, fields: tuple[int, ...], *attributes: bytes) -> Iterator[Message]:
        """As `dump`, of those that match alone, for which the connection has to be a strict one."""
        try:
            yield from self._dump(type, _FIXED_PARTS[type].pack(*fields) + b"".join(attributes))
        except OSError as error:
            # Of a link that is gone, as the one that they hang on may be at any time, there is nothing.
            if error.errno != errno.ENODEV:
                raise

    def _dump(self, type: int, body: bytes) -> Iterator[Message]:
        number = self._send(type, NLM_F_DUMP, body)
        while True:
            data = self._answer_to(number)
            yield from parse(data)
            for answer, flags, start, _ in split(data):
                self.interrupted |= bool(flags & _DUMP_INTERRUPTED)
                if answer in (NLMSG_DONE, NLMSG_ERROR):
                    _check(data, start)
                    return

    def link(self, index: int = 0, *, name: str = "") -> Message | None:
        """One link by its index or its name, None if there is no such."""
        by_name = zero_terminated(_IFNAME, name) if name else b""
        try:
            return self._ask(rtnl.RTM_GETLINK, _LINK.pack(AF_UNSPEC, 0, index, 0, 0) + by_name)
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise
            return None

    def route_to(self, address: str, *, mark: int = 0) -> Message | None:
        """The route of packets to this address that carry this mark. Raises OSError: ENETUNREACH if there is none."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        packed = socket.inet_pton(family, address)
        fixed = _ROUTE.pack(family, 8 * len(packed), 0, 0, 0, 0, 0, 0, 0)
        return self._ask(rtnl.RTM_GETROUTE, fixed + attribute(_DST, packed) + number32(_MARK, mark))

    def _ask(self, type: int, body: bytes) -> Message | None:
        """The one object that a question is about. Raises OSError if the kernel answers with an error."""
        data = self._answer_to(self._send(type, 0, body))
        for answer, _, start, _ in split(data):
            if answer == NLMSG_ERROR:
                _check(data, start)
        return next(parse(data), None)

    def change(self, type: int, flags: int, fields: tuple[int, ...], *attributes: bytes) -> None:
        """Have something made, changed or removed (RTM_NEW..., RTM_DEL...). The error says it in the kernel's words."""
        self.request(Request(type, flags, fields, attributes))

    def request(self, request: Request) -> None:
        """Have one change made. Raises OSError, in the kernel's words."""
        refusals = self.request_all((request,))
        if refusals:
            raise refusals[0]

    def request_all(self, requests: Sequence[Request]) -> dict[int, OSError]:
        """Have changes made in this order, also if some are refused; returns the refusals by position.

        One system call sends many, and one receives the answers of all that succeed: each call lets other threads run,
        and waits for them.
        """
        refusals: dict[int, OSError] = {}
        done = 0
        while done < len(requests):
            done += self._request_some(requests, done, refusals)
        return refusals

    def _request_some(self, requests: Sequence[Request], first: int, refusals: dict[int, OSError]) -> int:
        """Send a datagram, from this position on, and collect its refusals; returns how many requests it held."""
        bodies: list[bytes] = []
        size = 0
        for request in islice(requests, first, first + _BATCH):
            body = request.body
            size += _HEADER.size + _aligned(len(body))
            if bodies and size > _LONGEST_DATAGRAM:
                break
            bodies.append(body)
        last = len(bodies) - 1
        base = self._next_numbers(len(bodies))
        datagram = bytearray()
        for number, body in enumerate(bodies):
            request = requests[first + number]
            # Refusals are always answered, so that the answer to the last request is that to all.
            flags = NLM_F_REQUEST | request.flags | (NLM_F_ACK if number == last else 0)
            datagram += _HEADER.pack(_HEADER.size + len(body), request.type, flags, base + number, 0)
            datagram += body.ljust(_aligned(len(body)), b"\0")
        self._connection.send(datagram)
        answered = -1
        while answered < last:
            data = self._connection.recv(_DATAGRAM)
            for answer, flags, start, end in split(data):
                if answer == NLMSG_ERROR:
                    (number,) = _NUMBER.unpack_from(data, start - _HEADER.size + _NUMBER_OFFSET)
                    if not base <= number <= base + last:
                        # To an earlier datagram, whose answers were not all received.
                        continue
                    answered = number - base
                    refusal = _refusal(data, flags, start, end)
                    if refusal is not None:
                        refusals[first + answered] = refusal
        return len(bodies)

    def _next_numbers(self, count: int) -> int:
        """Of so many requests in a row, the sequence number of the first."""
        if self._sequence + count > _LAST_SEQUENCE:
            self._sequence = 1
        first, self._sequence = self._sequence, self._sequence + count
        return first

    def _send(self, type: int, flags: int, body: bytes) -> int:
        """Send a question; returns its sequence number."""
        number = self._next_numbers(1)
        body = body.ljust(_FIXED_PARTS[type].size, b"\0")
        header = _HEADER.pack(_HEADER.size + len(body), type, NLM_F_REQUEST | flags, number, 0)
        self._connection.send(header + body)
        return number

    def _answer_to(self, number: int) -> bytes:
        """The next datagram of the answer to a question; what is left of earlier answers is skipped."""
        while True:
            data = self._connection.recv(_DATAGRAM)
            if _NUMBER.unpack_from(data, _NUMBER_OFFSET) == (number,):
                return data


def _check(data: bytes, start: int) -> None:
    (code,) = struct.unpack_from("=i", data, start)
    if code:
        raise OSError(-code, f"the kernel does not list its network: {os.strerror(-code)}")


def _refusal(data: bytes, flags: int, start: int, end: int) -> OSError | None:
    (code,) = struct.unpack_from("=i", data, start)
    if not code:
        return None
    # What was sent comes back behind the code, capped to its header, and the reason in words behind that.
    reason = dict(_walk(data, start + 4 + _HEADER.size, end)) if flags & _EXTENDED_ANSWER else {}
    return OSError(-code, text(reason, _REASON) or os.strerror(-code))


@contextmanager
def open_rtnl_socket(netns: str | None, *, strict: bool = False) -> Iterator[RtnlSocket]:
    """A connection to the kernel in a network namespace (a path; None: the own one).

    On a `strict` one the kernel filters what it lists by all that it is asked for.
    """
    with in_netns(netns):
        connection = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    with connection:
        connection.setsockopt(_SOL_NETLINK, _EXTENDED_ACK, 1)
        connection.setsockopt(_SOL_NETLINK, _CAPPED_ACK, 1)
        if strict:
            connection.setsockopt(_SOL_NETLINK, _STRICT_CHECK, 1)
        connection.bind((0, 0))
        port = connection.getsockname()[0]
        _own_ports.opened(port)
        try:
            yield RtnlSocket(connection)
        finally:
            _own_ports.closed(port)


class OwnPorts:
    """The ports of this process's connections: those that are open, and the last ones that were. Thread-safe.

    The kernel gives a port that is free to the next connection, and one port in several network namespaces.
    """

    def __init__(self, remembered: int = _REMEMBERED) -> None:
        self._remembered = remembered
        self._open: Counter[int] = Counter()
        self._closed: dict[int, None] = {}
        self._changing = threading.Lock()

    def opened(self, port: int) -> None:
        """There is a connection of this port."""
        with self._changing:
            self._open[port] += 1

    def closed(self, port: int) -> None:
        """One of them was closed."""
        with self._changing:
            self._closed.pop(port, None)
            self._closed[port] = None
            if len(self._closed) > self._remembered:
                del self._closed[next(iter(self._closed))]
            self._open[port] -= 1
            if not self._open[port]:
                del self._open[port]

    def __contains__(self, port: int) -> bool:
        return port in self._open or port in self._closed


_own_ports = OwnPorts()


def is_own_port(port: int) -> bool:
    """Whether a change was made over a connection of this process."""
    return port in _own_ports


def is_foreign_port(port: int) -> bool:
    """Whether a change over this port was made by another program; of port 0 it is not known."""
    return port != 0 and port not in _own_ports
