"""The operator of one virtual IP in this process, with an etcd of its own and the controllers that it needs."""

import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import attrs

from nodespan.controllers.network.apply.address_spec import AddressSpecController
from nodespan.controllers.network.merge.controllers import AddressMergeController
from nodespan.controllers.network.operators.operator_spec import OperatorSpecController
from nodespan.controllers.network.status.address_status import AddressStatusController
from nodespan.controllers.network.status.link_status import LinkStatusController
from nodespan.controllers.network.vip.clouds.endpoints import Endpoints
from nodespan.controllers.network.vip.environment import VIPEnvironment
from nodespan.controllers.network.vip.inputs import INPUTS
from nodespan.controllers.network.vip.operator import vip_factories
from nodespan.controllers.network.vip.vip_rules import election_prefix
from nodespan.etcd import EtcdClient
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig, MachineConfigSpec
from nodespan.resources.config.nodespan import EtcdSettings, NodespanConfig, VipSettings
from nodespan.resources.network import (
    HOSTNAME_ID,
    HostnameStatus,
    HostnameStatusSpec,
    OperatorSpec,
    OperatorSpecSpec,
    VIPOperatorSpec,
    VIPState,
    VIPStatus,
    VIPStatusSpec,
    operator_id,
)
from nodespan.resources.network import Operator as OperatorKind
from nodespan.resources.trust import TRUST_BUNDLE_ID, TrustBundle, TrustBundleSpec
from nodespan.runtime.controller import Controller
from nodespan.runtime.resource import Resource
from nodespan.runtime.testing.kit import Node, running
from tests.support.etcd import Cluster, etcd_cluster
from tests.support.netns import Namespace, connect, namespaces

IP = "192.0.2.100"
SPEC = OperatorSpecSpec(operator=OperatorKind.VIP, link_name="eth0", vip=VIPOperatorSpec(ip=IP))
ID = f"eth0/{IP}"


@attrs.frozen
class Stage:
    """What there is: the controllers' node, the namespace with the link, and etcd."""

    node: Node
    inside: Namespace
    etcd: Cluster

    async def keys(self) -> int:
        """How many candidates etcd knows."""
        async with EtcdClient(self.etcd.endpoints) as client:
            found = await client.range(election_prefix(IP).encode(), prefix=True)
        return len(found.key_values)

    async def is_(self, state: VIPState, says: str = "", *, within: float = 30.0) -> VIPStatusSpec:
        """Wait until this is the state, with this in the reason."""

        def holds(found: Resource[VIPStatusSpec]) -> bool:
            return found.spec.state is state and says in found.spec.reason

        return (await self.node.eventually(VIPStatus, ID, holds, within=within)).spec


@contextlib.asynccontextmanager
async def vip_stage(
    state_dir: Path,
    *more: Controller,
    fast: bool = True,
    ttl: float = 5.0,
    spec: OperatorSpecSpec = SPEC,
    clouds: Endpoints | None = None,
    trust: Path | None = None,
) -> AsyncIterator[Stage]:
    """An operator that leads at once, in a namespace with one cable. `trust` is a file of authorities."""
    async with etcd_cluster(1, fast=fast) as etcd:
        with namespaces("near", "far") as (near, far):
            connect(near, "eth0", far, "eth0")
            near.run("ip", "address", "add", "192.0.2.1/24", "dev", "eth0")
            netns = str(near.path)
            places = clouds or Endpoints()
            factories = vip_factories(VIPEnvironment(state_dir=state_dir, netns=netns, settle=0.0, clouds=places))
            controllers = (
                OperatorSpecController(factories, inputs=INPUTS),
                AddressMergeController(),
                AddressSpecController(netns=netns),
                AddressStatusController(netns=netns),
                LinkStatusController(netns=netns),
            )
            async with running(*controllers, *more) as node:
                settings = VipSettings(lease_ttl=timedelta(seconds=ttl))
                nodespan = NodespanConfig(etcd=EtcdSettings(endpoints=etcd.endpoints), vip=settings)
                await node.create(MachineConfig.new(MACHINE_CONFIG_ID, MachineConfigSpec(nodespan=nodespan)))
                if trust is not None:
                    bundle = TrustBundleSpec(path=str(trust), digest="1")
                    await node.create(TrustBundle.new(TRUST_BUNDLE_ID, bundle))
                await node.create(HostnameStatus.new(HOSTNAME_ID, HostnameStatusSpec(hostname="one")))
                await node.create(OperatorSpec.new(operator_id(spec), spec))
                yield Stage(node, near, etcd)


def has_address(inside: Namespace) -> bool:
    """Whether the kernel has the virtual IP."""
    return f" {IP}/32 " in inside.run("ip", "address", "show", "dev", "eth0")
