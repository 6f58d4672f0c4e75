"""What a client may do to a server, and the one rule about it that needs a memory: how often it may ping."""

import math

import attrs


@attrs.frozen
class Bounds:
    """A limit for one connection, for all connections of one source, and for all that a server has."""

    connection: float = math.inf
    source: float = math.inf
    total: float = math.inf


@attrs.frozen(kw_only=True)
class Limits:
    """Sizes in bytes, times in seconds. `min_ping_interval` 0 allows any number of pings.

    `max_buffered` bounds what incomplete requests of one connection take. A peer that says nothing is probed after
    `idle_probe` and given up after `dead_after`, also when it stops to acknowledge what was sent.

    A source is an IPv4 address or an IPv6 network of 64 bits: one machine has as many addresses of the latter as it
    likes. Behind a proxy everything comes from one address: there `by_source` is to be False, and what is said of
    sources then holds for each connection.

    `incomplete` bounds the requests that have begun and not ended; each has `request_time` to end. `held` bounds the
    bytes of responses that wait to be sent, and of requests. What is shared counts once. A response of which nothing
    could be sent for `max_stall` is given up. `work` bounds how much a peer may have a server do, in frames a second
    (larger ones count more), and ten times as much at once; it is not read while it is ahead. A connection without a
    request under way is idle: so many of a source are kept, for `idle_timeout` each. `connections` bounds all of them.
    """

    max_concurrent_streams: int = 1000
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
    """Counts the pings that came too early; the third in a row, with nothing sent to the client between, is too many.

    Clients probe for bandwidth with pings of their own whenever they receive something: those count for nothing.
    """

    __slots__ = ("_last", "_min_interval", "_sent", "_strikes")

    def __init__(self, min_interval: float) -> None:
        self._min_interval = min_interval
        self._last = float("-inf")
        self._sent = 0
        self._strikes = 0

    def is_too_many(self, now: float, sent: int) -> bool:
        """Whether the ping that came at `now` seconds is one too many; `sent` counts what was sent until then."""
        if sent != self._sent:
            self._sent = sent
            self._strikes = 0
        elif now - self._last < self._min_interval:
            self._strikes += 1
        self._last = now
        return self._strikes > 2
