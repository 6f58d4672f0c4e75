"""How often one client may call."""

from collections.abc import Callable, Hashable

from nodespan.runtime.api.grpc import Code, RPCError
from nodespan.runtime.token_bucket import TokenBucket

# For how long, in seconds, a call without a deadline may have to wait.
_PATIENCE = 30.0
_BURST = 4


class RateLimit:
    """`rate` calls a second for each client, four times as many at once. `now` is the clock, in seconds."""

    def __init__(self, rate: float, now: Callable[[], float]) -> None:
        self._rate = rate
        self._now = now
        self._buckets: dict[Hashable, TokenBucket] = {}

    def __len__(self) -> int:
        return len(self._buckets)

    def reserve(self, client: Hashable, deadline: float) -> float:
        """How many seconds the client's call has to wait. Raises RPCError if that is beyond its deadline."""
        now = self._now()
        bucket = self._buckets.get(client)
        if bucket is None:
            bucket = self._buckets[client] = TokenBucket(self._rate, self._rate * _BURST, now)
        wait = bucket.take(now, min(deadline - now, _PATIENCE))
        if wait is None:
            raise RPCError(Code.RESOURCE_EXHAUSTED, f"more than {self._rate:g} requests a second come from {client}")
        return wait

    def drop_idle(self) -> None:
        """Forget the clients that could call as often as any new one."""
        now = self._now()
        for client in [client for client, bucket in self._buckets.items() if bucket.is_full(now)]:
            del self._buckets[client]
