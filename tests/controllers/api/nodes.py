"""Nodes with an API in the process of a test: real states, controllers and sockets."""

import datetime
import itertools
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import trio
from structlog import get_logger

from nodespan.controllers.api.issuer import TrustService
from nodespan.controllers.api.server import ServerController
from nodespan.controllers.config.loading import load
from nodespan.controllers.secrets.api import APIController
from nodespan.controllers.secrets.authority import issue_client, new_authority
from nodespan.controllers.secrets.cert_sans import APICertSANsController
from nodespan.controllers.secrets.key_pair import KeyPair, encode_pem
from nodespan.controllers.secrets.os_root import RootOSController
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig
from nodespan.resources.messages import messages
from nodespan.resources.network import (
    CURRENT_ADDRESSES_ID,
    HOSTNAME_ID,
    HostnameStatus,
    HostnameStatusSpec,
    NodeAddress,
    NodeAddressSpec,
)
from nodespan.resources.network.node_address import ACCUMULATIVE_ADDRESSES_ID
from nodespan.resources.secrets import API_ID, APICertificate
from nodespan.runtime.actions import Action
from nodespan.runtime.api.cosi.serving import state_methods
from nodespan.runtime.api.grpc.client import Channel, Endpoint, client_context, open_channel
from nodespan.runtime.api.local import LocalServer, listen
from nodespan.runtime.controller import Controller, QueueController
from nodespan.runtime.pem import standard_key
from nodespan.runtime.plugins import AgentAccess
from nodespan.runtime.state import MemoryState
from nodespan.runtime.testing.kit import Node, running
from tests.support.deadlines import PATIENCE
from tests.support.errands import in_process

PORT = 50000
TOKEN = "abcdef.0123456789abcdef"
NOW = datetime.datetime.now(datetime.UTC)
AUTHORITY = new_authority(NOW)
ADMIN = issue_client(AUTHORITY, ["os:admin"], NOW)
OPERATOR = issue_client(AUTHORITY, ["os:operator"], NOW)
READER = issue_client(AUTHORITY, ["os:reader"], NOW)
_COUNTER = itertools.count(1)


def new_address() -> str:
    """A loopback address that no other test uses at the same time."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
    return f"127.{80 + worker}.{os.getpid() % 250}.{next(_COUNTER)}"


@attrs.frozen
class APINode:
    """A node whose API listens."""

    node: Node
    address: str
    actions: dict[str, Action]

    @asynccontextmanager
    async def client(self, who: KeyPair | None = ADMIN, authority: bytes = b"") -> AsyncIterator[Channel]:
        """A connection of a client with this certificate."""
        pair = who or KeyPair(b"")
        tls = partial(
            client_context,
            roots=authority or AUTHORITY.certificate,
            certificate=pair.certificate,
            key=standard_key(pair.key),
        )
        async with open_channel([Endpoint(host=self.address, port=PORT)], tls=tls) as channel:
            yield channel

    async def listens(self) -> None:
        """Wait until the API answers."""
        with trio.fail_after(PATIENCE):
            while True:
                try:
                    await (await trio.open_tcp_stream(self.address, PORT)).aclose()
                except OSError:
                    await trio.sleep(0.01)
                else:
                    return


def config_text(address: str, *, has_key: bool, extra: str = "") -> str:
    """The configuration of a node."""
    key = f", key: {encode_pem(AUTHORITY.key)}" if has_key else ""
    return (
        f"machine: {{type: {'controlplane' if has_key else 'worker'}, token: {TOKEN}, "
        f"ca: {{crt: {encode_pem(AUTHORITY.certificate)}{key}}}}}\n{extra}"
        f"---\n{{apiVersion: nodespan.dev/v1alpha1, kind: NodespanConfig, api: {{listen: '{address}:{PORT}'}}}}\n"
    )


@asynccontextmanager
async def api_node(
    name: str = "one",
    *,
    has_key: bool = True,
    extra: str = "",
    actions: Callable[[MemoryState], dict[str, Action]] = lambda _state: {},
    state_dir: Path | None = None,
    socket: Path | None = None,
    beside: Sequence[Controller | QueueController] = (),
) -> AsyncIterator[APINode]:
    """A node with a configuration, whose API listens; with a path its agent's socket does too.

    It has the controllers `beside` those of the API.
    """
    state, address = MemoryState(), new_address()
    offered = actions(state)
    holder: list[Node] = []

    async def settled(within: float) -> bool:
        return await holder[0].engine.settled(within)

    access = AgentAccess(
        version="1.2.3",
        socket=socket or Path("agent.sock"),
        state=state,
        state_methods=lambda authorize: state_methods(
            state,
            authorize=authorize,
            find_type=_spec_class(holder),
            messages=messages(),
            log=get_logger(),
        ),
        edges=lambda: holder[0].engine.graph.edges,
        actions=offered,
        settled=settled,
    )
    controllers = (
        RootOSController(),
        APICertSANsController(),
        APIController(TrustService(errand=in_process), errand=in_process),
        ServerController(access, state_dir=state_dir),
        *beside,
    )
    # The agent gives its server the same.
    async with running(*controllers, state=state) as node:
        holder.append(node)
        await node.put(HostnameStatus, HOSTNAME_ID, HostnameStatusSpec(hostname=name, domainname="example"))
        for id in (CURRENT_ADDRESSES_ID, ACCUMULATIVE_ADDRESSES_ID):
            await node.put(NodeAddress, id, NodeAddressSpec(addresses=(f"{address}/8",)))
        loaded = load(config_text(address, has_key=has_key, extra=extra))
        assert not loaded.errors, loaded.errors
        await node.put(MachineConfig, MACHINE_CONFIG_ID, loaded.config)
        served = APINode(node, address, offered)
        async with AsyncExitStack() as stack:
            if socket is not None:
                server = LocalServer(state, node.engine, get_logger(), version="1.2.3")
                listener = await stack.enter_async_context(listen(socket))
                nursery = await stack.enter_async_context(trio.open_nursery())
                nursery.start_soon(server.serve, listener)
                stack.callback(nursery.cancel_scope.cancel)
            if has_key:
                await node.eventually(APICertificate, API_ID)
                await served.listens()
            yield served


def _spec_class(holder: list[Node]) -> Callable[[str], type[Any] | None]:
    def find(name: str) -> type[Any] | None:
        found = holder[0].engine.types.get(name)
        return None if found is None else found.spec_class

    return find
