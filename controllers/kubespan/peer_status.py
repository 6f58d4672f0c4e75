"""kubespan.PeerStatusController: reads the WireGuard device, publishes each peer's state and which endpoint to use.

A peer that has just got an endpoint, or that was probed and has not answered yet, is looked at every second. Others
that are not up need no look before something arrives or a time limit of theirs is over: nothing else can change them.
The kernel counts what arrives, so that every second two numbers are read and not the device; that is read every 30 s
all the same, and compared in a thread, which wakes the loop if it shows something new. While the tunnel carries traffic
and a peer is up, all are looked at every few seconds, else every 30 s, and when one that is up should have been heard.
Keepalives are no traffic.

A look that finds nothing changed writes nothing. What has been sent to a peer that does not answer, and the keepalives
of one that is up, but for the first from where it is, are shown every 30 s: by themselves they are no news.

An endpoint of a family that this node has no address of, and no route to, is passed over: a handshake that cannot be
sent is retried after 5 s, also when the peer is given another endpoint meanwhile. Addresses at a relay are reached by
its stream, whatever their family. Where nothing else is announced, as before a peer has its address at a relay, a new
peer is given none for a while.

A node that has lost an address sends all peers something from another one, which is all that they need to follow.
Until then they would send to the old address, and the node would not know.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

import attrs
import trio

from nodespan.controllers.common.problems import reason_of
from nodespan.controllers.common.wall_offset import WallOffset
from nodespan.controllers.kubespan.endpoint_order import due
from nodespan.controllers.kubespan.known_relays import KnownRelays
from nodespan.controllers.kubespan.peer_state import (
    ENDPOINT_CONNECTION_TIMEOUT,
    KEEPALIVE_BYTES,
    ObservedPeer,
    Path,
    changes_at,
    found_nothing,
    is_the_same,
    step,
)
from nodespan.controllers.kubespan.relay_order import Reach
from nodespan.controllers.kubespan.relayed import Relayed
from nodespan.kernel.net_counts import Traffic
from nodespan.resources.kubespan import (
    NEVER,
    KubeSpanPeerSpec,
    KubeSpanPeerSpecSpec,
    KubeSpanPeerStatus,
    KubeSpanPeerStatusSpec,
    KubeSpanRelayedEndpoint,
    KubeSpanRelayStatus,
    PeerState,
)
from nodespan.resources.network import CURRENT_NO_K8S_ID, NodeAddress
from nodespan.runtime.controller import QueueContext, QueueController, exclusive, mapped, primary
from nodespan.runtime.process.boot_time import boot_time
from nodespan.runtime.resource import Metadata, Pointer, Resource
from nodespan.runtime.slices import Slices
from nodespan.runtime.ticks import due_after

POLL_INTERVAL = 30.0
# While the tunnel carries traffic, a peer may become silent in the middle of it. A look at many peers takes its time.
BUSY_INTERVAL = 1.0
PEERS_PER_SECOND = 1000
ATTENTIVE_INTERVAL = 1.0
# A device that does not answer now and then is said to be so no more often.
_SAID_INTERVAL = 600.0
# So many seconds in a row, since the routes from the new address may come after it.
GREETINGS = 3
# For so many seconds an endpoint without a route is passed over without asking again, unless addresses change.
PASSED_OVER = 30.0
# A handshake is retried this often (REKEY_TIMEOUT), so a peer without one need not be probed more often.
RETRY_SECONDS = 5
# WireGuard retries by itself for 90 s after something is to be sent (REKEY_ATTEMPT_TIME), to the endpoint that the peer
# has by then: it takes no more probes than this to have it go on.
REPROBE_SECONDS = 30


class Device(Protocol):
    """The WireGuard device of the mesh."""

    async def read(self) -> Mapping[str, ObservedPeer]:
        """The peers, by public key; empty while there is no device. Raises OSError."""
        ...

    def look(self, shows_the_same: Callable[[Mapping[str, ObservedPeer]], bool], found: Callable[[], None]) -> None:
        """Have the peers read and compared, in another thread; `found` is called in the loop unless that returns true.

        Also if they cannot be read. Does not wait.
        """
        ...

    def close(self) -> None:
        """Close what was opened."""
        ...

    def traffic(self) -> Traffic:
        """What it has carried; nothing while there is no device."""
        ...

    def was_quiet(self, before: Traffic, now: Traffic) -> bool:
        """Whether no user has sent or received anything in between; keepalives count for nothing."""
        ...

    def datagrams(self) -> int:
        """A count that grows with all that a peer sends, unless the packets received do.

        It may grow for other reasons, and before the device shows what came.
        """
        ...

    def probe(self, addresses: Iterable[str]) -> None:
        """Send something that is answered to these addresses of the mesh; does not wait."""
        ...

    def answered(self) -> frozenset[str]:
        """The addresses that have answered a probe since this was asked last."""
        ...

    async def is_tunnelled(self, endpoint: str) -> bool:
        """Whether the tunnel's own packets to this endpoint would be routed into the tunnel."""
        ...

    async def has_route(self, endpoint: str) -> bool:
        """Whether there is a route for the tunnel's own packets to this endpoint."""
        ...


@attrs.define
class _Look:
    """A look that found nothing new: what it was made of, when, and until when readings have shown the same.

    From `expires` on time alone may change what is found, and from `again` on the device is read for it every second. A
    change of the spec has a look of its own.
    """

    observed: ObservedPeer | None
    wall_offset: float
    at: float
    read: float
    expires: float
    again: float


class _Comparison:
    """A reading that is compared, in a thread, with what looks at peers were made of."""

    def __init__(
        self, looks: Mapping[str, tuple[Path, _Look]], relayed: Relayed, now: float, *, all_are_due: bool, counts: bool
    ) -> None:
        # Of values, but for the looks, which only the loop reads and changes.
        self._expected = {id: (path, look.observed) for id, (path, look) in looks.items()}
        self._relayed = relayed
        self.looks = {id: look for id, (_, look) in looks.items()}
        self.began = now
        self.all_are_due = all_are_due
        self.counts = counts
        # What was read, once that is the same.
        self.reading: Mapping[str, ObservedPeer] | None = None

    def shows_the_same(self, peers: Mapping[str, ObservedPeer]) -> bool:
        """In the thread: whether the device shows what it did, but for what is sent in vain."""
        reading = self._relayed.named(peers)
        if not all(is_the_same(path, before, reading.get(id)) for id, (path, before) in self._expected.items()):
            return False
        self.reading = reading
        return True


class PeerStatusController(QueueController):
    """One status per peer.

    `now` is the clock for durations, which must not step; `wall` is the wall clock, in which the device reports the
    times of handshakes and the statuses show times.
    """

    name = "kubespan.PeerStatusController"
    inputs = (
        primary(KubeSpanPeerSpec),
        mapped(NodeAddress, CURRENT_NO_K8S_ID),
        mapped(KubeSpanRelayedEndpoint),
        mapped(KubeSpanRelayStatus),
    )
    outputs = (exclusive(KubeSpanPeerStatus),)

    def __init__(
        self, device: Device, *, now: Callable[[], float] = boot_time, wall: Callable[[], float] = time.time
    ) -> None:
        self._device = device
        self._now = now
        self._wall_offset = WallOffset(now, wall)
        # The offset at the latest round of looks.
        self._looked_by = self._wall_offset.read()
        self._paths: dict[str, Path] = {}
        # Replaced whenever there are none.
        self._has_peers = trio.Event()
        self._looks: dict[str, _Look] = {}
        self._observed: Mapping[str, ObservedPeer] | None = None
        # Peers that are gone and were there at the latest reading; and of those that came back since, what they were
        # then, which says nothing of the peer that there is now.
        self._gone: set[str] = set()
        self._outdated: dict[str, ObservedPeer] = {}
        # Peers that wait for the first reading, which the device has not answered.
        self._unread: set[str] = set()
        # Peers that are not up or in doubt, and those among them that are up and have not answered a probe yet.
        self._unsettled: set[str] = set()
        self._doubtful: set[str] = set()
        # Those that were not sent a probe since they became unsettled, or have another endpoint.
        self._unprobed: set[str] = set()
        # When the first look at one of the unsettled peers may find something though nothing has arrived.
        self._next_look = math.inf
        # When time alone may change what is found of a peer that is up, unless it is heard by then.
        self._settled_until = math.inf
        # What has arrived by the last second, None if that was not counted; and whether something had in that second.
        self._arrived: tuple[int, int] | None = None
        self._has_arrived = False
        # Peers of which a few bytes are not shown yet; and the endpoint of each from which more was shown to come.
        self._unshown: set[str] = set()
        # Since when the log says that the device does not answer, None while it does; and from when on it may say so.
        self._silent_since: float | None = None
        self._may_say_silent = -math.inf
        self._heard_at: dict[str, str] = {}
        self._warned: set[tuple[str, str]] = set()
        self._own: frozenset[str] = frozenset()
        self._greetings = 0
        self._relayed = Relayed()
        self._relays = KnownRelays()
        self._reach = Reach()
        # The reading that is being compared, or was since the last second; and whether it has shown something new.
        self._comparison: _Comparison | None = None
        self._found = trio.Event()
        # The endpoints of each peer that are passed over, and until when.
        self._passed_over: dict[str, tuple[float, frozenset[str]]] = {}
        # New peers whose endpoints cannot be reached, and since when.
        self._held: dict[str, float] = {}
        # Addresses that have answered a probe by the latest reading, until the peer is looked at.
        self._answered: set[str] = set()

    def map_input(self, ctx: QueueContext, changed: Metadata) -> Iterable[Pointer[Any]]:
        """The node's own addresses changed, or which are those of a relay: the next reading shows who is affected."""
        if changed.type == KubeSpanRelayedEndpoint.name:
            found_endpoint = ctx.find(KubeSpanRelayedEndpoint, changed.id)
            self._relayed.note(changed.id, None if found_endpoint is None else found_endpoint.spec)
            # It names what the device shows, without anything having arrived.
            self._next_look = -math.inf
            return ()
        if changed.type == KubeSpanRelayStatus.name:
            relay = ctx.find(KubeSpanRelayStatus, changed.id)
            if not self._relays.note(changed.id, None if relay is None else relay.spec):
                return ()
            self._passed_over.clear()
            return [KubeSpanPeerSpec.pointer(id) for id in self._held]
        found = ctx.find(NodeAddress, CURRENT_NO_K8S_ID)
        own = frozenset[str]() if found is None else frozenset(found.spec.addresses)
        if self._own - own:
            self._greetings = GREETINGS
        if own != self._own:
            self._own, self._reach = own, Reach.of(own)
            self._passed_over.clear()
        return ()

    async def reconcile(self, ctx: QueueContext, item: Pointer[Any]) -> None:
        """Look at a peer that was added or changed; remove the status of one that is gone."""
        spec = ctx.find(KubeSpanPeerSpec, item.id)
        if spec is None:
            if self._paths.pop(item.id, None) is not None:
                self._gone.add(item.id)
            self._outdated.pop(item.id, None)
            self._looks.pop(item.id, None)
            self._held.pop(item.id, None)
            self._passed_over.pop(item.id, None)
            self._unread.discard(item.id)
            self._unsettled.discard(item.id)
            self._unprobed.discard(item.id)
            self._doubtful.discard(item.id)
            self._unshown.discard(item.id)
            self._heard_at.pop(item.id, None)
            if ctx.find(KubeSpanPeerStatus, item.id) is not None:
                await ctx.destroy(KubeSpanPeerStatus, item.id)
            return
        # An agent before this one may have left tunnels up, which are left as they are.
        if self._observed is None and (self._unread or not await self._could_read(ctx)):
            # All that exist are looked at after the first reading.
            self._unread.add(item.id)
            self._has_peers.set()
            return
        await self._look(ctx, item.id, spec.spec)

    async def _could_read(self, ctx: QueueContext) -> bool:
        """Read the device; whether it has answered. One that does not is named in the log, as is that it does again."""
        try:
            await self._read()
        except TimeoutError as error:
            now = trio.current_time()
            if self._silent_since is None and now >= self._may_say_silent:
                self._silent_since, self._may_say_silent = now, now + _SAID_INTERVAL
                ctx.log.warning("the states of peers are not followed", reason=reason_of(error))
            return False
        self._unread.clear()
        if self._silent_since is not None:
            seconds = round(trio.current_time() - self._silent_since)
            self._silent_since = None
            ctx.log.info("the states of peers are followed again", seconds=seconds)
        return True

    async def _read(self) -> None:
        # Before the reading, which then has counted their packets.
        self._answered = set(self._device.answered())
        self._observed = self._relayed.named(await self._device.read())
        self._gone &= self._observed.keys()

    def _observed_now(self, id: str) -> ObservedPeer | None:
        """The peer at the latest reading. One that was gone in between begins without what it was before."""
        assert self._observed is not None  # read before the first look
        observed = self._observed.get(id)
        if id in self._gone:
            self._gone.discard(id)
            if observed is not None:
                self._outdated[id] = observed
        before = self._outdated.get(id)
        if observed is None or before is None:
            return observed
        if (observed.last_handshake, observed.received) == (before.last_handshake, before.received):
            return None
        del self._outdated[id]
        return observed

    async def run(self, ctx: QueueContext) -> None:
        """Look at all peers, as often as it takes."""
        counted = trio.current_time()
        # Where this starts over, what could not be shown is shown now.
        looked = counted if self._observed is None else -math.inf
        traffic, seconds, self._comparison = self._device.traffic(), 0, None
        while True:
            if not (self._paths or self._gone or self._unread):
                # Without a mesh, and once a reading has shown that it is gone, nothing is counted.
                self._has_peers = trio.Event()
                await self._has_peers.wait()
            await self._next_second(ctx)
            seconds += 1
            is_retry = bool(self._unsettled) and seconds % RETRY_SECONDS == 0
            if self._greetings:
                self._greetings -= 1
                self._device.probe(self._addresses(ctx, self._paths.keys() - self._unsettled))
            carried = self._device.traffic()
            is_busy, traffic = self._has_up and not self._device.was_quiet(traffic, carried), carried
            interval = max(BUSY_INTERVAL, len(self._paths) / PEERS_PER_SECOND) if is_busy else POLL_INTERVAL
            now, wall_offset = self._now(), self._wall_offset.read()
            # The limits of many peers, each at its own time, have them read no more often than every few seconds.
            is_over = now > self._settled_until
            limit = min(interval, RETRY_SECONDS) if is_over else interval
            all_are_due = bool(self._unread) or trio.current_time() >= looked + limit
            # First, for the counts are compared with those of the second before, whatever else there is to look at.
            are_due = self._unsettled_are_due(carried, now, wall_offset)
            if are_due or all_are_due:
                if all_are_due:
                    looked, self._settled_until = trio.current_time(), math.inf
                counts = all_are_due and looked >= counted + POLL_INTERVAL
                if counts:
                    counted = looked
                if are_due or self._unread or not self._compare(now, all_are_due=all_are_due, counts=counts):
                    await self._look_at_peers(ctx, all_are_due=all_are_due, counts=counts)
            # After the looks: who is in doubt now, and not those that have answered by now.
            if not seconds % REPROBE_SECONDS:
                self._probe(ctx, self._unsettled)
            elif is_retry:
                self._probe(ctx, self._unprobed | self._doubtful)
            elif are_due or all_are_due:
                self._probe(ctx, self._doubtful)

    def _probe(self, ctx: QueueContext, ids: set[str]) -> None:
        self._device.probe(self._addresses(ctx, ids))
        self._unprobed -= ids

    async def _next_second(self, ctx: QueueContext) -> None:
        """Wait for the next second, and take in the reading of this one, if one was compared; what is new, at once."""
        due = due_after(ATTENTIVE_INTERVAL)
        while True:
            with trio.move_on_at(due) as second:
                await self._found.wait()
            if second.cancelled_caught:
                break
            self._found = trio.Event()
            comparison, self._comparison = self._comparison, None
            if comparison is not None:
                await self._look_at_peers(ctx, all_are_due=comparison.all_are_due, counts=comparison.counts)
        comparison = self._comparison
        if comparison is not None and comparison.reading is not None:
            self._comparison = None
            await self._take_in(ctx, comparison, comparison.reading)

    def _compare(self, now: float, *, all_are_due: bool, counts: bool) -> bool:
        """Have the device read and compared, if that is all there is to it: peers to look at that are down, and known.

        Returns whether that has begun; the reading before must have ended.
        """
        if self._gone or self._outdated or self._comparison is not None or (all_are_due and self._has_up):
            return False
        due = self._paths.keys() if all_are_due else self._unsettled
        if not self._looks.keys() >= due:
            return False
        looks = {id: (self._paths[id], self._looks[id]) for id in due}
        comparison = _Comparison(looks, self._relayed, now, all_are_due=all_are_due, counts=counts)
        self._comparison = comparison

        def found() -> None:
            if comparison is self._comparison:
                self._found.set()

        self._device.look(comparison.shows_the_same, found)
        return True

    async def _take_in(self, ctx: QueueContext, comparison: _Comparison, reading: Mapping[str, ObservedPeer]) -> None:
        """After a reading that showed nothing new, but for what is sent in vain."""
        self._observed = reading
        self._gone &= reading.keys()
        slices = Slices()
        for id, look in comparison.looks.items():
            # A peer may have gone or changed meanwhile, and was looked at since.
            if self._looks.get(id) is look:
                look.read = max(look.read, comparison.began)
                if comparison.counts and (id in self._unshown or look.observed != self._observed_now(id)):
                    await self._show_bytes(ctx, id)
            await slices.rest()

    async def _look_at_peers(self, ctx: QueueContext, *, all_are_due: bool, counts: bool) -> None:
        """Read the device, and look at all peers, or those that are not settled.

        One that does not answer is asked again soon, if there are peers: what was found of them stays as it is shown.
        """
        # An older reading says nothing any more.
        self._comparison = None
        wall_offset = self._wall_offset.read()
        if not await self._could_read(ctx):
            if self._paths:
                self._settled_until = -math.inf
            return
        due = [peer.id for peer in ctx.list(KubeSpanPeerSpec)] if all_are_due else sorted(self._unsettled)
        slices = Slices()
        now, self._next_look, self._looked_by = self._now(), math.inf, wall_offset
        for id in due:
            # Of peers that are down next to no look finds anything new, of others those that carry traffic.
            if self._shows_the_same(id, now, wall_offset):
                if counts and (id in self._unshown or self._looks[id].observed != self._observed_now(id)):
                    await self._show_bytes(ctx, id)
                    await slices.rest()
                continue
            # It may have gone while others were looked at.
            peer = ctx.find(KubeSpanPeerSpec, id)
            if peer is not None:
                await self._look(ctx, id, peer.spec, counts=counts)
                await slices.rest()

    @property
    def _has_up(self) -> bool:
        """Whether any peer is up."""
        return len(self._paths) > len(self._unsettled) - len(self._doubtful)

    def _unsettled_are_due(self, carried: Traffic, now: float, wall_offset: float) -> bool:
        """Whether a look at the peers that are not settled may find something; to be asked once a second."""
        if not self._unsettled:
            self._arrived = None
            return False
        arrived = carried.received, self._device.datagrams()
        has_arrived, had_arrived = arrived != self._arrived, self._has_arrived
        self._arrived, self._has_arrived = arrived, has_arrived
        # What came at the end of a second may have been processed after the reading.
        is_new = has_arrived or had_arrived
        return is_new or bool(self._doubtful) or now >= self._next_look or wall_offset != self._looked_by

    async def shutdown(self, ctx: QueueContext) -> None:  # noqa: ARG002
        """Close the device."""
        self._device.close()

    def _warn(self, ctx: QueueContext, label: str, endpoint: str) -> None:
        if (label, endpoint) not in self._warned:
            self._warned.add((label, endpoint))
            ctx.log.warning(
                "an endpoint is not used: the route to it leads into the tunnel itself", peer=label, endpoint=endpoint
            )

    def _may_be_passed_over(self, id: str, endpoints: tuple[str, ...], now: float) -> bool:
        """Whether a peer may do without the endpoint that is due: it has others, or is new."""
        if len(endpoints) > 1:
            return True
        path = self._paths.get(id)
        if path is not None and path.last_used:
            return False
        return now - self._held.setdefault(id, now) < ENDPOINT_CONNECTION_TIMEOUT

    async def _is_reached(self, endpoint: str) -> bool:
        if self._reach.has_family_of(endpoint) or self._relays.have(endpoint):
            return True
        return await self._device.has_route(endpoint)

    def _addresses(self, ctx: QueueContext, ids: Iterable[str]) -> list[str]:
        peers = [ctx.find(KubeSpanPeerSpec, id) for id in sorted(ids)]
        return [peer.spec.address for peer in peers if peer is not None and peer.spec.address]

    def _shows_the_same(self, id: str, now: float, wall_offset: float) -> bool:
        """Whether a look at the peer would find what the last one did, but for what is sent to it in vain."""
        assert self._observed is not None  # read before this
        look, observed = self._looks.get(id), self._observed.get(id)
        if (
            look is None
            or now >= look.expires
            or look.wall_offset != wall_offset
            or id in self._gone
            or id in self._outdated
            or not is_the_same(self._paths[id], look.observed, observed)
        ):
            return False
        look.read = now
        self._note_limit(id, look)
        return True

    async def _show_bytes(self, ctx: QueueContext, id: str) -> None:
        """Show how much was received and sent, of a peer of which nothing else is new."""
        observed, shown = self._observed_now(id), ctx.find(KubeSpanPeerStatus, id)
        if observed is None or shown is None:
            return
        self._looks[id].observed = observed
        self._paths[id] = attrs.evolve(self._paths[id], sent=observed.sent)
        self._unshown.discard(id)

        def counted(status: Resource[KubeSpanPeerStatusSpec]) -> Resource[KubeSpanPeerStatusSpec]:
            counts = attrs.evolve(status.spec, receive_bytes=observed.received, transmit_bytes=observed.sent)
            return status.with_spec(counts)

        # Of what is shown when it is written: a write may have to wait, and the peer may come up meanwhile.
        await ctx.modify(shown, counted)

    async def _look(self, ctx: QueueContext, id: str, spec: KubeSpanPeerSpecSpec, *, counts: bool = False) -> None:
        observed, before, last = self._observed_now(id), self._paths.get(id, Path()), self._looks.pop(id, None)
        if last is not None and last.read > last.at:
            before = before.read_again(last.read)
        wall_offset, now = self._wall_offset.read(), self._now()
        all_due = due(spec.endpoints, now + wall_offset)
        seen = observed
        if observed is not None and spec.address in self._answered:
            self._answered.discard(spec.address)
            seen = attrs.evolve(observed, answered=True)
        until, unreached = self._passed_over.get(id, (now, frozenset[str]()))
        if now >= until:
            until, unreached = now + PASSED_OVER, frozenset()
        tunnelled: set[str] = set()
        while True:
            endpoints = tuple(endpoint for endpoint in all_due if endpoint not in tunnelled | unreached)
            path, state = step(before, endpoints, seen, now, allowed_ips=spec.allowed_ips, wall_offset=wall_offset)
            if path.last_used == before.last_used:
                break
            if await self._device.is_tunnelled(path.last_used):
                self._warn(ctx, spec.label, path.last_used)
                tunnelled.add(path.last_used)
            elif not self._may_be_passed_over(id, endpoints, now) or await self._is_reached(path.last_used):
                break
            else:
                unreached |= {path.last_used}
        self._paths[id] = path
        self._has_peers.set()
        if path.last_used:
            self._held.pop(id, None)
            if unreached:
                self._passed_over[id] = until, unreached
        again, look = now, None
        if found_nothing(before, path, now) and len(endpoints) == len(all_due):
            # Nothing was new. Whether an endpoint leads into the tunnel is asked again in each look.
            expires = changes_at(path, now)
            # While an endpoint is new, as long as the peer is unknown, it is looked at every second.
            again = now if state is PeerState.UNKNOWN and path.last_used else expires
            look = _Look(observed, wall_offset, now, now, expires, again)
        is_news = id not in self._unsettled or id in self._doubtful or path.last_used != before.last_used
        is_unsettled = state is not PeerState.UP or path.probed is not None
        _mark(self._doubtful, id, state is PeerState.UP and path.probed is not None)
        _mark(self._unprobed, id, is_unsettled and (is_news or id in self._unprobed))
        _mark(self._unsettled, id, is_unsettled)
        if is_unsettled:
            self._next_look = min(self._next_look, again)
        status = KubeSpanPeerStatusSpec(
            endpoint=path.endpoint,
            label=spec.label,
            state=state,
            receive_bytes=path.received,
            transmit_bytes=path.sent,
            last_handshake_time=_moment(path.last_handshake, wall_offset),
            last_used_endpoint=path.last_used,
            last_endpoint_change=_moment(path.last_change, wall_offset),
            relay=observed.relay if observed is not None and path.endpoint == observed.endpoint else "",
        )
        shown = ctx.find(KubeSpanPeerStatus, id)
        is_quiet = path.received - before.received <= KEEPALIVE_BYTES and path.sent - before.sent <= KEEPALIVE_BYTES
        is_same = shown is not None and _differs_by_bytes(shown.spec, status)
        # What first comes from an endpoint shows that the peer answers there, whatever a relay says of it.
        is_heard = state is PeerState.UP and self._heard_at.get(id) == path.endpoint
        if is_same and is_quiet and is_heard and not counts:
            self._unshown.add(id)
            self._note_look(id, look)
            return
        if state is not PeerState.UP:
            self._heard_at.pop(id, None)
        elif is_same and shown is not None and status.receive_bytes > shown.spec.receive_bytes:
            self._heard_at[id] = path.endpoint
        self._unshown.discard(id)
        await ctx.put(KubeSpanPeerStatus, id, status)
        # Not before: what could not be written is looked at and written again.
        self._note_look(id, look)

    def _note_look(self, id: str, look: _Look | None) -> None:
        if look is not None:
            self._looks[id] = look
            self._note_limit(id, look)

    def _note_limit(self, id: str, look: _Look) -> None:
        """When this peer is to be looked at again, if nothing arrives."""
        if id in self._unsettled:
            self._next_look = min(self._next_look, look.again)
        else:
            self._settled_until = min(self._settled_until, look.expires)


def _differs_by_bytes(shown: KubeSpanPeerStatusSpec, status: KubeSpanPeerStatusSpec) -> bool:
    """Whether a status differs from the one shown in that more was received or sent, and in nothing else."""
    if status.receive_bytes < shown.receive_bytes or status.transmit_bytes < shown.transmit_bytes or status == shown:
        return False
    return attrs.evolve(status, receive_bytes=shown.receive_bytes, transmit_bytes=shown.transmit_bytes) == shown


def _mark(marked: set[str], id: str, is_marked: bool) -> None:
    if is_marked:
        marked.add(id)
    else:
        marked.discard(id)


def _moment(at: float | None, wall_offset: float) -> datetime:
    return NEVER if at is None else datetime.fromtimestamp(at + wall_offset, UTC)
