"""Whole nodes, without a mesh, that find each other through a real service over TLS."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio

from nodespan.controllers.cluster import controllers
from nodespan.discovery.service.server import Bound, DiscoveryOptions, serve_discovery
from nodespan.resources.cluster import (
    RAW_AFFILIATE,
    RESET_ID,
    Affiliate,
    MachineResetSignal,
    MachineResetSignalSpec,
    Member,
)
from nodespan.resources.config import MACHINE_CONFIG_ID, DiscoveryIdentityConfig, DiscoveryServiceConfig, MachineConfig
from nodespan.resources.kubespan import (
    KUBESPAN_CONFIG_ID,
    LOCAL,
    KubeSpanConfig,
    KubeSpanConfigSpec,
    KubeSpanIdentity,
    KubeSpanIdentitySpec,
)
from nodespan.resources.network import HOSTNAME_ID, HostnameStatus, HostnameStatusSpec, NodeAddress, NodeAddressSpec
from nodespan.resources.trust import TRUST_BUNDLE_ID, TrustBundle, TrustBundleSpec
from nodespan.runtime.plugins import Settings
from nodespan.runtime.testing.kit import Node, running
from tests.controllers.cluster.samples import SECRET, machine_config
from tests.support.certificates import Authority

AUTHORITY = Authority("private")


@asynccontextmanager
async def node(directory: Path, name: str, address: str, port: int) -> AsyncIterator[Node]:
    directory = directory / name
    directory.mkdir()
    async with running(*controllers(Settings(state_dir=directory))) as made:
        await made.put(HostnameStatus, HOSTNAME_ID, HostnameStatusSpec(hostname=name))
        for kind in ("current-no-k8s", "routed-no-k8s"):
            await made.put(NodeAddress, kind, NodeAddressSpec(addresses=(f"{address}/24",)))
        await made.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, KubeSpanConfigSpec(enabled=True))
        identity = KubeSpanIdentitySpec(address=f"fd00::{address[-1]}/128", public_key=f"key of {name}")
        await made.put(KubeSpanIdentity, LOCAL, identity)
        config = machine_config(
            DiscoveryIdentityConfig(cluster_id="cluster", cluster_secret=SECRET),
            DiscoveryServiceConfig(name="default", endpoint=f"https://127.0.0.1:{port}"),
        )
        await made.put(TrustBundle, TRUST_BUNDLE_ID, TrustBundleSpec(digest="one", added=AUTHORITY.pem.decode()))
        await made.put(MachineConfig, MACHINE_CONFIG_ID, config)
        yield made


@attrs.frozen
class Discovery:
    """A service that runs, and the way to stop it."""

    port: int
    scope: trio.CancelScope


@asynccontextmanager
async def discovery(directory: Path) -> AsyncIterator[Discovery]:
    options = DiscoveryOptions(listen=("127.0.0.1", 0), certificate=AUTHORITY.issue(directory, "127.0.0.1"))
    scope = trio.CancelScope()

    async def serve(task_status: trio.TaskStatus[Bound]) -> None:
        with scope:
            await serve_discovery(options, task_status=task_status)

    async with trio.open_nursery() as nursery:
        bound = await nursery.start(serve)
        yield Discovery(bound.port, scope)
        scope.cancel()


async def test_two_nodes_become_members_of_one_cluster(tmp_path: Path) -> None:
    async with (
        discovery(tmp_path) as service,
        node(tmp_path, "one", "10.0.0.1", service.port) as one,
        node(tmp_path, "two", "10.0.0.2", service.port) as two,
    ):
        for here, name in ((one, "two"), (two, "one")):
            member = await here.eventually(Member, name)
            found = await here.eventually(Affiliate, member.spec.node_id)
            assert found.metadata.owner == "cluster.AffiliateMergeController"
            assert found.spec.kubespan is not None
            assert found.spec.kubespan.public_key == f"key of {name}"
        mine = two.state.get(Member, "two").spec.node_id
        seen = one.state.get(Affiliate, mine).spec
        assert seen == two.state.get(Affiliate, mine).spec
        assert seen.kubespan is not None
        assert seen.kubespan.endpoints == ("10.0.0.2:51820",)
        await two.put(NodeAddress, "routed-no-k8s", NodeAddressSpec(addresses=("10.0.0.22/24",)))
        await one.eventually(Member, "two", lambda found: found.spec.addresses == ("10.0.0.22",))
        await two.create(MachineResetSignal.new(RESET_ID, MachineResetSignalSpec()))
        await one.gone(Member, "two")
        await one.gone(Affiliate, mine)
        assert one.state.list(RAW_AFFILIATE) == []


@pytest.mark.slow
async def test_a_cluster_survives_the_death_of_its_service(tmp_path: Path) -> None:
    names = [f"n{number}" for number in range(8)]
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(discovery(tmp_path))
        nodes = [
            await stack.enter_async_context(node(tmp_path, name, f"10.0.0.{number}", service.port))
            for number, name in enumerate(names)
        ]
        for here in nodes:
            for name in names:
                await here.eventually(Member, name)
        service.scope.cancel()
        await trio.sleep(1)
        for here in nodes:
            assert [found.id for found in here.state.list(Member)] == names
