"""network.EthernetConfigController: the settings of network cards that the configuration requests."""

import attrs

from nodespan.controllers.network.config.derived_outputs import DerivedOutputs, Requested, last
from nodespan.controllers.network.config.parts import document_parts, machine_config
from nodespan.resources.config import MACHINE_CONFIG_ID, EthernetConfig, MachineConfig
from nodespan.resources.network import (
    NAMESPACE,
    EthernetChannels,
    EthernetRings,
    EthernetSpec,
    EthernetSpecSpec,
    NetworkProblem,
    WOLMode,
)
from nodespan.runtime.controller import Controller, ControllerContext, destroy_ready, exclusive, shared, weak


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


class EthernetConfigController(Controller):
    """One spec for each document."""

    name = "network.EthernetConfigController"
    only_derives = True
    inputs = (weak(MachineConfig, MACHINE_CONFIG_ID), destroy_ready(EthernetSpec))
    outputs = (exclusive(EthernetSpec), shared(NetworkProblem))

    async def run(self, ctx: ControllerContext) -> None:
        """Follow the configuration."""
        derived: DerivedOutputs[EthernetSpecSpec, EthernetSpecSpec] = DerivedOutputs(ctx, EthernetSpec, NAMESPACE, last)
        async for _ in ctx:
            await derived.follow(document_parts(machine_config(ctx), EthernetConfig), requested)
