"""Reads and changes the settings of network cards, over the kernel's generic netlink family `ethtool` (Linux 5.6).

A message is the name of a group of settings (rings, channels ...) as a command, and attributes: first a header, which
says which link and how to answer, then the settings. Sets of bits come compact: their size, and words of 32 bits with
values and with the mask of those that mean something. The names of features and link modes are the same for all links,
and read once for each connection.

Reading needs no privileges; changing needs CAP_NET_ADMIN.
"""

import errno
import os
import socket
import struct
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import attrs

from nodespan.kernel.hardware.ethernet_settings import (
    EthernetChange,
    EthernetLink,
    EthernetSettings,
    Feature,
    WakeOnLan,
)
from nodespan.kernel.netns import in_netns
from nodespan.kernel.rtnetlink import (
    Attributes,
    attribute,
    inside,
    integer,
    members,
    nest,
    number8,
    number32,
    split,
    text,
    zero_terminated,
)
from nodespan.kernel.rtnl import NLM_F_ACK, NLM_F_REQUEST, NLMSG_ERROR
from nodespan.resources.network.enums import Duplex, Port
from nodespan.resources.network.ethernet import EthernetChannelsStatus, EthernetRingsStatus

_NETLINK_GENERIC = 16
_SOL_NETLINK = 270
_CAPPED_ACK = 10
_EXTENDED_ACK = 11
_EXTENDED_ANSWER = 0x200
_REASON = 1
_DATAGRAM = 65536
_HEADER_OF_MESSAGE = struct.Struct("=IHHII")
_GENERIC_HEADER = struct.Struct("=BBxx")  # command, version
_CODE = struct.Struct("=i")

_CONTROL = 0x10
_GET_FAMILY = 3
_FAMILY_ID = 1
_FAMILY_NAME = 2

_GET_STRINGS = 1
_GET_LINK_INFO = 2
_GET_LINK_MODES = 4
_GET_LINK_STATE = 6
_GET_WAKE, _SET_WAKE = 9, 10
_GET_FEATURES, _SET_FEATURES = 11, 12
_GET_RINGS, _SET_RINGS = 15, 16
_GET_CHANNELS, _SET_CHANNELS = 17, 18

# The first attribute of every message, and what is in it.
_HEADER = 1
_DEVICE_INDEX = 1
_FLAGS = 3
_COMPACT = 1
_OMIT_REPLY = 2

_STRING_SETS = 2
_STRING_SET = 1
_STRING_SET_ID = 1
_STRINGS = 3
_STRING_VALUE = 2
_FEATURE_NAMES = 4
_LINK_MODE_NAMES = 9

_BITSET_SIZE = 2
_BITSET_BITS = 3
_BITSET_VALUE = 4
_BITSET_MASK = 5
_BIT = 1
_BIT_NAME = 2
_BIT_VALUE = 3

_PORT = 2
_OURS = 3
_PEERS = 4
_DUPLEX = 6
_LINK = 2
_WAKE_MODES = 2
_WAKE_BITS = 8
_HARDWARE = 2
_WANTED = 3
_ACTIVE = 4
_NEVER_CHANGES = 5

# Attributes of four bytes, by the fields of the status.
_RINGS = {
    "rx_max": 2,
    "rx_mini_max": 3,
    "rx_jumbo_max": 4,
    "tx_max": 5,
    "rx": 6,
    "rx_mini": 7,
    "rx_jumbo": 8,
    "tx": 9,
    "rx_buf_len": 10,
    "cqe_size": 12,
    "tx_push_buf_len": 15,
    "tx_push_buf_len_max": 16,
}
# Of one byte.
_TCP_DATA_SPLIT = 11
_SPLIT_OFF, _SPLIT_ON = 1, 2
_SWITCHES = {"tx_push": 13, "rx_push": 14}
_CHANNELS = {
    "rx_max": 2,
    "tx_max": 3,
    "other_max": 4,
    "combined_max": 5,
    "rx": 6,
    "tx": 7,
    "other": 8,
    "combined": 9,
}
# What a driver answers, a kernel that is older than a group of settings, or one that shows it to root alone.
_NOT_HERE = frozenset({errno.EOPNOTSUPP, errno.ENODEV, errno.EPERM})


@attrs.frozen
class _Bits:
    """A set of bits: values, and which of them mean something (all, without a mask)."""

    value: int
    mask: int


# Answers.


def read_rings(attributes: Attributes) -> EthernetRingsStatus:
    """The rings in an answer."""
    found: dict[str, Any] = {name: integer(attributes, key) for name, key in _RINGS.items() if key in attributes}
    found |= {name: bool(integer(attributes, key)) for name, key in _SWITCHES.items() if key in attributes}
    split_state = integer(attributes, _TCP_DATA_SPLIT)
    if split_state in (_SPLIT_OFF, _SPLIT_ON):
        found["tcp_data_split"] = split_state == _SPLIT_ON
    return EthernetRingsStatus(**found)


def read_channels(attributes: Attributes) -> EthernetChannelsStatus:
    """The channels in an answer."""
    return EthernetChannelsStatus(
        **{name: integer(attributes, key) for name, key in _CHANNELS.items() if key in attributes}
    )


def read_features(attributes: Attributes, names: tuple[str, ...]) -> dict[str, Feature]:
    """The features in an answer, in the order of their names."""
    hardware = _bits(attributes, _HARDWARE).value
    fixed = _bits(attributes, _NEVER_CHANGES).value
    wanted, active = _bits(attributes, _WANTED).value, _bits(attributes, _ACTIVE).value
    return {
        name: Feature(
            is_active=bool(active >> bit & 1),
            is_requested=bool(wanted >> bit & 1),
            is_fixed=not hardware >> bit & 1 or bool(fixed >> bit & 1),
        )
        for bit, name in enumerate(names)
        if name
    }


def read_wake_on_lan(attributes: Attributes) -> WakeOnLan:
    """The modes in an answer."""
    bits = _bits(attributes, _WAKE_MODES)
    return WakeOnLan(supported=bits.mask, active=bits.value)


def read_strings(attributes: Attributes) -> tuple[str, ...]:
    """The strings of the one set in an answer, by their numbers."""
    for number, data in members(attributes.get(_STRING_SETS, b"")):
        if number == _STRING_SET:
            found = [dict(members(string)) for _, string in members(dict(members(data)).get(_STRINGS, b""))]
            return tuple(text(string, _STRING_VALUE) for string in found)
    return ()


def _bits(attributes: Attributes, number: int) -> _Bits:
    bitset = inside(attributes, number)
    value = int.from_bytes(_words(bitset.get(_BITSET_VALUE, b"")), "little")
    if _BITSET_MASK not in bitset:
        return _Bits(value, (1 << integer(bitset, _BITSET_SIZE)) - 1)
    return _Bits(value, int.from_bytes(_words(bitset[_BITSET_MASK]), "little"))


def _words(data: bytes) -> bytes:
    """Words of 32 bits, the lowest first, as bytes, the lowest first."""
    if sys.byteorder == "little":
        return data
    return b"".join(data[start : start + 4][::-1] for start in range(0, len(data), 4))


# Requests.


def ring_attributes(rings: Mapping[str, int]) -> bytes:
    """The attributes that set these rings."""
    parts: list[bytes] = []
    for name, value in rings.items():
        if name in _RINGS:
            parts.append(number32(_RINGS[name], value))
        elif name == "tcp_data_split":
            parts.append(number8(_TCP_DATA_SPLIT, _SPLIT_ON if value else _SPLIT_OFF))
        else:
            parts.append(number8(_SWITCHES[name], value))
    return b"".join(parts)


def channel_attributes(channels: Mapping[str, int]) -> bytes:
    """The attributes that set these channels."""
    return b"".join(number32(_CHANNELS[name], value) for name, value in channels.items())


def feature_attributes(features: Mapping[str, bool]) -> bytes:
    """The attributes that ask for these features."""
    bits = (
        nest(_BIT, zero_terminated(_BIT_NAME, name), *((attribute(_BIT_VALUE, b""),) if value else ()))
        for name, value in features.items()
    )
    return nest(_WANTED, nest(_BITSET_BITS, *bits))


def wake_attributes(modes: int) -> bytes:
    """The attributes that switch on these modes, and all others off."""
    every = (1 << _WAKE_BITS) - 1
    words = (number32(_BITSET_VALUE, modes), number32(_BITSET_MASK, every))
    return nest(_WAKE_MODES, number32(_BITSET_SIZE, _WAKE_BITS), *words)


# The connection.


class EthtoolNetlink:
    """A connection to the drivers of a network namespace. All calls block; links are addressed by index."""

    def __init__(self, connection: socket.socket, family: int) -> None:
        self._connection = connection
        self._family = family
        self._strings: dict[int, tuple[str, ...]] = {}

    def settings(self, index: int) -> EthernetSettings:
        """What can be set of a link; nothing of one that is gone."""
        rings = self._get(_GET_RINGS, index)
        channels = self._get(_GET_CHANNELS, index)
        features = self.features(index)
        wake = self._get(_GET_WAKE, index)
        return EthernetSettings(
            rings=None if rings is None else read_rings(rings),
            channels=None if channels is None else read_channels(channels),
            features=features,
            wake_on_lan=None if wake is None else read_wake_on_lan(wake),
        )

    def features(self, index: int) -> dict[str, Feature]:
        """The features of a link; none of one that is gone."""
        features = self._get(_GET_FEATURES, index)
        return {} if features is None else read_features(features, self._names(_FEATURE_NAMES))

    def link(self, index: int) -> EthernetLink:
        """What the driver says of the wire."""
        info = self._get(_GET_LINK_INFO, index)
        modes = self._get(_GET_LINK_MODES, index)
        state = self._get(_GET_LINK_STATE, index)
        return EthernetLink(
            link_state=None if state is None else bool(integer(state, _LINK)),
            port=None if info is None else Port.of(integer(info, _PORT)),
            duplex=Duplex.UNKNOWN if modes is None else Duplex.of(integer(modes, _DUPLEX)),
            our_modes=self._modes(modes, _OURS),
            peer_modes=self._modes(modes, _PEERS),
        )

    def change(self, index: int, change: EthernetChange) -> dict[str, OSError]:
        """Change what can be changed, group by group, and return the refusals by the group's name."""
        groups = (
            ("rings", _SET_RINGS, ring_attributes(change.rings) if change.rings else b""),
            ("features", _SET_FEATURES, feature_attributes(change.features) if change.features else b""),
            ("channels", _SET_CHANNELS, channel_attributes(change.channels) if change.channels else b""),
            ("wakeOnLan", _SET_WAKE, b"" if change.wake_on_lan is None else wake_attributes(change.wake_on_lan)),
        )
        refusals: dict[str, OSError] = {}
        for name, command, attributes in groups:
            if attributes:
                try:
                    self._request(command, index, _OMIT_REPLY, attributes, NLM_F_ACK)
                except OSError as error:
                    refusals[name] = error
        return refusals

    def _modes(self, attributes: Attributes | None, number: int) -> tuple[str, ...]:
        if attributes is None or number not in attributes:
            return ()
        value = _bits(attributes, number).value
        return tuple(name for bit, name in enumerate(self._names(_LINK_MODE_NAMES)) if value >> bit & 1)

    def _names(self, number: int) -> tuple[str, ...]:
        if number not in self._strings:
            wanted = nest(_STRING_SETS, nest(_STRING_SET, number32(_STRING_SET_ID, number)))
            self._strings[number] = read_strings(self._request(_GET_STRINGS, 0, 0, wanted, 0))
        return self._strings[number]

    def _get(self, command: int, index: int) -> Attributes | None:
        """The answer of a link's driver, None if it has none. Raises OSError."""
        try:
            return self._request(command, index, _COMPACT, b"", 0)
        except OSError as error:
            if error.errno not in _NOT_HERE:
                raise
            return None

    def _request(self, command: int, index: int, flags: int, attributes: bytes, netlink_flags: int) -> Attributes:
        device = number32(_DEVICE_INDEX, index) if index else b""
        body = nest(_HEADER, device, number32(_FLAGS, flags)) + attributes
        return _ask(self._connection, self._family, command, netlink_flags, body)


def _ask(connection: socket.socket, family: int, command: int, flags: int, attributes: bytes) -> Attributes:
    """Send a request, and return the attributes of its answer, none if that says that it is done. Raises OSError."""
    body = _GENERIC_HEADER.pack(command, 1) + attributes
    length = _HEADER_OF_MESSAGE.size + len(body)
    connection.send(_HEADER_OF_MESSAGE.pack(length, family, NLM_F_REQUEST | flags, 0, 0) + body)
    data = connection.recv(_DATAGRAM)
    for type, answer_flags, start, end in split(data):
        if type != NLMSG_ERROR:
            return dict(members(data[start + _GENERIC_HEADER.size : end]))
        (code,) = _CODE.unpack_from(data, start)
        if code:
            # Behind the code comes the header of what was sent, and then the reason in words.
            behind = data[start + _CODE.size + _HEADER_OF_MESSAGE.size : end]
            reason = dict(members(behind)) if answer_flags & _EXTENDED_ANSWER else {}
            raise OSError(-code, text(reason, _REASON) or os.strerror(-code))
    return {}


@contextmanager
def open_ethtool_netlink(netns: str | None) -> Iterator[EthtoolNetlink]:
    """Ask the drivers of a network namespace (a path; None: the current one).

    Raises OSError: EOPNOTSUPP if the kernel has no such family (before 5.6).
    """
    with in_netns(netns):
        connection = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_GENERIC)
    with connection:
        connection.setsockopt(_SOL_NETLINK, _EXTENDED_ACK, 1)
        connection.setsockopt(_SOL_NETLINK, _CAPPED_ACK, 1)
        connection.bind((0, 0))
        try:
            found = _ask(connection, _CONTROL, _GET_FAMILY, 0, zero_terminated(_FAMILY_NAME, "ethtool"))
        except FileNotFoundError as error:
            raise OSError(
                errno.EOPNOTSUPP,
                "this kernel cannot be asked for the settings of network cards: it is before Linux 5.6",
            ) from error
        yield EthtoolNetlink(connection, integer(found, _FAMILY_ID))
