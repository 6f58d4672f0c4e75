"""One mirror that several see: each has all changes, whoever else comes and goes."""

import contextlib
from collections.abc import AsyncIterator

import pytest
import trio

from nodespan.kernel import shared_mirror
from nodespan.kernel.links import KernelLink, PlainLinks
from nodespan.kernel.shared_mirror import MirrorView, open_shared_mirror
from tests.support.netns import Namespace, namespace
from tests.support.process import eventually

pytestmark = [pytest.mark.calm, pytest.mark.needs_link("veth")]


class Watcher:
    """Takes what it is told of, as a controller does."""

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
    async with open_shared_mirror(PlainLinks(), netns=str(inside.path), on_change=lambda: None) as view:
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
