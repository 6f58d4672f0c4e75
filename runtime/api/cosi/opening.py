"""The schemes `unix:`, `https:` and `http:` of states: the State service of another process or machine."""

import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from nodespan.runtime.api.cosi.client import open_remote_state
from nodespan.runtime.api.grpc.client import EndpointError, TrustError, client_context
from nodespan.runtime.errors import StateError, StateOpenError
from nodespan.runtime.named_file import LARGEST_PEM, read_named
from nodespan.runtime.resource import Namespace
from nodespan.runtime.state.base import State
from nodespan.runtime.state.collection import History
from nodespan.runtime.state.opening import StateOptions

# What a configuration may say of such a state.
SETTINGS = ("ca", "cert", "key")


@asynccontextmanager
async def open_state(url: str, options: StateOptions) -> AsyncGenerator[State, None]:
    """The state at this address; `https://a:50000,https://b:50000` are servers of the same one. Raises StateOpenError.

    Settings: `ca`, `cert` and `key` are PEM files for TLS; without `ca` the system's authorities are trusted.
    """
    for name in options.settings:
        if name not in SETTINGS:
            raise StateOpenError(f"{name!r} is no setting of a remote state: they are {', '.join(SETTINGS)}")
    try:

        def tls() -> ssl.SSLContext:
            # For each connection: certificates are renewed.
            pem = {name: read_named(options.state_dir / path, LARGEST_PEM) for name, path in options.settings.items()}
            return client_context(roots=pem.get("ca"), certificate=pem.get("cert", b""), key=pem.get("key", b""))

        if options.settings:
            tls()  # files that cannot be used are to be named now
        async with open_remote_state(
            *filter(None, (part.strip() for part in url.split(","))),
            types=options.types,
            tls=tls,
            history=History.of(max_capacity=options.max_history),
            log=options.log,
        ) as state:
            if not options.wait:
                await _reach(state, url)
            yield state
    except (EndpointError, TrustError, OSError) as error:
        raise StateOpenError(f"{url}: {error}") from error


async def _reach(state: State, url: str) -> None:
    try:
        async with state.watch_kind(Namespace):
            pass
    except StateError as error:
        raise StateOpenError(f"{url}: {error}") from error
