"""Refusals in the log: anyone who reaches the trust service can cause them, and must not be able to fill the disk."""

import math
from collections.abc import Hashable
from ipaddress import IPv4Address, IPv6Address
from typing import Final

import attrs

from nodespan.runtime.api.grpc import source_of

INTERVAL: Final = 60.0
_MOST_SOURCES: Final = 256
_OTHERS: Final = object()


@attrs.define
class _Source:
    logged_at: float = -math.inf
    unlogged: int = 0


class RefusalLog:
    """Which refusals are logged: one per source and minute. Pure; `now` is in seconds of a monotonic clock.

    The sources beyond the first few hundred of a minute count as one. A source is what limits of connections go by.
    """

    def __init__(self) -> None:
        self._sources: dict[Hashable, _Source] = {}
        # Before that time no source of a full table can be forgotten.
        self._full_until = -math.inf

    def __len__(self) -> int:
        return len(self._sources)

    def unlogged(self, address: IPv4Address | IPv6Address | None, now: float) -> int | None:
        """If this refusal is to be logged, how many since the last that was, else None."""
        source = self._source(None if address is None else source_of(address), now)
        if now - source.logged_at < INTERVAL:
            source.unlogged += 1
            return None
        count, source.unlogged, source.logged_at = source.unlogged, 0, now
        return count

    def _source(self, key: Hashable, now: float) -> _Source:
        if key not in self._sources and len(self._sources) >= _MOST_SOURCES:
            if now >= self._full_until:
                self._sources = {
                    known: source for known, source in self._sources.items() if now - source.logged_at < INTERVAL
                }
                oldest = min((source.logged_at for source in self._sources.values()), default=now)
                self._full_until = oldest + INTERVAL
            if len(self._sources) >= _MOST_SOURCES:
                key = _OTHERS
        return self._sources.setdefault(key, _Source())
