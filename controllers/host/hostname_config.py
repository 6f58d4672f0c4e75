"""network.HostnameConfigController: the host name by kernel command line, configuration and defaults.

There is no default name unless configured: an ordinary machine has a name of its own. `stableHostname: true`, or
`auto: stable`, stands in every generated configuration of Talos, so it alone is no wish of the operator's: it names a
machine that has no name, and others only if `defaults: {hostname: true}` of a NodespanConfig asks for it.
"""

import hashlib
from collections.abc import Iterator
from ipaddress import ip_interface

from nodespan.controllers.common.cmdline import parse_cmdline
from nodespan.resources.cluster import LOCAL, Identity
from nodespan.resources.config import MACHINE_CONFIG_ID, HostnameConfig, MachineConfig, MachineConfigSpec
from nodespan.resources.config.host import AutoHostname
from nodespan.resources.network import (
    CONFIG_NAMESPACE,
    DEFAULT_ADDRESS_ID,
    HOSTNAME_ID,
    ConfigLayer,
    HostnameSpec,
    HostnameSpecSpec,
    HostnameStatus,
    NodeAddress,
    layered_id,
)
from nodespan.resources.runtime import KERNEL_CMDLINE_ID, KernelCmdline
from nodespan.runtime.controller import Controller, ControllerContext, shared, weak

_UNMERGED = HostnameSpec.within(CONFIG_NAMESPACE)
# The kernel's name for a machine without one.
_NAMELESS = ("", "(none)", "localhost")
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def hostname_specs(
    config: MachineConfigSpec, *, cmdline: str, address: str, node_id: str, current: str | None = ""
) -> Iterator[HostnameSpecSpec]:
    """The names of all layers. Address (with or without prefix length) and node id are "" while they are not known.

    `current` is the name that the machine has, None while it is not known.
    """
    if given := parse_cmdline(cmdline).first_hostname:
        yield _spec(given, ConfigLayer.CMDLINE)
    documents = config.documents_of(HostnameConfig)
    machine = config.machine
    auto = AutoHostname.STABLE if machine.features.stable_hostname else None
    name = machine.network.hostname
    if documents:
        auto, name = documents[0].auto, documents[0].hostname
    if name:
        yield _spec(name, ConfigLayer.CONFIGURATION)
    if auto is AutoHostname.STABLE:
        stable = stable_name(node_id) if node_id else ""
        is_asked_for = config.nodespan.defaults.hostname or current in (*_NAMELESS, stable)
        if stable and is_asked_for:
            yield _spec(stable, ConfigLayer.DEFAULT)
    elif config.nodespan.defaults.hostname and auto is None and address:
        yield _spec(address_name(address), ConfigLayer.DEFAULT)


def stable_name(node_id: str) -> str:
    """The name derived from the node's identity: `talos-xxx-xxx`."""
    number = int.from_bytes(hashlib.sha256(node_id.encode()).digest()[:8])
    text = ""
    while number:
        number, digit = divmod(number, 36)
        text = _DIGITS[digit] + text
    return f"talos-{text[1:4]}-{text[4:7]}"


def address_name(address: str) -> str:
    """The name derived from the node's address: `talos-10-0-0-5`."""
    return f"talos-{str(ip_interface(address).ip).replace(':', '').replace('.', '-')}"


def _spec(name: str, layer: ConfigLayer) -> HostnameSpecSpec:
    hostname, _, domainname = name.partition(".")
    return HostnameSpecSpec(hostname=hostname, domainname=domainname, layer=layer)


class HostnameConfigController(Controller):
    """Writes a spec for each layer that names one, while there is a configuration."""

    name = "network.HostnameConfigController"
    only_derives = True
    inputs = (
        weak(MachineConfig, MACHINE_CONFIG_ID),
        weak(NodeAddress, DEFAULT_ADDRESS_ID),
        weak(HostnameStatus, HOSTNAME_ID),
        weak(Identity, LOCAL),
        weak(KernelCmdline, KERNEL_CMDLINE_ID),
    )
    outputs = (shared(HostnameSpec),)

    async def run(self, ctx: ControllerContext) -> None:
        """Follow the inputs of the name."""
        async for _ in ctx:
            async with ctx.tracked_outputs(_UNMERGED):
                config = ctx.find(MachineConfig, MACHINE_CONFIG_ID)
                if config is None:
                    continue
                address = ctx.find(NodeAddress, DEFAULT_ADDRESS_ID)
                identity, line = ctx.find(Identity, LOCAL), ctx.find(KernelCmdline, KERNEL_CMDLINE_ID)
                current = ctx.find(HostnameStatus, HOSTNAME_ID)
                specs = hostname_specs(
                    config.spec,
                    cmdline="" if line is None else line.spec.cmdline,
                    address=address.spec.addresses[0] if address and address.spec.addresses else "",
                    node_id="" if identity is None else identity.spec.node_id,
                    current=None if current is None else current.spec.hostname,
                )
                for spec in specs:
                    await ctx.put(_UNMERGED, layered_id(spec.layer, HOSTNAME_ID), spec)
