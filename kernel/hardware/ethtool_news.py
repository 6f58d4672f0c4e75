"""Notifications from drivers: the `ethtool` generic netlink family reports changes of a link's speed or duplex.

If a card loses its carrier over such a change, rtnetlink reports it too; for one without a wire, like virtio, it does
not.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import trio

from nodespan.kernel.netlink_counts import counts_of
from nodespan.kernel.netns import in_netns
from nodespan.kernel.rtnetlink import inside, integer, members, split, text, zero_terminated
from nodespan.kernel.rtnl import NLM_F_REQUEST, NLMSG_ERROR

_NETLINK_GENERIC = 16
_SOL_NETLINK = 270
_ADD_MEMBERSHIP = 1
_DATAGRAM = 65536

_HEADER = struct.Struct("=IHHII")
_GENERIC_HEADER = struct.Struct("=BBxx")  # command, version

_CONTROL = 0x10
_GET_FAMILY = 3
_FAMILY_NAME = 2
_GROUPS = 7
_GROUP_NAME = 1
_GROUP_ID = 2

# Every message of the family starts with the same attribute, which names the device.
_DEVICE = 1
_DEVICE_INDEX = 1


class DriverNews:
    """The notifications of one network namespace. Made by `open_driver_news`; one task may wait for them."""

    def __init__(self, subscription: socket.socket) -> None:
        self._subscription = subscription

    async def receive(self) -> frozenset[int] | None:
        """Wait for a notification and return the indexes of its links; None: some were lost.

        Nothing is lost by cancelling. Raises OSError if the kernel refuses.
        """
        await trio.lowlevel.wait_readable(self._subscription)
        try:
            return frozenset(read_indexes(self._subscription.recv(_DATAGRAM)))
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            counts_of("ethtool").overruns += 1
            return None


def read_indexes(data: bytes) -> Iterator[int]:
    """The links of the messages in a datagram."""
    for _, _, start, end in split(data):
        device = inside(dict(members(data[start + _GENERIC_HEADER.size : end])), _DEVICE)
        if _DEVICE_INDEX in device:
            yield integer(device, _DEVICE_INDEX)


@contextmanager
def open_driver_news(netns: str | None) -> Iterator[DriverNews | None]:
    """Listen in a network namespace (a path; None: the current one). None if the kernel lacks the family (< 5.6).

    Needs no privileges. Raises OSError if the kernel refuses.
    """
    with in_netns(netns):
        subscription = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_GENERIC)
    with subscription:
        group = _group(subscription)
        if group is None:
            yield None
            return
        subscription.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)
        yield DriverNews(subscription)


def _group(connection: socket.socket) -> int | None:
    body = _GENERIC_HEADER.pack(_GET_FAMILY, 1) + zero_terminated(_FAMILY_NAME, "ethtool")
    connection.send(_HEADER.pack(_HEADER.size + len(body), _CONTROL, NLM_F_REQUEST, 0, 0) + body)
    data = connection.recv(_DATAGRAM)
    for type, _, start, end in split(data):
        if type == NLMSG_ERROR:
            (code,) = struct.unpack_from("=i", data, start)
            if -code == errno.ENOENT:
                return None
            raise OSError(-code, f"cannot resolve the kernel's ethtool family: {os.strerror(-code)}")
        family = dict(members(data[start + _GENERIC_HEADER.size : end]))
        for _, nested in members(family.get(_GROUPS, b"")):
            group = dict(members(nested))
            if text(group, _GROUP_NAME) == "monitor":
                return integer(group, _GROUP_ID)
    return None
