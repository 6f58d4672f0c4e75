"""The counts of packets in /proc/net."""

import os
import socket

import pytest

from nodespan.kernel import net_counts
from nodespan.kernel.net_counts import NetCounts, Traffic, datagrams6_of, datagrams_of, traffic_of

LINKS = b"""Inter-|   Receive                                  |  Transmit
 face |bytes packets errs drop fifo frame compressed multicast|bytes packets errs drop fifo colls carrier compressed
    lo: 5277112 34221    0    0    0     0          0         0  5277112   34222    0    0    0     0       0      0
kubespan:     148       2    0    0    0     0          0         0      296       3    0    0    0     0       0      0
"""
SNMP = b"""Ip: Forwarding DefaultTTL
Ip: 2 64
Udp: InDatagrams NoPorts InErrors
Udp: 7810455 2427 574853
UdpLite: InDatagrams NoPorts InErrors
UdpLite: 1 2 3
"""
SNMP6 = b"""Ip6InReceives                   \t5
Udp6InDatagrams                 \t17
Udp6NoPorts                     \t3
UdpLite6InDatagrams             \t4
"""


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("kubespan", Traffic(2, 3, 148, 296)),
        ("lo", Traffic(34221, 34222, 5277112, 5277112)),
        ("span", Traffic()),
        ("face |bytes", Traffic()),
    ],
)
def test_the_packets_of_a_link_are_counted_each_way(link: str, expected: Traffic) -> None:
    assert traffic_of(link, LINKS) == expected


def test_datagrams_are_counted_of_both_families() -> None:
    assert datagrams_of(SNMP) == 7810455
    assert datagrams6_of(SNMP6) == 17


@pytest.mark.parametrize("text", [b"", b"Udp: InDatagrams NoPorts\n", SNMP.replace(b"Udp: ", b"Tdp: ")])
def test_a_kernel_that_does_not_count_datagrams_counts_none(text: bytes) -> None:
    assert (datagrams_of(text), datagrams6_of(text)) == (0, 0)


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_what_a_program_receives_grows_the_count_of_its_namespace(
    family: int, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[int] = []
    closed: list[int] = []

    class Noting:
        """The calls of `os` that counts are read by, which note what is opened and closed."""

        O_RDONLY, O_CLOEXEC = os.O_RDONLY, os.O_CLOEXEC
        pread, fsencode = staticmethod(os.pread), staticmethod(os.fsencode)

        def open(self, path: str, flags: int) -> int:
            opened.append(os.open(path, flags))
            return opened[-1]

        def close(self, file: int) -> None:
            closed.append(file)
            os.close(file)

    monkeypatch.setattr(net_counts, "os", Noting())
    counts = NetCounts()
    with socket.socket(family, socket.SOCK_DGRAM) as receiver:
        try:
            receiver.bind((address, 0))
        except OSError:
            pytest.skip("this machine has no IPv6")
        before = counts.datagrams()
        packets = counts.traffic("lo")
        receiver.sendto(b"hello", receiver.getsockname())
        assert receiver.recv(10) == b"hello"
        assert counts.datagrams() > before
        now = counts.traffic("lo")
        assert now.received > packets.received
        assert now.sent > packets.sent
    counts.close()
    # Used again after it was closed.
    assert counts.datagrams() > before
    counts.close()
    assert sorted(closed) == sorted(opened)
    assert len(opened) >= 3
