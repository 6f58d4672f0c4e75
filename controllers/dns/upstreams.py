"""The servers that are asked for names of others: in their order, and those that do not answer last.

A question goes to the first server. An error, SERVFAIL or REFUSED lets it go to the next one; the last such answer is
the client's if nobody has a better one. A server that cannot be asked is unhealthy: it is asked after all others until
it has answered a question that is asked only to see that, at first often and then ever more rarely.

A name that takes long, or whose answer cannot be used, says nothing of the server: whoever has the name chooses that,
and could have a good server asked after a worse one. The first has the server asked a question of ours, at once.
"""

import math
from collections.abc import Awaitable, Callable, Iterable, Sequence

import attrs
import structlog
import trio

from nodespan.controllers.dns.cache import Answer
from nodespan.controllers.dns.connections import ExchangeError
from nodespan.controllers.dns.exchanges import Exchanges
from nodespan.controllers.dns.metrics import Counts
from nodespan.controllers.dns.queries import RECURSE, Query, RCode
from nodespan.controllers.dns.rebinding import Rebinding, is_inside
from nodespan.controllers.dns.upstream_answers import AnswerError, checked
from nodespan.resources.network import DNSProtocol

# Seconds for one server, and for all of them.
PATIENCE = 2.0
ALTOGETHER = 4.5
# Seconds until an unhealthy server is tried again, at first and at most.
FIRST_LOOK, LAST_LOOK = 0.5, 30.0
_LOOK_PATIENCE = 1.0
_SWEEP = 5.0
# Seconds after which the log says again how a server is, if it is still so; and for how long it must have been healthy
# for a reason to be new again.
LASTING, FORGOTTEN = 30.0, 600.0
# Reasons in the log until then: some have the server's own words in them.
_MOST_REASONS = 8
_NS = 2
# The servers of the root: everybody who resolves names knows them.
_PROBE = Query(id=0, flags=RECURSE, question=b"\0\0\x02\0\x01", name="", type=_NS)


@attrs.define(eq=False)
class Upstream:
    """A server, and how it fares. `healthy` is None until it was asked."""

    id: str
    exchanges: Exchanges
    healthy: bool | None = None
    reason: str = ""
    # Since when it is so; whether the log has last said that it cannot be asked, and for which reasons.
    since: float = -math.inf
    is_said: bool = False
    logged: set[str] = attrs.field(factory=set)
    # Whether it is to be seen if it still answers, and when that was seen last.
    is_doubted: bool = False
    looked_at: float = -FIRST_LOOK
    _asked_inside: bool = attrs.field(init=False)
    _is_trusted: bool = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        server = self.exchanges.server
        self._asked_inside = is_inside(server.addr)
        self._is_trusted = server.protocol is not DNSProtocol.DO53

    def has_news(self, now: float) -> bool:
        """Whether the log is to say how it is.

        One that answers what is asked to see that it does, but not the clients' questions, changes with each of those.
        So a reason is said at once, but once; else only what lasts.
        """
        lasts = now >= self.since + LASTING
        if self.healthy:
            return self.is_said and lasts
        is_new = self.reason not in self.logged and len(self.logged) < _MOST_REASONS
        return self.healthy is False and (is_new or (lasts and not self.is_said))

    def read(self, query: Query, data: bytes, rebinding: Rebinding) -> Answer:
        """What it answered. Raises AnswerError."""
        return checked(query, data, rebinding, asked_inside=self._asked_inside, is_trusted=self._is_trusted)


class Upstreams:
    """All of them. `on_change` is called when the health of one changed, `on_nobody` when there is none to be asked."""

    def __init__(
        self, counts: Counts, on_change: Callable[[Upstream], None], on_nobody: Callable[[], None] = lambda: None
    ) -> None:
        self.rebinding = Rebinding()
        self._servers: tuple[Upstream, ...] = ()
        self._counts = counts
        self._on_change = on_change
        self._on_nobody = on_nobody
        self._wake = trio.Event()
        # That of `run`.
        self._nursery: trio.Nursery | None = None
        self._log = structlog.get_logger("dns")

    @property
    def servers(self) -> Sequence[Upstream]:
        """The servers, in the order of the configuration."""
        return self._servers

    async def replace(self, servers: Iterable[Upstream]) -> None:
        """Ask these from now on."""
        old, self._servers = self._servers, tuple(servers)
        self._open_in(self._nursery)
        self._wake.set()
        for server in old:
            if server not in self._servers:
                await server.exchanges.aclose()

    def begin(self, task: Callable[..., Awaitable[None]], *arguments: object) -> bool:
        """Run a task beside those that look after the servers; False if nobody does."""
        if self._nursery is None:
            return False
        self._nursery.start_soon(task, *arguments)
        return True

    async def ask(self, query: Query, *, over_stream: bool) -> Answer:
        """The answer to a question; SERVFAIL if nobody has one, after some seconds at most."""
        answer: Answer | None = None
        if not self._servers:
            self._on_nobody()
        servers = sorted(self._servers, key=lambda server: server.healthy is False)
        with trio.move_on_after(ALTOGETHER):
            # Silent ones once more, for a datagram may get lost; then it is up to the client.
            for _ in range(2):
                silent: list[Upstream] = []
                for server in servers:
                    found = await self._ask_one(server, query, over_stream=over_stream)
                    if found is None:
                        silent.append(server)
                    elif found.rcode not in (RCode.SERVFAIL, RCode.REFUSED):
                        return found
                    else:
                        answer = found
                if answer is not None:
                    break
                servers = silent
        return answer or Answer(rcode=RCode.SERVFAIL)

    async def _ask_one(self, server: Upstream, query: Query, *, over_stream: bool) -> Answer | None:
        self._counts.asked[server.id] += 1
        try:
            with trio.fail_after(PATIENCE):
                data = await server.exchanges.ask(query, over_stream=over_stream)
        except trio.TooSlowError:
            self._doubt(server)
        except ExchangeError as error:
            self._note(server, healthy=False, reason=str(error))
        else:
            self._note(server, healthy=True)
            try:
                return server.read(query, data, self.rebinding)
            except AnswerError:
                self._counts.failed[server.id] += 1
                return Answer(rcode=RCode.SERVFAIL)
        self._counts.failed[server.id] += 1
        return None

    def _doubt(self, server: Upstream) -> None:
        """Have it looked at whether the server answers, unless it just was."""
        if trio.current_time() - server.looked_at >= FIRST_LOOK:
            server.is_doubted = True
            self._wake.set()

    def _note(self, server: Upstream, *, healthy: bool, reason: str = "") -> None:
        now = trio.current_time()
        if server.healthy and now >= server.since + FORGOTTEN:
            server.logged.clear()
        before, server.healthy, server.reason = server.healthy, healthy, reason
        if before is not healthy:
            server.since = now
        self._say(server)
        if before is healthy:
            return
        self._wake.set()
        if server in self._servers:
            self._on_change(server)

    def _say(self, server: Upstream) -> None:
        if not server.has_news(trio.current_time()):
            return
        server.is_said = not server.healthy
        if server.healthy:
            self._log.info("a DNS server can be asked again", server=server.exchanges.address)
        else:
            server.logged.add(server.reason)
            self._log.warning("a DNS server cannot be asked", server=server.exchanges.address, reason=server.reason)

    async def run(self) -> None:
        """Look after the servers: whether those that did not answer do again, until cancelled. Then nothing is open."""
        try:
            await self._look()
        finally:
            self._open_in(None)
            for server in self._servers:
                await server.exchanges.aclose()

    def _open_in(self, nursery: trio.Nursery | None) -> None:
        self._nursery = nursery
        for server in self._servers:
            server.exchanges.open_in(nursery)

    async def _look(self) -> None:
        async with trio.open_nursery() as nursery:
            self._open_in(nursery)
            nursery.start_soon(self._sweep)
            try:
                await self._look_at_all()
            finally:
                # Before its tasks have ended: no other one is to begin.
                self._open_in(None)

    async def _look_at_all(self) -> None:
        wait = FIRST_LOOK
        while True:
            self._wake = trio.Event()
            async with trio.open_nursery() as looks:
                for server in self._servers:
                    if not server.healthy or server.is_doubted:
                        looks.start_soon(self._look_at, server)
            for server in self._servers:
                self._say(server)
            if all(server.healthy for server in self._servers):
                wait = FIRST_LOOK
                said = (server.since + LASTING for server in self._servers if server.is_said)
                with trio.move_on_at(min(said, default=math.inf)):
                    await self._wake.wait()
                continue
            with trio.move_on_after(wait) as waiting:
                await self._wake.wait()
            wait = min(2 * wait, LAST_LOOK) if waiting.cancelled_caught else FIRST_LOOK

    async def _look_at(self, server: Upstream) -> None:
        server.is_doubted = False
        # One that is asked last anyway may take as long to connect to as it may for a question.
        opens = not server.exchanges.is_open
        patience = PATIENCE if opens and server.healthy is False else _LOOK_PATIENCE
        try:
            with trio.fail_after(patience):
                await server.exchanges.ask(_PROBE, over_stream=False)
        except trio.TooSlowError:
            slow = "its connection is not open yet"
            reason = f"no answer within {patience:g} s" if server.exchanges.is_open else slow
            self._note(server, healthy=False, reason=reason)
        except ExchangeError as error:
            self._note(server, healthy=False, reason=str(error))
        else:
            self._note(server, healthy=True)
        server.looked_at = trio.current_time()

    async def _sweep(self) -> None:
        while True:
            await trio.sleep(_SWEEP)
            for server in self._servers:
                await server.exchanges.sweep()
