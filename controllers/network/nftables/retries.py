"""When the table and its guard are tried again."""

import math

from nodespan.runtime.controller import Retries


class LastingRetries(Retries):
    """An item goes on failing until `forget`, whatever steps of a try succeed in between.

    A try to apply the table takes several: it is listed, connections are made known, a document is sent. If each step
    that succeeds began the backoff from its start again, what the kernel refuses would be tried at the first interval
    forever.
    """

    def done(self, id: str, now: float) -> None:  # noqa: ARG002
        """A step of it succeeded: the next one may follow at once."""
        self._rest(id)

    def holds(self, id: str) -> None:
        """There is nothing to do at the moment."""
        self._rest(id)

    def try_now(self, id: str) -> None:
        """See `Retries`. One whose last step succeeded does not wait."""
        if not self._rests(id):
            super().try_now(id)

    def may_try(self, id: str, now: float) -> bool:
        """Whether it may be tried now."""
        return self._rests(id) or super().may_try(id, now)

    def again_at(self, id: str) -> float:
        """When one that failed is due; infinity if it did not, or if a step of it succeeded since."""
        known = self._failing.get(id)
        return math.inf if known is None else known.again_at

    def _rest(self, id: str) -> None:
        """It keeps its place in the backoff, and is due at no time by itself."""
        known = self._failing.get(id)
        if known is not None:
            known.again_at = math.inf

    def _rests(self, id: str) -> bool:
        known = self._failing.get(id)
        return known is not None and known.again_at == math.inf
