"""network.LinkManagersController: warns of links that another network manager manages too."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from nodespan.controllers.common.problems import Problems
from nodespan.resources.network import ConfigLayer, LinkSpec, LinkStatus, NetworkProblem
from nodespan.resources.network.problem import Severity
from nodespan.runtime.controller import Controller, ControllerContext, shared, weak
from nodespan.runtime.looks import until_found

if TYPE_CHECKING:
    from nodespan.controllers.network.managers.link_holders import Holder

# How often the files of other managers are read again, in seconds: there is no notification of their changes.
_INTERVAL = 60.0
# Defaults are no reason to warn: the operator enabled them.
_NAMED = (ConfigLayer.CMDLINE, ConfigLayer.CONFIGURATION)


class LinkManagersController(Controller):
    """Only for configured links; the warning has the commands that make the other manager release the link."""

    name = "network.LinkManagersController"
    inputs = (weak(LinkSpec), weak(LinkStatus))
    outputs = (shared(NetworkProblem),)

    def __init__(self, *, root: Path = Path("/"), interval: float = _INTERVAL) -> None:
        self._root = root
        self._interval = interval
        self._is_due = True
        # The links that were looked at, and what was found.
        self._links: dict[str, int] = {}
        self._found: dict[str, tuple[Holder, ...]] = {}

    async def run(self, ctx: ControllerContext) -> None:
        """Follow the configured links, and read the files from time to time."""
        problems = Problems(ctx, LinkStatus)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read_again, ctx)
            async for _ in ctx:
                links = named_links(ctx)
                if links == self._links and not self._is_due:
                    continue
                self._is_due = False
                found = await trio.to_thread.run_sync(self._find, links)
                self._links, self._found = links, found
                await problems.keep(found)
                for name, holders in found.items():
                    text = "; ".join(holder.warning(name) for holder in holders)
                    await problems.set(name, text, severity=Severity.WARNING)

    async def _read_again(self, ctx: ControllerContext) -> None:
        while True:
            await until_found(lambda: self._find(self._links) != self._found, self._interval)
            self._is_due = True
            ctx.wake()

    def _find(self, links: dict[str, int]) -> "dict[str, tuple[Holder, ...]]":
        if not links or not _is_in_host_namespace():
            return {}
        from nodespan.controllers.network.managers.link_holders import find_holders

        return find_holders(links, self._root)


def named_links(ctx: ControllerContext) -> dict[str, int]:
    """The indexes of the links that are configured by name and exist."""
    links: dict[str, int] = {}
    for spec in ctx.list(LinkSpec):
        status = ctx.find(LinkStatus, spec.id)
        if status is not None and spec.spec.layer in _NAMED:
            links[spec.id] = status.spec.index
    return links


def _is_in_host_namespace() -> bool:
    """Whether the agent is in the network namespace that the managers of the machine are in."""
    try:
        return os.stat("/proc/1/ns/net").st_ino == os.stat("/proc/self/ns/net").st_ino
    except OSError:
        # This user may not know; an unprivileged agent was not moved to another namespace either.
        return True
