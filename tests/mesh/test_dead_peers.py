"""Ends of a connection that vanish without a word, as when a cable is cut or an address moves."""

import functools
import random
import secrets
import socket
from collections.abc import Callable

import pytest
import trio
from structlog import get_logger

from nodespan.discovery import transport
from nodespan.discovery.affiliate import AffiliateData
from nodespan.discovery.client import Client, ClientOptions
from nodespan.discovery.endpoint_url import DialAddress
from nodespan.discovery.service.server import DiscoveryOptions, Listeners, serve_discovery
from nodespan.discovery.transport import GrpcTransport
from nodespan.runtime.api.grpc import Limits, Server, frame
from nodespan.runtime.api.grpc.client import dial
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


async def test_a_discovery_service_whose_address_moves_is_found_again_by_its_name(
    monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    before, after = "10.99.0.1", "10.99.0.3"
    addresses, make = [before], trio.socket.socket

    async def look_up(_way: object, _host: str, port: int, _whose: str = "") -> list[tuple[str, int]]:
        return [(addresses[-1], port)]

    with namespaces("server", "client") as (there, here):
        connect(there, "veth0", here, "veth0")
        there.run("ip", "address", "add", f"{before}/24", "dev", "veth0")
        here.run("ip", "address", "add", "10.99.0.2/24", "dev", "veth0")
        with entered(there):
            listening = socket.create_server(("0.0.0.0", 0))  # at whatever address the machine has

        def make_here(family: int, kind: int) -> trio.socket.SocketType:
            with entered(here):
                return make(family, kind)

        monkeypatch.setattr(dial._Way, "look_up", look_up)
        # Four and six seconds otherwise.
        monkeypatch.setattr(transport, "_PROBE_AFTER", 1.0)
        monkeypatch.setattr(transport, "_PROBE_TIMEOUT", 2.0)
        monkeypatch.setattr(trio.socket, "socket", make_here)
        target = DialAddress(f"discovery.test:{listening.getsockname()[1]}", insecure=True)
        client = Client(
            ClientOptions(target=target, cluster_id="cluster", node_id="me", key=bytes(32)),
            GrpcTransport(environment=dict),
            log=get_logger(),
            random=random.Random(0),
            random_bytes=secrets.token_bytes,
        )
        client.publish(AffiliateData(node_id="me"), ())
        listeners = Listeners(clients=[trio.SocketListener(trio.socket.from_stdlib_socket(listening))])
        async with trio.open_nursery() as nursery:
            serve = functools.partial(serve_discovery, DiscoveryOptions(listen=("", 0)), listeners=listeners)
            await nursery.start(serve)
            nursery.start_soon(client.run)
            await eventually(lambda: client.is_connected)
            there.run("ip", "address", "del", f"{before}/24", "dev", "veth0")
            there.run("ip", "address", "add", f"{after}/24", "dev", "veth0")
            addresses.append(after)
            began = trio.current_time()
            await eventually(lambda: not client.is_connected)
            record_property("noticed_seconds", round(trio.current_time() - began, 1))
            await eventually(lambda: client.is_connected)
            record_property("found_seconds", round(trio.current_time() - began, 1))
            nursery.cancel_scope.cancel()
