"""network.EtcFileController: host name, hosts, name servers and time servers as files below /etc.

Which files those are depends on the services that the machine has; what none of them can do is a problem that is named.
Nothing is written that the configuration, a lease or the kernel command line does not name.
"""

from collections.abc import Collection, Iterable, Mapping
from ipaddress import ip_interface
from types import MappingProxyType

import attrs
import trio

from nodespan.controllers.common.problems import Problems
from nodespan.controllers.host import texts
from nodespan.controllers.host.etc_files import ETC_FILE_INPUT, ETC_FILE_OUTPUTS, EtcFiles
from nodespan.controllers.host.host import Host, HostError
from nodespan.controllers.host.services import (
    CHRONY_NTS_SOURCES,
    CHRONY_SOURCES,
    RESOLV_CONF,
    Resolving,
    Timekeeping,
    TimeService,
    chrony_reads_sources,
    find_resolving,
    find_timekeeping,
)
from nodespan.controllers.host.static_host import configured_hosts
from nodespan.resources.cluster import MemberName, MemberNameSpec
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig, MachineConfigSpec
from nodespan.resources.config.nodespan import NameMode
from nodespan.resources.files import EtcFileSpecSpec
from nodespan.resources.network import (
    DEFAULT_ADDRESS_ID,
    HOSTNAME_ID,
    RESOLVERS_ID,
    TIME_SERVERS_ID,
    ConfigLayer,
    DNSProtocol,
    HostnameSpec,
    HostnameSpecSpec,
    NameServer,
    NodeAddress,
    ResolverSpec,
    ResolverStatus,
    ResolverStatusSpec,
    TimeServerSpec,
    TimeServerStatus,
    TimeServerStatusSpec,
)
from nodespan.resources.trust import TRUST_BUNDLE_ID, TrustBundle, TrustedRoot
from nodespan.runtime.controller import Controller, ControllerContext, weak
from nodespan.runtime.ticks import tick

# Seconds between two checks of which services run.
LOOK_INTERVAL = 30.0
_SHORT_DIGEST = 16
# Permanent names; those from a lease or the kernel command line are only set in the kernel.
_LASTING = (ConfigLayer.CONFIGURATION, ConfigLayer.DEFAULT)
_RESOLVED_FILE = "systemd/resolved.conf.d/50-nodespan.conf"
_TIMESYNCD_FILE = "systemd/timesyncd.conf.d/50-nodespan.conf"


@attrs.frozen
class Files:
    """Texts by path below /etc, and what could not be expressed as a file."""

    texts: Mapping[str, str] = attrs.field(factory=dict)
    problem: str = ""


def name_files(
    config: MachineConfigSpec,
    hostname: HostnameSpecSpec | None,
    address: str,
    members: Mapping[str, MemberNameSpec] = MappingProxyType({}),
) -> dict[str, str]:
    """The host name, and the lines of /etc/hosts. `address` is the node's, "" while it has none."""
    found: dict[str, str] = {}
    own = None
    if hostname is not None and hostname.layer in _LASTING:
        found["hostname"] = f"{hostname.hostname}\n"
        if address:
            own = (str(ip_interface(address).ip), hostname.names)
    others = texts.member_hosts(members) if config.nodespan.names.mode is NameMode.HOSTS else ()
    if lines := texts.hosts_lines(own, configured_hosts(config), others):
        found["hosts"] = lines
    return found


def resolver_files(spec: ResolverStatusSpec, resolving: Resolving) -> Files:
    """The files that configure name resolution."""
    if resolving.problem:
        return Files(problem=resolving.problem)
    able = texts.resolved_protocol(spec) if resolving.by_resolved else DNSProtocol.DO53
    problem = _left_out(texts.servers_of(spec), able, who="systemd-resolved" if resolving.by_resolved else RESOLV_CONF)
    if resolving.by_resolved:
        text = texts.resolved_conf(spec)
        return Files({_RESOLVED_FILE: text} if text else {}, problem)
    if texts.plain_servers(spec):
        return Files({"resolv.conf": texts.resolv_conf(spec)}, problem)
    return Files(problem=problem or "search domains without name servers are not applied here: name the servers too")


def _left_out(servers: Iterable[NameServer], able: DNSProtocol, *, who: str) -> str:
    """A problem naming the servers whose protocol cannot be used, "" if there is none."""
    left_out = [f"{server.addr} ({server.protocol.value})" for server in servers if server.protocol is not able]
    if not left_out:
        return ""
    why = "asks over TLS all servers or none" if able is DNSProtocol.DOT else "cannot do it"
    return f"{who} {why}, left out: {', '.join(left_out)}"


def time_files(
    spec: TimeServerStatusSpec,
    timekeeping: Timekeeping,
    *,
    reads_sources: bool,
    missing: Collection[str] = (),
    trust: str = "",
) -> Files:
    """How those who set the clock are told of the servers.

    `missing` are clocks that the machine does not have, `trust` is another text for other certificate authorities.
    """
    clocks = [server for server in spec.time_servers if texts.is_clock(server)]
    servers = [server for server in spec.time_servers if server not in clocks]
    match timekeeping.service:
        case TimeService.CHRONY if timekeeping.file:
            # It does not start with a clock that it cannot read.
            present = [server for server in spec.time_servers if server not in missing]
            problem = f"this machine has no {', '.join(missing)}" if missing else ""
            # A clock is read from the main file only.
            sources = CHRONY_NTS_SOURCES if spec.use_nts else CHRONY_SOURCES
            file = sources if reads_sources and present == servers else timekeeping.file
            lines = texts.chrony_lines(present, use_nts=spec.use_nts, trust=trust)
            return Files({file: lines} if present else {}, problem)
        case TimeService.CHRONY:
            return Files(problem="chrony runs, but its configuration is not found below /etc: name the servers there")
        case TimeService.TIMESYNCD:
            lacks = ["NTS"] if spec.use_nts else []
            lacks += clocks
            problem = f"systemd-timesyncd cannot do {', '.join(lacks)}: install chrony" if lacks else ""
            # Authenticated time is never replaced by unauthenticated time.
            if spec.use_nts or not servers:
                return Files(problem=problem)
            return Files({_TIMESYNCD_FILE: texts.timesyncd_conf(servers)}, problem)
    return Files(problem="no time service runs here to use these servers: install chrony or systemd-timesyncd")


@attrs.frozen
class _Basis:
    """What the files for services follow, beside the services: None for nothing to do."""

    resolvers: ResolverStatusSpec | None
    clocks: TimeServerStatusSpec | None
    trust: str


class NetworkEtcFileController(Controller):
    """Writes a spec for each file, while there is a configuration."""

    name = "network.EtcFileController"
    only_derives = True
    inputs = (
        weak(MachineConfig, MACHINE_CONFIG_ID),
        weak(HostnameSpec, HOSTNAME_ID),
        weak(NodeAddress, DEFAULT_ADDRESS_ID),
        weak(ResolverStatus, RESOLVERS_ID),
        weak(TimeServerStatus, TIME_SERVERS_ID),
        weak(TrustBundle, TRUST_BUNDLE_ID),
        weak(TrustedRoot),
        weak(MemberName),
        ETC_FILE_INPUT,
    )
    outputs = ETC_FILE_OUTPUTS

    def __init__(self, host: Host, *, look_interval: float = LOOK_INTERVAL) -> None:
        self._host = host
        self._look_interval = look_interval
        # What was found of the services, and for which specs: the turn for a name does not ask systemd again.
        self._found: tuple[_Basis, tuple[Files, Files]] | None = None
        self._looks = 0

    async def run(self, ctx: ControllerContext) -> None:
        """Follow the specs and the running services."""
        files = EtcFiles(ctx)
        problems = (Problems(ctx, ResolverSpec), RESOLVERS_ID), (Problems(ctx, TimeServerSpec), TIME_SERVERS_ID)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._look, ctx)
            follows_names: bool | None = None
            async for _ in ctx:
                config = ctx.find(MachineConfig, MACHINE_CONFIG_ID)
                now = config is not None and config.spec.nodespan.names.mode is NameMode.HOSTS
                if now is not follows_names:
                    # Elsewhere nothing here depends on them, and in a large mesh they come and go all the time.
                    follows_names = now
                    ctx.set_inputs(each for each in self.inputs if now or each.kind != MemberName.kind)
                names: dict[str, str] = {}
                asked = Files(), Files()
                if config is not None:
                    hostname, address = ctx.find(HostnameSpec, HOSTNAME_ID), ctx.find(NodeAddress, DEFAULT_ADDRESS_ID)
                    names = name_files(
                        config.spec,
                        None if hostname is None or hostname.metadata.is_tearing_down else hostname.spec,
                        address.spec.addresses[0] if address and address.spec.addresses else "",
                        {name.id: name.spec for name in ctx.list(MemberName)} if follows_names else {},
                    )
                    asked = await self._services(_basis(ctx, config.spec))
                every = names | dict(asked[0].texts) | dict(asked[1].texts)
                await files.publish({path: EtcFileSpecSpec(contents=text.encode()) for path, text in every.items()})
                for (kind, id), found in zip(problems, asked, strict=True):
                    await kind.show({id: found.problem} if found.problem else {}, loud=frozenset({id}))

    async def _look(self, ctx: ControllerContext) -> None:
        while True:
            await tick(self._look_interval)
            self._found = None
            self._looks += 1
            ctx.wake()

    async def _services(self, basis: _Basis) -> tuple[Files, Files]:
        """The files for resolvers and for clocks, by the services that run; those are asked for once for each basis."""
        if self._found is None or self._found[0] != basis:
            looks = self._looks
            found = await self._resolvers(basis), await self._time_servers(basis)
            # A look meanwhile has woken another turn, which asks again.
            self._found = (basis, found) if looks == self._looks else None
            return found
        return self._found[1]

    async def _resolvers(self, basis: _Basis) -> Files:
        if basis.resolvers is None:
            return Files()
        try:
            return resolver_files(basis.resolvers, await find_resolving(self._host))
        except HostError as error:
            return Files(problem=str(error))

    async def _time_servers(self, basis: _Basis) -> Files:
        if basis.clocks is None:
            return Files()
        timekeeping = await find_timekeeping(self._host)
        reads_sources = chrony_reads_sources(self._host, timekeeping.file) if timekeeping.file else False
        clocks = filter(texts.is_clock, basis.clocks.time_servers)
        missing = [clock for clock in clocks if not self._host.exists(clock)]
        return time_files(basis.clocks, timekeeping, reads_sources=reads_sources, missing=missing, trust=basis.trust)


def _basis(ctx: ControllerContext, config: MachineConfigSpec) -> _Basis:
    resolvers, clocks = ctx.find(ResolverStatus, RESOLVERS_ID), ctx.find(TimeServerStatus, TIME_SERVERS_ID)
    return _Basis(
        None if resolvers is None or resolvers.metadata.is_tearing_down else resolvers.spec,
        None if clocks is None or clocks.metadata.is_tearing_down or not config.time_is_kept else clocks.spec,
        _trust(ctx),
    )


def _trust(ctx: ControllerContext) -> str:
    """What the system trusts, in a few words; empty while that is not known."""
    bundle = ctx.find(TrustBundle, TRUST_BUNDLE_ID)
    if bundle is None:
        return ""
    installed = sorted(root.id for root in ctx.list(TrustedRoot) if root.spec.installed)
    return " ".join((bundle.spec.digest[:_SHORT_DIGEST], *installed))
