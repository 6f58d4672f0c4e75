"""kubespan.PeerStatusController: looks at the WireGuard device, says how each peer fares and which endpoint to use.

A peer that is not up, or that was sent something and has not been heard from since, is looked at every second. While
the tunnel carries traffic everybody is looked at every few seconds, else every 30 s. What a look finds unchanged is
not written.

A node that has lost an address sends everybody something from another one: that is all that a peer needs to follow.
Until then they would send to where it was, and it would not know.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

import trio

from nodespan.controllers.kubespan.peer_state import Path, Seen, step
from nodespan.resources.kubespan import (
    NEVER,
    KubeSpanPeerSpec,
    KubeSpanPeerSpecSpec,
    KubeSpanPeerStatus,
    KubeSpanPeerStatusSpec,
)
from nodespan.resources.kubespan import PeerState as State
from nodespan.resources.network import CURRENT_ADDRESSES_ID, NodeAddress
from nodespan.runtime.controller import QueueContext, QueueController, exclusive, mapped, primary
from nodespan.runtime.resource import Metadata, Pointer

POLL_INTERVAL = 30.0
# While the tunnel carries traffic, a peer may fall silent in the middle of it. A look at very many takes its time.
BUSY_INTERVAL = 1.0
PEERS_PER_SECOND = 1000
ATTENTIVE_INTERVAL = 1.0
# So many seconds in a row, for the routes from the new address may come after it.
GREETINGS = 3
# A handshake is retried this often (REKEY_TIMEOUT), so a peer without one need not be asked more often.
RETRY_LOOKS = 5


class Device(Protocol):
    """The WireGuard device of the mesh."""

    async def read(self) -> Mapping[str, Seen]:
        """What it says of each peer, by public key; empty while there is no device. Raises OSError."""
        ...

    def close(self) -> None:
        """Give back what was opened for it."""
        ...

    def traffic(self) -> int:
        """How many packets it has carried; 0 while there is no device."""
        ...

    def ask(self, addresses: Iterable[str]) -> None:
        """Send something that is answered to these addresses of the mesh; does not wait."""
        ...

    async def is_tunnelled(self, endpoint: str) -> bool:
        """Whether packets of the tunnel to this endpoint would themselves be led into it."""
        ...


class PeerStatusController(QueueController):
    """One status per peer. `now` gives wall-clock seconds, which is what the device tells handshakes in."""

    name = "kubespan.PeerStatusController"
    inputs = (primary(KubeSpanPeerSpec), mapped(NodeAddress, CURRENT_ADDRESSES_ID))
    outputs = (exclusive(KubeSpanPeerStatus),)

    def __init__(self, device: Device, *, now: Callable[[], float] = time.time) -> None:
        self._device = device
        self._now = now
        self._paths: dict[str, Path] = {}
        self._seen: Mapping[str, Seen] | None = None
        # Those that are to be looked at every second, and those among them that may just have fallen silent.
        self._unsettled: set[str] = set()
        self._doubtful: set[str] = set()
        self._said: set[tuple[str, str]] = set()
        self._own: frozenset[str] = frozenset()
        self._greetings = 0

    def map_input(self, ctx: QueueContext, changed: Metadata) -> Iterable[Pointer[Any]]:  # noqa: ARG002
        """The node's own addresses have changed, which is about no single peer."""
        found = ctx.find(NodeAddress, CURRENT_ADDRESSES_ID)
        own = frozenset[str]() if found is None else frozenset(found.spec.addresses)
        if self._own - own:
            self._greetings = GREETINGS
        self._own = own
        return ()

    async def reconcile(self, ctx: QueueContext, item: Pointer[Any]) -> None:
        """A peer came, changed or went."""
        spec = ctx.find(KubeSpanPeerSpec, item.id)
        if spec is None:
            self._paths.pop(item.id, None)
            self._unsettled.discard(item.id)
            self._doubtful.discard(item.id)
            if ctx.find(KubeSpanPeerStatus, item.id) is not None:
                await ctx.destroy(KubeSpanPeerStatus, item.id)
            return
        if self._seen is None:
            # Tunnels that an agent before this one has left up are to be left as they are.
            self._seen = await self._device.read()
        await self._look(ctx, item.id, spec.spec)

    async def run(self, ctx: QueueContext) -> None:
        """Look at everybody, as often as it takes."""
        looked, traffic, looks = trio.current_time(), self._device.traffic(), 0
        while True:
            await trio.sleep(ATTENTIVE_INTERVAL)
            if self._greetings:
                self._greetings -= 1
                self._device.ask(self._addresses(ctx, self._paths.keys() - self._unsettled))
            carried = self._device.traffic()
            is_busy, traffic = carried != traffic, carried
            interval = max(BUSY_INTERVAL, len(self._paths) / PEERS_PER_SECOND) if is_busy else POLL_INTERVAL
            everybody_is_due = trio.current_time() >= looked + interval
            if not (everybody_is_due or self._unsettled):
                continue
            looks += 1
            self._seen = await self._device.read()
            self._device.ask(self._addresses(ctx, self._unsettled if looks % RETRY_LOOKS == 0 else self._doubtful))
            if everybody_is_due:
                looked = trio.current_time()
                peers = ctx.list(KubeSpanPeerSpec)
            else:
                peers = [peer for peer in (ctx.find(KubeSpanPeerSpec, id) for id in sorted(self._unsettled)) if peer]
            for peer in peers:
                await self._look(ctx, peer.id, peer.spec)

    async def shutdown(self, ctx: QueueContext) -> None:  # noqa: ARG002
        """Let go of the device."""
        self._device.close()

    def _warn(self, ctx: QueueContext, label: str, endpoint: str) -> None:
        if (label, endpoint) not in self._said:
            self._said.add((label, endpoint))
            ctx.log.warning(
                "an endpoint is not used: the way to it leads into the tunnel itself", peer=label, endpoint=endpoint
            )

    def _addresses(self, ctx: QueueContext, ids: Iterable[str]) -> list[str]:
        peers = [ctx.find(KubeSpanPeerSpec, id) for id in sorted(ids)]
        return [peer.spec.address for peer in peers if peer is not None and peer.spec.address]

    async def _look(self, ctx: QueueContext, id: str, spec: KubeSpanPeerSpecSpec) -> None:
        assert self._seen is not None  # read before the first look
        seen, before = self._seen.get(id), self._paths.get(id, Path())
        endpoints = spec.endpoints
        path, state = step(before, endpoints, seen, self._now(), allowed_ips=spec.allowed_ips)
        while path.last_used != before.last_used and await self._device.is_tunnelled(path.last_used):
            self._warn(ctx, spec.label, path.last_used)
            endpoints = tuple(endpoint for endpoint in endpoints if endpoint != path.last_used)
            path, state = step(before, endpoints, seen, self._now(), allowed_ips=spec.allowed_ips)
        self._paths[id] = path
        _mark(self._doubtful, id, state is State.UP and path.probed is not None)
        _mark(self._unsettled, id, state is not State.UP or path.probed is not None)
        status = KubeSpanPeerStatusSpec(
            endpoint=path.endpoint,
            label=spec.label,
            state=state,
            receive_bytes=path.received,
            transmit_bytes=path.sent,
            last_handshake_time=_moment(path.last_handshake),
            last_used_endpoint=path.last_used,
            last_endpoint_change=_moment(path.last_change),
        )
        await ctx.put(KubeSpanPeerStatus, id, status)


def _mark(marked: set[str], id: str, is_marked: bool) -> None:
    if is_marked:
        marked.add(id)
    else:
        marked.discard(id)


def _moment(seconds: float | None) -> datetime:
    return NEVER if seconds is None else datetime.fromtimestamp(seconds, UTC)
