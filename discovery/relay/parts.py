"""A relay in several processes: which has which ports and which clients, and what each may use. Pure rules.

Each process has a part of the ports, and the clients whose keys belong to it: the same key comes to the same process,
which keeps its port. What is limited in all is divided evenly; what is limited for one client is not.
"""

import math
import struct
import zlib
from collections.abc import Iterator
from typing import Final

import attrs

from nodespan.discovery.relay.rules import RelayLimits
from nodespan.discovery.relay.wire import LARGEST_MESSAGE

# Of a message that is passed: the port, the number of its packets, its length, and that of the host.
_PASSED = struct.Struct(">HHIB")
# The largest that one process passes to another.
MOST_PASSED: Final = LARGEST_MESSAGE + 1024


@attrs.frozen
class Part:
    """The part of the process at this place, of so many."""

    place: int = 0
    count: int = 1

    def ports(self, first: int, last: int) -> tuple[int, int]:
        """The ports of this process, both ends included, of all there are."""
        size = last - first + 1
        return first + size * self.place // self.count, first + size * (self.place + 1) // self.count - 1

    def place_of_port(self, port: int, first: int, last: int) -> int | None:
        """The process that has a port; None for one that is not the relay's."""
        if not first <= port <= last:
            return None
        # The inverse of `ports`.
        return ((port - first + 1) * self.count - 1) // (last - first + 1)

    def limits(self, limits: RelayLimits) -> RelayLimits:
        """What this process may use, of what there is in all."""
        if self.count == 1:
            return limits
        return attrs.evolve(
            limits,
            clients=math.ceil(limits.clients / self.count),
            clients_per_cluster=math.ceil(limits.clients_per_cluster / self.count),
            clients_per_source=math.ceil(limits.clients_per_source / self.count),
            cluster_rate=max(limits.rate, limits.cluster_rate / self.count),
            total_rate=max(limits.rate, limits.total_rate / self.count),
            total_queue=limits.total_queue // self.count,
            total_window=limits.total_window // self.count,
        )


def owner_of_key(key: bytes, count: int) -> int:
    """Which of so many processes a client belongs to."""
    return zlib.crc32(key) % count


def passed_head(port: int, packets: int, size: int, host: bytes = b"") -> bytes:
    """What precedes a message for the client at a port of another process; several follow each other.

    The host is the encoded address that the message is for, if this process does not know whether it is the relay's.
    """
    return _PASSED.pack(port, packets, size, len(host)) + host


def decode_passed(data: bytes) -> Iterator[tuple[int, int, bytes, memoryview]]:
    """The port, the number of packets, the host, and the message, of each."""
    rest = memoryview(data)
    while rest:
        port, packets, size, length = _PASSED.unpack_from(rest)
        start = _PASSED.size + length
        end = start + size
        yield port, packets, bytes(rest[_PASSED.size : start]), rest[start:end]
        rest = rest[end:]
