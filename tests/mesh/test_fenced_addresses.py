"""Addresses with a deadline: the kernel has them for whole seconds up to it, and nobody's own address is touched."""

import contextlib
import errno
import functools
from collections.abc import AsyncIterator, Callable, Iterator
from ipaddress import ip_address

import attrs
import pytest

from nodespan.controllers.network.apply.address_spec import AddressSpecController
from nodespan.kernel.changes.address_changes import AddressToAdd, add_address
from nodespan.kernel.packets.arp import ArpSocket
from nodespan.kernel.packets.ndisc import NdiscSocket
from nodespan.kernel.packets.who_has import who_has
from nodespan.kernel.rtnetlink import open_rtnl_socket
from nodespan.resources.network import AddressFlags, AddressSpec, AddressSpecSpec, Family, NetworkProblem, address_id
from nodespan.runtime.process.boot_time import boot_time
from nodespan.runtime.testing.kit import Node, running
from tests.support.monitor import watching
from tests.support.netns import Namespace, connect, namespace, namespaces
from tests.support.process import eventually

pytestmark = pytest.mark.needs_link("veth")

V4 = AddressSpecSpec(address="192.0.2.100/32", link_name="eth0", flags=AddressFlags(0), announce_with_arp=True)
V6 = attrs.evolve(V4, address="2001:db8::100/128", family=Family.INET6, flags=AddressFlags.NODAD)
BOTH = pytest.mark.parametrize("spec", [V4, V6], ids=["IPv4", "IPv6"])


@contextlib.asynccontextmanager
async def cable() -> AsyncIterator[tuple[Namespace, Namespace]]:
    with namespaces("near", "far") as (near, far):
        connect(near, "eth0", far, "eth0")
        # Before that the kernel drops what is sent to all nodes.
        await eventually(lambda: "ff00::/8" in _routes(near) and "ff00::/8" in _routes(far))
        yield near, far


def _routes(inside: Namespace) -> str:
    return inside.run("ip", "-6", "route", "show", "table", "all", "dev", "eth0")


@contextlib.asynccontextmanager
async def applier(inside: Namespace) -> AsyncIterator[Node]:
    async with running(AddressSpecController(netns=str(inside.path))) as node:
        yield node


async def want(node: Node, spec: AddressSpecSpec, seconds: float) -> None:
    fenced = attrs.evolve(spec, valid_until=boot_time() + seconds)
    await node.put(AddressSpec, address_id("eth0", spec.address), fenced)


def shown(inside: Namespace, spec: AddressSpecSpec) -> str:
    lines = inside.run("ip", "-oneline", "address", "show", "dev", "eth0").splitlines()
    return next((line for line in lines if f" {spec.address} " in line), "")


def lasts(inside: Namespace, spec: AddressSpecSpec, seconds: int) -> bool:
    """Whether the kernel will have it for longer than that."""
    return int(shown(inside, spec).partition("valid_lft ")[2].partition("sec")[0]) > seconds


@BOTH
async def test_the_kernel_expires_an_address_that_is_not_renewed(spec: AddressSpecSpec) -> None:
    async with cable() as (near, _), watching(near, "address") as seen:
        async with applier(near) as node:
            # On a busy machine the time may be over before the address is there, or is seen.
            while not shown(near, spec):
                await want(node, spec, 1.9)
                await node.settled()
        # Nobody is left to take it away.
        await eventually(lambda: not shown(near, spec))
    assert "valid_lft 1sec" in seen()


@BOTH
async def test_a_renewed_address_is_kept_and_announced_once(spec: AddressSpecSpec) -> None:
    async with cable() as (near, far):
        with announcements(far, spec) as announced:
            async with applier(near) as node:
                async with watching(near, "address") as seen:
                    for seconds in range(1000, 6000, 1000):
                        await want(node, spec, seconds)
                        await eventually(functools.partial(lasts, near, spec, seconds - 1000))
                assert "Deleted" not in seen()
                await node.teardown(AddressSpec, address_id("eth0", spec.address))
                await eventually(lambda: not shown(near, spec))
                assert not node.state.list(NetworkProblem)
            assert announced() == 1


@BOTH
async def test_an_expired_address_is_removed(spec: AddressSpecSpec) -> None:
    async with cable() as (near, _):
        near.run("ip", "address", "add", spec.address, "dev", "eth0", "valid_lft", "60", "preferred_lft", "60", "nodad")
        async with applier(near) as node:
            await want(node, spec, -1)
            await eventually(lambda: not shown(near, spec))


@BOTH
async def test_a_foreign_permanent_address_is_left_alone(spec: AddressSpecSpec) -> None:
    async with cable() as (near, _):
        near.run("ip", "address", "add", spec.address, "dev", "eth0", "nodad")
        async with applier(near) as node:
            id = address_id("eth0", spec.address)
            await want(node, spec, 30)
            problem = await node.eventually(NetworkProblem, f"AddressSpecs/{id}")
            assert "another program gave it" in problem.spec.message
            await node.teardown(AddressSpec, id)
            await node.eventually(AddressSpec, id, lambda found: not found.metadata.finalizers)
        assert "valid_lft forever" in shown(near, spec)


@BOTH
async def test_an_address_added_past_its_deadline_is_removed_at_once(spec: AddressSpecSpec) -> None:
    """The process was stopped between its look at the clock and what it did."""
    times = iter((100.0, 200.0))
    async with cable() as (near, _):
        with open_rtnl_socket(str(near.path)) as kernel:
            index = int(near.run("ip", "-oneline", "link", "show", "eth0").partition(":")[0])
            late = AddressToAdd(spec=attrs.evolve(spec, valid_until=103.75), link_index=index)
            with pytest.raises(OSError, match="was over") as raised:
                add_address(kernel, late, lambda: next(times))
            assert raised.value.errno == errno.ETIME
            assert not shown(near, spec)


@BOTH
async def test_a_neighbour_with_the_same_address_is_detected(spec: AddressSpecSpec) -> None:
    async with cable() as (near, far):
        mac, other = _mac(near), _mac(far)
        bare = spec.address.partition("/")[0]
        assert await who_has(bare, "eth0", mac, str(near.path)) is None
        far.run("ip", "address", "add", spec.address, "dev", "eth0", "nodad")
        assert await who_has(bare, "eth0", mac, str(near.path)) == other


async def test_links_without_mac_addresses_are_not_probed() -> None:
    with namespace() as inside:
        assert await who_has("192.0.2.100", "nothere0", "", str(inside.path)) is None


def _mac(inside: Namespace) -> str:
    return inside.run("ip", "-oneline", "link", "show", "eth0").split("link/ether ")[1].split()[0]


@contextlib.contextmanager
def announcements(far: Namespace, spec: AddressSpecSpec) -> Iterator[Callable[[], int]]:
    """How often the far end received an announcement of the address."""
    packed = ip_address(spec.address.partition("/")[0]).packed
    hear = ArpSocket if spec.family is Family.INET4 else NdiscSocket
    with hear("eth0", bytes(6), str(far.path)) as neighbours:

        def count() -> int:
            announced = 0
            while neighbours.receive_claim(packed) is not None:
                announced += 1
            return announced

        yield count
