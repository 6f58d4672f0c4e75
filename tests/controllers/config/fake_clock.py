"""A boot clock that a test sets."""

import attrs


@attrs.define
class FakeBootClock:
    """Stands still until the test moves it."""

    boot: str = "this"
    time: float = 1000.0

    def now(self) -> float:
        """The time that the test has set."""
        return self.time
