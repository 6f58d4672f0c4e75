"""What the kernel counts of the packets of a network namespace: text in /proc/net that is read without a lock."""

import os
from functools import cached_property

import attrs

from nodespan.kernel.netns import in_netns

_BLOCK = 1 << 16
# The bytes and the packets received, and those sent.
_COUNTS = (0, 1, 8, 9)


@attrs.frozen
class Traffic:
    """How many packets a link has carried since it was made, each way, and their bytes as the link counts them."""

    received: int = 0
    sent: int = 0
    received_bytes: int = 0
    sent_bytes: int = 0


class NetCounts:
    """The counts of one network namespace, None for the caller's own. Files are opened on use, and again after `close`.

    An open file keeps showing the namespace that it was opened in.
    """

    def __init__(self, netns: str | None = None) -> None:
        self._netns = netns

    def traffic(self, link: str) -> Traffic:
        """What a link has carried; nothing for a link that is not there. Raises OSError."""
        return traffic_of(link, _read(self._links))

    def datagrams(self) -> int:
        """How many datagrams of UDP programs of the namespace have received. Raises OSError."""
        datagrams = datagrams_of(_read(self._protocols))
        # A kernel without IPv6 has no such file.
        return datagrams if self._protocols6 is None else datagrams + datagrams6_of(_read(self._protocols6))

    def close(self) -> None:
        """Close the files."""
        for name in ("_links", "_protocols", "_protocols6"):
            file = vars(self).pop(name, None)
            if file is not None:
                os.close(file)

    @cached_property
    def _links(self) -> int:
        return self._open("dev")

    @cached_property
    def _protocols(self) -> int:
        return self._open("snmp")

    @cached_property
    def _protocols6(self) -> int | None:
        try:
            return self._open("snmp6")
        except FileNotFoundError:
            return None

    def _open(self, name: str) -> int:
        with in_netns(self._netns):
            return os.open(f"/proc/thread-self/net/{name}", os.O_RDONLY | os.O_CLOEXEC)


def _read(file: int) -> bytes:
    parts = []
    at = 0
    while part := os.pread(file, _BLOCK, at):
        parts.append(part)
        at += len(part)
    return b"".join(parts)


def traffic_of(link: str, text: bytes) -> Traffic:
    """The packets of a link, by the text of /proc/net/dev; none for a link that is not there."""
    name_of_link = os.fsencode(link)
    # Names of other links may hold what else ends a line.
    for line in text.split(b"\n"):
        name, _, counters = line.partition(b":")
        if name.strip(b" ") == name_of_link:
            columns = counters.split()
            received_bytes, received, sent_bytes, sent = (int(columns[column]) for column in _COUNTS)
            return Traffic(received, sent, received_bytes, sent_bytes)
    return Traffic()


def datagrams_of(text: bytes) -> int:
    """The datagrams received, by the text of /proc/net/snmp; 0 for a kernel that does not count them."""
    names, _, values = text.partition(b"Udp: InDatagrams ")[2].partition(b"\nUdp: ")
    return int(values.split(None, 1)[0]) if names and values else 0


def datagrams6_of(text: bytes) -> int:
    """The same for IPv6, by the text of /proc/net/snmp6."""
    values = text.partition(b"Udp6InDatagrams")[2].split(None, 1)
    return int(values[0]) if values else 0
