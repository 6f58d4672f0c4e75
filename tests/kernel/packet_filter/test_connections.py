"""What the tracker of connections is told about one, byte by byte. Whether the kernel takes it: tests/mesh."""

import errno
import socket
import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import cast

import pytest

from nodespan.kernel.packet_filter.connections import (
    Connection,
    Tracked,
    _sessions,
    _tell,
    entry,
    track_connections,
)
from nodespan.kernel.rtnetlink import Message, RtnlSocket, attribute, members, message_of
from nodespan.kernel.rtnl import NLMSG_ERROR, RTM_NEWROUTE
from nodespan.kernel.wireguard.device import DeviceState, PeerConfig, PeerState


def read(data: bytes) -> dict[int, bytes]:
    return dict(members(data))


@pytest.mark.parametrize(
    ("local", "peer", "family", "numbers"),
    [("192.0.2.1", "198.51.100.7", 2, (1, 2)), ("2001:db8::1", "2001:db8:1::7", 10, (3, 4))],
)
def test_an_entry_has_both_ways_of_the_connection(local: str, peer: str, family: int, numbers: tuple[int, int]) -> None:
    body = entry(Connection(local=ip_address(local), local_port=22, peer=ip_address(peer), peer_port=51000))
    assert body[:4] == bytes((family, 0, 0, 0))
    found = read(body[4:])
    source, destination = numbers
    for number, (first, first_port), (second, second_port) in (
        (1, (peer, 51000), (local, 22)),
        (2, (local, 22), (peer, 51000)),
    ):
        way = read(found[number])
        assert read(way[1]) == {source: ip_address(first).packed, destination: ip_address(second).packed}
        assert read(way[2]) == {1: b"\x06", 2: first_port.to_bytes(2), 3: second_port.to_bytes(2)}
    # Seen both ways, and confirmed; established, with any window; for five days.
    assert found[3] == (2 | 4 | 8).to_bytes(4)
    assert read(read(found[4])[1]) == {1: b"\x03", 4: b"\x08\x08", 5: b"\x08\x08"}
    assert found[7] == (432_000).to_bytes(4)


def test_an_entry_of_udp_has_no_state_and_the_time_of_a_stream() -> None:
    connection = Connection(ip_address("192.0.2.1"), 500, ip_address("198.51.100.7"), 4500, socket.IPPROTO_UDP)
    found = read(entry(connection)[4:])
    assert read(read(found[1])[2])[1] == b"\x11"
    assert 4 not in found
    assert found[7] == (120).to_bytes(4)


class Tracker:
    """Takes messages, and answers each with a number: that of the port that the connection came from, if it is one.

    Asked for an entry, it has that of the port EEXIST, and no other.
    """

    def __init__(self) -> None:
        self.asked = 0
        self._answers: list[bytes] = []

    def sendall(self, data: bytes) -> None:
        self.asked += 1
        port = int.from_bytes(read(read(read(data[20:])[1])[2])[2])
        number = port if port < 200 else 0
        if struct.unpack_from("=H", data, 4)[0] == 1 << 8 | 1:
            number = 0 if port == errno.EEXIST else errno.ENOENT
        self._answers.append(struct.pack("=IHHIIi16x", 36, NLMSG_ERROR, 0, 0, 0, -number))

    def recv(self, _: int) -> bytes:
        answers, self._answers = b"".join(self._answers), []
        return answers


def connections(count: int, *ports: int) -> Iterator[Connection]:
    for number in range(count):
        port = ports[number] if number < len(ports) else 1000 + number
        yield Connection(ip_address("192.0.2.1"), 22, ip_address("198.51.100.7"), port)


@pytest.mark.parametrize(
    ("given", "room", "longest", "expected", "asked"),
    [
        (connections(0), 1000, 60.0, Tracked(), 0),
        (connections(130), 1000, 60.0, Tracked(made=130), 130),
        (connections(10, errno.EEXIST), 1000, 60.0, Tracked(made=9), 10),
        # Where it gets narrow, each batch is asked for first, and then made as far as there is room: 22 of the third.
        (connections(200), 150, 60.0, Tracked(made=150, left_out=50, reason="full"), 128 + 64 + 22 + 8),
        (connections(100), 0, 60.0, Tracked(left_out=100, reason="full"), 100),
        # What has an entry is not left out, and what comes behind those that have one is tried.
        (connections(100, *[errno.EEXIST] * 100), 0, 60.0, Tracked(), 100),
        (connections(70, *[errno.EEXIST] * 69), 1, 60.0, Tracked(made=1), 64 + 6 + 1),
        (connections(100, errno.ENOMEM, errno.ENOMEM), 1000, 60.0, Tracked(made=62, left_out=38, reason="full"), 100),
        (connections(70), 1000, -1.0, Tracked(left_out=70, reason="that would take longer than -1 s"), 0),
    ],
)
def test_connections_that_do_not_fit_are_counted(
    given: Iterator[Connection], room: int, longest: float, expected: Tracked, asked: int
) -> None:
    tracker = Tracker()
    assert _tell(cast(socket.socket, tracker), given, room=room, full="full", longest=longest) == expected
    assert tracker.asked == asked


def test_a_refusal_is_an_error() -> None:
    with pytest.raises(PermissionError):
        _tell(cast(socket.socket, Tracker()), connections(1, errno.EPERM), room=9, full="", longest=60.0)


class Routes:
    """A kernel from whose address 192.0.2.1 all is reached but 203.0.113.9."""

    def route_to(self, address: str, *, mark: int) -> Message:
        assert mark == 0x51
        if address == "203.0.113.9":
            raise OSError(errno.ENETUNREACH, "unreachable")
        source = attribute(7, ip_address("2001:db8::1" if ":" in address else "192.0.2.1").packed)
        return message_of(RTM_NEWROUTE, bytes(12) + source)


def test_peers_of_wireguard_with_a_session_are_connections() -> None:
    now = datetime.now(UTC)
    given = (
        ("198.51.100.7:51820", now),
        ("[2001:db8:1::7]:7", now),
        ("198.51.100.8:51820", now - timedelta(hours=1)),
        ("198.51.100.9:51820", None),
        ("203.0.113.9:51820", now),
        ("", now),
    )
    peers = {
        str(number): PeerState(config=PeerConfig(public_key=str(number), endpoint=endpoint), last_handshake_time=last)
        for number, (endpoint, last) in enumerate(given)
    }
    device = DeviceState(listen_port=51820, firewall_mark=0x51, peers=peers)
    found = _sessions(cast(RtnlSocket, Routes()), device, now - timedelta(minutes=3))
    assert [(str(each.local), each.local_port, str(each.peer), each.peer_port) for each in found] == [
        ("192.0.2.1", 51820, "198.51.100.7", 51820),
        ("2001:db8::1", 51820, "2001:db8:1::7", 7),
    ]


def test_a_second_socket_that_cannot_be_had_leaves_none_open(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[socket.socket] = []

    def make(*arguments: int) -> socket.socket:
        if made:
            raise OSError(errno.EMFILE, "Too many open files")
        made.append(real(*arguments))
        return made[0]

    real = socket.socket
    monkeypatch.setattr(socket, "socket", make)
    with pytest.raises(OSError, match="Too many open files"):
        track_connections(None)
    assert made[0].fileno() == -1
