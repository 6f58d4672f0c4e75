"""How many queries there were, and what came of them: for the metrics."""

import enum
from collections import Counter

import attrs


class Outcome(enum.StrEnum):
    """What came of a query."""

    KNOWN = "known"
    CACHED = "cached"
    FORWARDED = "forwarded"
    FAILED = "failed"
    REFUSED = "refused"
    DROPPED = "dropped"


@attrs.define(eq=False)
class Counts:
    """Since the agent began."""

    queries: Counter[Outcome] = attrs.field(factory=Counter)
    # By the id of the upstream.
    asked: Counter[str] = attrs.field(factory=Counter)
    failed: Counter[str] = attrs.field(factory=Counter)
    # Answers that the cache holds, and about how many bytes they take.
    cached: int = 0
    cached_bytes: int = 0
    in_flight: int = 0
