"""An agent that may not change the network says so, once, and goes on."""

import os
import sys

import pytest

from tests.support.netns import namespace

pytestmark = [pytest.mark.needs_link("veth"), pytest.mark.needs_program("setpriv")]

PROGRAM = """
import sys
import trio
from nodespan.controllers.network.apply.address_spec import AddressSpecController
from nodespan.controllers.network.apply.link_spec import LinkSpecController
from nodespan.controllers.network.nftables.chain import NfTablesChainController
from nodespan.controllers.network.apply.route_spec import RouteSpecController
from nodespan.controllers.network.apply.routing_rule_spec import RoutingRuleSpecController
from nodespan.controllers.network.wireguard.peers import WireguardPeerController
from nodespan.resources.network import (
    AddressSpec, AddressSpecSpec, LinkSpec, LinkSpecSpec, NetworkProblem, NfTablesChain, NfTablesChainSpec, RouteSpec,
    RouteSpecSpec, RoutingRuleSpec, RoutingRuleSpecSpec, RoutingTable,
)
from nodespan.runtime.testing.kit import running

async def main():
    controllers = (
        AddressSpecController(), LinkSpecController(), NfTablesChainController(), RouteSpecController(),
        RoutingRuleSpecController(), WireguardPeerController(),
    )
    async with running(*controllers) as node:
        for number in (1, 2):
            address = AddressSpecSpec(address=f"192.0.2.{number}/32", link_name="v0")
            await node.put(AddressSpec, f"v0/192.0.2.{number}/32", address)
        await node.put(LinkSpec, "v0", LinkSpecSpec(name="v0", up=True, mtu=1300))
        await node.put(LinkSpec, "x0", LinkSpecSpec(name="x0", kind="bridge", logical=True))
        await node.put(NfTablesChain, "c", NfTablesChainSpec())
        await node.put(RouteSpec, "r", RouteSpecSpec(dst="203.0.113.0/24", out_link_name="v1"))
        rule = RoutingRuleSpecSpec(priority=7, table=RoutingTable.of(7), src="192.0.2.0/24")
        await node.put(RoutingRuleSpec, "inet4/00007", rule)
        for id in (
            "AddressSpecs/v0/192.0.2.1/32", "AddressSpecs/v0/192.0.2.2/32", "LinkSpecs/v0", "LinkSpecs/x0",
            "NfTablesChains/nodespan", "RouteSpecs/r", "RoutingRuleSpecs/inet4/00007",
        ):
            problem = await node.eventually(NetworkProblem, id)
            assert "lacks CAP_NET_ADMIN, start it as root" in problem.spec.message, problem.spec
        await trio.sleep(0.5)
        for type, id in ((AddressSpec, "v0/192.0.2.1/32"), (LinkSpec, "x0"), (RouteSpec, "r")):
            await node.teardown(type, id)
            await node.eventually(type, id, lambda resource: not resource.metadata.finalizers)
        print("done")

trio.run(main)
"""


def test_missing_privileges_are_reported_once_and_block_nothing() -> None:
    with namespace() as inside:
        inside.run("ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1")
        inside.run("ip", "link", "set", "v1", "up")
        command = ("setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin", sys.executable, "-c", PROGRAM)
        output = inside.run("env", f"PYTHONPATH={os.getcwd()}", *command)
    assert output.endswith("done\n")
    assert output.count("controller=network.AddressSpecController") == 1
    assert "Traceback" not in output
