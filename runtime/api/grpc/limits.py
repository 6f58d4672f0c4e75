"""The limits of what a client may do to a server, and the one that needs state: how often it may ping."""

import math

import attrs


@attrs.frozen
class Bounds:
    """A limit per connection, per source, and in total."""

    connection: float = math.inf
    source: float = math.inf
    total: float = math.inf


@attrs.frozen(kw_only=True)
class Limits:
    """Sizes in bytes, times in seconds. `min_ping_interval` 0 allows any number of pings.

    `max_resets` is how many requests a second a client may reset, with bursts of 25 times that.

    `max_buffered` bounds the memory of incomplete requests of one connection. A silent peer is probed after
    `idle_probe`; it counts as dead after `dead_after`, also if it stops acknowledging what was sent.

    A source is an IPv4 address or an IPv6 /64, of which one machine has as many addresses as it likes. Behind a proxy
    all connections come from one address: set `by_source` to False there, and each connection is a source of its own.

    `incomplete` bounds the requests whose end has not arrived, and the calls both ways whose handler takes messages one
    by one; each has `request_time`, and until all connections are looked at next: after at most a fifth of the shortest
    of that, `handshake` and `idle_timeout`. `held` bounds the bytes of responses that wait to be sent, and of requests;
    shared bytes count once. A response that makes no progress for
    `max_stall` is dropped. `work` bounds the rate of frames a peer may cause (larger ones count more), with bursts of
    ten times that; above it the peer is not read. A connection without a request in progress is idle: `idle_per_source`
    are kept per source, for `idle_timeout` each. `connections` bounds all connections.
    """

    max_concurrent_streams: int = 1000
    max_resets: float = 200.0
    max_message: int = 4 << 20
    max_buffered: int = 64 << 20
    max_header_list: int = 16 << 10
    min_ping_interval: float = 0.0
    handshake: float = 10.0
    idle_probe: float = 10.0
    dead_after: float = 20.0
    by_source: bool = True
    incomplete: Bounds = Bounds(250, 1000)
    request_time: float = 60.0
    held: Bounds = Bounds(128 << 20, 256 << 20, 1 << 30)
    max_stall: float = 60.0
    work: Bounds = Bounds(20_000, 50_000)
    connections: Bounds = Bounds()
    idle_per_source: int = 1000
    idle_timeout: float = 600.0


class PingPolicy:
    """Counts early pings; the third in a row, with nothing sent to the client in between, is too many.

    Clients probe for bandwidth with a ping whenever they receive data: those do not count.
    """

    __slots__ = ("_last", "_min_interval", "_sent", "_strikes")

    def __init__(self, min_interval: float) -> None:
        self._min_interval = min_interval
        self._last = float("-inf")
        self._sent = 0
        self._strikes = 0

    def is_too_many(self, now: float, sent: int) -> bool:
        """Whether the ping that arrived at `now` (seconds) is one too many; `sent` counts what was sent by then."""
        if sent != self._sent:
            self._sent = sent
            self._strikes = 0
        elif now - self._last < self._min_interval:
            self._strikes += 1
        self._last = now
        return self._strikes > 2
