"""network.LinkNameController: shows the predictable name of each link."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import trio

from nodespan.controllers.network.naming import choose, scheme_of, wants_kernel_names
from nodespan.controllers.network.naming.name_facts import read_name_facts
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig
from nodespan.resources.config.nodespan import LinkNameSettings, NamingScheme
from nodespan.resources.network import LinkName, LinkStatus
from nodespan.resources.runtime import KERNEL_CMDLINE_ID, KernelCmdline
from nodespan.runtime.controller import QueueContext, QueueController, exclusive, mapped, primary
from nodespan.runtime.resource import Metadata, Pointer


class LinkNameController(QueueController):
    """One resource per link, derived again when the link's status changes.

    Links that sysfs does not show get none, for example if sysfs belongs to another network namespace.
    """

    name = "network.LinkNameController"
    inputs = (primary(LinkStatus), mapped(KernelCmdline, KERNEL_CMDLINE_ID), mapped(MachineConfig, MACHINE_CONFIG_ID))
    outputs = (exclusive(LinkName),)

    def __init__(self, *, sysfs_root: Path = Path("/sys")) -> None:
        self._sysfs_root = sysfs_root

    def map_input(self, ctx: QueueContext, changed: Metadata) -> Iterable[Pointer[Any]]:  # noqa: ARG002
        """The kernel command line and the configuration affect all links."""
        return [LinkStatus.kind.pointer(status.id) for status in ctx.list(LinkStatus)]

    async def reconcile(self, ctx: QueueContext, item: Pointer[Any]) -> None:
        """Read the link's facts from sysfs, and decide."""
        status = ctx.find(LinkStatus, item.id)
        if status is None or status.metadata.is_tearing_down:
            await ctx.remove(LinkName, item.id)
            return
        index = status.spec.index
        facts = await trio.to_thread.run_sync(read_name_facts, item.id, index, self._sysfs_root)
        if facts is None:
            await ctx.remove(LinkName, item.id)
            return
        cmdline = ctx.find(KernelCmdline, KERNEL_CMDLINE_ID)
        line = "" if cmdline is None else cmdline.spec.cmdline
        scheme = link_name_settings(ctx).scheme or scheme_of(line) or NamingScheme.V255
        chosen = choose(facts, scheme=scheme, kernel_names=wants_kernel_names(line))
        await ctx.put(LinkName, item.id, chosen)


def link_name_settings(ctx: QueueContext) -> LinkNameSettings:
    """The configured settings for names, or the defaults."""
    config = ctx.find(MachineConfig, MACHINE_CONFIG_ID)
    return LinkNameSettings() if config is None else config.spec.nodespan.link_names
