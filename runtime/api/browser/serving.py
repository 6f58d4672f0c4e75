"""Listens for browsers: on the loopback without TLS, elsewhere with mutual TLS only."""

import ssl
from collections.abc import Callable, Hashable, Mapping
from importlib.resources.abc import Traversable
from ipaddress import ip_address

import attrs
import trio

from nodespan.runtime.api.browser.assets import load_assets
from nodespan.runtime.api.browser.door import Door
from nodespan.runtime.api.browser.feeds import open_feeds
from nodespan.runtime.api.browser.site import Handler, Site
from nodespan.runtime.api.grpc.sources import source_of
from nodespan.runtime.api.http_server import HttpLimits, HttpServer
from nodespan.runtime.api.listeners import open_at
from nodespan.runtime.process.logger import Logger

_LIMITS = HttpLimits(max_connections=256, write=30.0)
# Who comes over TLS comes from elsewhere; on the loopback all are one source, those of a proxy too.
_LIMITS_WITH_TLS = attrs.evolve(_LIMITS, max_per_source=128)


class ListenError(Exception):
    """The server may not listen there; the text says why, and what to do."""


def check_listen(host: str, *, has_tls: bool) -> None:
    """Raise ListenError unless the host is an address of the loopback, or TLS asks clients for certificates."""
    try:
        is_loopback = ip_address(host).is_loopback
    except ValueError:
        raise ListenError(f"{host!r} is not an IP address") from None
    if not is_loopback and not has_tls:
        raise ListenError(
            f"{host} can be reached from other machines, and there it takes mutual TLS: give cert, key and the ca "
            "of the clients' certificates, or listen at 127.0.0.1 and put a reverse proxy or ssh -L before it"
        )


async def serve_site(
    address: tuple[str, int],
    *,
    socket: str,
    door: Door,
    files: Traversable,
    handlers: Mapping[str, Handler],
    log: Logger,
    tls: Callable[[], ssl.SSLContext] | None = None,
    task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve a site about the agent at a socket until cancelled. Reports its port once it listens.

    `tls` makes the settings of each connection; they must ask clients for certificates.
    Raises ListenError, and OSError if the address cannot be used.
    """
    host, port = address
    check_listen(host, has_tls=tls is not None)
    assets = await trio.to_thread.run_sync(load_assets, files)
    # Before there are tasks: the error is to come out as it is.
    listeners = await open_at(host, port)
    async with open_feeds(socket) as feeds:
        site = Site(socket=socket, door=door, feeds=feeds, assets=assets, handlers=handlers)
        server = HttpServer(site.answer, log, _LIMITS if tls is None else _LIMITS_WITH_TLS)

        async def converse(stream: trio.SocketStream) -> None:
            if tls is None:
                await server.converse(stream)
                return
            secure = trio.SSLStream(stream, tls(), server_side=True, https_compatible=True)

            async def handshake() -> bytes | None:
                await secure.do_handshake()
                certificate: bytes | None = secure.getpeercert(binary_form=True)
                return certificate

            await server.converse(secure, source=_source(stream), handshake=handshake)

        task_status.started(listeners[0].socket.getsockname()[1])
        await trio.serve_listeners(converse, listeners)


def _source(stream: trio.SocketStream) -> Hashable:
    """Where a connection comes from; None if it is gone already."""
    try:
        host = stream.socket.getpeername()[0]
    except OSError:
        return None
    # Of an address that is valid on one link only, what follows the percent sign names that.
    return source_of(ip_address(host.partition("%")[0]))
