"""Tries a probe once: a connection, or a page. Failures have texts for operators, much as the originals write them."""

import base64
import socket
import struct
import urllib.parse

import trio

from nodespan.controllers.common.connection_errors import connection_fault
from nodespan.controllers.common.http_client import FetchError, Request, fetch
from nodespan.controllers.common.web_access import WebAccess
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
    access = WebAccess(variables=target.variables, trust=target.trust, digest=target.digest)
    try:
        tls, proxy = await access.tls(url), access.proxy(url)
    except FetchError as error:
        return str(error)
    headers = {"User-Agent": _USER_AGENT, **_credentials(url)}
    try:
        answer = await fetch(Request(url=_bare(url), headers=headers), tls, proxy=proxy)
    except FetchError as error:
        return str(error)
    if answer.status in _SUCCESS:
        return ""
    return f"received non-success status code: {answer.status} {answer.reason or _phrase(answer.status)}".rstrip()


def _phrase(status: int) -> str:
    import http  # most servers say it themselves

    return next((known.phrase for known in http.HTTPStatus if known == status), "")


def _bare(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    return urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _credentials(url: str) -> dict[str, str]:
    parts = urllib.parse.urlsplit(url)
    if parts.username is None:
        return {}
    user, password = urllib.parse.unquote(parts.username), urllib.parse.unquote(parts.password or "")
    return {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}
