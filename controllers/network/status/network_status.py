"""network.StatusController: sums up whether the node's network is ready."""

from nodespan.resources.cluster import DiscoveryServiceStatus, DiscoveryServiceStatusSpec, ServiceState
from nodespan.resources.files import EtcFileSpec, EtcFileStatus
from nodespan.resources.network import (
    DEFAULT_ADDRESS_ID,
    HOSTNAME_ID,
    NETWORK_STATUS_ID,
    HostnameSpec,
    HostnameStatus,
    NetworkStatus,
    NetworkStatusSpec,
    NodeAddress,
    ProbeStatus,
    RouteStatus,
    RouteStatusSpec,
    RouteType,
    RoutingTable,
    VIPStatus,
)
from nodespan.runtime.controller import Controller, ControllerContext, exclusive, weak
from nodespan.runtime.resource import format_version


class NetworkStatusController(Controller):
    """Writes `status`."""

    name = "network.StatusController"
    inputs = (
        weak(DiscoveryServiceStatus),
        weak(EtcFileSpec),
        weak(EtcFileStatus),
        weak(HostnameSpec, HOSTNAME_ID),
        weak(HostnameStatus, HOSTNAME_ID),
        weak(NodeAddress, DEFAULT_ADDRESS_ID),
        weak(ProbeStatus),
        weak(RouteStatus),
        weak(VIPStatus),
    )
    outputs = (exclusive(NetworkStatus),)

    async def run(self, ctx: ControllerContext) -> None:
        """Follow what it sums up."""
        async for _ in ctx:
            await ctx.put(NetworkStatus, NETWORK_STATUS_ID, _status(ctx))


def _status(ctx: ControllerContext) -> NetworkStatusSpec:
    # There is none while only container bridges have addresses.
    default = ctx.find(NodeAddress, DEFAULT_ADDRESS_ID)
    return NetworkStatusSpec(
        address_ready=default is not None and bool(default.spec.addresses),
        connectivity_ready=_is_connected(ctx),
        hostname_ready=_has_hostname(ctx),
        etc_files_ready=_has_etc_files(ctx),
        discovery_ready=all(_is_in_use(status.spec) for status in ctx.list(DiscoveryServiceStatus)),
        vip_ready=not any(status.spec.trouble for status in ctx.list(VIPStatus)),
    )


def _is_in_use(service: DiscoveryServiceStatusSpec) -> bool:
    return service.state is ServiceState.CONNECTED and (bool(service.affiliates) or not service.unreadable)


def _is_connected(ctx: ControllerContext) -> bool:
    """By the probes that have a result; without any, by a default route."""
    probes = [probe.spec.success for probe in ctx.list(ProbeStatus)]
    return all(probes) if probes else any(leads_out(route.spec) for route in ctx.list(RouteStatus))


def leads_out(route: RouteStatusSpec) -> bool:
    """Whether this is a default route that packets of the node go by."""
    return not route.dst and route.table == RoutingTable.MAIN and route.type is RouteType.UNICAST


def _has_hostname(ctx: ControllerContext) -> bool:
    """Any name that is the host's will do, unless another one is desired."""
    desired, seen = ctx.find(HostnameSpec, HOSTNAME_ID), ctx.find(HostnameStatus, HOSTNAME_ID)
    if seen is None or not seen.spec.hostname:
        return False
    return desired is None or desired.spec.hostname == seen.spec.hostname


def _has_etc_files(ctx: ControllerContext) -> bool:
    """On an ordinary machine none may be desired, and then none is missing."""
    written = {status.id: status.spec.spec_version for status in ctx.list(EtcFileStatus)}
    return all(
        written.get(spec.id) == format_version(spec.metadata.version)
        for spec in ctx.list(EtcFileSpec)
        if not spec.metadata.is_tearing_down
    )
