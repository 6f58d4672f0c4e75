"""Makes the kernel's connection tracking know the TCP connections that there are.

The kernel tracks connections of a network namespace from when a first rule looks at their state. A connection from
before is new to it: a packet of it that comes in then looks like the first of a connection, and where only established
ones are let in it is dropped, and each repetition of it. So the tracker gets an entry for each established connection
of the namespace's own sockets before the first such rule. One that has an entry keeps it.

The sockets come from NETLINK_SOCK_DIAG (linux/inet_diag.h), the entries go to nfnetlink's subsystem of connection
tracking (linux/netfilter/nfnetlink_conntrack.h).
"""

import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address

import attrs

from nodespan.kernel.netns import in_netns
from nodespan.kernel.rtnetlink import attribute, nest, number8, split
from nodespan.kernel.rtnl import NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR

_SOCK_DIAG, _NETFILTER = 4, 12  # families of netlink
_BY_FAMILY = 20  # SOCK_DIAG_BY_FAMILY
_NEW_CONNECTION = 1 << 8  # NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_NEW
_CREATE, _EXCLUSIVE = 0x400, 0x200  # NLM_F_CREATE, NLM_F_EXCL
_HEADER = struct.Struct("=IHHII")
_SOCKET_REQUEST = struct.Struct("=BBBxI48x")  # family, protocol, -, states, identity
_SOCKET = struct.Struct("!4x2s2s16s16s")  # family, state and timers, then both ports and both addresses
# ESTABLISHED, FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT, LAST_ACK: what may still get packets.
_STATES = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 9
_TUPLE_ORIGINAL, _TUPLE_REPLY, _STATUS, _PROTOCOL_STATE, _TIMEOUT = 1, 2, 3, 4, 7  # CTA_...
_ADDRESSES, _PORTS = 1, 2  # CTA_TUPLE_IP, CTA_TUPLE_PROTO
_SOURCE = {4: 1, 6: 3}  # CTA_IP_V4_SRC, CTA_IP_V6_SRC; the destination is the next number
_PROTOCOL, _SOURCE_PORT, _DESTINATION_PORT = 1, 2, 3  # CTA_PROTO_...
_TCP, _TCP_STATE, _FLAGS_ORIGINAL, _FLAGS_REPLY = 1, 1, 4, 5  # CTA_PROTOINFO_TCP, and in it
_TRACKED_AS_ESTABLISHED = 3  # TCP_CONNTRACK_ESTABLISHED
# IPS_SEEN_REPLY, IPS_ASSURED, IPS_CONFIRMED
_SEEN_BOTH_WAYS = 2 | 4 | 8
# The tracker does not know the windows of a connection that it has not seen begin: IP_CT_TCP_FLAG_BE_LIBERAL.
_ANY_WINDOW = bytes((8, 8))
# As the kernel's own for established connections, in seconds.
_FOR = 432_000
_DATAGRAM = 1 << 16
_MOST = 1 << 16
# So many are sent before the answers are read, so that these fit into the socket's buffer.
_BATCH = 64
_PATIENCE = 30.0
# The kernel has no such subsystem, so it tracks no connections either, or none can be put into it.
_UNSUPPORTED = frozenset({errno.EPROTONOSUPPORT, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOENT})

Address = IPv4Address | IPv6Address


@attrs.frozen(order=True)
class Connection:
    """A TCP connection of a socket here."""

    local: Address
    local_port: int
    peer: Address
    peer_port: int


def track_connections(netns: str | None) -> int:
    """Make the tracker know the established connections of a namespace; returns how many it did not know. Blocks.

    A connection that ends meanwhile is no error. Raises OSError if the kernel refuses: EPERM without CAP_NET_ADMIN,
    EOPNOTSUPP if it cannot be told about connections.
    """
    with in_netns(netns):
        sockets = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _SOCK_DIAG)
        tracker = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETFILTER)
    with sockets, tracker:
        for each in (sockets, tracker):
            each.settimeout(_PATIENCE)
            each.bind((0, 0))
        found = [*_connections(sockets, socket.AF_INET), *_connections(sockets, socket.AF_INET6)]
        return _tell(tracker, [each for each in found if not each.peer.is_loopback][:_MOST])


def _connections(sockets: socket.socket, family: int) -> Iterator[Connection]:
    body = _SOCKET_REQUEST.pack(family, socket.IPPROTO_TCP, 0, _STATES)
    length = _HEADER.size + len(body)
    sockets.sendall(_HEADER.pack(length, _BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, 1, 0) + body)
    while True:
        data = sockets.recv(_DATAGRAM)
        for type, _, start, end in split(data):
            if type == NLMSG_DONE:
                return
            if type == NLMSG_ERROR:
                number = -struct.unpack_from("=i", data, start)[0]
                if number == errno.ENOENT:
                    # The kernel has no sockets of this family.
                    return
                raise OSError(number, os.strerror(number))
            if end - start >= _SOCKET.size:
                yield _connection(family, data, start)


def _connection(family: int, data: bytes, start: int) -> Connection:
    local_port, peer_port, local, peer = _SOCKET.unpack_from(data, start)
    return Connection(
        local=_address(family, local),
        local_port=int.from_bytes(local_port),
        peer=_address(family, peer),
        peer_port=int.from_bytes(peer_port),
    )


def _address(family: int, data: bytes) -> Address:
    if family == socket.AF_INET:
        return ip_address(data[:4])
    address = IPv6Address(data)
    # What a socket of both families serves over IPv4 is IPv4 to the tracker.
    return address.ipv4_mapped or address


def entry(connection: Connection) -> bytes:
    """The body of a message that makes an entry: the peer counts as the one who began."""
    family = socket.AF_INET if connection.peer.version == 4 else socket.AF_INET6
    there = (connection.peer, connection.peer_port), (connection.local, connection.local_port)
    state = nest(
        _TCP,
        number8(_TCP_STATE, _TRACKED_AS_ESTABLISHED),
        attribute(_FLAGS_ORIGINAL, _ANY_WINDOW),
        attribute(_FLAGS_REPLY, _ANY_WINDOW),
    )
    parts = (
        nest(_TUPLE_ORIGINAL, *_way(*there)),
        nest(_TUPLE_REPLY, *_way(*reversed(there))),
        attribute(_STATUS, struct.pack("!I", _SEEN_BOTH_WAYS)),
        nest(_PROTOCOL_STATE, state),
        attribute(_TIMEOUT, struct.pack("!I", _FOR)),
    )
    return struct.pack("=BBH", family, 0, 0) + b"".join(parts)


def _way(source: tuple[Address, int], destination: tuple[Address, int]) -> Iterator[bytes]:
    number = _SOURCE[source[0].version]
    yield nest(_ADDRESSES, attribute(number, source[0].packed), attribute(number + 1, destination[0].packed))
    yield nest(
        _PORTS,
        number8(_PROTOCOL, socket.IPPROTO_TCP),
        attribute(_SOURCE_PORT, struct.pack("!H", source[1])),
        attribute(_DESTINATION_PORT, struct.pack("!H", destination[1])),
    )


def _tell(tracker: socket.socket, connections: list[Connection]) -> int:
    made = 0
    for first in range(0, len(connections), _BATCH):
        batch = connections[first : first + _BATCH]
        for number, connection in enumerate(batch):
            body = entry(connection)
            flags = NLM_F_REQUEST | NLM_F_ACK | _CREATE | _EXCLUSIVE
            tracker.sendall(_HEADER.pack(_HEADER.size + len(body), _NEW_CONNECTION, flags, number, 0) + body)
        made += sum(_answers(tracker, len(batch)))
    return made


def _answers(tracker: socket.socket, count: int) -> Iterable[bool]:
    """For each message, whether it made an entry."""
    left = count
    while left:
        data = tracker.recv(_DATAGRAM)
        for type, _, start, _ in split(data):
            if type != NLMSG_ERROR:
                continue
            left -= 1
            number = -struct.unpack_from("=i", data, start)[0]
            if number in _UNSUPPORTED:
                raise OSError(errno.EOPNOTSUPP, "the kernel cannot be told about connections that it does not track")
            if number not in (0, errno.EEXIST):
                raise OSError(number, os.strerror(number))
            yield number == 0
