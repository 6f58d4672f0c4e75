"""network.DeviceConfigController: finds the link of each entry of `machine.network.interfaces`."""

from typing import Any

import attrs
import trio

from nodespan.controllers.network.config.batched_queue import BatchedQueueController
from nodespan.controllers.network.config.derived_outputs import DerivedOutputs, PartKey, Requested, last
from nodespan.controllers.network.config.known_links import KnownLinks
from nodespan.controllers.network.config.parts import machine_config
from nodespan.controllers.network.config.selectors import SelectableLinks, selects
from nodespan.resources.config import MachineConfig
from nodespan.resources.config.device import Device
from nodespan.resources.config.selector import DeviceSelector
from nodespan.resources.network import (
    NAMESPACE,
    DeviceConfigSpec,
    DeviceConfigSpecSpec,
    LinkStatus,
    NetworkProblem,
    device_config_id,
)
from nodespan.runtime.controller import QueueContext, exclusive, mapped, primary, shared

# Every machine has this link, and its status is the last to be published at start. Before it is there, a selector might
# match one link of two, or a bond have its members in another order. Waited for at most so long, in seconds.
_LAST_LISTED = "lo"
_FIRST_LISTING_TIMEOUT = 3.0
# If more links than this changed at once, all selectors are evaluated.
_FEW = 16


@attrs.frozen
class _Entry:
    """An entry, its place in the list, and the change of links as of which it is resolved."""

    index: int
    device: Device
    as_of: int


def resolve_device(index: int, device: Device, links: SelectableLinks) -> Requested[DeviceConfigSpecSpec]:
    """The entry with its links by name instead of by selectors, or why that is not possible."""
    problem_id = f"{index:03}"
    if device.device_selector is not None and device.ignore:
        # What is to be left alone may be many links.
        names = links.all_of(device.device_selector)
        entries = ((name, attrs.evolve(device, interface=name)) for name in names)
        outputs = ((device_config_id(name, index), DeviceConfigSpecSpec(device=each)) for name, each in entries)
        if names:
            return Requested(outputs=tuple(outputs))
    if device.device_selector is not None:
        selection = links.select_one(device.device_selector)
        if not selection.link:
            problem = ((problem_id, f"deviceSelector: {selection.problem}"),)
            return Requested(problems=problem) if selection.is_mistake else Requested(warnings=problem)
        device = attrs.evolve(device, interface=selection.link)
    if device.bond is not None and device.bond.device_selectors:
        members = links.select_members(device.interface, device.bond.device_selectors)
        if not members:
            text = f"bond.deviceSelectors: no link matches any of them, so there is no {device.interface}"
            return Requested(warnings=((problem_id, text),))
        device = attrs.evolve(device, bond=attrs.evolve(device.bond, interfaces=members, device_selectors=()))
    return Requested(outputs=((device_config_id(device.interface, index), DeviceConfigSpecSpec(device=device)),))


def selectors_of(device: Device) -> tuple[DeviceSelector, ...]:
    """The selectors by which the entry's link and the members of its bond are found."""
    of_link = () if device.device_selector is None else (device.device_selector,)
    return (*of_link, *(device.bond.device_selectors if device.bond else ()))


class DeviceConfigController(BatchedQueueController):
    """An entry whose selector matches no link, or several, is left out and reported as a problem; others are kept."""

    name = "network.DeviceConfigController"
    only_derives = True
    inputs = (primary(MachineConfig), mapped(LinkStatus))
    outputs = (exclusive(DeviceConfigSpec), shared(NetworkProblem))
    _outputs: DerivedOutputs[DeviceConfigSpecSpec, DeviceConfigSpecSpec]

    def __init__(self) -> None:
        super().__init__()
        self._links = KnownLinks()
        self._devices: tuple[Device, ...] = ()
        # The links that the selectors of an entry match, for entries that have any.
        self._matching: dict[int, frozenset[str]] = {}
        self._changes = 0
        self._has_listed = False

    async def begin(self, ctx: QueueContext) -> None:
        """Resolve all entries."""
        self._outputs = DerivedOutputs(ctx, DeviceConfigSpec, NAMESPACE, last)
        self._links = KnownLinks()
        self._links.observe(ctx)
        self._matching.clear()
        self._devices = machine_config(ctx).machine.network.interfaces
        await self._first_listing(ctx)
        entries = {(index,): _Entry(index, device, self._changes) for index, device in enumerate(self._devices)}
        await self._outputs.follow(entries, self._resolve)

    async def item(self, ctx: QueueContext, id: str) -> None:  # noqa: ARG002
        """Resolve the entries that changed."""
        before, self._devices = self._devices, machine_config(ctx).machine.network.interfaces
        await self._first_listing(ctx)
        both = enumerate(zip(before, self._devices, strict=False))
        changed = [index for index, (old, new) in both if old is not new and old != new]
        changed += range(len(before), len(self._devices))
        parts: dict[PartKey, _Entry | None] = {
            (index,): _Entry(index, self._devices[index], self._changes) for index in changed
        }
        for index in range(len(self._devices), len(before)):
            parts[(index,)] = None
            self._matching.pop(index, None)
        await self._outputs.change(parts, self._resolve)

    async def batch(self, ctx: QueueContext, changed: frozenset[tuple[str, str]]) -> None:
        """Resolve the entries whose selectors may match other links now."""
        names = self._links.look(ctx, (id for _, id in changed))
        if not names:
            return
        self._changes += 1
        parts: dict[PartKey, Any] = {}
        for index, matching in self._matching.items():
            device = self._devices[index]
            if len(names) > _FEW or self._may_change(device, matching, names):
                parts[(index,)] = _Entry(index, device, self._changes)
        await self._outputs.change(parts, self._resolve)

    async def _first_listing(self, ctx: QueueContext) -> None:
        """If there are selectors, wait until the first listing of links is complete."""
        if self._has_listed or not any(map(selectors_of, self._devices)):
            return
        with trio.move_on_after(_FIRST_LISTING_TIMEOUT):
            while ctx.find(LinkStatus, _LAST_LISTED) is None:
                await self.wait_for_change()
        self._has_listed = True
        self._links.observe(ctx)

    def _may_change(self, device: Device, matching: frozenset[str], names: frozenset[str]) -> bool:
        """Whether changed links may change what the selectors match.

        If several links match, or the entry is a bond, it also depends on the links stacked between.
        """
        if len(matching) > 1 or device.bond is not None or matching & names:
            return True
        statuses = (self._links.statuses[name] for name in names if name in self._links.statuses)
        selectors = selectors_of(device)
        return any(selects(selector, status) for status in statuses for selector in selectors)

    def _resolve(self, entry: _Entry) -> Requested[DeviceConfigSpecSpec]:
        links, selectors = self._links.selectable, selectors_of(entry.device)
        if selectors:
            self._matching[entry.index] = frozenset().union(*(links.matching(selector) for selector in selectors))
        else:
            self._matching.pop(entry.index, None)
        return resolve_device(entry.index, entry.device, links)
