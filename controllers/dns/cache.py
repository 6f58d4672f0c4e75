"""What other servers answered, for as long as it holds: so many answers, and so many bytes.

An answer is kept as the bytes of its records. Those follow the question, whose length is the same for everybody who
asks it, so that pointers in the records stay right; only the lifetimes are written anew, all to the one that is left.
"""

import struct
from collections import OrderedDict

import attrs

from nodespan.controllers.dns.queries import AUTHENTIC, Query, RCode, reply

MOST_ANSWERS = 10_000
MOST_BYTES = 16 * 2**20
# What an answer costs beside its records and its name: the objects around them, and a number for each record.
_OVERHEAD = 500
_PLACE = 36
SHORTEST, LONGEST = 5.0, 3600.0
# How long it is believed that something does not exist.
LONGEST_NEGATIVE = 10.0
FAILURE = 5.0
_TTL = struct.Struct("!I")

# Name, type, whether signatures come along, and whether unchecked data do.
Key = tuple[str, int, bool, bool]


def key_of(query: Query) -> Key:
    """What must be the same for an answer to be the same."""
    return query.name, query.type, query.wants_signatures, query.unchecked


@attrs.frozen(kw_only=True)
class Answer:
    """What was answered. `lifetimes` are the places of the lifetimes in `records`."""

    rcode: int
    is_authentic: bool = False
    counts: tuple[int, int] = (0, 0)
    records: bytes = b""
    lifetimes: tuple[int, ...] = ()
    # The shortest lifetime of its records, in seconds.
    ttl: int = 0

    @property
    def is_positive(self) -> bool:
        """Whether it has what was asked for."""
        return self.rcode == RCode.NOERROR and self.counts[0] > 0

    @property
    def kept_for(self) -> float:
        """For how many seconds it is kept."""
        if self.rcode not in (RCode.NOERROR, RCode.NXDOMAIN):
            return FAILURE
        return min(max(float(self.ttl), SHORTEST), LONGEST if self.is_positive else LONGEST_NEGATIVE)

    def render(self, query: Query, left: float, *, limit: int, most: int) -> bytes:
        """The answer to this query, to be kept for `left` seconds."""
        records = bytearray(self.records)
        for place in self.lifetimes:
            _TTL.pack_into(records, place, max(int(left), 0))
        wants = query.wants_signatures or query.flags & AUTHENTIC
        flags = AUTHENTIC if self.is_authentic and wants else 0
        return reply(query, self.rcode, [bytes(records)], flags=flags, counts=self.counts, limit=limit, most=most)


class Cache:
    """Answers by question. The one that was not used for longest goes when there is no room."""

    def __init__(self, *, most: int = MOST_ANSWERS, most_bytes: int = MOST_BYTES) -> None:
        self._most = most
        self._most_bytes = most_bytes
        # Apart, so that questions for what does not exist do not push out what does.
        self._kept: dict[bool, OrderedDict[Key, tuple[float, Answer]]] = {True: OrderedDict(), False: OrderedDict()}
        self._bytes = {True: 0, False: 0}

    def __len__(self) -> int:
        return sum(map(len, self._kept.values()))

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        return sum(self._bytes.values())

    def put(self, key: Key, answer: Answer, now: float) -> None:
        """Keep an answer."""
        for positive in self._kept:
            self._drop(positive, key)
        positive = answer.is_positive
        kept = self._kept[positive]
        kept[key] = now + answer.kept_for, answer
        self._bytes[positive] += _cost(key, answer)
        while len(kept) > self._most or self._bytes[positive] > self._most_bytes // 2:
            self._drop(positive, next(iter(kept)))

    def find(self, key: Key, now: float) -> tuple[Answer, float] | None:
        """The answer, and for how many more seconds it holds."""
        for positive, kept in self._kept.items():
            if (entry := kept.get(key)) is not None:
                until, answer = entry
                if until > now:
                    kept.move_to_end(key)
                    return answer, until - now
                self._drop(positive, key)
        return None

    def clear(self) -> None:
        """Forget everything."""
        for positive, kept in self._kept.items():
            kept.clear()
            self._bytes[positive] = 0

    def _drop(self, positive: bool, key: Key) -> None:
        entry = self._kept[positive].pop(key, None)
        if entry is not None:
            self._bytes[positive] -= _cost(key, entry[1])


def _cost(key: Key, answer: Answer) -> int:
    return _OVERHEAD + len(key[0]) + len(answer.records) + _PLACE * len(answer.lifetimes)
