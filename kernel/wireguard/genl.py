"""WireGuard devices of the kernel, over generic netlink. Needs CAP_NET_ADMIN.

Messages are written and parsed here for the reason that `rtnetlink` gives: a device may have thousands of peers. An
answer takes as many messages as it needs, and the prefixes of one peer may be split between two of them. A
request must fit into one message, so a long list of peers or prefixes is sent in several.

The kernel's answer carries the private key; it is not decoded.
"""

import datetime
import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from ipaddress import ip_network

import attrs

from nodespan.kernel.netns import in_netns
from nodespan.kernel.prefixes import pack_ip
from nodespan.kernel.refusals import explained, wireguard_refusal
from nodespan.kernel.rtnetlink import (
    attribute,
    integer,
    ip_address,
    members,
    nest,
    number8,
    number16,
    number32,
    split,
    zero_terminated,
)
from nodespan.kernel.rtnl import NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR
from nodespan.kernel.wireguard.device import (
    DeviceChange,
    DeviceState,
    PeerConfig,
    PeersOfAnswers,
    PeerState,
    format_endpoint,
    parse_endpoint,
)
from nodespan.kernel.wireguard.keys import KEY_SIZE, format_key, parse_key

_HEADER = struct.Struct("=IHHII")
_GENERIC_HEADER = struct.Struct("=BBxx")  # command, version
_TIME = struct.Struct("=qq")
_DATAGRAM = 65536

_CONTROL = 0x10
_GET_FAMILY = 3
_FAMILY_ID = 1
_FAMILY_NAME = 2

_GET_DEVICE = 0
_SET_DEVICE = 1

_IFNAME = 2
_PRIVATE_KEY = 3
_DEVICE_PUBLIC_KEY = 4
_LISTEN_PORT = 6
_FWMARK = 7
_PEERS = 8

_PUBLIC_KEY = 1
_PRESHARED_KEY = 2
_FLAGS = 3
_ENDPOINT = 4
_KEEPALIVE = 5
_LAST_HANDSHAKE = 6
_RX_BYTES = 7
_TX_BYTES = 8
_ALLOWED_IPS = 9

_FAMILY = 1
_IP = 2
_LENGTH = 3

_REMOVE = 1
_REPLACE_ALLOWED_IPS = 2

# The list of peers in one message has less than 64 KiB.
_MESSAGE = 32768
_PREFIXES = 500


# Answers.


def read_device(datagrams: Iterable[bytes]) -> DeviceState:
    """The device in the datagrams of one answer."""
    device = DeviceState()
    parts: list[bytes] = []
    for data in datagrams:
        for type, _, start, end in split(data):
            if type in (NLMSG_DONE, NLMSG_ERROR):
                continue
            attributes = dict(members(data[start + _GENERIC_HEADER.size : end]))
            if _DEVICE_PUBLIC_KEY in attributes or _LISTEN_PORT in attributes:
                device = DeviceState(
                    public_key=format_key(attributes.get(_DEVICE_PUBLIC_KEY, bytes(KEY_SIZE))),
                    listen_port=integer(attributes, _LISTEN_PORT),
                    firewall_mark=integer(attributes, _FWMARK),
                )
            parts += (nested for _, nested in members(attributes.get(_PEERS, b"")))
    peers: dict[str, PeerState] = {}
    for peer in _peers_of_answers.of(parts):
        _take_in(peers, peer)
    return attrs.evolve(device, peers={key: _sorted(peer) for key, peer in sorted(peers.items())})


def _take_in(peers: dict[str, PeerState], peer: PeerState) -> None:
    config = peer.config
    earlier = peers.get(config.public_key)
    if earlier is not None:
        # The rest of a list of prefixes that did not fit into one message.
        rest = earlier.config.allowed_ips + config.allowed_ips
        peer = attrs.evolve(earlier, config=attrs.evolve(earlier.config, allowed_ips=rest))
    peers[config.public_key] = peer


def _sorted(peer: PeerState) -> PeerState:
    prefixes = peer.config.allowed_ips
    if len(prefixes) < 2:
        return peer
    # By address: the kernel lists them in the order of its tree.
    ordered = sorted(prefixes, key=_order)
    return attrs.evolve(peer, config=attrs.evolve(peer.config, allowed_ips=tuple(ordered)))


def _order(prefix: str) -> tuple[int, bytes, int]:
    address, _, length = prefix.partition("/")
    packed = socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
    return len(packed), packed, int(length)


def _read_peer(nested: bytes) -> PeerState:
    attributes = dict(members(nested))
    seconds, nanoseconds = _TIME.unpack(attributes.get(_LAST_HANDSHAKE, bytes(_TIME.size)))
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC) + datetime.timedelta(
        microseconds=nanoseconds // 1000
    )
    return PeerState(
        config=PeerConfig(
            public_key=format_key(attributes[_PUBLIC_KEY]),
            preshared_key=format_key(attributes.get(_PRESHARED_KEY, bytes(KEY_SIZE))),
            endpoint=_read_endpoint(attributes.get(_ENDPOINT, b"")),
            persistent_keepalive=integer(attributes, _KEEPALIVE),
            allowed_ips=tuple(_read_prefix(nested) for _, nested in members(attributes.get(_ALLOWED_IPS, b""))),
        ),
        last_handshake_time=moment if seconds else None,
        receive_bytes=integer(attributes, _RX_BYTES),
        transmit_bytes=integer(attributes, _TX_BYTES),
    )


_peers_of_answers = PeersOfAnswers(_read_peer)


def _read_prefix(nested: bytes) -> str:
    attributes = dict(members(nested))
    return f"{ip_address(attributes[_IP])}/{integer(attributes, _LENGTH)}"


def _read_endpoint(data: bytes) -> str:
    """A sockaddr_in or sockaddr_in6: a family in the machine's order, the port in the network's."""
    if not data:
        return ""
    (family,) = struct.unpack_from("=H", data)
    (port,) = struct.unpack_from("!H", data, 2)
    return format_endpoint(ip_address(data[4:8] if family == socket.AF_INET else data[8:24]), port)


# Requests.


def change_messages(name: str, change: DeviceChange) -> Iterator[bytes]:
    """The attributes of the messages for a change, in order. Raises ValueError for an invalid key."""
    settings: list[bytes] = []
    if change.private_key is not None:
        settings.append(attribute(_PRIVATE_KEY, parse_key(change.private_key)))
    if change.listen_port is not None:
        settings.append(number16(_LISTEN_PORT, change.listen_port))
    if change.firewall_mark is not None:
        settings.append(number32(_FWMARK, change.firewall_mark))
    head = zero_terminated(_IFNAME, name) + b"".join(settings)
    batch: list[bytes] = []
    size = 0
    for peer in _peers(change):
        if batch and size + len(peer) > _MESSAGE:
            yield head + nest(_PEERS, *batch)
            head, batch, size = zero_terminated(_IFNAME, name), [], 0
        batch.append(peer)
        size += len(peer)
    if batch or settings:
        yield head + (nest(_PEERS, *batch) if batch else b"")


def _peers(change: DeviceChange) -> Iterator[bytes]:
    for key in change.removed:
        yield nest(0, attribute(_PUBLIC_KEY, parse_key(key)), number32(_FLAGS, _REMOVE))
    for peer in change.peers:
        prefixes = [_prefix(text) for text in peer.allowed_ips]
        yield nest(
            0,
            attribute(_PUBLIC_KEY, parse_key(peer.public_key)),
            number32(_FLAGS, _REPLACE_ALLOWED_IPS),
            attribute(_PRESHARED_KEY, parse_key(peer.preshared_key) if peer.preshared_key else bytes(KEY_SIZE)),
            attribute(_ENDPOINT, _endpoint(peer.endpoint)) if peer.endpoint else b"",
            number16(_KEEPALIVE, peer.persistent_keepalive),
            nest(_ALLOWED_IPS, *prefixes[:_PREFIXES]),
        )
        for start in range(_PREFIXES, len(prefixes), _PREFIXES):
            more = nest(_ALLOWED_IPS, *prefixes[start : start + _PREFIXES])
            yield nest(0, attribute(_PUBLIC_KEY, parse_key(peer.public_key)), more)


def _prefix(text: str) -> bytes:
    network = ip_network(text)
    family = socket.AF_INET if network.version == 4 else socket.AF_INET6
    return nest(
        0,
        number16(_FAMILY, family),
        attribute(_IP, network.network_address.packed),
        number8(_LENGTH, network.prefixlen),
    )


def _endpoint(text: str) -> bytes:
    host, port = parse_endpoint(text)
    packed = pack_ip(host)
    if len(packed) == 4:
        return struct.pack("=H", socket.AF_INET) + struct.pack("!H", port) + packed + bytes(8)
    return struct.pack("=H", socket.AF_INET6) + struct.pack("!HI", port, 0) + packed + bytes(4)


# The connection.


class KernelWireguard:
    """The kernel's devices: links of kind `wireguard`."""

    def __init__(self, netns: str | None) -> None:
        self._netns = netns

    def read(self, name: str, *, peers: bool = True) -> DeviceState | None:
        """The device; None also if the kernel has no WireGuard. Blocks. Raises OSError: EPERM."""
        try:
            with self._open() as (connection, family):
                _send(connection, family, _GET_DEVICE, NLM_F_DUMP, zero_terminated(_IFNAME, name))
                answer = _answer(connection)
                # The device's own settings come first; closing the connection discards the rest.
                return read_device(answer if peers else (next(answer),))
        except OSError as error:
            if error.errno in (errno.ENODEV, errno.EOPNOTSUPP, errno.ENOENT):
                return None
            raise

    def read_private_key(self, name: str) -> str:
        """The private key, "" if the device has none; for who is to give it back. Blocks. Raises OSError."""
        with self._open() as (connection, family):
            _send(connection, family, _GET_DEVICE, NLM_F_DUMP, zero_terminated(_IFNAME, name))
            data = next(_answer(connection))
            for type, _, start, end in split(data):
                if type not in (NLMSG_DONE, NLMSG_ERROR):
                    attributes = dict(members(data[start + _GENERIC_HEADER.size : end]))
                    return format_key(attributes.get(_PRIVATE_KEY, bytes(KEY_SIZE)))
        return ""

    def change(self, name: str, change: DeviceChange) -> None:
        """Apply a change; blocks. Raises OSError."""
        port = change.listen_port or 0
        with (
            self._open() as (connection, family),
            explained(lambda number: wireguard_refusal(number, name, listen_port=port)),
        ):
            for attributes in change_messages(name, change):
                _send(connection, family, _SET_DEVICE, NLM_F_ACK, attributes)
                for _ in _answer(connection):
                    pass

    @contextmanager
    def _open(self) -> Iterator[tuple[socket.socket, int]]:
        with in_netns(self._netns):
            connection = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_GENERIC)
        with connection:
            connection.bind((0, 0))
            _send(connection, _CONTROL, _GET_FAMILY, NLM_F_ACK, zero_terminated(_FAMILY_NAME, "wireguard"))
            family = 0
            for data in _answer(connection):
                for type, _, start, end in split(data):
                    if type == _CONTROL:
                        family = integer(dict(members(data[start + _GENERIC_HEADER.size : end])), _FAMILY_ID)
            yield connection, family


_NETLINK_GENERIC = 16


def _send(connection: socket.socket, family: int, command: int, flags: int, attributes: bytes) -> None:
    body = _GENERIC_HEADER.pack(command, 1) + attributes
    connection.send(_HEADER.pack(_HEADER.size + len(body), family, NLM_F_REQUEST | flags, 0, 0) + body)


def _answer(connection: socket.socket) -> Iterator[bytes]:
    """The datagrams up to the one that ends the answer. Raises OSError for a refusal."""
    while True:
        data = connection.recv(_DATAGRAM)
        yield data
        for type, _, start, _ in split(data):
            if type in (NLMSG_DONE, NLMSG_ERROR):
                (code,) = struct.unpack_from("=i", data, start)
                if code:
                    raise OSError(-code, os.strerror(-code))
                return
