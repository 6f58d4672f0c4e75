"""How pages outside are reached: the proxies that the environment names, and the authorities that are trusted."""

import ssl
from collections.abc import Iterable
from functools import lru_cache

import attrs
import trio

from nodespan.controllers.common.http_client import FetchError, host_and_port
from nodespan.runtime.trusting import trusting


@attrs.frozen(kw_only=True)
class WebAccess:
    """The variables of the environment, as `name=value`, and the authorities.

    `trust` is the file of the authorities, "" for those of the system, `digest` changes with what is in it.
    """

    variables: tuple[str, ...] = attrs.field(default=(), repr=False)
    trust: str = ""
    digest: str = ""

    async def tls(self, url: str) -> "ssl.SSLContext | None":
        """How TLS is spoken with the server of a URL, None for one without. Raises FetchError."""
        if not url.startswith("https:"):
            return None
        try:
            # The authorities are read once for each version of them, and not on the event loop: it takes a while.
            return await trio.to_thread.run_sync(_context, self.trust, self.digest)
        except OSError as error:
            raise FetchError(f"the trusted authorities cannot be read: {error.strerror}") from error

    def proxy(self, url: str) -> str:
        """The proxy by which a page is reached, "" for none. Raises FetchError."""
        return _proxy(url, self.variables)


@lru_cache(maxsize=4)
def _context(trust: str, digest: str) -> "ssl.SSLContext":  # noqa: ARG001
    return trusting(trust or None)


def _proxy(url: str, variables: Iterable[str]) -> str:
    environment = dict(variable.partition("=")[::2] for variable in variables)
    is_tls = url.startswith("https:")
    name = "https_proxy" if is_tls else "http_proxy"
    if not (environment.get(name) or environment.get(name.upper())):
        return ""
    from nodespan.discovery.endpoint_url import DialAddress
    from nodespan.discovery.proxy import ProxyError, proxy_for

    host, port = host_and_port(url)
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        return proxy_for(DialAddress(address, insecure=not is_tls), environment) or ""
    except ProxyError as error:
        raise FetchError(str(error)) from error
