"""DHCPv6 messages on the wire (RFC 8415, 8): a type, a transaction id, and options that may hold options."""

import enum
import struct
from ipaddress import IPv6Address

import attrs

from nodespan.controllers.network.dhcp.malformed import MalformedError

FOREVER = 0xFFFFFFFF

_HEADER = struct.Struct("!I")
_OPTION = struct.Struct("!HH")
_IA = struct.Struct("!III")
_ADDRESS = struct.Struct("!16sII")
_XID = 0xFFFFFF

Options = tuple[tuple[int, bytes], ...]


class MessageType(enum.IntEnum):
    """The kinds of messages, without those between relays."""

    SOLICIT = 1
    ADVERTISE = 2
    REQUEST = 3
    CONFIRM = 4
    RENEW = 5
    REBIND = 6
    REPLY = 7
    RELEASE = 8


class Code(enum.IntEnum):
    """The options that this client knows."""

    CLIENT_ID = 1
    SERVER_ID = 2
    IA_NA = 3
    IA_ADDRESS = 5
    REQUESTED_OPTIONS = 6
    PREFERENCE = 7
    ELAPSED_TIME = 8
    STATUS = 13
    NAME_SERVERS = 23
    SEARCH_DOMAINS = 24
    SIMPLE_TIME_SERVERS = 31
    HOST_NAME = 39
    TIME_SERVERS = 56
    SOL_MAX_RT = 82


class Status(enum.IntEnum):
    """The result (RFC 8415, 21.13). Numbers that are not here are failures too."""

    SUCCESS = 0
    UNSPECIFIED_FAILURE = 1
    NO_ADDRESSES_AVAILABLE = 2
    NO_BINDING = 3
    NOT_ON_LINK = 4


@attrs.frozen(kw_only=True)
class Message6:
    """A message; an option may be there several times."""

    type: MessageType
    xid: int
    options: Options = ()

    def option(self, code: Code) -> bytes | None:
        """The bytes of the first such option, None if there is none."""
        return find(self.options, code)


@attrs.frozen(kw_only=True)
class LeasedAddress6:
    """An address in an identity association, with its lifetimes in seconds."""

    address: IPv6Address
    preferred: int = 0
    valid: int = 0


@attrs.frozen(kw_only=True)
class Association:
    """An identity association for addresses: T1 and T2 in seconds, 0 leaves them to the client.

    `errors` are what was wrong with addresses that were left out.
    """

    iaid: int
    renew: int = 0
    rebind: int = 0
    addresses: tuple[LeasedAddress6, ...] = ()
    status: int = Status.SUCCESS
    errors: tuple[str, ...] = ()


def find(options: Options, code: Code) -> bytes | None:
    """The bytes of the first such option, None if there is none."""
    return next((data for found, data in options if found == code), None)


def encode(message: Message6) -> bytes:
    """The message on the wire."""
    return _HEADER.pack(message.type << 24 | message.xid) + _encode_options(message.options)


def decode(data: bytes) -> Message6:
    """The message that these bytes are. Raises MalformedError."""
    if len(data) < _HEADER.size:
        raise MalformedError(f"a message of {len(data)} bytes is too short")
    (head,) = _HEADER.unpack_from(data)
    try:
        type = MessageType(head >> 24)
    except ValueError as error:
        raise MalformedError(f"a message of the unknown type {head >> 24}") from error
    return Message6(type=type, xid=head & _XID, options=parse_options(data[_HEADER.size :]))


def xid_of(data: bytes) -> int | None:
    """The transaction id of a message that may be malformed, None if it is too short."""
    return int.from_bytes(data[1:4]) if len(data) >= 4 else None


def _encode_options(options: Options) -> bytes:
    return b"".join(_OPTION.pack(code, len(data)) + data for code, data in options)


def parse_options(data: bytes) -> Options:
    """Options one after the other. Raises MalformedError."""
    options: list[tuple[int, bytes]] = []
    at = 0
    while at < len(data):
        if at + _OPTION.size > len(data):
            raise MalformedError("an option is cut off")
        code, length = _OPTION.unpack_from(data, at)
        end = at + _OPTION.size + length
        if end > len(data):
            raise MalformedError(f"option {code} is cut off")
        options.append((code, data[at + _OPTION.size : end]))
        at = end
    return tuple(options)


def encode_association(association: Association) -> bytes:
    """The contents of the option, without a status, which only servers send."""
    addresses = tuple(
        (int(Code.IA_ADDRESS), _ADDRESS.pack(each.address.packed, each.preferred, each.valid))
        for each in association.addresses
    )
    return _IA.pack(association.iaid, association.renew, association.rebind) + _encode_options(addresses)


def parse_association(data: bytes) -> Association:
    """The contents of the option. Raises MalformedError."""
    if len(data) < _IA.size:
        raise MalformedError("an identity association is cut off")
    iaid, renew, rebind = _IA.unpack_from(data)
    options = parse_options(data[_IA.size :])
    found = [body for code, body in options if code == Code.IA_ADDRESS]
    return Association(
        iaid=iaid,
        renew=renew,
        rebind=rebind,
        addresses=tuple(_parse_address(body) for body in found if len(body) >= _ADDRESS.size),
        status=parse_status(options),
        errors=tuple(f"an address of {len(body)} bytes is cut off" for body in found if len(body) < _ADDRESS.size),
    )


def _parse_address(data: bytes) -> LeasedAddress6:
    packed, preferred, valid = _ADDRESS.unpack_from(data)
    return LeasedAddress6(address=IPv6Address(packed), preferred=preferred, valid=valid)


def parse_status(options: Options) -> int:
    """The status in the options; without one it is success. Raises MalformedError."""
    data = find(options, Code.STATUS)
    if data is None:
        return Status.SUCCESS
    if len(data) < 2:
        raise MalformedError("a status is cut off")
    return int.from_bytes(data[:2])
