"""Bare numbers of the kernel's get a sentence."""

import errno
import os

import pytest

from nodespan.kernel.refusals import address_refusal, explained, link_refusal, route_refusal, wireguard_refusal


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (
            address_refusal(errno.EINVAL, "fd00::1/64", "eth0", 1000),
            "IPv6 needs an MTU of 1280, eth0 has 1000",
        ),
        (
            address_refusal(errno.ENOBUFS, "fd00::1/64", "eth0", 1279),
            "IPv6 needs an MTU of 1280, eth0 has 1279",
        ),
        (
            address_refusal(errno.EINVAL, "ff02::5/64", "eth0", 1500),
            "ff02::5/64 is a multicast address, which no link can have",
        ),
        (address_refusal(errno.EINVAL, "::/64", "eth0", 1500), "::/64 stands for no address, so no link can have it"),
        (
            address_refusal(errno.EACCES, "fd00::1/64", "eth0", 1500),
            "IPv6 is turned off on eth0: see net.ipv6.conf.eth0.disable_ipv6",
        ),
        (
            address_refusal(errno.ENOBUFS, "10.0.0.1/24", "eth0", 1000),
            "the kernel refuses 10.0.0.1/24 on eth0: No buffer space available",
        ),
        (
            route_refusal(errno.ENODEV, "fd01::/64", is_ipv6=True, link="eth0", mtu=1000),
            "IPv6 needs an MTU of 1280, eth0 has 1000",
        ),
        (
            route_refusal(errno.ENETUNREACH, "10.0.0.0/8", is_ipv6=False, link="", mtu=0),
            "the gateway of the route to 10.0.0.0/8 is on no network of this machine",
        ),
        (
            route_refusal(errno.ENODEV, "10.0.0.0/8", is_ipv6=False, link="eth0", mtu=1000),
            "the kernel refuses the route to 10.0.0.0/8 over eth0: No such device",
        ),
        (
            link_refusal(errno.EADDRNOTAVAIL, "x", hardware_addr="01:00:5e:00:00:01"),
            "01:00:5e:00:00:01 is a multicast or all-zero address, which no link can have",
        ),
        (
            link_refusal(errno.ENETDOWN, "x0 does not take its state"),
            "x0 does not take its state: the link below it is down",
        ),
        (link_refusal(errno.ERANGE, "x", mtu=9000), "an MTU of 9000 is more than the link below has"),
        (
            link_refusal(errno.EBUSY, "eth0 does not take its hardware address"),
            "eth0 does not take its hardware address: the kernel does this only while the link is down",
        ),
        (link_refusal(errno.EINVAL, "lo does not take its master"), "lo does not take its master: Invalid argument"),
        (
            wireguard_refusal(errno.EADDRINUSE, "wg0", listen_port=51820),
            "wg0 cannot listen on UDP port 51820: it is in use, see `ss -ulpn`",
        ),
        (
            wireguard_refusal(errno.EINVAL, "wg0", listen_port=0),
            "wg0 does not take its WireGuard settings: Invalid argument",
        ),
    ],
)
def test_a_refusal_is_a_sentence(said: str, expected: str) -> None:
    assert said == expected


def test_only_a_bare_number_is_explained() -> None:
    for error in (OSError(errno.EINVAL, "Invalid prefsrc address"), OSError(errno.EEXIST, os.strerror(errno.EEXIST))):
        with pytest.raises(OSError, match=str(error.strerror)), explained(lambda number: f"never told {number}"):
            raise error
    with pytest.raises(OSError, match="so and so") as raised, explained(lambda _: "so and so"):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    assert raised.value.errno == errno.EINVAL


def test_a_kernel_that_cannot_be_asked_why_leaves_the_refusal_as_it_is() -> None:
    def gone(_number: int) -> str:
        raise ConnectionResetError

    with pytest.raises(OSError, match=os.strerror(errno.EINVAL)), explained(gone):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
