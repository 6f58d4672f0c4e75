"""Measures the path to each peer that is up, inside of the tunnel: the work of kubespan.PathController.

One task for all peers sends rounds of echo requests: to an idle peer as rarely as `rules.interval_of` says, to one that
carries traffic, or whose path is new, with a large packet beside the small one. A round waits for its answers, so at
most one is under way.
"""

import errno
import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import attrs
import trio

from nodespan.controllers.common.problems import Problems
from nodespan.controllers.kubespan.paths.rules import (
    MOST_BUSY,
    RAISE_INTERVAL,
    Figures,
    Measured,
    SizeSearch,
    figures_of,
    interval_of,
    is_news,
    with_trial,
)
from nodespan.kernel.packets.echo import Answer, Echo
from nodespan.resources.kubespan import (
    KUBESPAN_CONFIG_ID,
    KubeSpanConfig,
    KubeSpanConfigSpec,
    KubeSpanPathStatus,
    KubeSpanPathStatusSpec,
    KubeSpanPeerSpec,
    KubeSpanPeerStatus,
    KubeSpanPeerStatusSpec,
    PathKind,
    PeerState,
)
from nodespan.resources.network.link import IPV6_MINIMUM_MTU
from nodespan.resources.network.problem import Severity
from nodespan.runtime.controller import QueueContext
from nodespan.runtime.resource import Pointer
from nodespan.runtime.ticks import due_after

# The size of the packet of a small request, and how long a round waits for its answers, in seconds.
SMALL = 64
PATIENCE = 2.0
_SPARE = 0.3
# A round of many requests is sent in bursts, so that their answers do not come all at once.
_BURST = 64
_BURST_PAUSE = 0.01


class Echoes(Protocol):
    """What sends echo requests, and has their answers: `echo.Echo`."""

    def send(self, address: str, sequence: int, size: int) -> None:
        """Send a request in a packet of this size; raises OSError."""
        ...

    def received(self) -> Iterator[Answer]:
        """The answers that have come."""
        ...

    async def wait(self) -> None:
        """Wait for answers."""
        ...

    def close(self) -> None:
        """Close it."""
        ...


@attrs.frozen(eq=False)
class _Request:
    """One that waits for its answer: of which peer, how large, when it was sent, and what it is to tell of."""

    id: str
    address: str
    size: int
    sent: float
    measured: Measured


@attrs.define
class _Round:
    """The requests of a round: by peer, those that wait by their numbers, and how long the answers of others took."""

    sent: dict[str, list[_Request]] = attrs.field(factory=dict)
    waiting: dict[int, _Request] = attrs.field(factory=dict)
    answered: dict[_Request, float] = attrs.field(factory=dict)

    def add(self, sequence: int, request: _Request) -> None:
        """A request is sent."""
        self.sent.setdefault(request.id, []).append(request)
        self.waiting[sequence] = request

    def take(self, answers: Iterable[Answer]) -> None:
        """Take in what has come."""
        for answer in answers:
            request = self.waiting.get(answer.sequence)
            # Only from where it was sent to: others in the mesh may see the number.
            if request is not None and request.address == answer.address:
                del self.waiting[answer.sequence]
                self.answered[request] = answer.at - request.sent

    async def read(self, echoes: Echoes) -> None:
        """Take in what comes, until cancelled."""
        while True:
            await echoes.wait()
            self.take(echoes.received())


class Measuring:
    """One status per peer. `open_echo` may raise PermissionError: then paths have no figures, and it is logged once."""

    def __init__(self, open_echo: Callable[[], Echoes] | None, wall: Callable[[], datetime] | None) -> None:
        self._open_echo = open_echo or Echo
        self._wall = wall or (lambda: datetime.now(UTC))
        self._measured: dict[str, Measured] = {}
        self._figures: dict[str, Figures] = {}
        # Of each peer what its path status was made of, and that.
        self._seen: dict[str, tuple[tuple[object, ...], KubeSpanPathStatusSpec]] = {}
        self._config: KubeSpanConfigSpec | None = None
        self._problems: Problems | None = None
        self._sequences = itertools.count(1)
        self._changed = trio.Event()

    async def reconcile(self, ctx: QueueContext, item: Pointer[Any]) -> None:
        """Take in the state of a peer: the path it has, and how it was found."""
        config, status = ctx.find(KubeSpanConfig, KUBESPAN_CONFIG_ID), ctx.find(KubeSpanPeerStatus, item.id)
        self._config = None if config is None else config.spec
        before = ctx.find(KubeSpanPathStatus, item.id)
        if status is None or config is None:
            self._seen.pop(item.id, None)
            self._forget(item.id)
            await self._clear(ctx, item.id)
            if before is not None:
                await ctx.destroy(KubeSpanPathStatus, item.id)
            return
        peer = ctx.find(KubeSpanPeerSpec, item.id)
        address = "" if peer is None else peer.spec.address
        known = KubeSpanPathStatusSpec() if before is None else before.spec
        seen = _seen_of(status.spec, config.spec, address)
        if item.id not in self._measured and before is not None and self._seen.get(item.id) == (seen, known):
            # It only counts more bytes.
            return
        path = self._path(known, status.spec, config.spec, address)
        if path.path is PathKind.NONE or not address or not config.spec.measure_paths:
            self._forget(item.id)
            await self._clear(ctx, item.id)
        elif item.id not in self._measured or (known.since, known.tunnel_mtu) != (path.since, path.tunnel_mtu):
            self._begin(item.id, config.spec.mtu, _carried(status.spec))
            await self._clear(ctx, item.id)
        elif self._measured[item.id].notice(_carried(status.spec), trio.current_time()):
            # It may have become narrow while the pair was idle.
            self._measured[item.id].due = trio.current_time()
            self._changed.set()
        path = self._with_figures(item.id, path)
        self._seen[item.id] = seen, path
        await ctx.put(KubeSpanPathStatus, item.id, path)

    def _begin(self, id: str, mtu: int, carried: int) -> None:
        """A new path is measured at once, and its size searched.

        One that replaces a narrow one counts as narrow until it is known: often what is narrow is common to both.
        """
        before, now = self._measured.get(id), trio.current_time()
        found = 0 if before is None or before.search.found >= mtu else before.search.found
        self._forget(id)
        self._measured[id] = Measured(SizeSearch(mtu, found=found), due=now, since=now, carried=carried)
        self._changed.set()

    def _path(
        self, known: KubeSpanPathStatusSpec, status: KubeSpanPeerStatusSpec, config: KubeSpanConfigSpec, address: str
    ) -> KubeSpanPathStatusSpec:
        now = self._wall()
        kind, endpoint = PathKind.NONE, ""
        if status.state is PeerState.UP:
            kind, endpoint = PathKind.RELAYED if status.relay else PathKind.DIRECT, status.endpoint
        relay = status.relay if kind is PathKind.RELAYED else ""
        is_same = (kind, endpoint, relay) == (known.path, known.endpoint, known.relay)
        return attrs.evolve(
            known,
            label=status.label,
            address=address,
            path=kind,
            endpoint=endpoint,
            relay=relay,
            since=known.since if is_same else now,
            tunnel_mtu=config.mtu,
            trials=with_trial(known.trials, status, now),
        )

    def _with_figures(self, id: str, path: KubeSpanPathStatusSpec) -> KubeSpanPathStatusSpec:
        measured, figures = self._measured.get(id), self._figures.get(id, Figures())
        return attrs.evolve(
            path,
            round_trip=_duration(figures.median),
            worst_round_trip=_duration(figures.worst),
            loss=round(figures.loss, 3),
            path_mtu=0 if measured is None else measured.search.found,
        )

    def _forget(self, id: str) -> None:
        self._measured.pop(id, None)
        self._figures.pop(id, None)

    async def run(self, ctx: QueueContext) -> None:
        """Measure, until cancelled."""
        self._problems = None
        echoes: Echoes | None = None
        try:
            while True:
                self._changed = trio.Event()
                due = min((each.due for each in self._measured.values()), default=math.inf)
                with trio.move_on_at(due):
                    await self._changed.wait()
                if not self._measured:
                    continue
                if echoes is None:
                    try:
                        echoes = self._open_echo()
                    except PermissionError:
                        ctx.log.warning("paths to peers are not measured: the agent lacks CAP_NET_RAW")
                        await trio.sleep_forever()
                    except OSError as error:
                        if error.errno != errno.EAFNOSUPPORT:
                            raise
                        ctx.log.warning("paths to peers are not measured: this machine has no IPv6")
                        await trio.sleep_forever()
                    assert echoes is not None
                await self._round(ctx, echoes)
        finally:
            if echoes is not None:
                echoes.close()

    async def _round(self, ctx: QueueContext, echoes: Echoes) -> None:
        now = trio.current_time()
        due = [id for id, measured in self._measured.items() if measured.due <= now]
        for _ in echoes.received():
            pass  # too late for the rounds before
        round = _Round()
        async with trio.open_nursery() as nursery:
            # Read while sending: a socket has room for some hundred answers, and one is timed when it is read.
            nursery.start_soon(round.read, echoes)
            await self._send(ctx, echoes, due, round)
            nursery.cancel_scope.cancel()
        with trio.move_on_after(PATIENCE) as scope:
            while round.waiting:
                if all(request.size != SMALL for request in round.waiting.values()):
                    # Large ones take little longer than those beside them, if they come at all.
                    spare = max(_SPARE, 3 * max(round.answered.values(), default=0.0))
                    scope.deadline = min(scope.deadline, trio.current_time() + spare)
                await echoes.wait()
                round.take(echoes.received())
        interval = interval_of(len(self._measured))
        for id in due:
            measured, requests = self._measured.get(id), round.sent.get(id, [])
            # A path that is another by now is measured by itself.
            if measured is None or any(request.measured is not measured for request in requests):
                continue
            self._judge(measured, requests, round.answered)
            measured.due = due_after(measured.pause(interval))
            await self._show(ctx, id, measured)

    async def _send(self, ctx: QueueContext, echoes: Echoes, due: Iterable[str], round: _Round) -> None:
        busy = 0
        for number, id in enumerate(due):
            measured, peer = self._measured.get(id), ctx.find(KubeSpanPeerSpec, id)
            status = ctx.find(KubeSpanPeerStatus, id)
            if measured is None or peer is None or status is None:
                continue
            if trio.current_time() >= measured.raise_at:
                measured.raise_at = trio.current_time() + RAISE_INTERVAL
                measured.search = measured.search.again()
            measured.notice(_carried(status.spec), trio.current_time())
            measured.is_busy = busy < MOST_BUSY and measured.has_traffic
            busy += measured.is_busy
            sizes = (SMALL, measured.search.size) if measured.wants_large else (SMALL,)
            for size in sizes:
                sequence = next(self._sequences) & 0xFFFF
                try:
                    echoes.send(peer.spec.address, sequence, size)
                except OSError:  # no route, or no peer by now: it counts as lost
                    sequence = -sequence
                round.add(sequence, _Request(id, peer.spec.address, size, trio.current_time(), measured))
            if number % _BURST == _BURST - 1:
                await trio.sleep(_BURST_PAUSE)

    def _judge(self, measured: Measured, requests: Iterable[_Request], answered: dict[_Request, float]) -> None:
        requests = list(requests)
        small = next((request for request in requests if request.size == SMALL), None)
        if small is None:
            return
        took = answered.get(small)
        measured.rounds.append(took)
        for request in requests:
            if request.size != SMALL and (took is not None or request in answered):
                measured.search = measured.search.after(request.size, answered=request in answered)

    async def _show(self, ctx: QueueContext, id: str, measured: Measured) -> None:
        path = ctx.find(KubeSpanPathStatus, id)
        if path is None:
            return
        figures, shown = figures_of(measured.rounds), self._figures.get(id, Figures())
        if is_news(shown, figures):
            self._figures[id] = figures
        spec = self._with_figures(id, path.spec)
        await ctx.put(KubeSpanPathStatus, id, spec)
        search, problems = measured.search, self._problems_of(ctx)
        if search.is_too_small:
            text = f"the path to {spec.label or id} does not even carry {IPV6_MINIMUM_MTU} bytes, which IPv6 needs"
            await problems.set(id, f"{text}: look what is in between", loud=True)
        elif not search.is_settled or search.found == search.largest:
            if search.is_settled:
                await problems.clear(id)
        else:
            text = (
                f"the path to {spec.label or id} carries {search.found} bytes, where the tunnel assumes "
                f"{search.largest}: larger packets are lost. Set mtu: {search.found} of KubeSpan at both ends"
            )
            if self._config is not None and self._config.auto_mtu:
                await problems.clear(id)
            else:
                await problems.set(id, f"{text}, or kubespan.autoMTU", severity=Severity.WARNING)

    async def _clear(self, ctx: QueueContext, id: str) -> None:
        await self._problems_of(ctx).clear(id)

    def _problems_of(self, ctx: QueueContext) -> Problems:
        if self._problems is None:
            self._problems = Problems(ctx, KubeSpanPeerSpec)
        return self._problems


def _seen_of(status: KubeSpanPeerStatusSpec, config: KubeSpanConfigSpec, address: str) -> tuple[object, ...]:
    """What the status of a path that is not measured is made of. What is the same object is not compared."""
    return config, address, status.state, status.endpoint, status.relay, status.label, status.last_used_endpoint


def _carried(status: KubeSpanPeerStatusSpec) -> int:
    return status.receive_bytes + status.transmit_bytes


def _duration(seconds: float | None) -> timedelta:
    return timedelta() if seconds is None else timedelta(microseconds=round(seconds * 1_000_000))
