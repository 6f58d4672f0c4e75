"""kubespan.PathController: what the path to each peer is like; `measuring` does it, loaded once there are peers."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

import trio

from nodespan.resources.kubespan import (
    KUBESPAN_CONFIG_ID,
    KubeSpanConfig,
    KubeSpanPathStatus,
    KubeSpanPeerSpec,
    KubeSpanPeerStatus,
)
from nodespan.resources.network import NetworkProblem
from nodespan.runtime.controller import QueueContext, QueueController, exclusive, mapped, primary, shared
from nodespan.runtime.loading import load
from nodespan.runtime.resource import Metadata, Pointer

if TYPE_CHECKING:
    from nodespan.controllers.kubespan.paths.measuring import Echoes, Measuring

_LIBRARY = "nodespan.controllers.kubespan.paths.measuring"


class PathController(QueueController):
    """One status per peer. `open_echo` makes what sends echo requests, `wall` is the wall clock."""

    name = "kubespan.PathController"
    inputs = (primary(KubeSpanPeerStatus), mapped(KubeSpanPeerSpec), mapped(KubeSpanConfig, KUBESPAN_CONFIG_ID))
    outputs = (exclusive(KubeSpanPathStatus), shared(NetworkProblem))

    def __init__(
        self, open_echo: "Callable[[], Echoes] | None" = None, *, wall: Callable[[], datetime] | None = None
    ) -> None:
        self._open_echo = open_echo
        self._wall = wall
        self._measuring: Measuring | None = None
        self._has_begun = trio.Event()

    def map_input(self, ctx: QueueContext, changed: Metadata) -> Iterable[Pointer[Any]]:
        """The peer of a spec; all of them if the tunnel's size or the measuring changed."""
        if changed.type == KubeSpanPeerSpec.name:
            return (KubeSpanPeerStatus.pointer(changed.id),)
        return [status.pointer for status in ctx.list(KubeSpanPeerStatus)]

    async def reconcile(self, ctx: QueueContext, item: Pointer[Any]) -> None:
        """Take in the state of a peer: the path it has, and how it was found."""
        await load(_LIBRARY)
        if self._measuring is None:
            from nodespan.controllers.kubespan.paths.measuring import Measuring

            self._measuring = Measuring(self._open_echo, self._wall)
            self._has_begun.set()
        await self._measuring.reconcile(ctx, item)

    async def run(self, ctx: QueueContext) -> None:
        """Measure, once there are peers, until cancelled."""
        await self._has_begun.wait()
        assert self._measuring is not None
        await self._measuring.run(ctx)
