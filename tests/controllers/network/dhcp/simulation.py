"""A client and servers in virtual time."""

import heapq
from collections.abc import Callable, Sequence

import attrs

from nodespan.controllers.network.dhcp.lease import Client, Outgoing

# From the packet that a client sends to answers, each with the seconds that it takes.
Servers = Callable[[Outgoing], Sequence[tuple[float, bytes]]]


@attrs.define(kw_only=True)
class Simulation:
    """`taken` are addresses that other machines have; `sent` is when which packet left."""

    client: Client
    servers: Servers
    now: float
    taken: frozenset[str] = frozenset()
    sent: list[tuple[float, Outgoing]] = attrs.field(factory=list)
    _flying: list[tuple[float, int, bytes]] = attrs.field(factory=list)

    def until(self, end: float) -> None:
        """Let time pass until then."""
        while True:
            self._send(self.client.advance(self.now))
            if address := self.client.to_check:
                self._send(self.client.checked(self.now, is_taken=address in self.taken))
                continue
            next_packet = self._flying[0][0] if self._flying else end
            self.now = min(max(self.client.wake_at, self.now), next_packet, end)
            if self._flying and self._flying[0][0] <= self.now:
                self._send(self.client.receive(self.now, heapq.heappop(self._flying)[2]))
            elif self.now >= end:
                return

    def _send(self, packets: Sequence[Outgoing]) -> None:
        for packet in packets:
            self.sent.append((self.now, packet))
            for delay, answer in self.servers(packet):
                heapq.heappush(self._flying, (self.now + delay, len(self.sent), answer))
