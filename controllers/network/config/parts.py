"""The parts of the configuration that controllers derive specs from: devices of the main document, and documents."""

from collections.abc import Mapping
from typing import Any

from nodespan.controllers.network.config.derived_outputs import Claim, PartKey
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig, MachineConfigSpec
from nodespan.resources.config.device import Device
from nodespan.resources.network import DeviceConfigSpec
from nodespan.runtime.controller.context import Access

# Devices come before documents, which refine them.
_DEVICES, _DOCUMENTS = 0, 1


def machine_config(ctx: Access) -> MachineConfigSpec:
    """The configuration in effect; an empty one where there is none."""
    found = ctx.find(MachineConfig, MACHINE_CONFIG_ID)
    return MachineConfigSpec() if found is None or found.metadata.is_tearing_down else found.spec


def device_key(id: str) -> PartKey:
    """The key of a device: in the order of the configuration."""
    return (_DEVICES, id.rpartition("/")[2], id)


def find_device(ctx: Access, id: str) -> Device | None:
    """The device of this id, None if it is gone."""
    found = ctx.find(DeviceConfigSpec, id)
    return None if found is None or found.metadata.is_tearing_down else found.spec.device


def document_parts(machine: MachineConfigSpec, *kinds: type) -> Mapping[PartKey, Any]:
    """The documents of these kinds."""
    return {
        (_DOCUMENTS, str(document.kind), str(getattr(document, "name", ""))): document
        for document in machine.documents
        if isinstance(document, kinds)
    }


def written_link(part: Any) -> str:
    """The name, as written, of the link that a part is about."""
    if isinstance(part, Device):
        return part.interface
    return str(getattr(part, "link", "") or getattr(part, "name", ""))


def place_of(claim: Claim[Any]) -> str:
    """Where in the configuration a part stands."""
    if isinstance(claim.part, Device):
        return f"machine.network.interfaces[{int(claim.key[1])}] ({claim.part.interface})"
    return f"{claim.part.kind} {claim.part.name}"


def is_refined_by(one: Any, other: Any) -> bool:
    """Whether a part is there to refine another one, so that it may contradict it: a document a device of its name."""
    return isinstance(one, Device) and not isinstance(other, Device) and written_link(one) == written_link(other)
