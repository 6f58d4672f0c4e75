"""One etcd for all tests of a worker: a member without flushes to disk, which tests share by prefixes of their own."""

import contextlib
import http.client
import json
import secrets
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import trio

from nodespan.etcd import EtcdClient
from nodespan.etcd.state import EtcdState, open_etcd
from nodespan.runtime.resource import ResourceType
from tests.support.deadlines import PATIENCE
from tests.support.etcd import FAST_TIMERS, loopback


@attrs.frozen
class SharedEtcd:
    """The member's address, and how a test uses it."""

    endpoint: str

    def prefix(self) -> str:
        """A prefix that no other test uses."""
        return f"/test/{secrets.token_hex(6)}"

    async def post(self, path: str, request: Any) -> Any:
        """Ask for what the client cannot, through the gateway."""
        return await trio.to_thread.run_sync(self._post, path, request)

    async def compact(self) -> None:
        """Have etcd forget everything but the present."""
        answer = await self.post("kv/range", {"key": "AA==", "limit": "1"})
        await self.post("kv/compaction", {"revision": answer["header"]["revision"], "physical": True})

    def _post(self, path: str, request: Any) -> Any:
        connection = http.client.HTTPConnection(self.endpoint.removeprefix("http://"), timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.request("POST", f"/v3/{path}", json.dumps(request))
            return json.loads(connection.getresponse().read())

    @contextlib.asynccontextmanager
    async def state(
        self, types: Sequence[ResourceType[Any]] = (), *, prefix: str = "", endpoint: str = "", **options: Any
    ) -> AsyncIterator[EtcdState]:
        """A state of its own, or the one below this prefix, once it can be used; through another endpoint, if given."""
        async with (
            EtcdClient([endpoint or self.endpoint]) as client,
            open_etcd(client, types=types, prefix=prefix or self.prefix(), **options) as state,
        ):
            await state.until_available("")
            yield state


class Wire:
    """A way to etcd that can be cut: then connections end, and new ones get no answer."""

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self._whole = trio.Event()
        self._whole.set()
        self._connections: set[trio.CancelScope] = set()
        self.endpoint = ""

    def cut(self) -> None:
        """End all connections, and let new ones wait."""
        self._whole = trio.Event()
        for scope in tuple(self._connections):
            scope.cancel()

    def heal(self) -> None:
        """Let connections through again."""
        self._whole.set()

    async def serve(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Pass connections on until cancelled."""
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.endpoint = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        task_status.started()
        await trio.serve_listeners(self._pass_on, [listener])

    async def _pass_on(self, near: trio.SocketStream) -> None:
        await self._whole.wait()
        with trio.CancelScope() as scope, contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            self._connections.add(scope)
            try:
                async with near, await trio.open_tcp_stream(*self._target) as far, trio.open_nursery() as nursery:
                    nursery.start_soon(self._copy, near, far, scope)
                    await self._copy(far, near, scope)
            finally:
                self._connections.discard(scope)

    async def _copy(self, source: trio.SocketStream, target: trio.SocketStream, scope: trio.CancelScope) -> None:
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async for data in source:
                await target.send_all(data)
        scope.cancel()


@contextlib.asynccontextmanager
async def wired(etcd: SharedEtcd) -> AsyncIterator[Wire]:
    """A way to this etcd, for as long as the block."""
    host, _, port = etcd.endpoint.removeprefix("http://").rpartition(":")
    wire = Wire(host, int(port))
    async with trio.open_nursery() as nursery:
        await nursery.start(wire.serve)
        yield wire
        nursery.cancel_scope.cancel()


@contextlib.contextmanager
def running_etcd(*arguments: str) -> Iterator[SharedEtcd]:
    """A member on loopback, healthy when the block begins."""
    (place,) = loopback(1)
    endpoint, peer = place.url(place.client_port), place.url(place.peer_port)
    with tempfile.TemporaryDirectory(prefix="etcd-") as directory:
        command = (
            *("etcd", "--name", "shared", "--data-dir", str(Path(directory, "data")), "--logger", "zap"),
            *("--log-level", "error", "--unsafe-no-fsync", *FAST_TIMERS),
            *("--listen-client-urls", endpoint, "--advertise-client-urls", endpoint),
            *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
            *("--initial-cluster", f"shared={peer}", *arguments),
        )
        with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:
            try:
                _wait_healthy(place.address, place.client_port)
                yield SharedEtcd(endpoint)
            finally:
                process.kill()


def _wait_healthy(address: str, port: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        connection = http.client.HTTPConnection(address, port, timeout=2)
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/health")
            if b'"true"' in connection.getresponse().read():
                return
        if time.monotonic() > deadline:
            raise TimeoutError(f"etcd is not healthy after {PATIENCE:g} s")
        time.sleep(0.02)
