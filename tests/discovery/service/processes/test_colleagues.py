"""The connection between two processes carries the calls of many clients."""

import math
from pathlib import Path

import pytest
import structlog
import trio

from nodespan.discovery.service.processes.colleagues import answer_colleagues, open_colleagues
from nodespan.discovery.service.processes.team import Team, owner_of
from nodespan.discovery.wire import server_pb2 as wire
from nodespan.runtime.api.grpc import Call, Peer, Status, methods, server_stream
from tests.support.deadlines import PATIENCE

# More than one client may have at once.
_WATCHES = 1_100


class _Client:
    """Counts what it is sent."""

    def __init__(self) -> None:
        self.received = 0
        self.has_all = trio.Event()

    async def send(self, _data: bytes) -> None:
        self.received += 1
        if self.received == _WATCHES:
            self.has_all.set()
        await trio.lowlevel.checkpoint()

    def offer(self, _data: bytes) -> bool:
        return False

    def end(self, _status: Status) -> None:
        raise AssertionError


async def test_many_calls_of_clients_are_forwarded_and_given_up_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Fewer than these would be too many for a client.
    monkeypatch.setattr("nodespan.runtime.api.grpc.connection._BURST_OF_RESETS", 1)

    async def watch(_request: wire.WatchRequest, call: Call) -> None:
        await call.send(wire.WatchResponse())
        await trio.sleep_forever()

    log = structlog.get_logger()
    given = methods(server_stream("/test.Cluster/Watch", wire.WatchRequest, watch))
    cluster = next(f"c{number}" for number in range(99) if owner_of(f"c{number}", 2) == 1)
    async with trio.open_nursery() as nursery:
        await nursery.start(answer_colleagues, Team(1, 2, tmp_path), given, log)
        async with open_colleagues(Team(0, 2, tmp_path), log) as colleagues:
            (method,) = colleagues.routed(given).values()

            def begin(client: _Client, nursery: trio.Nursery) -> None:
                call = Call(method, Peer(), (), math.inf, client)
                nursery.start_soon(method.handler, wire.WatchRequest(cluster_id=cluster), call)

            begin(_Client(), nursery)  # one that stays, whatever the others do
            with trio.fail_after(PATIENCE):
                for _ in range(2):
                    client = _Client()
                    async with trio.open_nursery() as watches:
                        for _ in range(_WATCHES):
                            begin(client, watches)
                        await client.has_all.wait()
                        watches.cancel_scope.cancel()
            nursery.cancel_scope.cancel()
