"""Changes of the packet filter, from the kernel's notifications (nfnetlink, group NFNLGRP_NFTABLES).

The kernel notifies every object of a transaction, and last the new generation, with the process that committed it
(linux/netfilter/nf_tables.h). Each object names its table; nothing else is read.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import attrs
import trio

from nodespan.kernel.netlink_counts import counts_of
from nodespan.kernel.netns import in_netns
from nodespan.kernel.outside_text import c_text
from nodespan.kernel.rtnetlink import members, split

_NETLINK_NETFILTER = 12
_SOL_NETLINK = 270
_ADD_MEMBERSHIP = 1
_GROUP = 7  # NFNLGRP_NFTABLES
_SUBSYSTEM = 10  # NFNL_SUBSYS_NFTABLES
_DATAGRAM = 1 << 17
_BUFFER = 1 << 22
_HEADER = 4  # struct nfgenmsg

_DELETE_TABLE = 2  # NFT_MSG_DELTABLE
_NEW_GENERATION = 15  # NFT_MSG_NEWGEN
_TABLE = 1  # NFTA_TABLE_NAME, and the table's attribute of every other object but the generation
_PROCESS_ID = 2  # NFTA_GEN_PROC_PID
_PROCESS_NAME = 3  # NFTA_GEN_PROC_NAME
_MOST_TABLES = 1000
_FIRST_PID_NAMESPACE = 0xEFFFFFFC  # PROC_PID_INIT_INO


@attrs.frozen(kw_only=True)
class Commit:
    """One transaction: the tables that it changed and removed, and the process that committed it.

    `pid` counts in the initial process-id namespace: a container may see another one.
    """

    touched: frozenset[str]
    removed: frozenset[str]
    pid: int
    program: str


def numbers_processes_as_here() -> bool:
    """Whether this process is in the initial process-id namespace, so that the `pid` of a commit is one of its own."""
    return os.stat("/proc/self/ns/pid").st_ino == _FIRST_PID_NAMESPACE


class FilterEvents:
    """The transactions in one network namespace. Made by `open_filter_events`; one task may wait for them."""

    def __init__(self, subscription: socket.socket) -> None:
        self._subscription = subscription
        self._reader = CommitReader()

    async def receive(self) -> tuple[Commit, ...] | None:
        """Wait for transactions; None: some notifications were lost.

        Nothing is lost by cancelling. Raises OSError if the kernel refuses.
        """
        while True:
            await trio.lowlevel.wait_readable(self._subscription)
            try:
                data = self._subscription.recv(_DATAGRAM, socket.MSG_DONTWAIT)
            except BlockingIOError:
                continue
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                counts_of("nftables").overruns += 1
                self._reader = CommitReader()
                return None
            if commits := tuple(self._reader.feed(data)):
                return commits


class CommitReader:
    """Assembles transactions from the notifications in datagrams. No I/O."""

    def __init__(self) -> None:
        self._touched: set[str] = set()
        self._removed: set[str] = set()

    def feed(self, data: bytes) -> Iterator[Commit]:
        """The transactions that end in this datagram."""
        for type, _, start, end in split(data):
            subsystem, message = type >> 8, type & 0xFF
            if subsystem != _SUBSYSTEM:
                continue
            attributes = dict(members(data[start + _HEADER : end]))
            if message == _NEW_GENERATION:
                pid = attributes.get(_PROCESS_ID, b"")
                yield Commit(
                    touched=frozenset(self._touched),
                    removed=frozenset(self._removed),
                    pid=struct.unpack("!I", pid)[0] if len(pid) == 4 else 0,
                    program=c_text(attributes.get(_PROCESS_NAME, b"")),
                )
                self._touched.clear()
                self._removed.clear()
                continue
            name = c_text(attributes.get(_TABLE, b""))
            if name and len(self._touched) < _MOST_TABLES:
                self._touched.add(name)
                if message == _DELETE_TABLE:
                    self._removed.add(name)


@contextmanager
def open_filter_events(netns: str | None) -> Iterator[FilterEvents]:
    """Listen in a network namespace (a path; None: the current one).

    Raises OSError: EPERM without CAP_NET_ADMIN, EPROTONOSUPPORT if the kernel has no nfnetlink.
    """
    with in_netns(netns):
        subscription = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)
    with subscription:
        subscription.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        subscription.bind((0, 0))
        subscription.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _GROUP)
        yield FilterEvents(subscription)
