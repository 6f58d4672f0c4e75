"""network.DNSResolveCacheController: runs the node's own DNS server; `serving` does it, loaded once it is enabled."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import trio

from nodespan.controllers.dns.metrics import Counts
from nodespan.resources.cluster import MemberName
from nodespan.resources.network import (
    HOST_DNS_CONFIG_ID,
    RESOLVERS_ID,
    DNSProtocol,
    DNSResolveCache,
    DNSUpstream,
    HostDNSConfig,
    NetworkProblem,
    ResolverStatus,
    StaticHost,
)
from nodespan.resources.runtime import ENVIRONMENT_ID, Environment
from nodespan.resources.trust import TRUST_BUNDLE_ID, TrustBundle
from nodespan.runtime.controller import QueueContext, QueueController, exclusive, mapped, primary, shared
from nodespan.runtime.loading import load
from nodespan.runtime.resource import Metadata, Pointer

if TYPE_CHECKING:
    from nodespan.controllers.dns.serving import Serving

_LIBRARY = "nodespan.controllers.dns.serving"


class DNSResolveCacheController(QueueController):
    """Keeps the names that the server knows, one at a time, and what it does. `ports` are those of other servers."""

    name = "network.DNSResolveCacheController"
    inputs = (
        primary(HostDNSConfig),
        primary(StaticHost),
        primary(MemberName),
        mapped(ResolverStatus, RESOLVERS_ID),
        mapped(TrustBundle, TRUST_BUNDLE_ID),
        mapped(Environment, ENVIRONMENT_ID),
    )
    outputs = (exclusive(DNSResolveCache), exclusive(DNSUpstream), shared(NetworkProblem))
    # With one, what `run` writes would count as made of the name that was looked at last.
    concurrency = 2

    def __init__(self, counts: Counts | None = None, *, ports: Mapping[DNSProtocol, int] | None = None) -> None:
        self._counts = Counts() if counts is None else counts
        self._ports = ports or {}
        self._serving: Serving | None = None
        self._has_begun = trio.Event()

    def map_input(self, ctx: QueueContext, changed: Metadata) -> Iterable[Pointer[Any]]:  # noqa: ARG002
        """Servers, authorities and proxies concern the server as a whole."""
        return (HostDNSConfig.pointer(HOST_DNS_CONFIG_ID),)

    async def reconcile(self, ctx: QueueContext, item: Pointer[Any]) -> None:
        """Take in a name, or what the server is to do."""
        if item.type == HostDNSConfig.name:
            await self._configure(ctx)
        elif self._serving is None:
            return
        elif item.type == StaticHost.name:
            host = ctx.find(StaticHost, item.id)
            self._serving.set_host(item.id, None if host is None else host.spec)
        else:
            member = ctx.find(MemberName, item.id)
            self._serving.set_member(item.id, None if member is None else member.spec)

    async def _configure(self, ctx: QueueContext) -> None:
        config = ctx.find(HostDNSConfig, HOST_DNS_CONFIG_ID)
        if self._serving is None:
            if config is None or not config.spec.enabled:
                return
            await load(_LIBRARY)
            from nodespan.controllers.dns.serving import Serving

            self._serving = Serving(self._counts, self._ports)
            for host in ctx.list(StaticHost):
                self._serving.set_host(host.id, host.spec)
            for member in ctx.list(MemberName):
                self._serving.set_member(member.id, member.spec)
            self._has_begun.set()
        resolvers, bundle = ctx.find(ResolverStatus, RESOLVERS_ID), ctx.find(TrustBundle, TRUST_BUNDLE_ID)
        environment = ctx.find(Environment, ENVIRONMENT_ID)
        self._serving.configure(
            None if config is None else config.spec,
            () if resolvers is None else resolvers.spec.name_servers,
            None if bundle is None else bundle.spec,
            () if environment is None else environment.spec.variables,
        )

    async def run(self, ctx: QueueContext) -> None:
        """Serve, once it is enabled, until cancelled."""
        await self._has_begun.wait()
        assert self._serving is not None
        await self._serving.run(ctx)
