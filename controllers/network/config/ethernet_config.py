"""network.EthernetConfigController: the settings of network cards that the configuration requests."""

from collections.abc import Iterable

import attrs

from nodespan.controllers.network.config.derived_outputs import DerivedOutputs, Requested, last
from nodespan.controllers.network.config.known_links import KnownLinks
from nodespan.controllers.network.config.parts import document_parts, machine_config
from nodespan.resources.config import MACHINE_CONFIG_ID, EthernetConfig, MachineConfig
from nodespan.resources.config.device import Device
from nodespan.resources.network import (
    NAMESPACE,
    EthernetChannels,
    EthernetRings,
    EthernetSpec,
    EthernetSpecSpec,
    LinkStatus,
    NetworkProblem,
    WOLMode,
)
from nodespan.runtime.controller import Controller, ControllerContext, destroy_ready, exclusive, shared, weak

# The kernel lists it last, or among the last.
_LAST_LISTED = "lo"


def requested(document: EthernetConfig) -> Requested[EthernetSpecSpec]:
    """One spec, by the name as it is written: which link that is, the applier sees."""
    rings, channels, wake = document.rings, document.channels, document.wake_on_lan
    spec = EthernetSpecSpec(
        rings=None if rings is None else EthernetRings(**attrs.asdict(rings)),
        features=document.features,
        channels=None if channels is None else EthernetChannels(**attrs.asdict(channels)),
        wake_on_lan=None if wake is None else tuple(WOLMode(mode.value) for mode in wake),
    )
    return Requested(outputs=((document.name, spec),))


def excluded(devices: Iterable[Device], links: KnownLinks) -> frozenset[str]:
    """The real names of the links that the main document says to leave alone."""
    names: set[str] = set()
    for device in devices:
        if device.device_selector is not None:
            names.update(links.selectable.all_of(device.device_selector))
        else:
            names.add(links.resolve(device.interface))
    return frozenset(names)


class EthernetConfigController(Controller):
    """One spec for each document about a link that is not to be left alone."""

    name = "network.EthernetConfigController"
    only_derives = True
    # Links matter only while the configuration says to leave some alone: they have several names.
    inputs = (weak(MachineConfig, MACHINE_CONFIG_ID), destroy_ready(EthernetSpec), weak(LinkStatus))
    outputs = (exclusive(EthernetSpec), shared(NetworkProblem))

    async def run(self, ctx: ControllerContext) -> None:
        """Follow the configuration."""
        derived: DerivedOutputs[EthernetSpecSpec, EthernetSpecSpec] = DerivedOutputs(ctx, EthernetSpec, NAMESPACE, last)
        links = KnownLinks()
        async for _ in ctx:
            machine = machine_config(ctx)
            parts = document_parts(machine, EthernetConfig)
            ignored = [device for device in machine.machine.network.interfaces if device.ignore]
            ctx.set_inputs(self.inputs if ignored and parts else self.inputs[:-1])
            if ignored and parts:
                if ctx.find(LinkStatus, _LAST_LISTED) is None:
                    # By which names a link is known is not known yet.
                    continue
                links.observe(ctx)
                left_alone = excluded(ignored, links)
                parts = {key: part for key, part in parts.items() if links.resolve(part.name) not in left_alone}
            await derived.follow(parts, requested)
