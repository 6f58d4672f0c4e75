"""A node behind a home router that lets nobody in, and another node outside that reaches it by a mapped port."""

import contextlib
import os
import signal
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import attrs
import pytest
import trio

from nodespan.controllers.kubespan.mapping.mapping import Granted, MappingError
from nodespan.controllers.kubespan.mapping.requests import Requests
from nodespan.resources.kubespan import MappingProtocol
from tests.mesh import nodes
from tests.mesh.test_static_peers import config, identity, is_reached
from tests.support.agent import AgentProcess
from tests.support.home_router import LAN, WAN, is_open, mapping_ports, program
from tests.support.netns import Namespace, connect, entered, namespaces
from tests.support.process import eventually

pytestmark = [pytest.mark.needs_link("veth"), pytest.mark.needs_program("nft", "ping", "unshare", "dpkg")]

NODE, OUTSIDE = "192.168.7.2", "11.0.0.2"
PORT = 4501
# The way to the router is the agent's own, and goes when the agent leaves.
PLAIN = "  network: {kubespan: {enabled: true}}\n"
ROUTED = f"""\
  network:
    kubespan: {{enabled: true}}
    interfaces: [{{interface: eth0, routes: [{{network: 0.0.0.0/0, gateway: {LAN}}}]}}]
"""
INTERNAL = f"{NODE}:{PORT}"


@attrs.frozen
class Home:
    """The node, its router, and another node outside."""

    node: Namespace
    router: Namespace
    outside: Namespace


@contextlib.asynccontextmanager
async def home(directory: Path, *, only_upnp: bool = False) -> AsyncIterator[Home]:
    program()
    with namespaces("node", "router", "outside") as (node, router, outside):
        connect(node, "eth0", router, "lan")
        connect(outside, "eth0", router, "wan")
        router.ip(f"address add {LAN}/24 dev lan", f"address add {WAN}/24 dev wan")
        node.ip(f"address add {NODE}/24 dev eth0", f"route add default via {LAN}")
        outside.ip(f"address add {OUTSIDE}/24 dev eth0")
        async with mapping_ports(router, directory, only_upnp=only_upnp):
            yield Home(node, router, outside)


def in_namespace(namespace: Namespace, protocol: MappingProtocol) -> Granted:
    """Have the router map a port twice, and take it back. Blocks; for a thread of its own."""

    async def main() -> Granted:
        requests = Requests(patience=10)
        client = await requests.client(LAN)
        mapping = await requests.prepare(protocol, LAN, client, PORT)
        granted = await requests.map(mapping)
        again = await requests.map(granted.mapping)
        assert again == granted
        return granted

    with entered(namespace):
        return trio.run(main)


def give_back(namespace: Namespace, granted: Granted) -> None:
    with entered(namespace):
        trio.run(Requests(patience=10).give_back, granted.mapping)


@pytest.mark.process
async def test_a_real_router_maps_a_port_by_each_protocol_and_takes_it_back(tmp_path: Path) -> None:
    async with home(tmp_path) as here:
        for protocol in (MappingProtocol.PCP, MappingProtocol.NAT_PMP, MappingProtocol.UPNP):
            granted = await trio.to_thread.run_sync(in_namespace, here.node, protocol)
            assert granted.endpoint == f"{WAN}:{PORT}"
            assert granted.counted <= 600
            assert is_open(here.router, INTERNAL)
            await trio.to_thread.run_sync(give_back, here.node, granted)
            assert not is_open(here.router, INTERNAL)


@pytest.mark.process
async def test_a_router_without_a_protocol_says_so(tmp_path: Path) -> None:
    async with home(tmp_path, only_upnp=True) as here:
        with pytest.raises(MappingError, match="nothing listens"):
            await trio.to_thread.run_sync(in_namespace, here.node, MappingProtocol.PCP)


@pytest.mark.process
async def test_a_node_is_reached_through_its_router_and_leaves_no_hole_there(tmp_path: Path) -> None:
    homes = tuple(tmp_path / name for name in ("node", "outside"))
    for each in homes:
        each.mkdir()
    inner, outer = homes
    start = partial(nodes.node, inner, "node")
    async with (
        home(tmp_path) as here,
        nodes.node(outer, "outside", namespace=here.outside) as caller,
    ):
        async with start(namespace=here.node) as served:
            for node, directory in ((served, inner), (caller, outer)):
                node.run("apply", config(directory, PORT, ""))
            await eventually(lambda: identity(served) and identity(caller))
            known = [identity(node) for node in (served, caller)]
            addresses = [each["address"].partition("/")[0] for each in known]
            # The node cannot call: it is not told where the other one is.
            peer = f'{{publicKey: {known[1]["publicKey"]}, address: "{addresses[1]}"}}'
            settings = config(inner, PORT, peer, "  portMapping: true\n")
            add_route(Path(settings))
            here.node.ip("route delete default")
            served.run("apply", settings)
            assert await eventually(partial(external, served)) == f"{WAN}:{PORT}"
            peer = f'publicKey: {known[0]["publicKey"]}, address: "{addresses[0]}"'
            caller.run("apply", config(outer, PORT, f'{{{peer}, endpoints: ["{WAN}:{PORT}"]}}'))
            await eventually(lambda: is_reached(here.outside, addresses[0]))
            # An agent that is killed leaves the port open, and the next one knows it as its own.
            os.kill(served.pid, signal.SIGKILL)
            await served.process.wait()
        assert is_open(here.router, INTERNAL)
        async with start("--config", settings, namespace=here.node) as following:
            assert await eventually(partial(external, following)) == f"{WAN}:{PORT}"
            following.run("leave")
            assert not here.node.run("ip", "route", "show", "default")
        # An agent does not wait for a slow answer to its last request.
        await eventually(lambda: not is_open(here.router, INTERNAL))


def add_route(settings: Path) -> None:
    text = settings.read_text()
    assert PLAIN in text
    settings.write_text(text.replace(PLAIN, ROUTED))


def external(node: AgentProcess) -> str:
    """Where the router lets packets in for a node, once it does."""
    found = node.specs("kubespanportmappings").get("local", {"state": "none"})
    assert found["state"] == "mapped", found
    assert found["internal"] == INTERNAL
    return str(found["external"])
