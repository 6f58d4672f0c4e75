"""network.StaticHostController: the configured hosts and this node."""

from collections.abc import Iterable
from ipaddress import ip_interface

from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig, MachineConfigSpec, StaticHostConfig
from nodespan.resources.network import (
    CURRENT_NO_K8S_ID,
    HOSTNAME_ID,
    HostnameStatus,
    HostnameStatusSpec,
    NodeAddress,
    StaticHost,
    StaticHostSpec,
)
from nodespan.runtime.controller import Controller, ControllerContext, exclusive, weak


def configured_hosts(config: MachineConfigSpec) -> dict[str, tuple[str, ...]]:
    """The configured names by address."""
    given = [(entry.ip, entry.aliases) for entry in config.machine.network.extra_host_entries]
    given += [(document.name, document.hostnames) for document in config.documents_of(StaticHostConfig)]
    hosts: dict[str, tuple[str, ...]] = {}
    for address, names in given:
        hosts[address] = tuple(dict.fromkeys((*hosts.get(address, ()), *names)))
    return dict(sorted(hosts.items()))


def static_hosts(
    config: MachineConfigSpec, own: HostnameStatusSpec | None, addresses: Iterable[str]
) -> dict[str, StaticHostSpec]:
    """The hosts by their names in lower case; the node's own have the addresses given."""
    found: dict[str, tuple[str, ...]] = {}
    names = () if own is None else own.names
    own_addresses = tuple(str(ip_interface(address).ip) for address in addresses)
    given = [(name, own_addresses) for name in names if own_addresses]
    given += [(name, (address,)) for address, aliases in configured_hosts(config).items() for name in aliases]
    for name, some in given:
        key = name.lower()
        found[key] = tuple(dict.fromkeys((*found.get(key, ()), *some)))
    return {name: StaticHostSpec(addresses=some) for name, some in found.items()}


class StaticHostController(Controller):
    """Writes a resource for each name, while there is a configuration."""

    name = "network.StaticHostController"
    only_derives = True
    inputs = (
        weak(MachineConfig, MACHINE_CONFIG_ID),
        weak(HostnameStatus, HOSTNAME_ID),
        weak(NodeAddress, CURRENT_NO_K8S_ID),
    )
    outputs = (exclusive(StaticHost),)

    async def run(self, ctx: ControllerContext) -> None:
        """Follow names and addresses."""
        async for _ in ctx:
            async with ctx.tracked_outputs(StaticHost):
                config = ctx.find(MachineConfig, MACHINE_CONFIG_ID)
                if config is None:
                    continue
                own, addresses = ctx.find(HostnameStatus, HOSTNAME_ID), ctx.find(NodeAddress, CURRENT_NO_K8S_ID)
                hosts = static_hosts(
                    config.spec,
                    None if own is None else own.spec,
                    () if addresses is None else addresses.spec.addresses,
                )
                for name, spec in hosts.items():
                    await ctx.put(StaticHost, name, spec)
