"""The processes of one service, as each of them sees the others: whose a cluster is, and how to reach its process."""

import zlib
from pathlib import Path

import attrs


def owner_of(cluster: str, count: int) -> int:
    """Which of so many processes a cluster belongs to."""
    return zlib.crc32(cluster.encode(errors="replace")) % count


@attrs.frozen
class Team:
    """`count` processes, of which this is the one at `place`; their sockets are in `folder`.

    `shares`: all have all clusters, because they have one state.
    """

    place: int
    count: int
    folder: Path
    shares: bool = False

    @property
    def others(self) -> tuple[int, ...]:
        """The places of the others."""
        return tuple(place for place in range(self.count) if place != self.place)

    def other_owner(self, cluster: str) -> int | None:
        """The process that a cluster belongs to; None if that is this one."""
        owner = self.place if self.shares else owner_of(cluster, self.count)
        return None if owner == self.place else owner

    def calls_at(self, place: int) -> Path:
        """The socket for calls of the other processes."""
        return self.folder / f"{place}.calls"

    def packets_at(self, place: int) -> Path:
        """The socket for packets between clients of a relay."""
        return self.folder / f"{place}.packets"

    def connections_at(self, place: int) -> Path:
        """The socket for connections that are handed over."""
        return self.folder / f"{place}.connections"
