"""The complete service: state, methods, listeners, and periodic work."""

import resource
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import structlog
import trio

from nodespan.discovery.service.affiliate import Affiliate
from nodespan.discovery.service.client_address import Address as ClientAddress
from nodespan.discovery.service.client_address import Trust, client_address
from nodespan.discovery.service.cluster import Clusters
from nodespan.discovery.service.cluster_service import ClusterService
from nodespan.discovery.service.metrics import Metrics
from nodespan.discovery.service.rate_limit import RateLimit
from nodespan.discovery.service.status_pages import StatusPages
from nodespan.discovery.service.steady_clock import steady_clock
from nodespan.runtime import installed
from nodespan.runtime.api.grpc import Bounds, Call, Code, Headers, Limits, Peer, Server, Service, Status, source_of
from nodespan.runtime.api.listeners import open_at
from nodespan.runtime.api.pages import Answer, Respond, RespondTo, from_memory, negotiated
from nodespan.runtime.process.logger import Logger
from nodespan.runtime.process.loop_lag import LoopLag
from nodespan.runtime.state import MemoryState, State

if TYPE_CHECKING:
    from nodespan.discovery.relay.relay import RelayOptions
    from nodespan.discovery.service.processes.team import Team
    from nodespan.discovery.service.storage import Storage
    from nodespan.runtime.api.http_server import HttpLimits

Address = tuple[str, int]
MEMORY = "memory:"
# Files that are not for clients: listeners, pages, metrics, the snapshot, and a connection that is being closed.
_RESERVED_FILES = 64
# However many files there may be: each connection takes memory too. A whole cluster may come from one address.
_MOST_CONNECTIONS = 100_000
_MOST_OF_SOURCE = 4_000
_SAVE_AT_END = 10.0
_DROP_IDLE_CLIENTS = 60.0
# Optional fields of a request, for its log.
_LOGGED = ("cluster_id", "affiliate_id", "client_version")


@attrs.frozen(kw_only=True)
class DiscoveryOptions:
    """The options of a discovery service. Times are in seconds.

    An empty host in `listen` stands for all addresses, IPv4 and IPv6. `certificate` is the chain and its key, None for
    plain text. `rate` is the limit of requests per second from one client (bursts of four times as many), 0 for none.
    An option that is None is off.

    `state` is the URL of the state that holds the affiliates, `state_settings` what else it is to be told. With another
    one than `memory:` the snapshot is only read, once: see `Storage.migrate`. `grace` is how long nothing expires after
    the start or an outage of such a state, for the clients to announce themselves again. With a `relay` nodes that
    others cannot reach are given an address here.
    """

    listen: Address
    certificate: tuple[Path, Path] | None = None
    state: str = MEMORY
    state_dir: Path = Path()
    state_settings: Mapping[str, str] = attrs.field(factory=dict)
    grace: float = 300.0
    snapshot: Path | None = None
    snapshot_interval: float = 600.0
    collect_interval: float = 60.0
    metrics: Address | None = None
    pages: Address | None = None
    redirect: str = ""
    trust: Trust = attrs.Factory(Trust)
    tells_address: bool = True
    rate: float = 15.0
    relay: "RelayOptions | None" = None

    @property
    def counts_sources(self) -> bool:
        """Whether connections from one address are one client's, or those of a proxy that speaks for many."""
        return not (self.trust.x_real_ip or self.trust.first_x_forwarded_for)


def reserved_files(files: int) -> int:
    """How many of the files that a process may open are kept from clients."""
    return max(_RESERVED_FILES, files // 8)


def page_limits(files: int) -> "HttpLimits":
    """What visitors of the pages, or scrapers of the metrics, may have of the reserve: a quarter each."""
    from nodespan.runtime.api.http_server import HttpLimits

    return HttpLimits(max_connections=min(HttpLimits().max_connections, reserved_files(files) // 4))


def client_limits(files: int, *, by_source: bool, processes: int = 1, carries: bool = False) -> Limits:
    """What clients may have of a process that may open so many files, one of so many of the service.

    `carries`: it may have to carry the bytes of a connection to another process, which takes a second file.
    """
    for_clients = files - reserved_files(files)
    connections = min(_MOST_CONNECTIONS, max(16, for_clients // 2 if carries else for_clients))
    return Limits(
        max_message=256 << 10,
        max_buffered=16 << 20,
        min_ping_interval=10.0,
        by_source=by_source,
        incomplete=Bounds(100, 300),
        request_time=30.0,
        held=Bounds(64 << 20, 128 << 20, max(128 << 20, (512 << 20) // processes)),
        work=Bounds(2_000, 5_000),
        connections=Bounds(source=min(_MOST_OF_SOURCE, connections // 2), total=connections),
        idle_per_source=min(500, connections // 8),
        idle_timeout=120.0,
    )


def most_files() -> int:
    """How many files this process may open."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 20 if files == resource.RLIM_INFINITY else files


@attrs.frozen(kw_only=True)
class Bound:
    """The addresses of a service: its port, and the URLs of its pages."""

    port: int
    metrics: str = ""
    pages: str = ""


@attrs.frozen(kw_only=True)
class Listeners:
    """The open sockets of a service."""

    clients: Sequence[trio.SocketListener]
    metrics: Sequence[trio.SocketListener] = ()
    pages: Sequence[trio.SocketListener] = ()

    @property
    def port(self) -> int:
        """The port of clients."""
        port: int = self.clients[0].socket.getsockname()[1]
        return port


async def open_listeners(options: DiscoveryOptions) -> Listeners:
    """Open the sockets at the addresses of the options. Raises OSError, after which none is open."""
    opened: list[trio.SocketListener] = []

    async def at(address: Address | None) -> Sequence[trio.SocketListener]:
        if address is None:
            return ()
        host, port = address
        listeners = await open_at(host, port)
        opened.extend(listeners)
        return listeners

    try:
        metrics, pages = await at(options.metrics), await at(options.pages)
        return Listeners(clients=await at(options.listen), metrics=metrics, pages=pages)
    except BaseException:
        for listener in opened:
            listener.socket.close()
        raise


async def serve_discovery(
    options: DiscoveryOptions,
    *,
    state: State | None = None,
    log: Logger | None = None,
    now: Callable[[], int] | None = None,
    team: "Team | None" = None,
    listeners: Listeners | None = None,
    task_status: trio.TaskStatus[Bound] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled; then end the streams, wait some seconds for calls to finish, and save.

    The affiliates are in `state`, by default the one of the options; serving begins when that can be reached. `now` is
    a clock in nanoseconds, by default one that agrees with the wall clock at the start and is not set later. With a
    `team` this process is one of several. `listeners` are open already. Reports as started once everything answers.
    Raises OSError for addresses and files that cannot be used, StateOpenError for such a state.
    """
    # Bound once: what is not is made anew for each line.
    log = structlog.get_logger().bind() if log is None else log
    # What only some options need is imported for them only: here and below.
    tls: Callable[[], ssl.SSLContext] | None = None
    names: Callable[[], Collection[str]] | None = None
    if options.certificate is not None:
        from nodespan.runtime.api.tls import ServerCertificate

        certificate = ServerCertificate(*options.certificate, log)
        tls, names = certificate.context, certificate.names
    now = steady_clock() if now is None else now
    lasts = state is None and options.state != MEMORY
    async with _opened_state(options, state, log) as state, _open_clusters(state, checked=lasts) as clusters:
        lag = None if options.metrics is None else LoopLag()
        metrics = Metrics(
            clusters,
            has_all=team is not None and team.shares,
            version=installed.version("nodespan"),
            lag=lag,
        )
        service = ClusterService(
            state,
            clusters,
            now=now,
            greeted=metrics.greeted,
            trust=options.trust,
            redirect=options.redirect,
            tells_address=options.tells_address,
        )
        status_pages = StatusPages(clusters, time.monotonic)
        gate = _Gate(options, metrics, log)

        # Until when nothing expires.
        spared = trio.current_time() + options.grace if lasts else 0.0

        async def collect() -> None:
            nonlocal spared
            if state.outage(Affiliate.kind.namespace) is not None:
                spared = trio.current_time() + options.grace
            expired = await service.collect() if trio.current_time() >= spared else 0
            metrics.collected(clusters.drop_unused(), expired)

        async with AsyncExitStack() as stack:
            if lag is not None:
                stack.enter_context(lag)
            methods = service.methods()
            pages: Respond = status_pages.respond
            scraped: RespondTo = metrics.respond
            elsewhere = None
            if team is not None:
                from nodespan.discovery.service.processes.colleagues import internal_methods, open_colleagues
                from nodespan.discovery.service.processes.handover import Handover

                internal = {**methods, **internal_methods(metrics, pages)}
                colleagues = await stack.enter_async_context(open_colleagues(team, log))
                relays = options.relay is not None
                elsewhere = None if team.shares and not relays else Handover(team, methods, log, relays=relays)
                methods = methods if team.shares else colleagues.routed(methods)
                pages, scraped = colleagues.pages(pages), colleagues.metrics(metrics)
            relay = None
            if options.relay is not None:
                from nodespan.discovery.relay.datagrams import has_both_families
                from nodespan.discovery.service.relaying import make_relay, relay_families, with_relay_page

                passed = None
                if team is not None:
                    from nodespan.discovery.service.processes.passing import Passing

                    passing = stack.enter_context(Passing(team))
                    passed = passing.send
                relay = make_relay(options.relay, options.trust, log, names, passed)
                methods = {**methods, **{method.path: method for method in relay.methods()}}
                pages = with_relay_page(relay, pages)
                metrics.add(partial(relay_families, relay))
            server = Server(
                Service(
                    methods=methods,
                    log=log,
                    limits=client_limits(
                        # Each node at the relay has a port beside its connection.
                        most_files() - (relay.limits.clients if relay is not None else 0),
                        by_source=options.counts_sources,
                        processes=team.count if team else 1,
                        carries=elsewhere is not None and tls is not None,
                    ),
                    admit=gate.admit,
                    admit_at_once=gate.admit_at_once,
                    finished=gate.finished,
                    respond=pages,
                    admit_page=gate.admit_page,
                ),
                elsewhere,
            )
            metrics.watch_connections(server.sources)
            if options.snapshot is not None:
                from nodespan.discovery.service.storage import Storage

                storage = Storage(options.snapshot, clusters, service, metrics, log, now)
                if lasts:
                    await storage.migrate()
                else:
                    await stack.enter_async_context(_kept(storage, options.snapshot_interval))
            await collect()
            nursery = await stack.enter_async_context(trio.open_nursery())
            nursery.start_soon(_repeat, collect, options.collect_interval)
            nursery.start_soon(_repeat, gate.drop_idle, _DROP_IDLE_CLIENTS)
            given = listeners or await open_listeners(options)
            metrics_url = await start_pages(nursery, negotiated(scraped), options.metrics, given.metrics, log)
            pages_url = await start_pages(nursery, from_memory(pages), options.pages, given.pages, log)
            if relay is not None:
                await nursery.start(partial(relay.run, both_families=has_both_families()))
                if team is not None:
                    await nursery.start(passing.run, relay)
            await nursery.start(lambda task_status: server.serve(given.clients, tls=tls, task_status=task_status))
            if team is not None:
                from nodespan.discovery.service.processes.colleagues import answer_colleagues
                from nodespan.discovery.service.processes.handover import receive_connections

                await nursery.start(answer_colleagues, team, internal, log)
                await nursery.start(receive_connections, team, server, log)
            bound = Bound(port=given.port, metrics=metrics_url, pages=pages_url)
            log.info("discovery service runs", host=options.listen[0], tls=tls is not None, **attrs.asdict(bound))
            task_status.started(bound)
            await trio.sleep_forever()


class _Gate:
    """Runs before and after every call: rate limit, metrics, log."""

    def __init__(self, options: DiscoveryOptions, metrics: Metrics, log: Logger) -> None:
        self._trust = options.trust
        self._metrics = metrics
        self._log = log
        self._limit = RateLimit(options.rate, trio.current_time) if options.rate else None

    async def admit(self, call: Call) -> None:
        await self._wait_for_turn(client_address(call.header, call.peer.address, self._trust), call.deadline)
        self._metrics.started(call)

    def admit_at_once(self, call: Call) -> bool:
        if self._limit is not None:
            client = client_address(call.header, call.peer.address, self._trust)
            if client is not None and not self._limit.has_turn(source_of(client)):
                return False
        self._metrics.started(call)
        return True

    async def admit_page(self, peer: Peer, headers: Headers) -> None:
        fields = dict(reversed(headers))
        await self._wait_for_turn(client_address(fields.get, peer.address, self._trust), float("inf"))

    async def _wait_for_turn(self, client: ClientAddress | None, deadline: float) -> None:
        if self._limit is not None and client is not None:
            wait = self._limit.reserve(source_of(client), deadline)
            if wait:
                await trio.sleep(wait)

    def finished(self, call: Call, status: Status, seconds: float) -> None:
        if call.method.is_stream and status.code is Code.CANCELLED:
            status = Status(Code.OK)  # the normal end of a watch
        if call.admitted:
            self._metrics.finished(call, status, seconds)
        tell = self._log.info if status.code is Code.OK else self._log.error
        fields = {"error": status.text} if status.text else {}
        if not call.method.is_stream:
            fields |= {name: value for name in _LOGGED if (value := getattr(call.request, name, ""))}
        tell(
            "request",
            method=call.method.path,
            duration=round(seconds, 6),
            code=status.code.name,
            peer=str(call.peer),
            **fields,
        )

    async def drop_idle(self) -> None:
        if self._limit is not None:
            self._limit.drop_idle()


@asynccontextmanager
async def _opened_state(options: DiscoveryOptions, given: State | None, log: Logger) -> AsyncIterator[State]:
    """The given state, or that of the options once it is in reach."""
    if given is not None:
        yield given
    elif options.state == MEMORY:
        yield MemoryState()
    else:
        # Only those who use it pay for it.
        from nodespan.runtime.state.opening import StateOptions, open_state

        opening = StateOptions(
            state_dir=options.state_dir, types=(Affiliate,), settings=options.state_settings, log=log, wait=True
        )
        async with open_state(options.state, opening) as state:
            outage = state.outage(Affiliate.kind.namespace)
            if outage is not None:
                log.info("waiting for the state", state=options.state)
            await state.until_available(Affiliate.kind.namespace)
            yield state


@asynccontextmanager
async def _open_clusters(state: State, *, checked: bool) -> AsyncIterator[Clusters]:
    async with trio.open_nursery() as nursery:
        clusters = Clusters(state, nursery, checked=checked)
        try:
            yield clusters
        finally:
            clusters.close()
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def _kept(storage: "Storage", interval: float) -> AsyncIterator[None]:
    """Load at the start, save periodically and at the end."""

    async def save() -> None:
        # Not two at once: they write the same file.
        with trio.CancelScope(shield=True):
            await storage.save()

    await storage.load()
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_repeat, save, interval)
            yield
            nursery.cancel_scope.cancel()
    finally:
        with trio.move_on_after(_SAVE_AT_END, shield=True):
            await storage.save()


async def _repeat(action: Callable[[], Awaitable[None]], interval: float) -> None:
    while True:
        await trio.sleep(interval)
        await action()


async def start_pages(
    nursery: trio.Nursery,
    answer: Answer,
    address: Address | None,
    listeners: Sequence[trio.SocketListener],
    log: Logger,
) -> str:
    """Serve pages at the address, if there is one; returns their URL, else ""."""
    if address is None:
        return ""
    from nodespan.runtime.api.http_server import serve_answers

    limits = page_limits(most_files())
    url: str = await nursery.start(partial(serve_answers, answer, address, log=log, limits=limits, listeners=listeners))
    return url
