"""Rate limit per client."""

from collections.abc import Callable, Hashable

from nodespan.runtime.api.grpc import Code, RPCError
from nodespan.runtime.token_bucket import TokenBucket

# The longest wait, in seconds, of a call without a deadline.
_PATIENCE = 30.0
_BURST = 4


class RateLimit:
    """`rate` calls per second for each client, with bursts of four times as many. `now` is the clock, in seconds."""

    def __init__(self, rate: float, now: Callable[[], float]) -> None:
        self._rate = rate
        self._now = now
        self._buckets: dict[Hashable, TokenBucket] = {}

    def __len__(self) -> int:
        return len(self._buckets)

    def reserve(self, client: Hashable, deadline: float) -> float:
        """The delay, in seconds, of the client's call. Raises RPCError if that exceeds its deadline."""
        now = self._now()
        wait = self._bucket(client, now).take(now, min(deadline - now, _PATIENCE))
        if wait is None:
            raise RPCError(Code.RESOURCE_EXHAUSTED, f"more than {self._rate:g} requests a second come from {client}")
        return wait

    def has_turn(self, client: Hashable) -> bool:
        """Count a call of the client, if it need not wait; False: it is to be `reserve`d."""
        now = self._now()
        return self._bucket(client, now).take(now) is not None

    def _bucket(self, client: Hashable, now: float) -> TokenBucket:
        bucket = self._buckets.get(client)
        if bucket is None:
            bucket = self._buckets[client] = TokenBucket(self._rate, self._rate * _BURST, now)
        return bucket

    def drop_idle(self) -> None:
        """Drop the clients whose allowance is full again."""
        now = self._now()
        for client in [client for client, bucket in self._buckets.items() if bucket.is_full(now)]:
            del self._buckets[client]
