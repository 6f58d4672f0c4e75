"""Controllers from configuration to unmerged specs, run on given links."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from nodespan.controllers.config.loading import load
from nodespan.controllers.network.config.address_config import AddressConfigController
from nodespan.controllers.network.config.device_config import DeviceConfigController
from nodespan.controllers.network.config.link_alias_config import LinkAliasConfigController
from nodespan.controllers.network.config.link_config import LinkConfigController
from nodespan.controllers.network.config.operator_config import OperatorConfigController
from nodespan.controllers.network.config.route_config import RouteConfigController
from nodespan.controllers.network.config.routing_rule_config import RoutingRuleConfigController
from nodespan.controllers.network.vip.operator_vip_config import OperatorVIPConfigController
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig, MachineConfigSpec
from nodespan.resources.network import CONFIG_NAMESPACE, LinkFlags, LinkStatus, LinkStatusSpec, LinkType, NetworkProblem
from nodespan.resources.network.problem import Severity
from nodespan.resources.runtime import KERNEL_CMDLINE_ID, KernelCmdline, KernelCmdlineSpec
from nodespan.runtime.resource import ResourceType
from nodespan.runtime.state import State
from nodespan.runtime.testing.kit import Node, running

DATA = Path(__file__).parent / "data"

LOOPBACK = LinkStatusSpec(index=1, type=LinkType.LOOPBACK, flags=LinkFlags.LOOPBACK | LinkFlags.UP)


def snippet(name: str) -> MachineConfigSpec:
    """A configuration of the data directory, which must be right."""
    return config((DATA / f"{name}.yaml").read_text())


def config(text: str) -> MachineConfigSpec:
    """A configuration, which must be right."""
    loaded = load(text)
    assert not loaded.errors, loaded.errors
    return loaded.config


def devices(text: str) -> MachineConfigSpec:
    """A configuration with these entries of `machine.network.interfaces`, one per line."""
    lines = "".join(f"      - {line.strip()}\n" for line in text.strip().splitlines())
    return config(f"machine:\n  type: controlplane\n  network:\n    interfaces:\n{lines}")


@asynccontextmanager
async def house(
    links: Mapping[str, LinkStatusSpec], *, cmdline: str = "", state: State | None = None
) -> AsyncIterator[Node]:
    """All the controllers, with these links, on a fresh state unless one is given."""
    async with running(
        AddressConfigController(),
        DeviceConfigController(),
        LinkAliasConfigController(),
        LinkConfigController(),
        OperatorConfigController(),
        OperatorVIPConfigController(),
        RouteConfigController(),
        RoutingRuleConfigController(),
        state=state,
    ) as node:
        await node.put(KernelCmdline, KERNEL_CMDLINE_ID, KernelCmdlineSpec(cmdline=cmdline))
        for name, status in {**links, "lo": LOOPBACK}.items():
            await node.put(LinkStatus, name, status)
        yield node


async def configure(node: Node, machine: MachineConfigSpec) -> None:
    """Put a configuration into effect, and wait until all has followed."""
    await node.put(MachineConfig, MACHINE_CONFIG_ID, machine)
    await node.settled()


def unmerged(node: Node, type: ResourceType[Any]) -> dict[str, Any]:
    """The unmerged specs of a type, by id."""
    return {resource.id: resource.spec for resource in node.state.list(type.within(CONFIG_NAMESPACE))}


def problems(node: Node, severity: Severity | None = None) -> dict[str, str]:
    """What is wrong, by the ids of the problems."""
    found = node.state.list(NetworkProblem)
    return {each.id: each.spec.message for each in found if severity in (None, each.spec.severity)}


def nic(index: int, mac: str = "", **facts: Any) -> LinkStatusSpec:
    """A NIC on PCI, of virtio unless the facts say otherwise."""
    mac = mac or f"52:54:00:00:00:{index:02x}"
    given = {
        "hardware_addr": mac,
        "permanent_addr": mac,
        "bus_path": f"0000:00:{index:02x}.0",
        "driver": "virtio_net",
    }
    return LinkStatusSpec(index=index, **(given | facts))
