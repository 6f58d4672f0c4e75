"""kubespan.DiscoveryPathController: keeps the way to the discovery services outside of the tunnel that they serve.

A node may run the discovery service of its own mesh. Were its address reached through the tunnel, a node whose key the
other end does not know (it left and came back, or lost its keys) could never tell it the new one. So what goes to the
port of a configured service, or to the proxy on the way, is neither marked nor held back, and neither are the answers
of a node that runs one (`manager`). The connections are encrypted by TLS, and what they carry by the cluster's secret.
"""

import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping
from ipaddress import ip_address

import trio

from nodespan.controllers.kubespan.data_path import DISCOVERY_SET
from nodespan.discovery.endpoint_url import DialAddress
from nodespan.discovery.proxy import ProxyError, proxy_for
from nodespan.resources.cluster import DISCOVERY_CONFIG_ID, DiscoveryConfig, DiscoveryConfigSpec
from nodespan.resources.kubespan import KUBESPAN_CONFIG_ID, KubeSpanConfig
from nodespan.resources.network import NfTablesSetElements, NfTablesSetElementsSpec, nftables_set_elements_id
from nodespan.resources.runtime import ENVIRONMENT_ID, Environment, EnvironmentSpec
from nodespan.runtime.api.grpc.client import Proxy
from nodespan.runtime.controller import Controller, ControllerContext, shared, weak

# Names are looked up again this often, in seconds.
LOOK_UP_INTERVAL = 30.0
_OWNER = "discovery"
_ID = nftables_set_elements_id(DISCOVERY_SET, _OWNER)

# Gives the addresses of a host name. Raises OSError.
LookUp = Callable[[str], Awaitable[Iterable[str]]]


def ways(config: DiscoveryConfigSpec | None, environment: EnvironmentSpec | None) -> tuple[tuple[str, int], ...]:
    """Where connections to the services go: host and port of each service, or of the proxy on the way to it."""
    found: list[tuple[str, int]] = []
    variables = _variables(environment)
    for service in () if config is None else config.service_endpoints:
        target = DialAddress(service.endpoint, service.insecure)
        found.append((target.host, target.port))
        try:
            url = proxy_for(target, variables)
        except (ProxyError, ValueError):
            # The client says so.
            continue
        if url is not None:
            proxy = Proxy.parse(url)
            found.append((proxy.host, proxy.port))
    return tuple(dict.fromkeys(found))


def _variables(environment: EnvironmentSpec | None) -> Mapping[str, str]:
    pairs = (each.partition("=") for each in (() if environment is None else environment.variables))
    return {name: value for name, _, value in pairs}


async def look_up(host: str) -> Iterable[str]:
    """The addresses of a host name, by the system's resolver."""
    found = await trio.socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return {str(address[0]).partition("%")[0] for *_, address in found}


class DiscoveryPathController(Controller):
    """Writes the addresses of the services, and of the proxies on the way, while KubeSpan is on."""

    name = "kubespan.DiscoveryPathController"
    inputs = (
        weak(DiscoveryConfig, DISCOVERY_CONFIG_ID),
        weak(KubeSpanConfig, KUBESPAN_CONFIG_ID),
        weak(Environment, ENVIRONMENT_ID),
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
        environment = ctx.find(Environment, ENVIRONMENT_ID)
        if config is None or not config.spec.enabled:
            await ctx.remove(NfTablesSetElements.kind, _ID)
            return
        found = ways(None if discovery is None else discovery.spec, None if environment is None else environment.spec)
        hosts = tuple(dict.fromkeys(host for host, _ in found))
        # What needs no look-up does not wait for one.
        await self._put(ctx, hosts)
        names = [host for host in hosts if not _is_address(host)]
        for name in names:
            try:
                self._known[name] = tuple(sorted(await self._look_up(name)))
            except OSError as error:
                ctx.log.debug("a discovery service cannot be looked up", host=name, reason=str(error))
        if names:
            await self._put(ctx, hosts)

    async def _put(self, ctx: ControllerContext, hosts: Iterable[str]) -> None:
        addresses = {
            address for host in hosts for address in ((host,) if _is_address(host) else self._known.get(host, ()))
        }
        spec = NfTablesSetElementsSpec(set_name=DISCOVERY_SET, prefixes=tuple(sorted(addresses)))
        await ctx.put(NfTablesSetElements.kind, _ID, spec)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


async def _wake_now_and_then(ctx: ControllerContext) -> None:
    while True:
        await trio.sleep(LOOK_UP_INTERVAL)
        ctx.wake()
