"""What a client may do to a server, and the one rule about it that needs a memory: how often it may ping."""

import attrs


@attrs.frozen(kw_only=True)
class Limits:
    """Sizes in bytes, times in seconds. `min_ping_interval` 0 allows any number of pings.

    `max_buffered` bounds what incomplete requests of one connection take. A peer that says nothing is probed after
    `idle_probe` and given up after `dead_after`, also when it stops to acknowledge what was sent.
    """

    max_concurrent_streams: int = 1000
    max_message: int = 4 << 20
    max_buffered: int = 64 << 20
    max_header_list: int = 16 << 10
    min_ping_interval: float = 0.0
    handshake: float = 10.0
    idle_probe: float = 10.0
    dead_after: float = 20.0


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
