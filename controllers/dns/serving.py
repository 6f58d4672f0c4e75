"""The DNS server as the agent runs it: listeners and servers come and go as configured, and are published.

What changed is noted in `configure`, and put into effect by `run`, one thing after the other. A place where it cannot
be listened is a problem, and is tried again; all others go on.
"""

import math
import ssl
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import attrs
import trio

from nodespan.controllers.common.problems import Problems
from nodespan.controllers.common.reverse_zones import reverse_zones
from nodespan.controllers.dns.answering import Answering
from nodespan.controllers.dns.exchanges import Exchanges
from nodespan.controllers.dns.listening import Listener, ListenError, Place, bind
from nodespan.controllers.dns.metrics import Counts
from nodespan.controllers.dns.names import Names
from nodespan.controllers.dns.rebinding import Rebinding, networks
from nodespan.controllers.dns.upstreams import Upstream, Upstreams
from nodespan.resources.cluster import MemberNameSpec
from nodespan.resources.network import (
    DNS_RUNNING,
    HOST_DNS_CONFIG_ID,
    RESOLVERS_ID,
    DNSProtocol,
    DNSResolveCache,
    DNSResolveCacheSpec,
    DNSUpstream,
    DNSUpstreamSpec,
    HostDNSConfig,
    HostDNSConfigSpec,
    NameServer,
    ResolverStatus,
    Severity,
    StaticHostSpec,
    dns_resolve_cache_id,
    dns_upstream_id,
)
from nodespan.resources.trust import TrustBundleSpec
from nodespan.runtime.controller import QueueContext
from nodespan.runtime.errors import NotFoundError
from nodespan.runtime.trusting import trusting

# Seconds until it is tried again to listen where it could not be.
AGAIN = 5.0
# It is shown for so many seconds that a name was asked for and no server could be.
SHOWN_FOR = 600.0
_NO_SERVERS = (
    "programs ask the node's own DNS server for names that are not of the cluster, and it has no server to ask: name "
    "servers by `nameservers` of a ResolverConfig, or have the machine's resolver ask it for the domain only"
)
_TRANSPORTS = ("udp", "tcp")
_PROXY_VARIABLES = ("https_proxy", "no_proxy")


@attrs.frozen
class _Desired:
    config: HostDNSConfigSpec = attrs.field(factory=HostDNSConfigSpec)
    servers: tuple[NameServer, ...] = ()
    trust: TrustBundleSpec | None = None
    # Of the environment: which proxy servers over HTTPS are reached by. They may have passwords in them.
    variables: tuple[str, ...] = attrs.field(default=(), repr=False)


class Serving:
    """The server. Only one `run` at a time."""

    def __init__(self, counts: Counts, ports: Mapping[DNSProtocol, int]) -> None:
        self._counts = counts
        self._ports = ports
        self._names = Names()
        self._upstreams = Upstreams(counts, self._note_health, self._note_nobody)
        self._answering = Answering(self._names, self._upstreams, counts)
        self._members: dict[str, MemberNameSpec] = {}
        self._desired = _Desired()
        self._in_effect = _Desired()
        self._changed = trio.Event()
        # Servers whose health is to be published.
        self._unpublished: set[str] = set()
        # Until when it is shown that there is no server for a question that came.
        self._shown_until = -math.inf

    # What is known.

    def set_host(self, name: str, spec: StaticHostSpec | None) -> None:
        """A static host is so now; None for gone."""
        self._names.set_host(name, spec)
        self._answering.names_changed()

    def set_member(self, name: str, spec: MemberNameSpec | None) -> None:
        """The name of a member is so now; None for gone."""
        if spec is None:
            self._members.pop(name, None)
        else:
            self._members[name] = spec
        if self._desired.config.resolve_member_names:
            self._names.set_member(name, spec)
            self._answering.names_changed()

    def configure(
        self,
        config: HostDNSConfigSpec | None,
        servers: Sequence[NameServer],
        trust: TrustBundleSpec | None,
        variables: tuple[str, ...] = (),
    ) -> None:
        """What the server does from now on."""
        config = config if config is not None and config.enabled else HostDNSConfigSpec()
        servers = tuple(servers) if config.enabled else ()
        proxies = tuple(each for each in variables if each.partition("=")[0].lower() in _PROXY_VARIABLES)
        before, self._desired = self._desired, _Desired(config, servers, trust, proxies)
        if before.config.resolve_member_names != config.resolve_member_names:
            for name, spec in self._members.items():
                self._names.set_member(name, spec if config.resolve_member_names else None)
        self._names.domain = config.domain if config.resolve_member_names else ""
        self._names.reverse = reverse_zones(config.mesh_subnet) if config.resolve_member_names else ()
        self._answering.names_changed()
        if self._desired != before:
            self._changed.set()

    def _note_health(self, server: Upstream) -> None:
        self._unpublished.add(server.id)
        self._changed.set()

    def _note_nobody(self) -> None:
        is_shown = self._shown_until > trio.current_time()
        self._shown_until = trio.current_time() + SHOWN_FOR
        if not is_shown:
            self._changed.set()

    # What runs.

    async def run(self, ctx: QueueContext) -> None:
        """Serve until cancelled; what an earlier run has published is taken back first."""
        for listener in ctx.list(DNSResolveCache):
            await ctx.destroy(DNSResolveCache, listener.id)
        for server in ctx.list(DNSUpstream):
            await ctx.destroy(DNSUpstream, server.id)
        # Their connections were closed, and take no more.
        await self._upstreams.replace(())
        self._in_effect = _Desired()
        places = _Places(ctx, self._answering, self._counts)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._upstreams.run)
            while True:
                self._changed = trio.Event()
                desired = self._desired
                await self._apply_servers(ctx, desired)
                mesh = next(iter(networks((desired.config.mesh_subnet,))), None)
                listen = {text: Place.parse(text, mesh) for text in desired.config.listen_addresses}
                await places.replace(nursery, listen)
                self._in_effect = desired
                await self._publish_health(ctx)
                await self._show_nobody(places.problems)
                with trio.move_on_at(self._shown_until if self._shown_until > trio.current_time() else math.inf):
                    await self._changed.wait()

    async def _show_nobody(self, problems: Problems) -> None:
        if self._upstreams.servers or self._shown_until <= trio.current_time():
            await problems.clear(HOST_DNS_CONFIG_ID)
        else:
            await problems.set(HOST_DNS_CONFIG_ID, _NO_SERVERS, severity=Severity.WARNING)

    async def _apply_servers(self, ctx: QueueContext, desired: _Desired) -> None:
        mesh = networks((desired.config.mesh_subnet,))
        allowed = frozenset(desired.config.rebinding_allowed)
        rebinding = Rebinding(mesh=mesh, allowed=allowed)
        before = self._in_effect
        if rebinding != self._upstreams.rebinding:
            self._upstreams.rebinding = rebinding
            self._answering.servers_changed()
        if desired == before:
            return
        own = desired.config.listen_addresses
        tls = _tls(desired.trust)
        servers = [
            Upstream(
                dns_upstream_id(index, server),
                Exchanges(server, tls, port=self._ports.get(server.protocol), variables=desired.variables),
            )
            for index, server in enumerate(desired.servers)
        ]
        # The question would come back here, again and again.
        servers = [server for server in servers if server.exchanges.address not in own]
        kept = {server.id: server for server in self._upstreams.servers} if before.trust == desired.trust else {}
        servers = [
            kept[server.id] if server.id in kept and kept[server.id].exchanges.is_like(server.exchanges) else server
            for server in servers
        ]
        if [server.id for server in servers] != [server.id for server in self._upstreams.servers]:
            self._answering.servers_changed()
        await self._upstreams.replace(servers)
        here = {server.id for server in servers}
        for output in ctx.list(DNSUpstream):
            if output.id not in here:
                await ctx.destroy(DNSUpstream, output.id)
        self._unpublished |= here

    async def _publish_health(self, ctx: QueueContext) -> None:
        unpublished, self._unpublished = self._unpublished, set()
        if unpublished:
            # What they come from, for those who ask why they are there.
            ctx.begin_item()
            ctx.find(HostDNSConfig, HOST_DNS_CONFIG_ID)
            ctx.find(ResolverStatus, RESOLVERS_ID)
        for server in self._upstreams.servers:
            if server.id in unpublished:
                healthy = "" if server.healthy is None else str(server.healthy).lower()
                spec = DNSUpstreamSpec(healthy=healthy, addr=server.exchanges.address)
                await ctx.put(DNSUpstream, server.id, spec)


class _Places:
    """The places where it is listened, and the problems: with them by their texts, with the server by its id."""

    def __init__(self, ctx: QueueContext, answering: Answering, counts: Counts) -> None:
        self._ctx = ctx
        self._answering = answering
        self._counts = counts
        self.problems = Problems(ctx, HostDNSConfig)
        self._running: dict[str, tuple[Place, trio.CancelScope, trio.Event]] = {}

    async def replace(self, nursery: trio.Nursery, places: Mapping[str, Place]) -> None:
        """Listen at these places, by their texts, and at no others."""
        for text, (place, scope, ended) in list(self._running.items()):
            if text not in places or places[text].sources != place.sources:
                scope.cancel()
                await ended.wait()
                del self._running[text]
                await self.problems.clear(text)
        await self.problems.keep((*places, HOST_DNS_CONFIG_ID))
        for text, place in places.items():
            if text not in self._running:
                scope, ended = trio.CancelScope(), trio.Event()
                self._running[text] = place, scope, ended
                nursery.start_soon(self._listen, text, place, scope, ended)

    async def _listen(self, text: str, place: Place, scope: trio.CancelScope, ended: trio.Event) -> None:
        ids = [dns_resolve_cache_id(transport, text) for transport in _TRANSPORTS]
        try:
            with scope:
                sockets = None
                while sockets is None:
                    try:
                        sockets = bind(place)
                    except ListenError as error:
                        await self.problems.set(text, str(error))
                        await trio.sleep(AGAIN)
                await self.problems.clear(text)
                # What it comes from, for those who ask why it is there.
                self._ctx.begin_item()
                self._ctx.find(HostDNSConfig, HOST_DNS_CONFIG_ID)
                for id in ids:
                    await self._ctx.put(DNSResolveCache, id, DNSResolveCacheSpec(status=DNS_RUNNING))
                await Listener(place, sockets, self._answering, self._counts).run()
            for id in ids:
                try:
                    await self._ctx.destroy(DNSResolveCache, id)
                except NotFoundError:
                    continue
        finally:
            # Not before: the next one at this place writes the same resources.
            ended.set()


def _tls(trust: TrustBundleSpec | None) -> "Callable[[str], ssl.SSLContext]":
    path, digest = ("", "") if trust is None else (trust.path, trust.digest)
    return lambda protocol: _context(path, digest, protocol)


# Authorities are read once for each version of them: that takes tens of milliseconds.
@lru_cache(maxsize=4)
def _context(path: str, digest: str, protocol: str) -> "ssl.SSLContext":  # noqa: ARG001
    context = trusting(path or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols([protocol])
    return context
