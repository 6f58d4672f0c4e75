"""The options of a relay on the command line, and both commands that serve one."""

import argparse
import contextlib
import ssl
import urllib.request
from collections.abc import AsyncIterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import h2.events
import pytest
import trio

from nodespan.discovery.cli import command as discovery_command
from nodespan.discovery.endpoint_url import DialAddress
from nodespan.discovery.relay.client import measure
from nodespan.discovery.relay.relay import RelayOptions
from nodespan.discovery.relay.wire import METHOD, Description, Hello
from nodespan.discovery.relay_arguments import add_relay_arguments, relay_options
from nodespan.discovery.relay_cli import command as relay_command
from nodespan.discovery.service.relay_alone import RelayServerOptions, serve_relay
from nodespan.discovery.service.server import Bound, DiscoveryOptions, serve_discovery
from nodespan.discovery.transport import GrpcTransport
from nodespan.runtime.api.grpc import Code, frame
from nodespan.runtime.api.grpc.client import CallError
from nodespan.runtime.cli.errors import CommandError
from tests.runtime.api.grpc.greeter import RawClient
from tests.support.certificates import Authority

HOST = "127.0.0.1"
RELAY = RelayOptions(ports=(24200, 24299), addresses=(ip_address(HOST),))


def parsed(*words: str) -> RelayOptions:
    parser = argparse.ArgumentParser()
    add_relay_arguments(parser)
    parser.set_defaults(trust_x_real_ip=False, trust_first_x_forwarded_for=False)
    return relay_options(parser.parse_args(words))


def test_the_options_of_a_relay() -> None:
    options = parsed(
        *("--relay-address", "192.0.2.1", "--relay-address", "2001:db8::1", "--relay-ports", "30000-30009"),
        *(
            "--relay-name",
            "relay.example.org",
            "--relay-rate",
            "8",
            "--relay-total-rate",
            "80",
            "--relay-clients",
            "7",
            "--relay-cluster-clients",
            "3",
        ),
    )
    assert options.addresses == (ip_address("192.0.2.1"), ip_address("2001:db8::1"))
    assert options.ports == (30000, 30009)
    assert options.names == ("relay.example.org",)
    limits = options.limits
    assert (limits.rate, limits.cluster_rate, limits.total_rate) == (1e6, 5e6, 1e7)
    assert (limits.clients, limits.clients_per_cluster) == (7, 3)
    assert parsed() == RelayOptions()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--relay-ports", "30000"), "write it like 21000-24999"),
        (("--relay-ports", "30009-30000"), "ports are from 1024"),
        (("--relay-ports", "80-90"), "ports are from 1024"),
        (("--relay-address", "relay.example.org"), "write it like"),
        (("--relay-address", "::"), "nobody can be reached"),
        (("--relay-address", "192.0.2.1", "--relay-address", "192.0.2.2"), "one address of IPv4"),
        (("--relay-rate", "inf"), "--relay-rate: must be at most"),
        (("--relay-total-rate", "nan"), "--relay-total-rate: must be more than 0"),
        (("--relay-rate", "0"), "--relay-rate: must be more than 0"),
        (("--relay-clients", "-1"), "--relay-clients: must be more than 0"),
    ],
)
def test_a_mistake_is_named_with_its_option(words: tuple[str, ...], complaint: str) -> None:
    with pytest.raises(CommandError, match=complaint):
        parsed(*words)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ((), "give either --tls-cert"),
        (("--insecure", "--tls-cert", "a"), "both needed"),
        (("--insecure", "--rate-limit", "-1"), "must not be negative"),
        (("--insecure", "--listen", "3443"), "write it like"),
    ],
)
def test_a_mistake_of_relay_serve_is_named(words: tuple[str, ...], complaint: str) -> None:
    parser = argparse.ArgumentParser()
    relay_command.add_arguments(parser)
    with pytest.raises(CommandError, match=complaint):
        relay_command.run(parser.parse_args(("serve", *words)))


def test_each_process_of_a_relay_needs_a_port() -> None:
    parser = argparse.ArgumentParser()
    discovery_command.add_arguments(parser)
    words = ("serve", "--insecure", "--snapshot", "", "--relay", "--relay-ports", "30000-30002", "--processes", "4")
    with pytest.raises(CommandError, match="--relay-ports: each of --processes needs a port"):
        discovery_command.run(parser.parse_args(words))


@contextlib.asynccontextmanager
async def serving(*, alone: bool) -> AsyncIterator[Bound]:
    at = (HOST, 0)
    async with trio.open_nursery() as nursery:
        if alone:
            yield await nursery.start(serve_relay, RelayServerOptions(listen=at, relay=RELAY, metrics=at, pages=at))
        else:
            yield await nursery.start(serve_discovery, DiscoveryOptions(listen=at, relay=RELAY, metrics=at, pages=at))
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("alone", [True, False], ids=["alone", "beside discovery"])
async def test_a_relay_with_a_certificate_lets_nobody_in_by_another_name(alone: bool, tmp_path: Path) -> None:
    certificate = Authority("test").issue(tmp_path, "localhost")
    # Whoever passes a proof on does not check whom it talks to.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    serve: Any = serve_relay if alone else serve_discovery
    options = RelayServerOptions if alone else DiscoveryOptions
    async with trio.open_nursery() as nursery:
        bound = await nursery.start(serve, options(listen=(HOST, 0), relay=RELAY, certificate=certificate))
        async with await trio.open_tcp_stream(HOST, bound.port) as stream:
            client = RawClient(trio.SSLStream(stream, context, server_hostname="localhost", https_compatible=True))
            hello = Hello(key=bytes(32), cluster=bytes(16), name="x")
            client.request(METHOD, frame(hello.encode()), end=False)
            await client.flush()
            ended = await client.until(h2.events.ResponseReceived)
            fields: dict[Any, Any] = dict(ended.headers)
            assert fields["grpc-status"] == str(Code.PERMISSION_DENIED.value)
            assert "does not have" in fields["grpc-message"]
        nursery.cancel_scope.cancel()


async def page(url: str) -> str:
    def read() -> str:
        with urllib.request.urlopen(url) as answer:
            text: str = answer.read().decode()
            return text

    return await trio.to_thread.run_sync(read)


@pytest.mark.parametrize("alone", [True, False], ids=["alone", "beside discovery"])
async def test_a_relay_describes_itself_to_nodes_scrapers_and_visitors(alone: bool) -> None:
    async with serving(alone=alone) as bound:
        target = DialAddress(f"{HOST}:{bound.port}", insecure=True)
        _, described = await measure(target, GrpcTransport(environment=dict))
        assert described == Description(100, (24200, 24299), (ip_address(HOST),))
        metrics = await page(f"{bound.metrics}/metrics")
        assert "relay_ports_free 100.0" in metrics
        assert ("discovery_state_clusters" in metrics) is not alone
        shown = await page(f"{bound.pages}/relay")
        assert "UDP ports 24200 to 24299" in shown
        assert "0 of at most 4000" in shown


async def test_a_service_without_a_relay_says_so() -> None:
    async with trio.open_nursery() as nursery:
        bound: Bound = await nursery.start(serve_discovery, DiscoveryOptions(listen=(HOST, 0)))
        with pytest.raises(CallError) as caught:
            await measure(DialAddress(f"{HOST}:{bound.port}", insecure=True), GrpcTransport(environment=dict))
        assert caught.value.code is Code.UNIMPLEMENTED
        nursery.cancel_scope.cancel()
