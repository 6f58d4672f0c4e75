"""The clients of etcd that the virtual IPs of a node share."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio

from nodespan.etcd import Credentials, EtcdClient, TLSFiles
from nodespan.resources.config.nodespan import EtcdSettings
from nodespan.runtime.background import Held


@attrs.define
class _Shared:
    held: Held[EtcdClient]
    users: int = 0


class EtcdClients:
    """One client per settings, for as long as it has users."""

    def __init__(self) -> None:
        self._shared: dict[EtcdSettings, _Shared] = {}
        self._changing = trio.Lock()

    @asynccontextmanager
    async def client(self, settings: EtcdSettings) -> AsyncIterator[EtcdClient]:
        """The client for these settings. Raises EndpointError and TLSFilesError."""
        async with self._changing:
            shared = self._shared.get(settings)
            if shared is None:
                shared = _Shared(await Held.open(make_client(settings)))
                self._shared[settings] = shared
            shared.users += 1
        try:
            yield shared.held.value
        finally:
            shared.users -= 1
            with trio.CancelScope(shield=True):
                async with self._changing:
                    if not shared.users and self._shared.get(settings) is shared:
                        del self._shared[settings]
                        await shared.held.release()


def make_client(settings: EtcdSettings) -> EtcdClient:
    """A client that is not connected yet. Raises EndpointError."""
    files = {"ca": settings.ca, "certificate": settings.cert, "key": settings.key}
    given = {name: Path(path) for name, path in files.items() if path}
    user = Credentials(settings.username, password_file=Path(settings.password_file)) if settings.username else None
    return EtcdClient(settings.endpoints, tls=TLSFiles(**given) if given else None, credentials=user)
