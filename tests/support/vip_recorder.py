"""Watches who has a virtual IP: writes down, with times, every owner, every answer to ARP, and every answer to a ping.

It is a program of its own, so that nothing that a test does delays what it sees:

    python -m tests.support.vip_recorder RECORD ADDRESS CLIENT_NAMESPACE CLIENT_LINK NAMESPACE...

A line of the record is a JSON list: the time in seconds on CLOCK_BOOTTIME, what happened, and to whom. `has` and
`lost` come from the kernel of each node's namespace, `arp` and `ping` from what is heard in the client's.
"""

import bisect
import contextlib
import itertools
import json
import os
import selectors
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import attrs
from pyroute2.netlink import rtnl

from nodespan.kernel.addresses import read_address
from nodespan.kernel.netns import in_netns
from nodespan.kernel.packets.arp import ArpSocket
from nodespan.kernel.rtnetlink import open_rtnl_socket, parse

# Seconds between two questions, and between two pings.
ARP_INTERVAL = 0.05
PING_INTERVAL = 0.02
_ECHO, _ECHO_REPLY = 8, 0


def now() -> float:
    """The time that stands in records."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@attrs.frozen
class Entry:
    """One line. `who` is a node's number, or a MAC address."""

    time: float
    what: str
    who: int | str


@attrs.frozen
class Tenure:
    """A node had the address, from one time to another; infinity: it has it still."""

    node: int
    begin: float
    end: float


class Record:
    """What was written down so far."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._entries: list[Entry] = []
        # Those about owners, which are few.
        self._owners: list[Entry] = []
        self._read_to = 0
        self._begun = b""

    def entries(self, since: float = 0.0) -> list[Entry]:
        """The entries from a time on."""
        with self._path.open("rb") as file:
            file.seek(self._read_to)
            read = file.read()
        self._read_to += len(read)
        *lines, self._begun = (self._begun + read).split(b"\n")
        new = [Entry(*json.loads(line)) for line in lines]
        self._entries += new
        self._owners += [entry for entry in new if entry.what in ("has", "lost")]
        return self._entries[bisect.bisect_left(self._entries, since, key=lambda entry: entry.time) :]

    def tenures(self, since: float = 0.0) -> list[Tenure]:
        """Who had the address when, in the order of beginning; those that ended before `since` left out."""
        open: dict[int, float] = {}
        found: list[Tenure] = []
        self.entries(float("inf"))
        for entry in self._owners:
            assert isinstance(entry.who, int)
            if entry.what == "has":
                open.setdefault(entry.who, entry.time)
            elif entry.who in open:
                found.append(Tenure(entry.who, open.pop(entry.who), entry.time))
        found += [Tenure(node, begin, float("inf")) for node, begin in open.items()]
        return sorted((each for each in found if each.end > since), key=lambda each: each.begin)

    def check(self, since: float = 0.0) -> None:
        """Raise AssertionError if two nodes had the address at one time, or two answered one ARP question."""
        for one, other in itertools.combinations(self.tenures(since), 2):
            is_apart = one.end <= other.begin or other.end <= one.begin
            assert one.node == other.node or is_apart, f"two owners at one time: {one}, {other}"
        answers: dict[int, set[int | str]] = {}
        for entry in self.entries(since):
            if entry.what == "arp":
                answers.setdefault(int(entry.time / ARP_INTERVAL), set()).add(entry.who)
        both = {at: who for at, who in answers.items() if len(who) > 1}
        assert not both, f"two answers to ARP: {both}"

    def owner(self) -> int | None:
        """Who has the address now."""
        for tenure in reversed(self.tenures()):
            if tenure.end == float("inf"):
                return tenure.node
        return None

    def answered_since(self, since: float) -> float | None:
        """When the first ping after that time was answered, None if none was yet."""
        return next((entry.time for entry in self.entries(since) if entry.what == "ping"), None)


def main(path: str, address: str, client: str, client_link: str, namespaces: Iterable[str]) -> None:
    """Record until killed."""
    packed = socket.inet_aton(address)
    selector = selectors.DefaultSelector()
    record = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def write(what: str, who: int | str) -> None:
        os.write(record, json.dumps([now(), what, who]).encode() + b"\n")

    for node, namespace in enumerate(namespaces):
        events = _address_events(namespace)
        selector.register(events, selectors.EVENT_READ, _owners(events, address, node, write))
    mac = bytes.fromhex(_mac_of(client, client_link).replace(":", ""))
    neighbours = ArpSocket(client_link, mac, client)
    ping = _ping_socket(client)

    def heard() -> None:
        while (who := neighbours.receive_claim(packed)) is not None:
            write("arp", who.hex(":"))

    def answered() -> None:
        data = ping.recv(2048)
        if data[12:16] == packed and data[20] == _ECHO_REPLY:
            write("ping", "")

    selector.register(neighbours, selectors.EVENT_READ, heard)
    selector.register(ping, selectors.EVENT_READ, answered)
    write("began", "")
    ask_at = ping_at = now()
    number = 0
    while True:
        for key, _ in selector.select(max(0.0, min(ask_at, ping_at) - now())):
            key.data()
        if now() >= ask_at:
            neighbours.probe(packed)
            ask_at = now() + ARP_INTERVAL
        if now() >= ping_at:
            number = (number + 1) & 0xFFFF
            # It fails while the neighbour is not known.
            with contextlib.suppress(OSError):
                ping.sendto(_echo(number), (address, 0))
            ping_at = now() + PING_INTERVAL


def _owners(
    events: socket.socket, address: str, node: int, write: Callable[[str, int | str], None]
) -> Callable[[], None]:
    has = False

    def changed() -> None:
        nonlocal has
        for message in parse(events.recv(65536)):
            if read_address(message).address.partition("/")[0] != address:
                continue
            # It is written anew each time it is renewed.
            if (message.type == rtnl.RTM_NEWADDR) != has:
                has = not has
                write("has" if has else "lost", node)

    return changed


def _address_events(namespace: str) -> socket.socket:
    with in_netns(namespace):
        events = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    events.bind((0, rtnl.RTMGRP_IPV4_IFADDR))
    return events


def _mac_of(namespace: str, link: str) -> str:
    with open_rtnl_socket(namespace) as kernel:
        message = kernel.link(name=link)
    assert message is not None, f"there is no link {link} in {namespace}"
    return message.attributes[1].hex(":")


def _ping_socket(namespace: str) -> socket.socket:
    with in_netns(namespace):
        return socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.IPPROTO_ICMP)


def _echo(number: int) -> bytes:
    body = struct.pack("!HH", 1, number)
    total = (_ECHO << 8) + 1 + number
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!BBH", _ECHO, 0, ~total & 0xFFFF) + body


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4], sys.argv[5:])
