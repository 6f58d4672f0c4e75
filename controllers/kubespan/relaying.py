"""The work of kubespan.RelayController while relays are configured. Loaded then.

One relay is the node's home: the nearest, whose address for this node is announced. A peer whose address is at another
of the relays makes a stream to that one too, for a relay sends nothing to strangers, as the other relay would be one.
A relay that is home no more, or visited for nobody, is left after a while.
"""

import math
import random as randoms
from base64 import b64decode
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial

import attrs
import trio

from nodespan.controllers.common.problems import Problems
from nodespan.controllers.kubespan.direct_path import CONFIRM, Search, round_of
from nodespan.controllers.kubespan.local_sockets import LocalSocket, LocalSockets
from nodespan.controllers.kubespan.relay_claims import DirectEndpoints
from nodespan.controllers.kubespan.relay_settings import RelaySettings, Trials
from nodespan.controllers.kubespan.relayed import is_local
from nodespan.discovery.client import TransportError
from nodespan.discovery.endpoint_url import DialAddress, EndpointURLError, parse_endpoint_url
from nodespan.discovery.relay.choice import MEASURE_INTERVAL, Candidate, choose
from nodespan.discovery.relay.client import Channels, RelayClient, RelayClientOptions, measure, reason_of
from nodespan.discovery.relay.datagrams import Datagrams
from nodespan.discovery.relay.wire import Description, WireError, encode_address
from nodespan.kernel.wireguard.device import parse_endpoint
from nodespan.resources.kubespan import (
    KubeSpanPeerSpecSpec,
    KubeSpanPeerStatusSpec,
    KubeSpanRelayedEndpoint,
    KubeSpanRelayedEndpointSpec,
    KubeSpanRelayStatus,
    KubeSpanRelayStatusSpec,
    PeerState,
    RelayState,
)
from nodespan.resources.network import Severity
from nodespan.runtime.api.grpc.client import CallError
from nodespan.runtime.controller import QueueContext
from nodespan.runtime.text.escaping import bounded

_LOOK_INTERVAL = 1.0
_MEASURE_PATIENCE = 10.0
# Relays that cannot be measured are measured again after so long, in seconds.
_MEASURE_AGAIN = 30.0
# A relay that nobody needs is left after so long, in seconds: peers may still have this node's address there.
_KEPT = 300.0
# What the answer of a peer to the second probe of a trial may take.
_ANSWER = 0.6
# What a relay says of itself is cut at so many characters.
_LONGEST_REASON = 200
_MORE_ROOM = (
    "Give it more room by --relay-ports, --relay-clients or --relay-cluster-clients, or name another one in relays"
)
# So many peers are tried at a time.
_TRIALS_AT_ONCE = 16


@attrs.define(eq=False)
class _Relay:
    """A relay: what is known of it, and the client while there is one."""

    target: DialAddress
    candidate: Candidate = attrs.field(factory=Candidate)
    description: Description | None = None
    message: str = ""
    client: RelayClient | None = None
    scope: trio.CancelScope | None = None
    needed: float = 0.0
    # The port that this node had there.
    port: int = 0


@attrs.frozen
class _Peer:
    """A peer as its resources show it."""

    spec: KubeSpanPeerSpecSpec
    status: KubeSpanPeerStatusSpec

    @property
    def wanted(self) -> str:
        """The endpoint that this node wants the device to use, "" if that is the device's choice.

        One of a peer that is not up is wanted while the device still has another: it is given this one when there is a
        local address for it.
        """
        status = self.status
        is_chosen = status.state is PeerState.UP and status.endpoint not in ("", status.last_used_endpoint)
        return "" if is_chosen else status.last_used_endpoint


class Relaying:
    """Make it, `note` the peers, and `run` it."""

    def __init__(
        self,
        ctx: QueueContext,
        settings: RelaySettings,
        channels: Channels,
        trials: Trials,
        *,
        wall: Callable[[], float],
        random: randoms.Random | None,
    ) -> None:
        self._ctx = ctx
        self._settings = settings
        self._channels = channels
        self._trials = trials
        self._wall = wall
        self._random = randoms.SystemRandom() if random is None else random
        self._relays: dict[str, _Relay] = {}
        for url in settings.relays:
            try:
                target = parse_endpoint_url(url)
            except EndpointURLError as error:
                ctx.log.warning("a relay is not used", relay=url, reason=str(error))
                continue
            self._relays[target.address] = _Relay(target)
        self._home = ""
        # Since when that is home.
        self._settled = trio.current_time()
        self._datagrams: Datagrams[LocalSocket] = Datagrams(connected=True)
        self._sockets = LocalSockets(
            self._datagrams, settings.port, trio.current_time, self._socket_changed, self._socket_failed
        )
        self._peers: dict[str, _Peer] = {}
        self._direct = DirectEndpoints()
        # Peers whose endpoint is at a relay, and those that are reached over one with their search for a direct path.
        self._waiting: set[str] = set()
        self._searches: dict[str, Search] = {}
        self._in_trial: set[str] = set()
        self._statuses: dict[str, KubeSpanRelayStatusSpec] = {}
        self._touched: set[str] = set()
        self._complaint = ""
        self._changed = trio.Event()
        self._nursery: trio.Nursery | None = None
        self._limiter = trio.CapacityLimiter(_TRIALS_AT_ONCE)

    async def run(self) -> None:
        """Relay until cancelled."""
        with self._datagrams:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(self._datagrams.run)
                nursery.start_soon(self._publish_forever)
                nursery.start_soon(self._measure_forever)
                while True:
                    await trio.sleep(_LOOK_INTERVAL)
                    self._look()

    def reconnect(self) -> None:
        """The way to the relays has changed."""
        for relay in self._relays.values():
            if relay.client is not None:
                relay.client.reconnect()

    # Which relay.

    async def _measure_forever(self) -> None:
        while True:
            async with trio.open_nursery() as nursery:
                for relay in self._relays.values():
                    nursery.start_soon(self._measure, relay)
            self._choose()
            is_complete = all(relay.description is not None for relay in self._relays.values())
            await trio.sleep(MEASURE_INTERVAL if is_complete else _MEASURE_AGAIN)

    async def _measure(self, relay: _Relay) -> None:
        now = trio.current_time()
        try:
            with trio.fail_after(_MEASURE_PATIENCE):
                round_trip, relay.description = await measure(relay.target, self._channels)
            # What was wrong before is over. One that answers this and not its stream is avoided while that lasts.
            relay.candidate = attrs.evolve(relay.candidate, round_trip=round_trip, failed=-math.inf)
            relay.message = ""
            # Peers wait for it to be known; other relays may take long to answer.
            self._wake()
            for id in self._peers:
                # Nothing may be heard of a peer whose endpoint turns out to be at this relay.
                self._expect(id)
        except (TransportError, CallError, WireError) as error:
            relay.candidate = attrs.evolve(relay.candidate, failed=now)
            relay.message = reason_of(error)
        except trio.TooSlowError:
            relay.candidate = attrs.evolve(relay.candidate, failed=now)
            relay.message = f"no answer within {_MEASURE_PATIENCE:g} s"

    def _choose(self) -> None:
        now = trio.current_time()
        home = self._relays.get(self._home)
        unusable_since = None
        if home is not None and home.client is not None and not home.client.is_connected:
            # One that became home without working has its time too.
            unusable_since = max(home.client.since, self._settled)
        chosen = choose(
            {
                name: attrs.evolve(
                    relay.candidate, is_connected=None if relay.client is None else relay.client.is_connected
                )
                for name, relay in self._relays.items()
            },
            self._home,
            now,
            unusable_since=unusable_since,
        )
        if chosen and chosen != self._home:
            if home is not None and unusable_since is not None:
                home.candidate = attrs.evolve(home.candidate, failed=now)
            self._home, self._settled = chosen, now
            self._client_of(chosen)
        self._wake()

    def _client_of(self, name: str) -> RelayClient:
        """The client of a relay, which is started if there is none."""
        relay = self._relays[name]
        relay.needed = trio.current_time()
        if relay.client is not None:
            return relay.client
        settings = self._settings
        client = relay.client = RelayClient(
            RelayClientOptions(
                target=relay.target,
                private_key=settings.private_key,
                public_key=b64decode(settings.public_key),
                cluster_id=settings.cluster_id,
            ),
            self._channels,
            lambda address, packets: self._receive(client, address, packets),
            on_change=self._relay_changed,
            log=self._ctx.log,
            random=self._random,
            port=relay.port,
        )
        relay.scope = trio.CancelScope()
        assert self._nursery is not None
        self._nursery.start_soon(_run, client, relay.scope)
        return client

    def _receive(self, client: RelayClient, address: bytes, packets: Sequence[bytes]) -> None:
        self._sockets.receive(client, address, packets)

    def _relay_changed(self) -> None:
        for id in tuple(self._waiting):
            self._open_for(id)
        self._wake()

    def relay_of(self, endpoint: str) -> str:
        """The name of the relay that an endpoint is at, "" for none."""
        try:
            address = parse_endpoint(endpoint)
        except ValueError:
            return ""
        is_direct = self._direct.answers(endpoint, trio.current_time())
        for name, relay in self._relays.items():
            if relay.description is not None and relay.description.has(address):
                # The relay itself answers where it was dialled; of any other address it could say so.
                is_there = relay.target.host == address[0]
                if is_there or not is_direct:
                    return name
        return ""

    # The peers.

    def note(self, id: str, spec: KubeSpanPeerSpecSpec, status: KubeSpanPeerStatusSpec) -> None:
        """A peer as it is now."""
        self._peers[id] = _Peer(spec, status)
        self._direct.note(id, status, trio.current_time())
        self._expect(id)
        if status.state is PeerState.UP or id in self._searches:
            search = self._searches.get(id, Search())
            is_relayed = bool(status.relay) if status.state is PeerState.UP else search.is_relayed
            self._searches[id] = search.seen(trio.current_time(), is_relayed=is_relayed)

    def forget(self, id: str) -> None:
        """A peer is gone."""
        self._peers.pop(id, None)
        self._searches.pop(id, None)
        self._waiting.discard(id)
        self._direct.forget(id)

    def _expect(self, id: str) -> None:
        """Have a peer wait for a local address if its endpoint is at a relay."""
        wanted = self._peers[id].wanted
        if wanted and self.relay_of(wanted):
            self._waiting.add(id)
            self._open_for(id)
        else:
            self._waiting.discard(id)

    def _open_for(self, id: str) -> None:
        """Have a local address for the endpoint of a peer, once its relay is connected."""
        wanted = self._peers[id].wanted
        name = self.relay_of(wanted)
        if not name or self._nursery is None:
            return
        client = self._client_of(name)
        if client.is_connected and wanted not in client.endpoints:
            self._sockets.request(client, encode_address(parse_endpoint(wanted)))

    # Looks.

    def _look(self) -> None:
        now = trio.current_time()
        self._sockets.reclaim()
        self._direct.expire(now)
        home = self._relays.get(self._home)
        if home is not None and (home.client is None or not home.client.is_connected):
            self._choose()
        used = {each.client for each in self._sockets.by_local.values()}
        for name, relay in self._relays.items():
            if name == self._home or relay.client in used:
                relay.needed = now
            if relay.client is not None and relay.scope is not None and now - relay.needed > _KEPT:
                relay.scope.cancel()
                self._sockets.close_all(relay.client)
                relay.port = relay.client.grant.port if relay.client.grant is not None else 0
                relay.client = relay.scope = None
                self._wake()
        for id, search in self._searches.items():
            if search.is_relayed and search.due <= now and id not in self._in_trial:
                assert self._nursery is not None
                self._in_trial.add(id)
                self._nursery.start_soon(self._search, id)

    async def _search(self, id: str) -> None:
        """A round of trials."""
        try:
            async with self._limiter:
                count = await self._round(id)
        finally:
            self._in_trial.discard(id)
        search = self._searches.get(id)
        if search is not None and search.is_relayed:
            self._searches[id] = search.tried(trio.current_time(), self._wall(), count)

    async def _round(self, id: str) -> int:
        search, peer = self._searches.get(id), self._peers.get(id)
        if search is None or peer is None:
            return 0
        candidates = round_of(self._candidates(peer), search.offset)
        for candidate in candidates:
            peer = self._peers.get(id)
            if peer is None or not peer.status.relay or (used := self._used(peer)) is None:
                break
            if not await self._trials.is_tunnelled(candidate):
                await self._try(peer, used, candidate)
        return len(candidates)

    def _used(self, peer: _Peer) -> LocalSocket | None:
        return self._sockets.find(peer.status.endpoint, peer.status.relay)

    async def _try(self, peer: _Peer, used: LocalSocket, candidate: str) -> None:
        used.divert = partial(self._trials.send, port=self._settings.port, endpoint=candidate)
        try:
            self._trials.probe(peer.spec.address)
            await trio.sleep(CONFIRM)
        finally:
            used.divert = None
        # By whichever path WireGuard uses now: it brings a peer back that hears us, and that we do not hear.
        self._trials.probe(peer.spec.address)
        await trio.sleep(_ANSWER)

    def _candidates(self, peer: _Peer) -> tuple[str, ...]:
        found = dict.fromkeys((*peer.spec.endpoints, peer.status.endpoint))
        return tuple(each for each in found if each and not is_local(each) and not self.relay_of(each))

    # What is published.

    def _wake(self) -> None:
        self._changed.set()

    def _socket_changed(self, local: str) -> None:
        self._touched.add(local)
        self._wake()

    def _socket_failed(self, error: OSError) -> None:
        # Once for each reason: packets come by the thousand.
        if str(error) != self._complaint:
            self._complaint = str(error)
            self._ctx.log.warning("a relayed peer has no local address", reason=self._complaint)

    async def _publish_forever(self) -> None:
        problems = Problems(self._ctx, KubeSpanRelayStatus)
        while True:
            await self._changed.wait()
            self._changed = trio.Event()
            touched, self._touched = self._touched, set()
            for local in touched:
                await self._publish_endpoint(local)
            for name, relay in self._relays.items():
                status = self._status(name, relay)
                if self._statuses.get(name) != status:
                    self._statuses[name] = status
                    await self._ctx.put(KubeSpanRelayStatus, name, status)
                if relay.client is not None and relay.client.is_refused:
                    # The client has logged why; and perhaps no pair needs it.
                    reason = bounded(relay.client.failure, _LONGEST_REASON)
                    text = f"the relay {name} has no address for this node: {reason}. {_MORE_ROOM}"
                    await problems.set(name, text, loud=False, severity=Severity.WARNING)
                else:
                    await problems.clear(name)

    async def _publish_endpoint(self, local: str) -> None:
        found = self._sockets.by_local.get(local)
        if found is not None:
            relay = found.client.options.target.address
            spec = KubeSpanRelayedEndpointSpec(endpoint=found.endpoint, relay=relay, requested=found.is_requested)
            await self._ctx.put(KubeSpanRelayedEndpoint, local, spec)
        elif self._ctx.find(KubeSpanRelayedEndpoint, local) is not None:
            await self._ctx.destroy(KubeSpanRelayedEndpoint, local)

    def _status(self, name: str, relay: _Relay) -> KubeSpanRelayStatusSpec:
        client, described = relay.client, relay.description
        state = RelayState.RESERVE if not relay.message else RelayState.FAILED
        message = relay.message
        if client is not None:
            state = RelayState.FAILED if client.failure else RelayState.CONNECTING
            state = RelayState.CONNECTED if client.is_connected else state
            message = client.failure
        round_trip = relay.candidate.round_trip
        return KubeSpanRelayStatusSpec(
            endpoint=name,
            state=state,
            endpoints=() if client is None else client.endpoints,
            announced=name == self._home and client is not None and bool(client.endpoints),
            round_trip=timedelta(milliseconds=round(round_trip * 1e3, 1)) if described is not None else timedelta(),
            addresses=() if described is None else tuple(map(str, described.addresses)),
            ports=() if described is None else described.ports,
            message=message,
        )


async def _run(client: RelayClient, scope: trio.CancelScope) -> None:
    with scope:
        await client.run()
