"""A dashboard about a state that the test writes, served as it is by `nodespan dashboard`."""

import datetime
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import structlog
import trio

from nodespan.controllers.dashboard.listening import Dashboard
from nodespan.resources.cluster import DiscoveryServiceStatus, Member
from nodespan.resources.config import MachineConfig
from nodespan.resources.config.status import ConfigStatus
from nodespan.resources.kubespan import (
    KubeSpanPeerSpec,
    KubeSpanPeerSpecSpec,
    KubeSpanPeerStatus,
    KubeSpanPeerStatusSpec,
    PeerState,
)
from nodespan.resources.network import HostnameStatus, NetworkProblem, VIPStatus
from nodespan.runtime.api.browser.door import Rights
from nodespan.runtime.api.local import LocalServer, listen
from nodespan.runtime.engine import Engine
from nodespan.runtime.engine.status import ControllerStatus
from nodespan.runtime.events import Event
from nodespan.runtime.plugins import AnyController, Settings, load_installed
from nodespan.runtime.resource import ResourceType
from nodespan.runtime.state import MemoryState
from nodespan.runtime.state.meta import register_types

TOKEN = "token-of-the-test"
# What the views of the dashboard show.
TYPES: list[ResourceType[Any]] = [
    ConfigStatus,
    ControllerStatus,
    DiscoveryServiceStatus,
    Event,
    HostnameStatus,
    KubeSpanPeerSpec,
    KubeSpanPeerStatus,
    MachineConfig,
    Member,
    NetworkProblem,
    VIPStatus,
]


@attrs.frozen(kw_only=True)
class Rig:
    """A served state."""

    state: MemoryState
    engine: Engine
    socket: Path
    nursery: trio.Nursery
    # The agent's socket, served within it.
    service: trio.CancelScope

    async def put(self, type: ResourceType[Any], id: str, spec: Any) -> None:
        """Create or replace a resource."""
        await self.state.modify(type.new(id, spec), lambda known: known.with_spec(spec))

    async def remove(self, type: ResourceType[Any], id: str) -> None:
        """Destroy a resource."""
        await self.state.destroy(type, id)

    async def peer(
        self,
        name: str,
        state: PeerState = PeerState.UP,
        *,
        received: int = 0,
        sent: int = 0,
        endpoint: str = "192.0.2.1:51820",
    ) -> None:
        """A peer; its id is its name."""
        spec = KubeSpanPeerStatusSpec(
            label=name,
            state=state,
            endpoint=endpoint,
            receive_bytes=received,
            transmit_bytes=sent,
            last_handshake_time=datetime.datetime.now(datetime.UTC),
        )
        await self.put(KubeSpanPeerStatus, name, spec)

    async def peer_spec(self, name: str, address: str, *allowed: str) -> None:
        """What is desired of a peer."""
        await self.put(KubeSpanPeerSpec, name, KubeSpanPeerSpecSpec(address=address, allowed_ips=allowed, label=name))

    async def drop_clients(self) -> None:
        """Disconnect everyone from the agent's socket, which listens no more."""
        self.service.cancel()

    async def serve(self, rights: Rights = Rights.ALL) -> str:
        """Serve a dashboard of these rights; returns its URL."""
        dashboard = Dashboard(socket=self.socket, host="127.0.0.1", port=0, token=TOKEN, rights=rights)
        port = await self.nursery.start(partial(dashboard.serve, structlog.get_logger()))
        return dashboard.url(port)


@asynccontextmanager
async def rig(directory: Path, *, is_installed: bool = False) -> AsyncIterator[Rig]:
    """An agent's state and socket, with `TYPES`, or with all installed controllers, of which none runs."""
    state = MemoryState(max_capacity=4096)
    engine = Engine(state)
    settings = Settings(state_dir=directory)
    chosen: Sequence[AnyController] = load_installed(settings, structlog.get_logger()) if is_installed else ()
    for controller in chosen:
        await engine.register(controller)
    # Which an engine that runs does.
    await register_types(state, TYPES)
    socket = directory / "agent.sock"
    async with listen(socket) as listener, trio.open_nursery() as nursery:
        service = trio.CancelScope()

        async def serve() -> None:
            with service:
                await LocalServer(state, engine, structlog.get_logger(), version="1.2.3").serve(listener)

        nursery.start_soon(serve)
        yield Rig(state=state, engine=engine, socket=socket, nursery=nursery, service=service)
        nursery.cancel_scope.cancel()
