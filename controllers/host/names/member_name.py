"""cluster.MemberNameController: the names that members answer to, and who has to be told apart."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import trio

from nodespan.controllers.host.host import Host
from nodespan.controllers.host.names.static_names import StaticNames
from nodespan.resources.cluster import LOCAL, Affiliate, Identity, MemberName
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig
from nodespan.resources.kubespan import KUBESPAN_CONFIG_ID, KubeSpanConfig, KubeSpanIdentity
from nodespan.resources.network import CURRENT_ADDRESSES_ID, NetworkProblem, NodeAddress, StaticHost
from nodespan.runtime.controller import QueueContext, QueueController, exclusive, mapped, primary, shared
from nodespan.runtime.loading import load
from nodespan.runtime.looks import until_found
from nodespan.runtime.resource import Kind, Metadata, Pointer
from nodespan.runtime.ticks import tick

if TYPE_CHECKING:
    from nodespan.controllers.host.names.registry import NameRegistry

# Seconds between two looks at /etc/hosts.
LOOK_INTERVAL = 2.0


class MemberNameController(QueueController):
    """Item by item, by a registry that is loaded once there are names to make."""

    name = "cluster.MemberNameController"
    inputs = (
        primary(Affiliate),
        mapped(MachineConfig, MACHINE_CONFIG_ID),
        mapped(StaticHost),
        mapped(NodeAddress, CURRENT_ADDRESSES_ID),
        mapped(Identity, LOCAL),
        mapped(KubeSpanConfig, KUBESPAN_CONFIG_ID),
        mapped(KubeSpanIdentity, LOCAL),
    )
    outputs = (exclusive(MemberName), shared(NetworkProblem))

    def __init__(self, host: Host, *, look_interval: float = LOOK_INTERVAL) -> None:
        self._host = host
        self._look_interval = look_interval
        self._registry: NameRegistry | None = None
        self._is_needed = trio.Event()

    def map_input(self, ctx: QueueContext, changed: Metadata) -> Iterable[Pointer[Any]]:
        """A static host concerns who has its label, KubeSpan's configuration static peers; all else concerns all."""
        if self._registry is None and not _names_members(ctx):
            return ()
        kind = Kind(changed.namespace, changed.type)
        static = StaticNames().ids(ctx) if self._registry is None else self._registry.static_ids(ctx)
        if self._registry is not None and kind == StaticHost.kind:
            ids = self._registry.concerned(changed.id.partition(".")[0])
        elif kind in (KubeSpanConfig.kind, KubeSpanIdentity.kind):
            ids = static
        else:
            ids = (*(affiliate.id for affiliate in ctx.list(Affiliate)), *static)
        return [Affiliate.kind.pointer(id) for id in ids]

    async def run(self, ctx: QueueContext) -> None:
        """Remove names that no affiliate accounts for, then follow /etc/hosts once names are made."""
        if ctx.list(MemberName):
            await (await self._load()).sweep(ctx)
        await self._is_needed.wait()
        registry = await self._load()
        while True:
            if _names_members(ctx):
                await until_found(registry.has_changed, self._look_interval)
            else:
                await tick(self._look_interval)
            if _names_members(ctx):
                await registry.look(ctx)

    async def reconcile(self, ctx: QueueContext, item: Pointer[Any]) -> None:
        """Make the names again that the affiliate has a part in."""
        if _names_members(ctx):
            self._is_needed.set()
        elif self._registry is None:
            return
        await (await self._load()).reconcile(ctx, item.id)

    async def _load(self) -> "NameRegistry":
        await load("nodespan.controllers.host.names.registry")
        from nodespan.controllers.host.names.registry import NameRegistry

        if self._registry is None:
            self._registry = NameRegistry(self._host)
        return self._registry


def _names_members(ctx: QueueContext) -> bool:
    config = ctx.find(MachineConfig, MACHINE_CONFIG_ID)
    return config is not None and config.spec.names_members
