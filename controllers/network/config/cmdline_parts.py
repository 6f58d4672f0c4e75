"""The links, addresses and routes that the kernel command line requests."""

import ipaddress
from collections.abc import Iterator

from nodespan.controllers.common.cmdline import CmdlineIP, CmdlineNetwork, parse_cmdline
from nodespan.controllers.network.config.known_links import KnownLinks
from nodespan.resources.config.device import DEFAULT_ROUTE_METRIC
from nodespan.resources.network import (
    VLAN,
    AddressSpecSpec,
    ConfigLayer,
    Family,
    LinkSpecSpec,
    LinkType,
    RouteProtocol,
    RouteSpecSpec,
    Scope,
)
from nodespan.resources.runtime import KERNEL_CMDLINE_ID, KernelCmdline
from nodespan.runtime.controller.context import Access

_LAYER = ConfigLayer.CMDLINE


def cmdline_network(ctx: Access) -> CmdlineNetwork:
    """The network settings of the kernel command line."""
    found = ctx.find(KernelCmdline, KERNEL_CMDLINE_ID)
    return CmdlineNetwork() if found is None else parse_cmdline(found.spec.cmdline)


def link_of(ip: CmdlineIP, links: KnownLinks) -> str:
    """The link that an `ip=` is about, "" if there is none yet."""
    return links.resolve(ip.link_name) if ip.link_name else links.first


def cmdline_links(cmdline: CmdlineNetwork, links: KnownLinks) -> Iterator[LinkSpecSpec]:
    """The links that are set up or created; several specs may be about one link."""
    for ip in cmdline.ips:
        if name := link_of(ip, links):
            yield LinkSpecSpec(name=name, up=True, layer=_LAYER)
    bond, vlan = cmdline.bond, cmdline.vlan
    if bond is not None:
        yield LinkSpecSpec(
            name=bond.name,
            logical=True,
            up=True,
            mtu=bond.mtu,
            kind="bond",
            type=LinkType.ETHER,
            bond_master=bond.options,
            layer=_LAYER,
        )
        for index, member in enumerate(map(links.resolve, bond.members)):
            yield LinkSpecSpec(name=member, up=True, master_name=bond.name, slave_index=index, layer=_LAYER)
    if vlan is not None:
        yield LinkSpecSpec(
            name=vlan.name,
            logical=True,
            up=True,
            kind="vlan",
            type=LinkType.ETHER,
            parent_name=links.resolve(vlan.parent),
            vlan=VLAN(vlan_id=vlan.vlan_id),
            layer=_LAYER,
        )
        yield LinkSpecSpec(name=links.resolve(vlan.parent), up=True, layer=_LAYER)


def cmdline_addresses(cmdline: CmdlineNetwork, links: KnownLinks) -> Iterator[AddressSpecSpec]:
    """The addresses of `ip=`."""
    for ip in cmdline.ips:
        name = link_of(ip, links)
        if name and ip.address:
            family = Family.INET4 if ipaddress.ip_interface(ip.address).version == 4 else Family.INET6
            yield AddressSpecSpec(address=ip.address, link_name=name, family=family, layer=_LAYER)


def cmdline_routes(cmdline: CmdlineNetwork, links: KnownLinks) -> Iterator[RouteSpecSpec]:
    """The default routes of `ip=`, the first one being preferred, and routes to gateways outside the prefix."""
    for position, ip in enumerate(cmdline.ips):
        name = link_of(ip, links)
        if not name or not ip.gateway:
            continue
        gateway = ipaddress.ip_address(ip.gateway)
        family = Family.INET4 if gateway.version == 4 else Family.INET6
        priority = DEFAULT_ROUTE_METRIC + position
        yield RouteSpecSpec(
            family=family,
            gateway=ip.gateway,
            out_link_name=name,
            priority=priority,
            scope=Scope.GLOBAL,
            protocol=RouteProtocol.BOOT,
            layer=_LAYER,
        )
        if family is Family.INET4 and ip.address and gateway not in ipaddress.ip_interface(ip.address).network:
            yield RouteSpecSpec(
                family=family,
                dst=f"{ip.gateway}/32",
                out_link_name=name,
                priority=priority,
                scope=Scope.LINK,
                protocol=RouteProtocol.BOOT,
                layer=_LAYER,
            )
