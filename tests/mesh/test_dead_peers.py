"""Peers of the gRPC server that vanish without a word, as when a cable is cut."""

import socket

import pytest
import trio

from nodespan.runtime.api.grpc import Limits, Server, frame
from tests.runtime.api.grpc.greeter import Greeter, RawClient
from tests.support.deadlines import PATIENCE
from tests.support.netns import connect, entered, namespaces
from tests.support.process import eventually


@pytest.mark.parametrize("method", ["Hang", "Count"], ids=["idle", "being sent to"])
async def test_the_connection_of_a_vanished_peer_is_closed(method: str) -> None:
    with namespaces("server", "client") as (there, here):
        connect(there, "veth0", here, "veth0")
        there.run("ip", "address", "add", "10.99.0.1/24", "dev", "veth0")
        here.run("ip", "address", "add", "10.99.0.2/24", "dev", "veth0")
        with entered(there):
            listening = socket.create_server(("10.99.0.1", 0))
        with entered(here):
            connected = socket.create_connection(listening.getsockname())
        greeter = Greeter()
        server = Server(greeter.service(Limits(idle_probe=1, dead_after=3)))
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(listening))
        async with trio.open_nursery() as nursery:
            await nursery.start(lambda task_status: server.serve([listener], grace=0, task_status=task_status))
            async with trio.SocketStream(trio.socket.from_stdlib_socket(connected)) as stream:
                client = RawClient(stream)
                client.request(f"/test.Greeter/{method}", frame(b""))
                await client.flush()
                await eventually(lambda: greeter.calls)
                there.run("ip", "link", "set", "veth0", "netns", here.name, "name", "gone")
                with trio.fail_after(PATIENCE):
                    await greeter.cancelled.wait()
            nursery.cancel_scope.cancel()
