"""What a path carries, measured through a real tunnel with a router in the middle that drops what is too large."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from tests.mesh import nodes
from tests.mesh.test_static_peers import PORTS, config, identity, is_reached
from tests.support.agent import AgentProcess
from tests.support.netns import Namespace, connect, namespaces
from tests.support.process import eventually

pytestmark = [pytest.mark.needs_link("veth"), pytest.mark.needs_program("nft", "ping", "unshare", "sysctl")]

# Routers of IPv6 never fragment.
ADDRESSES = ("2001:db8:1::1", "2001:db8:2::1")
# IPv6, UDP and WireGuard.
OVERHEAD = 40 + 8 + 32
# It pads to multiples of this.
GRAIN = 16
SILENT = """\
table ip6 silent {
  chain answers { type filter hook output priority 0; icmpv6 type packet-too-big drop; }
}
"""


@attrs.frozen
class Way:
    """Two nodes with a router between them, which tells nobody what it drops."""

    one: Namespace
    router: Namespace
    two: Namespace

    def narrow(self, mtu: int) -> None:
        for place, link in ((self.router, "right"), (self.two, "eth0")):
            place.run("ip", "link", "set", link, "mtu", str(mtu))


@contextmanager
def way() -> Iterator[Way]:
    with namespaces("one", "router", "two") as (one, router, two):
        connect(one, "eth0", router, "left")
        connect(two, "eth0", router, "right")
        router.run("sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")
        for node, link, address in ((one, "left", ADDRESSES[0]), (two, "right", ADDRESSES[1])):
            gateway = address.removesuffix("1") + "2"
            router.run("ip", "address", "add", f"{gateway}/64", "dev", link, "nodad")
            node.run("ip", "address", "add", f"{address}/64", "dev", "eth0", "nodad")
            node.run("ip", "route", "add", "default", "via", gateway)
        router.run("nft", "-f", "-", stdin=SILENT)
        yield Way(one, router, two)


@asynccontextmanager
async def mesh(directory: Path, way: Way, settings: str) -> AsyncIterator[tuple[AgentProcess, AgentProcess]]:
    """Both nodes, each in the other's configuration, once they reach each other."""
    homes = tuple(directory / name for name in ("one", "two"))
    for home in homes:
        home.mkdir()
    async with (
        nodes.node(homes[0], "one", namespace=way.one) as first,
        nodes.node(homes[1], "two", namespace=way.two) as second,
    ):
        agents = (first, second)
        for served, home, port in zip(agents, homes, PORTS, strict=True):
            served.run("apply", config(home, port, ""))
        await eventually(lambda: all(identity(served) for served in agents))
        known = [identity(served) for served in agents]
        addresses = [each["address"].partition("/")[0] for each in known]
        for served, home, port, other in zip(agents, homes, PORTS, (1, 0), strict=True):
            peer = f'{{publicKey: {known[other]["publicKey"]}, name: other, address: "{addresses[other]}", '
            peer += f'endpoints: ["[{ADDRESSES[other]}]:{PORTS[other]}"]}}'
            served.run("apply", config(home, port, peer, settings))
        await eventually(lambda: is_reached(way.one, addresses[1]))
        yield agents


def path(served: AgentProcess) -> dict[str, Any]:
    (found,) = served.specs("kubespanpathstatuses").values()
    return found


def problems(served: AgentProcess) -> str:
    return "\n".join(spec["message"] for spec in served.specs("networkproblems").values())


def narrow_routes(node: Namespace, mtu: int) -> int:
    return node.run("ip", "-6", "route", "show", "dev", "kubespan").count(f"mtu {mtu}")


def is_found(served: AgentProcess, carried: int) -> bool:
    found = path(served)["pathMTU"]
    assert carried - GRAIN < found <= carried, path(served)
    return True


def has_route(node: Namespace, served: AgentProcess) -> bool:
    return narrow_routes(node, path(served)["pathMTU"]) == 1


def is_named(served: AgentProcess, problem: str) -> bool:
    return problem in problems(served)


async def test_a_path_is_as_narrow_as_the_router_in_the_middle(tmp_path: Path) -> None:
    with way() as between:
        between.narrow(1400)
        async with mesh(tmp_path, between, "  autoMTU: true\n") as (served, other):
            await eventually(partial(is_found, served, 1400 - OVERHEAD))
            found = path(served)
            assert (found["path"], found["loss"]) == ("direct", 0)
            assert found["trials"][-1]["result"] == "up"
            # What is larger is refused at home, with the size to use, so nobody need be told.
            await eventually(partial(has_route, between.one, served))
            assert "larger packets are lost" not in problems(served)
            # From the other end the narrow link is its own: it sends fragments, and has answers as small as the route.
            await eventually(lambda: path(other)["pathMTU"])
            shown = served.run("ping", "-c", "1", "other", check=False)
            assert "other (fd" in shown
            assert "directly at [2001:db8:2::1]" in shown
            described = served.run("path", "other")
            assert "is reached directly at [2001:db8:2::1]" in described
            assert f"it carries packets of {found['pathMTU']} bytes, where the tunnel assumes 1420" in described


@pytest.mark.soak
@pytest.mark.parametrize(
    ("mtu", "carried", "problem"),
    [
        (1280, 0, "does not even carry 1280 bytes"),
        (1400, 1400 - OVERHEAD, "carries 1312 bytes, where the tunnel assumes 1420"),
        (1492, 1492 - OVERHEAD, "carries 1408 bytes, where the tunnel assumes 1420"),
        (9000, 1420, ""),
    ],
)
async def test_a_narrow_path_is_named_with_the_size_to_set(
    mtu: int, carried: int, problem: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    with way() as between:
        between.narrow(mtu)
        async with mesh(tmp_path, between, "  measurePaths: true\n") as agents:
            began = trio.current_time()
            for served in agents:
                await eventually(partial(is_named, served, problem))
                await eventually(partial(is_found, served, carried))
            record_property("until_both_ends_know_s", round(trio.current_time() - began, 1))
