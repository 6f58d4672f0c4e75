"""DHCPv4 messages on the wire (RFC 2131, 2): a fixed part, then options.

Options longer than 255 bytes come in several pieces (RFC 3396), and may go on in the fields for the boot file and the
server's name where the "overload" option says so.
"""

import enum
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address

import attrs

from nodespan.controllers.network.dhcp.malformed import MalformedError

_FIXED = struct.Struct("!BBBBIHH4s4s4s4s16s64s128s")
_MAGIC = b"\x63\x82\x53\x63"
_REQUEST, _REPLY = 1, 2
_BROADCAST = 0x8000
_PAD, _END = 0, 255
_LONGEST_PIECE = 255
# Relays from before DHCP drop shorter messages.
_SHORTEST = 300
_IN_FILE, _IN_NAME = 1, 2

UNSPECIFIED = IPv4Address(0)
ETHERNET = 1


class MessageType(enum.IntEnum):
    """The kinds of messages."""

    DISCOVER = 1
    OFFER = 2
    REQUEST = 3
    DECLINE = 4
    ACK = 5
    NAK = 6
    RELEASE = 7


class Code(enum.IntEnum):
    """The options that this client knows."""

    SUBNET_MASK = 1
    ROUTERS = 3
    NAME_SERVERS = 6
    HOST_NAME = 12
    DOMAIN_NAME = 15
    MTU = 26
    TIME_SERVERS = 42
    REQUESTED_ADDRESS = 50
    LEASE_TIME = 51
    OVERLOAD = 52
    MESSAGE_TYPE = 53
    SERVER_ID = 54
    REQUESTED_OPTIONS = 55
    MESSAGE = 56
    MAX_MESSAGE_SIZE = 57
    RENEWAL_TIME = 58
    REBINDING_TIME = 59
    CLIENT_ID = 61
    SEARCH_DOMAINS = 119
    CLASSLESS_ROUTES = 121


@attrs.frozen(kw_only=True)
class Message4:
    """A message. `options` are codes with their bytes, each code once."""

    type: MessageType
    xid: int
    is_reply: bool = False
    is_broadcast: bool = False
    seconds: int = 0
    client_address: IPv4Address = UNSPECIFIED
    your_address: IPv4Address = UNSPECIFIED
    next_server: IPv4Address = UNSPECIFIED
    relay: IPv4Address = UNSPECIFIED
    hardware_type: int = ETHERNET
    hardware_address: bytes = b""
    options: tuple[tuple[int, bytes], ...] = ()

    def option(self, code: Code) -> bytes | None:
        """The bytes of an option, None if the message does not have it."""
        return next((data for found, data in self.options if found == code), None)


def encode(message: Message4) -> bytes:
    """The message on the wire."""
    fixed = _FIXED.pack(
        _REPLY if message.is_reply else _REQUEST,
        message.hardware_type,
        len(message.hardware_address),
        0,
        message.xid,
        message.seconds,
        _BROADCAST if message.is_broadcast else 0,
        message.client_address.packed,
        message.your_address.packed,
        message.next_server.packed,
        message.relay.packed,
        message.hardware_address,
        b"",
        b"",
    )
    options = b"".join(_pieces(Code.MESSAGE_TYPE, bytes([message.type])))
    for code, data in message.options:
        options += b"".join(_pieces(code, data))
    return (fixed + _MAGIC + options + bytes([_END])).ljust(_SHORTEST, b"\0")


def _pieces(code: int, data: bytes) -> Iterator[bytes]:
    for start in range(0, max(len(data), 1), _LONGEST_PIECE):
        piece = data[start : start + _LONGEST_PIECE]
        yield bytes([code, len(piece)]) + piece


def decode(data: bytes) -> Message4:
    """The message that these bytes are. Raises MalformedError."""
    if len(data) < _FIXED.size + len(_MAGIC):
        raise MalformedError(f"a message of {len(data)} bytes is too short")
    fields = _FIXED.unpack_from(data)
    operation, hardware_type, hardware_length, _, xid, seconds, flags = fields[:7]
    client, yours, server, relay, hardware, name, file = fields[7:]
    if operation not in (_REQUEST, _REPLY):
        raise MalformedError(f"a message that is neither request nor reply, but {operation}")
    if hardware_length > len(hardware):
        raise MalformedError(f"a hardware address of {hardware_length} bytes")
    if data[_FIXED.size : _FIXED.size + len(_MAGIC)] != _MAGIC:
        raise MalformedError("a BOOTP message without DHCP options")
    options = _options(data[_FIXED.size + len(_MAGIC) :], file, name)
    return Message4(
        type=_type(options.pop(Code.MESSAGE_TYPE, b"")),
        xid=xid,
        is_reply=operation == _REPLY,
        is_broadcast=bool(flags & _BROADCAST),
        seconds=seconds,
        client_address=IPv4Address(client),
        your_address=IPv4Address(yours),
        next_server=IPv4Address(server),
        relay=IPv4Address(relay),
        hardware_type=hardware_type,
        hardware_address=hardware[:hardware_length],
        options=tuple(options.items()),
    )


def xid_of(data: bytes) -> int | None:
    """The transaction id of a message that may be malformed, None if it is too short."""
    return int.from_bytes(data[4:8]) if len(data) >= 8 else None


def _type(data: bytes) -> MessageType:
    try:
        (number,) = data
        return MessageType(number)
    except ValueError as error:
        raise MalformedError(f"a message of the unknown type {data.hex() or 'none'}") from error


def _options(data: bytes, file: bytes, name: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    _collect(data, found)
    overload = found.pop(Code.OVERLOAD, b"\0")
    if len(overload) != 1:
        raise MalformedError("the overload option is not one byte")
    for bit, field in ((_IN_FILE, file), (_IN_NAME, name)):
        if overload[0] & bit:
            _collect(field, found)
    found.pop(Code.OVERLOAD, None)
    return found


def _collect(data: bytes, found: dict[int, bytes]) -> None:
    at = 0
    while at < len(data) and data[at] != _END:
        if data[at] == _PAD:
            at += 1
            continue
        if at + 2 > len(data) or at + 2 + data[at + 1] > len(data):
            raise MalformedError(f"option {data[at]} is cut off")
        end = at + 2 + data[at + 1]
        found[data[at]] = found.get(data[at], b"") + data[at + 2 : end]
        at = end
