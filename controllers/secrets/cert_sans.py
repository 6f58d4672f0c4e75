"""secrets.APICertSANsController: the addresses and names that the certificate of the API is for."""

from collections.abc import Iterable
from ipaddress import ip_interface

from nodespan.controllers.secrets.os_root import split_names
from nodespan.resources.network import (
    HOSTNAME_ID,
    HostnameStatus,
    HostnameStatusSpec,
    NodeAddress,
)
from nodespan.resources.network.node_address import ACCUMULATIVE_ADDRESSES_ID
from nodespan.resources.secrets import API_ID, OS_ROOT_ID, CertSAN, CertSANSpec, OSRoot, OSRootSpec
from nodespan.runtime.controller import Controller, ControllerContext, exclusive, weak

_LOCAL = ("127.0.0.1", "::1")


def cert_sans(root: OSRootSpec, own: HostnameStatusSpec | None, addresses: Iterable[str]) -> CertSANSpec:
    """All addresses that the node ever had, its names, and the configured ones."""
    own_names = () if own is None else own.names
    names = [*root.cert_san_dns_names, "localhost", *reversed(own_names)]
    ips, others = split_names(
        (*root.cert_san_ips, *(str(ip_interface(address).ip) for address in addresses), *_LOCAL, *names)
    )
    return CertSANSpec(
        ips=tuple(dict.fromkeys(ips)), dns_names=tuple(dict.fromkeys(others)), fqdn=next(iter(own_names), "")
    )


class APICertSANsController(Controller):
    """Writes `api` while there is an authority."""

    name = "secrets.APICertSANsController"
    only_derives = True
    inputs = (
        weak(OSRoot, OS_ROOT_ID),
        weak(HostnameStatus, HOSTNAME_ID),
        weak(NodeAddress, ACCUMULATIVE_ADDRESSES_ID),
    )
    outputs = (exclusive(CertSAN),)

    async def run(self, ctx: ControllerContext) -> None:
        """Follow addresses, names and the configuration."""
        async for _ in ctx:
            async with ctx.tracked_outputs(CertSAN):
                root = ctx.find(OSRoot, OS_ROOT_ID)
                if root is None:
                    continue
                own, addresses = ctx.find(HostnameStatus, HOSTNAME_ID), ctx.find(NodeAddress, ACCUMULATIVE_ADDRESSES_ID)
                spec = cert_sans(
                    root.spec,
                    None if own is None else own.spec,
                    () if addresses is None else addresses.spec.addresses,
                )
                await ctx.put(CertSAN, API_ID, spec)
