"""Tries a probe once: a connection, or a page. Failures have texts for operators, much as the originals write them."""

import base64
import http
import socket
import ssl
import struct
import urllib.parse
from collections.abc import Iterable
from functools import lru_cache

import trio

from nodespan.controllers.common.connection_errors import connection_fault
from nodespan.controllers.common.http_client import FetchError, Request, fetch, host_and_port
from nodespan.controllers.network.probes.probe_rules import Target

_SUCCESS = range(200, 400)
_USER_AGENT = "nodespan-probe"
# After closing, the kernel keeps what is not sent for a second.
_LINGER = struct.pack("ii", 1, 1)


async def try_target(target: Target) -> str:
    """Why a target cannot be reached, "" if it can."""
    spec = target.spec
    if spec.tcp is not None:
        return await _connect(spec.tcp.endpoint, spec.tcp.timeout.total_seconds())
    if spec.http is None:
        return "the probe names nothing to try"
    timeout = spec.http.timeout.total_seconds()
    with trio.move_on_after(timeout):
        return await _request(target)
    return f"no answer within {timeout:g} s"


async def _connect(endpoint: str, within: float) -> str:
    host, _, port = endpoint.rpartition(":")
    with trio.move_on_after(within):
        try:
            stream = await trio.open_tcp_stream(host.strip("[]"), int(port))
        except (OSError, ValueError) as error:
            return f"dial tcp {endpoint}: {connection_fault(error)}"
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
        await trio.aclose_forcefully(stream)
        return ""
    return f"dial tcp {endpoint}: no connection within {within:g} s"


async def _request(target: Target) -> str:
    url = target.url
    is_tls = url.startswith("https:")
    try:
        # The authorities are read once for each version of them: that takes tens of milliseconds.
        tls = await trio.to_thread.run_sync(_context, target.trust, target.digest) if is_tls else None
        proxy = _proxy(url, is_tls=is_tls, variables=target.variables)
    except (OSError, ValueError, FetchError) as error:
        return connection_fault(error)
    headers = {"User-Agent": _USER_AGENT, **_credentials(url)}
    try:
        answer = await fetch(Request(url=_bare(url), headers=headers), tls, proxy=proxy)
    except FetchError as error:
        return str(error)
    if answer.status in _SUCCESS:
        return ""
    phrase = answer.reason or next((known.phrase for known in http.HTTPStatus if known == answer.status), "")
    return f"received non-success status code: {answer.status} {phrase}".rstrip()


@lru_cache(maxsize=2)
def _context(trust: str, digest: str) -> ssl.SSLContext:  # noqa: ARG001
    return ssl.create_default_context(cafile=trust or None)


def _proxy(url: str, *, is_tls: bool, variables: Iterable[str]) -> str:
    """The proxy by which a page is reached, "" for none. Raises ProxyError, which is a ValueError."""
    environment = dict(variable.partition("=")[::2] for variable in variables)
    name = "https_proxy" if is_tls else "http_proxy"
    if not (environment.get(name) or environment.get(name.upper())):
        return ""
    from nodespan.discovery.endpoint_url import DialAddress
    from nodespan.discovery.proxy import proxy_for

    host, port = host_and_port(url)
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return proxy_for(DialAddress(address, insecure=not is_tls), environment) or ""


def _bare(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    return urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _credentials(url: str) -> dict[str, str]:
    parts = urllib.parse.urlsplit(url)
    if parts.username is None:
        return {}
    user, password = urllib.parse.unquote(parts.username), urllib.parse.unquote(parts.password or "")
    return {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}
