"""From a query to its answer: what is known here at once, what the cache has, and else what other servers say.

No input and no output but the questions to other servers. The answer to what is known here is kept as bytes, by the
bytes of the query after its id: programs ask the same in the same words. It is dropped with everything else of the kind
when any name changes.
"""

import attrs
import trio

from nodespan.controllers.dns.cache import Answer, Cache, Key, key_of
from nodespan.controllers.dns.metrics import Counts, Outcome
from nodespan.controllers.dns.names import Known, Names
from nodespan.controllers.dns.queries import AUTHORITATIVE, LARGEST, Query, QueryError, RCode, read_query, reply
from nodespan.controllers.dns.upstreams import Upstreams

MOST_IN_FLIGHT = 1000
MOST_OF_ONE_CLIENT = 250
_MOST_PREPARED = 1024
# Queries longer than this are rare: they are not kept.
_LONGEST_PREPARED = 128


@attrs.define(eq=False)
class Scope:
    """For whom answers are: the machine itself, or the mesh, which gets the names of members only.

    `most` is the size of what is sent and taken over UDP.
    """

    most: int
    members_only: bool = False
    prepared: dict[bytes, bytes] = attrs.field(factory=dict)


@attrs.define(eq=False)
class _Question:
    """A question that others are being asked; everybody who asks it meanwhile gets the same answer."""

    answered: trio.Event = attrs.field(factory=trio.Event)
    # None also afterwards, if its asker has left: then another one asks.
    answer: Answer | None = None


class Answering:
    """Answers queries. `names` are changed by their owner, who then calls `names_changed`."""

    def __init__(self, names: Names, upstreams: Upstreams, counts: Counts, *, cache: Cache | None = None) -> None:
        self.names = names
        self._upstreams = upstreams
        self._counts = counts
        self._cache = Cache() if cache is None else cache
        self.machine = Scope(4096)
        # What gets through the tunnel in one packet.
        self.mesh = Scope(1232, members_only=True)
        self._questions: dict[tuple[Key, bool], _Question] = {}
        self._by_client: dict[str, int] = {}

    def names_changed(self) -> None:
        """Forget what was prepared of names."""
        self.machine.prepared.clear()
        self.mesh.prepared.clear()

    def servers_changed(self) -> None:
        """Forget what servers answered, also what they are still asked: it is not kept, and nobody else gets it."""
        self._cache.clear()
        self._questions = {}
        self._note_size()

    def at_once(self, data: bytes, scope: Scope, *, over_stream: bool = False) -> bytes | Query:
        """The answer to a message, b"" for none, or a query for `look_up`."""
        words = data[2:]
        if not over_stream and (prepared := scope.prepared.get(words)) is not None:
            self._counts.queries[Outcome.KNOWN] += 1
            return data[:2] + prepared
        try:
            query = read_query(data)
        except QueryError as error:
            self._counts.queries[Outcome.REFUSED if error.reply else Outcome.DROPPED] += 1
            return error.reply
        limit = LARGEST if over_stream else query.limit(scope.most)
        known = self.names.find(query.name, members_only=scope.members_only)
        if known is not None:
            answer = _from_names(query, known, limit=limit, most=scope.most)
            self._counts.queries[Outcome.KNOWN] += 1
            if not over_stream and len(data) <= _LONGEST_PREPARED and len(scope.prepared) < _MOST_PREPARED:
                scope.prepared[words] = answer[2:]
            return answer
        if scope.members_only:
            self._counts.queries[Outcome.REFUSED] += 1
            return reply(query, RCode.REFUSED, most=scope.most)
        if (found := self._cache.find(key_of(query), trio.current_time())) is not None:
            self._counts.queries[Outcome.CACHED] += 1
            return found[0].render(query, found[1], limit=limit, most=scope.most)
        return query

    async def look_up(self, query: Query, scope: Scope, client: str, *, over_stream: bool = False) -> bytes:
        """The answer of other servers, within some seconds; SERVFAIL if too much is asked at a time."""
        limit = LARGEST if over_stream else query.limit(scope.most)
        asked = self._by_client.get(client, 0)
        if self._counts.in_flight >= MOST_IN_FLIGHT or asked >= MOST_OF_ONE_CLIENT:
            self._counts.queries[Outcome.FAILED] += 1
            return reply(query, RCode.SERVFAIL, limit=limit, most=scope.most)
        self._counts.in_flight += 1
        self._by_client[client] = asked + 1
        try:
            answer = await self._asked(query, over_stream=over_stream)
        finally:
            self._counts.in_flight -= 1
            self._by_client[client] -= 1
            if not self._by_client[client]:
                del self._by_client[client]
        self._counts.queries[Outcome.FAILED if answer.rcode == RCode.SERVFAIL else Outcome.FORWARDED] += 1
        return answer.render(query, answer.kept_for, limit=limit, most=scope.most)

    async def _asked(self, query: Query, *, over_stream: bool) -> Answer:
        key = key_of(query)
        while (shared := self._questions.get((key, over_stream))) is not None:
            await shared.answered.wait()
            if shared.answer is not None:
                return shared.answer
        question = self._questions[key, over_stream] = _Question()
        try:
            answer = question.answer = await self._upstreams.ask(query, over_stream=over_stream)
        finally:
            is_current = self._questions.get((key, over_stream)) is question
            if is_current:
                del self._questions[key, over_stream]
            question.answered.set()
        # Names that came meanwhile are looked at before the cache, so that nothing of before is in their way.
        if is_current:
            self._cache.put(key, answer, trio.current_time())
            self._note_size()
        return answer

    def _note_size(self) -> None:
        self._counts.cached, self._counts.cached_bytes = len(self._cache), self._cache.size


def _from_names(query: Query, known: Known, *, limit: int, most: int) -> bytes:
    return reply(query, known.rcode, known.records.get(query.type, ()), flags=AUTHORITATIVE, limit=limit, most=most)
