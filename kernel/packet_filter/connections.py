"""Makes the kernel's connection tracking know the connections that there are.

The kernel tracks connections of a network namespace from when a first rule looks at their state. A connection from
before is new to it: a packet of it that comes in then looks like the first of a connection, and where only established
ones are let in it is dropped, and each repetition of it. So before the first such rule the tracker gets an entry for
each established TCP connection of the namespace's own sockets, for each UDP socket that is connected to a peer, and for
each peer of WireGuard with a session. One that has an entry keeps it. Other UDP sockets do not say whom they talk with.

The table of the tracker is the machine's: an eighth of it is left to connections that come later. What does not fit, or
would take too long, is counted; what the tracker knows already takes no room. The sessions of WireGuard come first,
which are few and carry the mesh: how many TCP connections there are, clients outside decide.

The sockets come from NETLINK_SOCK_DIAG (linux/inet_diag.h), the entries go to nfnetlink's subsystem of connection
tracking (linux/netfilter/nfnetlink_conntrack.h).
"""

import contextlib
import errno
import itertools
import os
import socket
import struct
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING

import attrs

from nodespan.kernel.netns import in_netns
from nodespan.kernel.rtnetlink import (
    RtnlSocket,
    attribute,
    inside,
    members,
    nest,
    number8,
    open_rtnl_socket,
    split,
    text,
)
from nodespan.kernel.rtnl import NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, RTM_GETLINK

if TYPE_CHECKING:
    from nodespan.kernel.wireguard.device import DeviceState

_SOCK_DIAG, _NETFILTER = 4, 12  # families of netlink
_BY_FAMILY = 20  # SOCK_DIAG_BY_FAMILY
_NEW_CONNECTION = 1 << 8  # NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_NEW
_FIND_CONNECTION = 1 << 8 | 1  # IPCTNL_MSG_CT_GET
_GET_STATISTICS = 1 << 8 | 5  # IPCTNL_MSG_CT_GET_STATS
_ENTRIES, _MOST_ENTRIES = 1, 2  # CTA_STATS_GLOBAL_...
_CREATE, _EXCLUSIVE = 0x400, 0x200  # NLM_F_CREATE, NLM_F_EXCL
_HEADER = struct.Struct("=IHHII")
_GENERIC = struct.Struct("=BBH")  # family, version, resource
_IFNAME, _LINKINFO, _INFO_KIND, _PREFERRED_SOURCE = 3, 18, 1, 7  # IFLA_..., RTA_PREFSRC
_SOCKET_REQUEST = struct.Struct("=BBBxI48x")  # family, protocol, -, states, identity
_SOCKET = struct.Struct("!4x2s2s16s16s")  # family, state and timers, then both ports and both addresses
# ESTABLISHED, FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT, LAST_ACK: what may still get packets.
_STATES = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 9
_CONNECTED = 1 << 1
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
# As the kernel's own for established connections, and for UDP both ways, in seconds.
_FOR = {socket.IPPROTO_TCP: 432_000, socket.IPPROTO_UDP: 120}
_DATAGRAM = 1 << 16
# How many entries there may be, where the kernel does not say.
_MOST_BEFORE = 1 << 16
# What part of the table is left to others.
_RESERVE = 8
# So many are sent before the answers are read, so that these fit into the socket's buffer.
_BATCH = 64
_PATIENCE = 30.0
# The rules wait for it, so it takes no longer, in seconds; half a million entries take about as long.
_LONGEST = 20.0
# A peer of WireGuard with an older handshake has no session (REJECT_AFTER_TIME), in seconds.
_SESSION = 180.0
# The kernel has no such subsystem, so it tracks no connections either, or none can be put into it.
_UNSUPPORTED = frozenset({errno.EPROTONOSUPPORT, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOENT})

Address = IPv4Address | IPv6Address


@attrs.frozen(order=True)
class Connection:
    """A connection of a socket here."""

    local: Address
    local_port: int
    peer: Address
    peer_port: int
    protocol: int = socket.IPPROTO_TCP


@attrs.frozen(kw_only=True)
class Tracked:
    """How many connections are known now that were not, and how many are not, because of `reason`."""

    made: int = 0
    left_out: int = 0
    reason: str = ""


def track_connections(netns: str | None, *, longest: float = _LONGEST) -> Tracked:
    """Make the tracker know the connections of a namespace. Blocks, for no longer than `longest` seconds or so.

    A connection that ends meanwhile is no error. Raises OSError if the kernel refuses: EPERM without CAP_NET_ADMIN,
    EOPNOTSUPP if it cannot be told about connections.
    """
    with contextlib.ExitStack() as opened:
        with in_netns(netns):
            sockets, tracker = (
                opened.enter_context(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol))
                for protocol in (_SOCK_DIAG, _NETFILTER)
            )
        for each in (sockets, tracker):
            each.settimeout(_PATIENCE)
            each.bind((0, 0))
        entries, most = _room(tracker)
        found = itertools.chain(
            _tunnels(netns),
            _connections(sockets, socket.IPPROTO_UDP, _CONNECTED),
            _connections(sockets, socket.IPPROTO_TCP, _STATES),
        )
        return _tell(
            tracker,
            filter(_is_outside, found),
            room=max(0, most - most // _RESERVE - entries),
            full=f"the table of connections has room for {most}: raise net.netfilter.nf_conntrack_max",
            longest=longest,
        )


def _is_outside(connection: Connection) -> bool:
    peer = connection.peer
    ports = connection.local_port and connection.peer_port
    return bool(ports) and not (peer.is_loopback or peer.is_multicast or peer.is_unspecified)


def _room(tracker: socket.socket) -> tuple[int, int]:
    """How many entries the tracker has here, and may have at most."""
    body = _GENERIC.pack(socket.AF_UNSPEC, 0, 0)
    tracker.sendall(_HEADER.pack(_HEADER.size + len(body), _GET_STATISTICS, NLM_F_REQUEST, 0, 0) + body)
    data = tracker.recv(_DATAGRAM)
    for type, _, start, end in split(data):
        if type == NLMSG_ERROR:
            raise _refusal(-struct.unpack_from("=i", data, start)[0])
        found = dict(members(data[start + _GENERIC.size : end]))
        # Linux before 4.17 does not say how many it may have.
        entries, most = (int.from_bytes(found.get(number, b"")) for number in (_ENTRIES, _MOST_ENTRIES))
        return entries, most or _MOST_BEFORE
    raise OSError(errno.EBADMSG, "the kernel's connection tracking does not answer")


def _connections(sockets: socket.socket, protocol: int, states: int) -> Iterator[Connection]:
    for family in (socket.AF_INET, socket.AF_INET6):
        yield from _of_family(sockets, family, protocol, states)


def _of_family(sockets: socket.socket, family: int, protocol: int, states: int) -> Iterator[Connection]:
    body = _SOCKET_REQUEST.pack(family, protocol, 0, states)
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
                    # The kernel has no sockets of this family, or does not list those of this protocol.
                    return
                raise OSError(number, os.strerror(number))
            if end - start >= _SOCKET.size:
                yield _connection(family, protocol, data, start)


def _tunnels(netns: str | None) -> Iterator[Connection]:
    """The peers of WireGuard with a session: the kernel's own sockets are connected to no peer."""
    with open_rtnl_socket(netns) as kernel:
        names = [
            text(link.attributes, _IFNAME)
            for link in kernel.dump(RTM_GETLINK)
            if text(inside(link.attributes, _LINKINFO), _INFO_KIND) == "wireguard"
        ]
        if not names:
            return
        from nodespan.kernel.wireguard.genl import KernelWireguard

        begin = datetime.now(UTC) - timedelta(seconds=_SESSION)
        for name in names:
            device = KernelWireguard(netns).read(name)
            if device is not None:
                yield from _sessions(kernel, device, begin)


def _sessions(kernel: RtnlSocket, device: "DeviceState", begin: datetime) -> Iterator[Connection]:
    for peer in device.peers.values():
        if peer.last_handshake_time is None or peer.last_handshake_time < begin or not peer.config.endpoint:
            continue
        host, _, port = peer.config.endpoint.rpartition(":")
        there = ip_address(host.strip("[]"))
        try:
            route = kernel.route_to(str(there), mark=device.firewall_mark)
        except OSError:
            # No packet of it goes anywhere.
            continue
        source = b"" if route is None else route.attributes.get(_PREFERRED_SOURCE, b"")
        if source:
            yield Connection(ip_address(source), device.listen_port, there, int(port), socket.IPPROTO_UDP)


def _connection(family: int, protocol: int, data: bytes, start: int) -> Connection:
    local_port, peer_port, local, peer = _SOCKET.unpack_from(data, start)
    return Connection(
        local=_address(family, local),
        local_port=int.from_bytes(local_port),
        peer=_address(family, peer),
        peer_port=int.from_bytes(peer_port),
        protocol=protocol,
    )


def _address(family: int, data: bytes) -> Address:
    if family == socket.AF_INET:
        return ip_address(data[:4])
    address = IPv6Address(data)
    # What a socket of both families serves over IPv4 is IPv4 to the tracker.
    return address.ipv4_mapped or address


def entry(connection: Connection) -> bytes:
    """The body of a message that makes an entry: the peer counts as the one who began."""
    protocol = connection.protocol
    local, peer = (connection.local, connection.local_port), (connection.peer, connection.peer_port)
    parts = [
        nest(_TUPLE_REPLY, *_way(protocol, local, peer)),
        attribute(_STATUS, struct.pack("!I", _SEEN_BOTH_WAYS)),
        attribute(_TIMEOUT, struct.pack("!I", _FOR[protocol])),
    ]
    if protocol == socket.IPPROTO_TCP:
        state = nest(
            _TCP,
            number8(_TCP_STATE, _TRACKED_AS_ESTABLISHED),
            attribute(_FLAGS_ORIGINAL, _ANY_WINDOW),
            attribute(_FLAGS_REPLY, _ANY_WINDOW),
        )
        parts.append(nest(_PROTOCOL_STATE, state))
    return question(connection) + b"".join(parts)


def question(connection: Connection) -> bytes:
    """The body of a message that asks for an entry, whichever end of it began."""
    family = socket.AF_INET if connection.peer.version == 4 else socket.AF_INET6
    local, peer = (connection.local, connection.local_port), (connection.peer, connection.peer_port)
    return _GENERIC.pack(family, 0, 0) + nest(_TUPLE_ORIGINAL, *_way(connection.protocol, peer, local))


def _way(protocol: int, source: tuple[Address, int], destination: tuple[Address, int]) -> Iterator[bytes]:
    number = _SOURCE[source[0].version]
    yield nest(_ADDRESSES, attribute(number, source[0].packed), attribute(number + 1, destination[0].packed))
    yield nest(
        _PORTS,
        number8(_PROTOCOL, protocol),
        attribute(_SOURCE_PORT, struct.pack("!H", source[1])),
        attribute(_DESTINATION_PORT, struct.pack("!H", destination[1])),
    )


def _tell(
    tracker: socket.socket, connections: Iterator[Connection], *, room: int, full: str, longest: float
) -> Tracked:
    end = time.monotonic() + longest
    made, left_out, reason = 0, 0, ""
    while batch := tuple(itertools.islice(connections, _BATCH)):
        if time.monotonic() > end:
            reason = reason or f"that would take longer than {longest:g} s"
            left_out += len(batch)
            continue
        if made + len(batch) > room:
            # Those that have an entry need no room.
            batch = _unknown(tracker, batch)
            if surplus := max(0, made + len(batch) - room):
                left_out, reason = left_out + surplus, reason or full
                batch = batch[: len(batch) - surplus]
        answers = _told(tracker, batch)
        made += answers.count(0)
        if refused := answers.count(errno.ENOMEM):
            # Others have taken the room.
            left_out, reason, room = left_out + refused, reason or full, made
    return Tracked(made=made, left_out=left_out, reason=reason)


def _unknown(tracker: socket.socket, connections: Sequence[Connection]) -> tuple[Connection, ...]:
    """Those that have no entry."""
    answers = _asked(tracker, _FIND_CONNECTION, NLM_F_REQUEST | NLM_F_ACK, map(question, connections))
    return tuple(each for each, number in zip(connections, answers, strict=True) if number == errno.ENOENT)


def _told(tracker: socket.socket, connections: Sequence[Connection]) -> tuple[int, ...]:
    """For each the error number, 0 if it has an entry now, EEXIST if it had one."""
    flags = NLM_F_REQUEST | NLM_F_ACK | _CREATE | _EXCLUSIVE
    answers = _asked(tracker, _NEW_CONNECTION, flags, map(entry, connections))
    if errno.ENOENT in answers:
        raise _refusal(errno.ENOENT)
    return answers


def _asked(tracker: socket.socket, type: int, flags: int, bodies: Iterable[bytes]) -> tuple[int, ...]:
    """Send messages of one type; returns the error number of each."""
    count = 0
    for count, body in enumerate(bodies, start=1):
        tracker.sendall(_HEADER.pack(_HEADER.size + len(body), type, flags, count, 0) + body)
    return tuple(_answers(tracker, count))


def _answers(tracker: socket.socket, count: int) -> Iterator[int]:
    """The error number for each message, 0 for none."""
    left = count
    while left:
        data = tracker.recv(_DATAGRAM)
        for type, _, start, _ in split(data):
            if type != NLMSG_ERROR:
                continue
            left -= 1
            number = -struct.unpack_from("=i", data, start)[0]
            if number not in (0, errno.EEXIST, errno.ENOENT, errno.ENOMEM):
                raise _refusal(number)
            yield number


def _refusal(number: int) -> OSError:
    if number in _UNSUPPORTED:
        return OSError(errno.EOPNOTSUPP, "the kernel cannot be told about connections that it does not track")
    return OSError(number, os.strerror(number))
