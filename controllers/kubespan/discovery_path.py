"""kubespan.DiscoveryPathController: keeps the way to the discovery services outside of the tunnel that they serve.

A node may run the discovery service of its own mesh. Were its address reached through the tunnel, a node whose key the
other end does not know (it left and came back, or lost its keys) could never announce the new one. So what goes to the
port of a configured service, or to the proxy on the way, is neither marked nor held back, and neither are the answers
of a node that runs one (`manager`). The same goes for relays. The connections are encrypted by TLS, and what they carry
by the cluster's secret.

The same goes for the etcd of virtual IPs at addresses outside of the mesh, if it is spoken to by TLS: a virtual IP must
not move because a tunnel to its etcd is down. Without TLS etcd stays in the tunnel, for nothing leaves in clear text.
"""

import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping
from ipaddress import IPv6Interface, ip_address
from urllib.parse import urlsplit

import trio

from nodespan.controllers.kubespan.data_path import DISCOVERY_SET, ETCD_SET
from nodespan.discovery.endpoint_url import DialAddress, EndpointURLError, parse_endpoint_url
from nodespan.resources.cluster import DISCOVERY_CONFIG_ID, DiscoveryConfig, DiscoveryConfigSpec
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig, MachineConfigSpec
from nodespan.resources.kubespan import (
    KUBESPAN_CONFIG_ID,
    LOCAL,
    KubeSpanConfig,
    KubeSpanIdentity,
    KubeSpanIdentitySpec,
)
from nodespan.resources.network import NfTablesSetElements, NfTablesSetElementsSpec, nftables_set_elements_id
from nodespan.resources.runtime import ENVIRONMENT_ID, Environment, EnvironmentSpec
from nodespan.runtime.controller import Controller, ControllerContext, shared, weak
from nodespan.runtime.host_names import for_lookup
from nodespan.runtime.loading import load
from nodespan.runtime.ticks import tick

# Names are looked up again this often, in seconds.
LOOK_UP_INTERVAL = 30.0
# The sets that are written, with the ids of their elements.
_IDS = {
    DISCOVERY_SET: nftables_set_elements_id(DISCOVERY_SET, "discovery"),
    ETCD_SET: nftables_set_elements_id(ETCD_SET, "etcd"),
}
_ETCD_PORT = 2379

# Gives the addresses of a host name. Raises OSError.
LookUp = Callable[[str], Awaitable[Iterable[str]]]


def ways(
    config: DiscoveryConfigSpec | None, environment: EnvironmentSpec | None, relays: Iterable[str] = ()
) -> tuple[tuple[str, int], ...]:
    """Where connections to the services and relays go: host and port of each, and of the proxy on the way to it."""
    found: list[tuple[str, int]] = []
    services = () if config is None else config.service_endpoints
    targets = [DialAddress(service.endpoint, service.insecure) for service in services]
    for relay in relays:
        try:
            targets.append(parse_endpoint_url(relay))
        except EndpointURLError:
            # The client reports it.
            continue
    if not targets:
        return ()
    from nodespan.discovery.proxy import ProxyError, proxy_for
    from nodespan.runtime.api.grpc.client.proxies import Proxy

    variables = _variables(environment)
    for target in targets:
        found.append((target.host, target.port))
        try:
            url = proxy_for(target, variables)
        except (ProxyError, ValueError):
            # The client reports it.
            continue
        if url is not None:
            proxy = Proxy.parse(url)
            found.append((proxy.host, proxy.port))
    return tuple(dict.fromkeys(found))


def ways_to_etcd(
    machine: MachineConfigSpec | None, identity: KubeSpanIdentitySpec | None
) -> tuple[tuple[str, int], ...]:
    """Host and port of each member of etcd that is spoken to by TLS, without those that have an address of the mesh."""
    found: list[tuple[str, int]] = []
    mesh = None if identity is None or not identity.subnet else IPv6Interface(identity.subnet).network
    for endpoint in () if machine is None else machine.nodespan.etcd.endpoints:
        try:
            url = urlsplit(endpoint)
            host, port = url.hostname or "", url.port or _ETCD_PORT
        except ValueError:
            # The client reports it.
            continue
        if url.scheme == "https" and host and not (mesh and _is_address(host) and ip_address(host) in mesh):
            found.append((host, port))
    return tuple(dict.fromkeys(found))


def _variables(environment: EnvironmentSpec | None) -> Mapping[str, str]:
    pairs = (each.partition("=") for each in (() if environment is None else environment.variables))
    return {name: value for name, _, value in pairs}


async def look_up(host: str) -> Iterable[str]:
    """The addresses of a host name, by the system's resolver."""
    found = await trio.socket.getaddrinfo(for_lookup(host), None, type=socket.SOCK_STREAM)
    return {str(address[0]).partition("%")[0] for *_, address in found}


class DiscoveryPathController(Controller):
    """Writes the addresses of the services, of the proxies on the way, and of etcd, while KubeSpan is on."""

    name = "kubespan.DiscoveryPathController"
    inputs = (
        weak(DiscoveryConfig, DISCOVERY_CONFIG_ID),
        weak(KubeSpanConfig, KUBESPAN_CONFIG_ID),
        weak(Environment, ENVIRONMENT_ID),
        weak(MachineConfig, MACHINE_CONFIG_ID),
        weak(KubeSpanIdentity, LOCAL),
    )
    outputs = (shared(NfTablesSetElements),)

    def __init__(self, *, look_up: LookUp = look_up) -> None:
        self._look_up = look_up
        # What names were last found to stand for, for when they cannot be looked up.
        self._known: dict[str, tuple[str, ...]] = {}

    async def run(self, ctx: ControllerContext) -> None:
        """Follow the configuration, and what its names stand for."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_wake_now_and_then, ctx)
            async for _ in ctx:
                await self._write(ctx)
            nursery.cancel_scope.cancel()

    async def _write(self, ctx: ControllerContext) -> None:
        config, discovery = ctx.find(KubeSpanConfig, KUBESPAN_CONFIG_ID), ctx.find(DiscoveryConfig, DISCOVERY_CONFIG_ID)
        if config is None or not config.spec.enabled:
            for id in _IDS.values():
                await ctx.remove(NfTablesSetElements.kind, id)
            return
        if config.spec.relays or (discovery is not None and discovery.spec.service_endpoints):
            await load("nodespan.discovery.proxy")
        environment, machine = ctx.find(Environment, ENVIRONMENT_ID), ctx.find(MachineConfig, MACHINE_CONFIG_ID)
        identity = ctx.find(KubeSpanIdentity, LOCAL)
        found = {
            DISCOVERY_SET: ways(
                None if discovery is None else discovery.spec,
                None if environment is None else environment.spec,
                config.spec.relays,
            ),
            ETCD_SET: ways_to_etcd(
                None if machine is None else machine.spec, None if identity is None else identity.spec
            ),
        }
        hosts = {name: tuple(dict.fromkeys(host for host, _ in each)) for name, each in found.items()}
        # What needs no look-up does not wait for one.
        await self._put(ctx, hosts)
        names = [host for each in hosts.values() for host in each if not _is_address(host)]
        for name in names:
            try:
                self._known[name] = tuple(sorted(await self._look_up(name)))
            except OSError as error:
                ctx.log.debug("what is reached outside of the tunnel cannot be looked up", host=name, reason=str(error))
        if names:
            await self._put(ctx, hosts)

    async def _put(self, ctx: ControllerContext, hosts: Mapping[str, Iterable[str]]) -> None:
        for set_name, each in hosts.items():
            addresses = {
                address for host in each for address in ((host,) if _is_address(host) else self._known.get(host, ()))
            }
            if set_name == ETCD_SET and not addresses:
                await ctx.remove(NfTablesSetElements.kind, _IDS[set_name])
                continue
            spec = NfTablesSetElementsSpec(set_name=set_name, prefixes=tuple(sorted(addresses)))
            await ctx.put(NfTablesSetElements.kind, _IDS[set_name], spec)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


async def _wake_now_and_then(ctx: ControllerContext) -> None:
    while True:
        await tick(LOOK_UP_INTERVAL)
        ctx.wake()
