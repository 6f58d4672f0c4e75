"""A relay without a discovery service: the same port and the same limits, and nothing to look up."""

import ssl
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path

import attrs
import structlog
import trio

from nodespan.discovery.relay.datagrams import has_both_families
from nodespan.discovery.relay.relay import RelayOptions
from nodespan.discovery.service.client_address import Trust, client_address
from nodespan.discovery.service.metrics import is_scrape
from nodespan.discovery.service.rate_limit import RateLimit
from nodespan.discovery.service.relaying import make_relay, relay_alone_pages, relay_families
from nodespan.discovery.service.server import Address, Bound, client_limits, most_files, start_pages
from nodespan.runtime.api.exposition import scraped
from nodespan.runtime.api.grpc import Call, Headers, Peer, Server, Service, methods, source_of
from nodespan.runtime.api.listeners import open_at
from nodespan.runtime.api.pages import Page, from_memory, negotiated
from nodespan.runtime.metrics import process

_DROP_IDLE_CLIENTS = 60.0


@attrs.frozen(kw_only=True)
class RelayServerOptions:
    """Where a relay listens, and its options; as those of a discovery service."""

    listen: Address
    relay: RelayOptions
    certificate: tuple[Path, Path] | None = None
    metrics: Address | None = None
    pages: Address | None = None
    trust: Trust = attrs.Factory(Trust)
    rate: float = 15.0


async def serve_relay(
    options: RelayServerOptions,
    *,
    listeners: Sequence[trio.SocketListener] | None = None,
    task_status: trio.TaskStatus[Bound] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled. Raises OSError for addresses and files that cannot be used."""
    log = structlog.get_logger().bind()
    tls: Callable[[], ssl.SSLContext] | None = None
    names: Callable[[], Collection[str]] | None = None
    if options.certificate is not None:
        from nodespan.runtime.api.tls import ServerCertificate

        certificate = ServerCertificate(*options.certificate, log)
        tls, names = certificate.context, certificate.names
    trust = options.trust
    relay = make_relay(options.relay, trust, log, names)
    limit = RateLimit(options.rate, trio.current_time) if options.rate else None

    async def wait_for_turn(header: Callable[[str], str | None], peer: Peer, deadline: float) -> None:
        client = client_address(header, peer.address, trust)
        if limit is not None and client is not None:
            wait = limit.reserve(source_of(client), deadline)
            if wait:
                await trio.sleep(wait)

    async def admit(call: Call) -> None:
        await wait_for_turn(call.header, call.peer, call.deadline)

    async def admit_page(peer: Peer, headers: Headers) -> None:
        await wait_for_turn(dict(reversed(headers)).get, peer, float("inf"))

    async def scrape(target: str, accept: str) -> Page:
        if not is_scrape(target):
            return Page(status=404, body=b"metrics are at /metrics\n")
        return await scraped([*relay_families(relay), *process.collect()], accept)

    async def drop_idle() -> None:
        while limit is not None:
            await trio.sleep(_DROP_IDLE_CLIENTS)
            limit.drop_idle()

    by_source = not (trust.x_real_ip or trust.first_x_forwarded_for)
    pages = relay_alone_pages(relay)
    server = Server(
        Service(
            methods=methods(*relay.methods()),
            log=log,
            limits=client_limits(most_files() - options.relay.limits.clients, by_source=by_source),
            admit=admit,
            respond=pages,
            admit_page=admit_page,
        )
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(drop_idle)
        given = listeners or await open_at(*options.listen)
        metrics_at = () if options.metrics is None else await open_at(*options.metrics)
        pages_at = () if options.pages is None else await open_at(*options.pages)
        metrics_url = await start_pages(nursery, negotiated(scrape), options.metrics, metrics_at, log)
        pages_url = await start_pages(nursery, from_memory(pages), options.pages, pages_at, log)
        await nursery.start(partial(relay.run, both_families=has_both_families()))
        await nursery.start(lambda task_status: server.serve(given, tls=tls, task_status=task_status))
        bound = Bound(port=given[0].socket.getsockname()[1], metrics=metrics_url, pages=pages_url)
        log.info("relay runs", host=options.listen[0], tls=tls is not None, **attrs.asdict(bound))
        task_status.started(bound)
        await trio.sleep_forever()
