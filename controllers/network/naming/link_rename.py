"""network.LinkRenameController: gives links their predictable names, if that is configured.

The previous name of a link becomes an alternative name, so that it can still be used. Renames are not
undone: a link keeps its name until the machine reboots or another program renames it.
"""

import errno
from collections.abc import Iterable
from typing import Any

import attrs
import trio

from nodespan.controllers.common.problems import Problems, reason_of
from nodespan.controllers.network.naming.link_name import link_name_settings
from nodespan.kernel.changes.link_names import add_alt_name, rename_link
from nodespan.kernel.links import read_link
from nodespan.kernel.rtnetlink import open_rtnl_socket
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig
from nodespan.resources.network import LinkName, LinkNameSpec, LinkStatus, LinkStatusSpec, NetworkProblem
from nodespan.runtime.controller import QueueContext, QueueController, Requeue, mapped, primary, shared
from nodespan.runtime.resource import Metadata, Pointer

# The interval of retries after a failure, in seconds, unless an input changes before.
_RETRY_INTERVAL = 60.0


@attrs.frozen(kw_only=True)
class NameChange:
    """The changes to the link of an index: its new name, "" to keep its own, and the alternative names it lacks.

    `is_alt_name`: the new name is an alternative name of the link until then.
    """

    index: int
    name: str = ""
    is_alt_name: bool = False
    alt_names: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.name or self.alt_names)


def name_change(current: str, status: LinkStatusSpec, desired: LinkNameSpec) -> NameChange:
    """The changes that give a link its names."""
    renamed = desired.name != current
    further = (*desired.alt_names, *((current,) if renamed else ()))
    return NameChange(
        index=status.index,
        name=desired.name if renamed else "",
        is_alt_name=renamed and desired.name in status.alt_names,
        alt_names=tuple(name for name in further if name not in (desired.name, *status.alt_names)),
    )


class LinkRenameController(QueueController):
    """A link that cannot be renamed stays as it is, and a problem says why."""

    name = "network.LinkRenameController"
    inputs = (primary(LinkName), mapped(LinkStatus), mapped(MachineConfig, MACHINE_CONFIG_ID))
    outputs = (shared(NetworkProblem),)

    def __init__(self, *, netns: str | None = None) -> None:
        self._netns = netns
        self._problems: Problems | None = None

    def map_input(self, ctx: QueueContext, changed: Metadata) -> Iterable[Pointer[Any]]:
        """A link's status affects that link, the configuration all links."""
        if changed.type == LinkStatus.name:
            return (LinkName.kind.pointer(changed.id),)
        return [LinkName.kind.pointer(name.id) for name in ctx.list(LinkName)]

    async def reconcile(self, ctx: QueueContext, item: Pointer[Any]) -> None:
        """Rename one link, or leave it."""
        problems = self._problems = self._problems or Problems(ctx, LinkName)
        desired, status = ctx.find(LinkName, item.id), ctx.find(LinkStatus, item.id)
        if desired is None or status is None or not link_name_settings(ctx).rename:
            await problems.clear(item.id)
            return
        reason = ""
        if name_change(item.id, status.spec, desired.spec):
            reason = await trio.to_thread.run_sync(self._apply, status.spec.index, desired.spec)
        if reason:
            await problems.set(item.id, reason)
            raise Requeue(_RETRY_INTERVAL)
        await problems.clear(item.id)

    def _apply(self, index: int, desired: LinkNameSpec) -> str:
        """In a worker thread; returns the reason of a failure, "" on success."""
        with open_rtnl_socket(self._netns) as kernel:
            message = kernel.link(index)
            if message is None:
                return ""
            # Alternative names of a link that is down are not notified, so ask the kernel.
            link = read_link(message)
            change = name_change(link.name, link.status, desired)
            if change.name:
                try:
                    rename_link(kernel, change.index, change.name, is_alt_name=change.is_alt_name)
                except OSError as error:
                    return _why_not_renamed(error, change.name)
            for name in change.alt_names:
                try:
                    add_alt_name(kernel, change.index, name)
                except OSError as error:
                    return f"it cannot have the alternative name {name}: {_why_taken(error) or reason_of(error)}"
        return ""


def _why_not_renamed(error: OSError, name: str) -> str:
    if error.errno == errno.EBUSY:
        return f"it is up, and this kernel renames only links that are down, so it is not renamed to {name}"
    return f"it is not renamed to {name}: {_why_taken(error) or reason_of(error)}"


def _why_taken(error: OSError) -> str:
    return "another link has that name" if error.errno == errno.EEXIST else ""
