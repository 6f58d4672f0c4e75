"""Pings from a network namespace to an address, one after the other in a thread, and what they show of the way."""

import threading
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from nodespan.cluster.echo import ping

INTERVAL = 0.02
_TIMEOUT = 0.5

# The times of the last answer before it and of the answer that ended it.
Silence = tuple[float, float]


def longest_silence(answers: Sequence[float], since: float) -> Silence:
    """The longest time between an answer and the next one that came after a moment. Raises ValueError if there is
    none."""
    silences = [(before, after) for before, after in pairwise(answers) if after > since]
    return max(silences, key=lambda silence: silence[1] - silence[0])


class Pinging:
    """Pings for as long as the block lasts. Times are those of `time.monotonic`.

    What keeps it from pinging is raised by `answered_since`, and at the end of the block unless that has failed itself.
    """

    def __init__(self, namespace: Path, address: str, *, timeout: float = _TIMEOUT) -> None:
        self._namespace = namespace
        self._address = address
        self._timeout = timeout
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._answers: list[float] = []
        self._failure: Exception | None = None
        # When each was sent, and its round trip: None for no answer.
        self.taken: list[tuple[float, float | None]] = []

    def __enter__(self) -> "Pinging":
        self._thread.start()
        return self

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        self._over.set()
        self._thread.join()
        if self._failure is not None and error is None:
            raise self._failure

    def _run(self) -> None:
        sequence = 0
        while not self._over.wait(INTERVAL):
            sequence = (sequence + 1) & 0xFFFF
            began = time.monotonic()
            try:
                took = ping(self._namespace, self._address, sequence=sequence, timeout=self._timeout)
            except Exception as error:  # the one who uses the thread is told
                self._failure = error
                return
            if took is not None:
                self._answers.append(time.monotonic())
            self.taken.append((began, took))

    @property
    def sent(self) -> int:
        """How many were sent, and answered or given up."""
        return len(self.taken)

    @property
    def lost(self) -> int:
        """How many of them were not answered."""
        return self.sent - len(self._answers)

    @property
    def answered_at(self) -> float:
        """When the last answer came; 0 before the first."""
        return self._answers[-1] if self._answers else 0.0

    def answered_since(self, moment: float) -> bool:
        """Whether an answer came after this moment."""
        if self._failure is not None:
            raise self._failure
        return self.answered_at > moment

    def silence(self, since: float) -> Silence:
        """The longest silence that ended after this moment. Raises ValueError without two answers."""
        return longest_silence(tuple(self._answers), since)

    def median(self, since: float, until: float) -> float:
        """The usual round trip between two moments, in seconds; 0 without any."""
        found = sorted(took for at, took in tuple(self.taken) if took is not None and since <= at < until)
        return found[len(found) // 2] if found else 0.0
