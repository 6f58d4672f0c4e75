"""One mirror that several see: each has all changes, whoever else comes and goes."""

import contextlib
from collections.abc import AsyncIterator, Callable

import pytest
import trio

from nodespan.controllers.network.apply.address_spec import AddressSpecController
from nodespan.controllers.network.apply.link_alias_spec import LinkAliasSpecController
from nodespan.controllers.network.apply.link_spec import LinkSpecController
from nodespan.controllers.network.apply.route_spec import RouteSpecController
from nodespan.controllers.network.apply.routing_rule_spec import RoutingRuleSpecController
from nodespan.controllers.network.status.address_status import AddressStatusController
from nodespan.controllers.network.status.link_status import LinkStatusController
from nodespan.controllers.network.status.route_status import RouteStatusController
from nodespan.controllers.network.status.routing_rule_status import RoutingRuleStatusController
from nodespan.controllers.network.wireguard.peers import WireguardPeerController
from nodespan.kernel import mirror, shared_mirror
from nodespan.kernel.addresses import Addresses
from nodespan.kernel.links import LINKS_WITHOUT_QUEUES, WHOLE_LINKS, KernelLink, Links
from nodespan.kernel.routes import Routes
from nodespan.kernel.rules import Rules
from nodespan.kernel.shared_mirror import MirrorView, open_shared_mirror
from nodespan.resources.network import LinkStatus, RoutingRuleStatus
from nodespan.runtime.testing.kit import running
from tests.support.netns import Namespace, namespace
from tests.support.process import eventually

pytestmark = [pytest.mark.needs_link("veth")]


class Watcher:
    """Takes changes when it is woken, as a controller does."""

    def __init__(self, view: MirrorView[int, KernelLink]) -> None:
        self.view = view
        self.known: dict[int, KernelLink] = {}

    def names(self) -> set[str]:
        for index in self.view.take():
            link = self.view.items.get(index)
            if link is None:
                self.known.pop(index, None)
            else:
                self.known[index] = link
        return {link.name for link in self.known.values()}


@contextlib.asynccontextmanager
async def watcher(inside: Namespace) -> AsyncIterator[Watcher]:
    async with open_shared_mirror(Links(), netns=str(inside.path), on_change=lambda: None) as view:
        yield Watcher(view)


async def test_every_watcher_sees_all_changes_even_after_the_first_one_leaves() -> None:
    with namespace() as inside:
        async with watcher(inside) as last:
            assert len(shared_mirror._all_hubs()) == 1
            async with trio.open_nursery() as nursery:
                leave = trio.Event()
                there = trio.Event()

                async def come_and_go() -> None:
                    async with watcher(inside) as other:
                        there.set()
                        await leave.wait()
                        assert "a0" in other.names()

                nursery.start_soon(come_and_go)
                await there.wait()
                inside.run("ip", "link", "add", "a0", "type", "veth", "peer", "name", "a1")
                await eventually(lambda: last.names() == {"lo", "a0", "a1"})
                await last.view.catch_up()
                leave.set()
            inside.run("ip", "link", "del", "a0")
            await eventually(lambda: last.names() == {"lo"})
        assert not shared_mirror._all_hubs()


async def test_cancelling_a_watcher_loses_nothing_for_the_others() -> None:
    with namespace() as inside:
        async with watcher(inside) as last:
            async with trio.open_nursery() as nursery:

                async def come_and_go(number: int) -> None:
                    for turn in range(20):
                        with trio.move_on_after(0.003 * ((turn + number) % 5)):
                            async with watcher(inside) as other:
                                while True:
                                    await other.view.catch_up()
                                    await other.view.look(other.view.items)
                                    await other.view.resync()

                for number in range(4):
                    nursery.start_soon(come_and_go, number)
                for number in range(20):
                    await trio.lowlevel.checkpoint()
                    inside.run("ip", "link", "add", f"a{number}", "type", "veth", "peer", "name", f"b{number}")
                    if number % 2:
                        inside.run("ip", "link", "del", f"a{number - 1}")
            expected = {"lo", *(f"{end}{number}" for number in range(1, 20, 2) for end in "ab")}
            await eventually(lambda: last.names() == expected)


async def test_an_agent_subscribes_once_per_kind_of_object() -> None:
    with namespace() as inside:
        netns = str(inside.path)
        controllers = (
            LinkStatusController(netns=netns),
            AddressStatusController(netns=netns),
            RouteStatusController(netns=netns),
            RoutingRuleStatusController(netns=netns),
            LinkSpecController(netns=netns),
            AddressSpecController(netns=netns),
            RouteSpecController(netns=netns),
            RoutingRuleSpecController(netns=netns),
            LinkAliasSpecController(netns=netns),
            WireguardPeerController(netns=netns),
        )
        async with running(*controllers) as node:
            await node.eventually(LinkStatus, "lo")
            await node.eventually(RoutingRuleStatus, "inet4/00000")
            await eventually(lambda: len(mirror._all_mirrors()) == 4)
            kinds = [type(each._kind) for each in mirror._all_mirrors()]
            assert set(kinds) == {Links, Addresses, Routes, Rules}
        assert not mirror._all_mirrors()


@pytest.mark.needs_program("tc")
async def test_queueing_disciplines_wake_only_those_that_they_matter_to() -> None:
    woken = {"whole": 0, "without queues": 0}

    def count(who: str) -> Callable[[], None]:
        def wake() -> None:
            woken[who] += 1

        return wake

    with namespace() as inside:
        netns = str(inside.path)
        inside.run("ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1")
        async with (
            open_shared_mirror(Links(), netns=netns, on_change=count("whole"), aspect=WHOLE_LINKS) as whole,
            open_shared_mirror(
                Links(), netns=netns, on_change=count("without queues"), aspect=LINKS_WITHOUT_QUEUES
            ) as plain,
        ):
            assert len(mirror._all_mirrors()) == 1
            index = next(index for index, link in whole.items.items() if link.name == "v0")
            before = dict(woken)
            plain.take()
            inside.run("tc", "qdisc", "replace", "dev", "v0", "root", "pfifo_fast")
            await eventually(lambda: whole.items[index].status.queue_disc == "pfifo_fast")
            await eventually(lambda: woken["whole"] > before["whole"])
            assert woken["without queues"] == before["without queues"]
            assert not plain.take()
