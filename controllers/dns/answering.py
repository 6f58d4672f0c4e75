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
    """A question that others are being asked; everybody who asks it meanwhile gets the same answer.

    A task of its own asks, so that it costs the others nothing when somebody leaves, and ends with the last one.
    """

    answered: trio.Event = attrs.field(factory=trio.Event)
    # None also afterwards, if its task was cancelled.
    answer: Answer | None = None
    waiting: int = 0
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)


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
        key = key_of(query), over_stream
        may_begin = True
        while True:
            question = self._questions.get(key)
            is_ours = question is None
            if question is None:
                question = self._questions[key] = _Question()
                is_ours = not (may_begin and self._upstreams.begin(self._ask, query, key, question))
            question.waiting += 1
            try:
                if is_ours:
                    await self._ask(query, key, question)
                else:
                    await question.answered.wait()
            finally:
                question.waiting -= 1
                if not question.waiting:
                    # Who comes now asks anew.
                    self._forget(key, question)
                    question.scope.cancel()
            if question.answer is not None:
                return question.answer
            # Its task was cancelled, because the servers are not looked after any more: then each asks for itself.
            may_begin = False

    async def _ask(self, query: Query, key: tuple[Key, bool], question: _Question) -> None:
        try:
            with question.scope:
                question.answer = await self._upstreams.ask(query, over_stream=key[1])
        finally:
            is_current = self._forget(key, question)
            question.answered.set()
        # Names that came meanwhile are looked at before the cache, so that nothing of before is in their way.
        if is_current and question.answer is not None:
            self._cache.put(key[0], question.answer, trio.current_time())
            self._note_size()

    def _forget(self, key: tuple[Key, bool], question: _Question) -> bool:
        """Have nobody else wait for it; returns whether anybody could until now."""
        if self._questions.get(key) is not question:
            return False
        del self._questions[key]
        return True

    def _note_size(self) -> None:
        self._counts.cached, self._counts.cached_bytes = len(self._cache), self._cache.size


def _from_names(query: Query, known: Known, *, limit: int, most: int) -> bytes:
    return reply(query, known.rcode, known.records.get(query.type, ()), flags=AUTHORITATIVE, limit=limit, most=most)
