"""An agent that is killed at any point while it applies a large configuration: the next one comes to the same end."""

import json
import sys
import time
from typing import Any

import pytest

from tests.support.netns import Namespace, namespace

pytestmark = [pytest.mark.needs_link("veth"), pytest.mark.needs_link("bridge")]

KILLS = 50

# Forks, so that each agent starts at once: argument 1 is how often to kill one, argument 2 the seed.
PROGRAM = """
import os, random, signal, subprocess, sys, time
import trio
from nodespan.controllers.network.apply.address_spec import AddressSpecController
from nodespan.controllers.network.apply.link_spec import LinkSpecController
from nodespan.controllers.network.apply.route_spec import RouteSpecController
from nodespan.resources.network import (
    AddressSpec, AddressSpecSpec, BridgeMaster, BridgeSlave, LinkSpec, LinkSpecSpec, LinkType, NetworkProblem,
    RouteSpec, RouteSpecSpec, Veth, address_id,
)
from tests.support.deadlines import PATIENCE
from nodespan.runtime.testing.kit import running

LINKS = [
    LinkSpecSpec(
        name=f"br{n}", logical=True, up=True, kind="bridge", type=LinkType.ETHER, bridge_master=BridgeMaster(),
        # The others have ports, and get the address of the first of them.
        hardware_addr="" if n % 2 else f"02:00:00:00:03:{n:02x}",
    )
    for n in range(6)
]
for n in range(24):
    LINKS.append(LinkSpecSpec(
        name=f"v{n}", logical=True, up=True, kind="veth", type=LinkType.ETHER, mtu=1300 + n,
        hardware_addr=f"02:00:00:00:01:{n:02x}", veth=Veth(peer_name=f"p{n}"), multicast=n % 3 == 0,
        bridge_slave=BridgeSlave(master_name=f"br{n % 6}") if n % 2 else None,
    ))
    LINKS.append(LinkSpecSpec(name=f"p{n}", up=True, hardware_addr=f"02:00:00:00:02:{n:02x}"))
ADDRESSES = [
    AddressSpecSpec(address=f"10.{n}.0.1/24", link_name=f"v{n}" if n < 24 else f"br{n - 24}") for n in range(30)
]
ROUTES = [
    RouteSpecSpec(dst=f"10.{100 + n}.{m}.0/24", gateway=f"10.{n}.0.9", priority=7) for n in range(30) for m in range(3)
]

async def apply(*, until_done):
    async with running(LinkSpecController(), AddressSpecController(), RouteSpecController()) as node:
        for n, spec in enumerate(ROUTES):
            await node.put(RouteSpec, f"r{n}", spec)
        for spec in ADDRESSES:
            await node.put(AddressSpec, address_id(spec.link_name, spec.address), spec)
        for spec in LINKS:
            await node.put(LinkSpec, spec.name, spec)
        with trio.fail_after(PATIENCE):
            while not until_done or not await done(node):
                await trio.sleep(0.02)

async def done(node):
    await node.settled()
    held = all(r.metadata.finalizers for t in (LinkSpec, AddressSpec, RouteSpec) for r in node.state.list(t))
    return held and not node.state.list(NetworkProblem)

kills, chance = int(sys.argv[1]), random.Random(int(sys.argv[2]))
for _ in range(kills):
    pid = os.fork()
    if not pid:
        trio.run(lambda: apply(until_done=False))
    # All of it takes about this long.
    time.sleep(chance.uniform(0.0, 0.2))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    # So that the next one has something to do. As a group they go at once.
    there = [spec.name for spec in LINKS if spec.logical and os.path.exists(f"/sys/class/net/{spec.name}")]
    batch = "".join(f"link set {name} group 7\\n" for name in chance.sample(there, len(there) * 2 // 3))
    batch += "link del group 7\\n"
    subprocess.run(["ip", "-force", "-batch", "-"], input=batch, text=True, capture_output=True)
trio.run(lambda: apply(until_done=True))
"""


def end_state(kills: int, seed: int) -> Any:
    with namespace() as inside:
        # With a /sys of its own.
        command = ("ip", "netns", "exec", inside.name, sys.executable, "-c", PROGRAM, str(kills), str(seed))
        inside.run(*command)
        # The kernel looks for others that have the same addresses.
        deadline = time.monotonic() + 10
        while inside.run("ip", "-6", "address", "show", "tentative") and time.monotonic() < deadline:
            time.sleep(0.05)
        return reported(inside)


def reported(inside: Namespace) -> Any:
    links = {}
    for link in json.loads(inside.run("ip", "-json", "-details", "address")):
        info = link.get("linkinfo", {})
        links[link["ifname"]] = {
            "kind": info.get("info_kind"),
            "flags": sorted(link["flags"]),
            "mtu": link["mtu"],
            "address": link.get("address"),
            "master": link.get("master"),
            "addresses": sorted(
                f"{each['local']}/{each['prefixlen']} {each['scope']}"
                for each in link["addr_info"]
                if not each["local"].startswith("fe80")
            ),
        }
    routes = [
        tuple(sorted((key, str(value)) for key, value in route.items() if key != "flags"))
        for route in json.loads(inside.run("ip", "-json", "-details", "route", "show", "table", "all") or "[]")
        if route.get("type") != "multicast"
    ]
    return links, sorted(routes)


@pytest.mark.parametrize("seed", [1])
def test_the_final_state_does_not_depend_on_when_an_agent_was_killed(seed: int) -> None:
    expected = end_state(0, seed)
    links, routes = expected
    assert len(links) == 1 + 6 + 48
    assert len([route for route in routes if ("metric", "7") in route]) == 90
    assert end_state(KILLS, seed) == expected
