"""kubespan.RelayController: gives this node an address at a relay, and WireGuard a way to what is reached over relays.

While `relays` are configured the node has a stream to the nearest one (`relaying`), whose address for it is announced
as its last endpoint. What comes over the stream gets to WireGuard from local addresses (`local_sockets`), which are
published for those who show or set endpoints. A pair on a relay looks for a direct path (`direct_path`).
"""

import os
import random
import time
from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import attrs
import trio

from nodespan.controllers.common.problems import Problems
from nodespan.controllers.kubespan.relay_settings import RelaySettings, Trials
from nodespan.resources.kubespan import (
    KUBESPAN_CONFIG_ID,
    LOCAL,
    KubeSpanConfig,
    KubeSpanIdentity,
    KubeSpanPeerSpec,
    KubeSpanPeerStatus,
    KubeSpanRelayedEndpoint,
    KubeSpanRelayStatus,
)
from nodespan.resources.network import DEFAULT_ADDRESS_ID, NetworkProblem, NodeAddress
from nodespan.resources.runtime import ENVIRONMENT_ID, Environment
from nodespan.resources.trust import TRUST_BUNDLE_ID, TrustBundle
from nodespan.runtime.controller import QueueContext, QueueController, exclusive, mapped, primary, shared
from nodespan.runtime.loading import load
from nodespan.runtime.resource import Metadata, Pointer

if TYPE_CHECKING:
    from nodespan.controllers.kubespan.relaying import Relaying
    from nodespan.discovery.relay.client import Channels

_LIBRARIES = ("nodespan.controllers.kubespan.relaying", "nodespan.discovery.transport")


@attrs.frozen
class Surroundings:
    """What relays are dialled with: authorities that are added to those of the system, and proxies."""

    added_roots: bytes = b""
    roots_digest: str = ""
    environment: Mapping[str, str] = attrs.field(factory=lambda: dict(os.environ))
    # The address that most connections come from: those of a node that moves are dead once it has another one.
    address: str = ""


# Makes what channels come from, given what returns the added authorities, and the environment with its proxies.
ChannelsFactory = Callable[[Callable[[], bytes], Callable[[], Mapping[str, str]]], "Channels"]


class RelayController(QueueController):
    """One status per relay, and one resource per address that is reached over one."""

    name = "kubespan.RelayController"
    inputs = (
        # `transmit_bytes` is not ignored: it is all that changes of a peer that is down, whose direct endpoint expires.
        primary(KubeSpanPeerStatus),
        mapped(KubeSpanPeerSpec),
        mapped(KubeSpanConfig, KUBESPAN_CONFIG_ID),
        mapped(KubeSpanIdentity, LOCAL),
        mapped(TrustBundle, TRUST_BUNDLE_ID),
        mapped(Environment, ENVIRONMENT_ID),
        mapped(NodeAddress, DEFAULT_ADDRESS_ID),
    )
    outputs = (exclusive(KubeSpanRelayStatus), exclusive(KubeSpanRelayedEndpoint), shared(NetworkProblem))

    def __init__(
        self,
        trials: Trials,
        *,
        channels: ChannelsFactory | None = None,
        wall: Callable[[], float] = time.time,
        random: random.Random | None = None,
    ) -> None:
        self._trials = trials
        self._new_channels = channels
        self._wall = wall
        self._random = random
        self._relaying: Relaying | None = None
        self._changed = trio.Event()
        self._surroundings = Surroundings()

    def map_input(self, ctx: QueueContext, changed: Metadata) -> Iterable[Pointer[Any]]:  # noqa: ARG002
        """The peer of a spec; all else is looked at by `run`."""
        if changed.type == KubeSpanPeerSpec.name:
            return (KubeSpanPeerStatus.pointer(changed.id),) if self._relaying is not None else ()
        self._changed.set()
        return ()

    async def reconcile(self, ctx: QueueContext, item: Pointer[Any]) -> None:
        """Look at a peer that may need a relay, or do without."""
        if self._relaying is not None:
            self._note(ctx, item.id)

    def _note(self, ctx: QueueContext, id: str) -> None:
        assert self._relaying is not None
        spec, status = ctx.find(KubeSpanPeerSpec, id), ctx.find(KubeSpanPeerStatus, id)
        if spec is None or status is None:
            self._relaying.forget(id)
        else:
            self._relaying.note(id, spec.spec, status.spec)

    async def run(self, ctx: QueueContext) -> None:
        """Relay while that is configured."""
        while True:
            self._changed = trio.Event()
            settings = self._settings(ctx)
            if settings is None:
                await self._clear(ctx)
                await self._changed.wait()
                continue
            await load(*_LIBRARIES)
            async with trio.open_nursery() as nursery:
                await nursery.start(self._relay, ctx, settings)
                await self._until_other(ctx, settings)
                nursery.cancel_scope.cancel()

    async def _relay(self, ctx: QueueContext, settings: RelaySettings, task_status: trio.TaskStatus[None]) -> None:
        from nodespan.controllers.kubespan.relaying import Relaying

        await self._clear(ctx)
        relaying = Relaying(ctx, settings, self._channels(), self._trials, wall=self._wall, random=self._random)
        self._relaying = relaying
        try:
            for status in ctx.list(KubeSpanPeerStatus):
                self._note(ctx, status.id)
            task_status.started()
            await relaying.run()
        finally:
            self._relaying = None

    async def _until_other(self, ctx: QueueContext, settings: RelaySettings) -> None:
        while self._settings(ctx) == settings:
            before, self._surroundings = self._surroundings, _surroundings(ctx, self._surroundings.address)
            if self._relaying is not None and _is_another_way(before, self._surroundings):
                self._relaying.reconnect()
            await self._changed.wait()
            self._changed = trio.Event()

    def _channels(self) -> "Channels":
        from nodespan.discovery.transport import GrpcTransport

        new = self._new_channels or GrpcTransport
        return new(lambda: self._surroundings.added_roots, lambda: self._surroundings.environment)

    def _settings(self, ctx: QueueContext) -> RelaySettings | None:
        config, identity = ctx.find(KubeSpanConfig, KUBESPAN_CONFIG_ID), ctx.find(KubeSpanIdentity, LOCAL)
        if config is None or not config.spec.enabled or not config.spec.relays or identity is None:
            return None
        if not identity.spec.private_key:
            return None
        return RelaySettings(
            config.spec.relays,
            config.spec.cluster_id,
            identity.spec.public_key,
            b64decode(identity.spec.private_key),
            config.spec.listen_port,
        )

    async def _clear(self, ctx: QueueContext) -> None:
        """Remove what an earlier run has left."""
        for endpoint in ctx.list(KubeSpanRelayedEndpoint):
            await ctx.destroy(KubeSpanRelayedEndpoint, endpoint.id)
        for status in ctx.list(KubeSpanRelayStatus):
            await ctx.destroy(KubeSpanRelayStatus, status.id)
        await Problems(ctx, KubeSpanRelayStatus).show({})

    async def shutdown(self, ctx: QueueContext) -> None:  # noqa: ARG002
        """Close the sockets."""
        self._trials.close()


def _is_another_way(before: Surroundings, now: Surroundings) -> bool:
    """Whether connections are to be made again; a first address invalidates none."""
    return now != attrs.evolve(before, address=before.address or now.address)


def _surroundings(ctx: QueueContext, address_before: str) -> Surroundings:
    bundle, environment = ctx.find(TrustBundle, TRUST_BUNDLE_ID), ctx.find(Environment, ENVIRONMENT_ID)
    address = ctx.find(NodeAddress, DEFAULT_ADDRESS_ID)
    found = Surroundings(address=address_before)
    if address is not None and address.spec.addresses:
        found = attrs.evolve(found, address=address.spec.addresses[0])
    if bundle is not None:
        found = attrs.evolve(found, added_roots=bundle.spec.added.encode(), roots_digest=bundle.spec.digest)
    if environment is not None:
        variables = (variable.partition("=") for variable in environment.spec.variables)
        found = attrs.evolve(found, environment={name: value for name, _, value in variables})
    return found
