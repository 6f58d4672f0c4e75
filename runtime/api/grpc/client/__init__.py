"""A gRPC client for trio, on the framing of the server beside it.

async with open_channel([Endpoint.parse("https://192.0.2.1:50000")]) as channel:
    greeting = await channel.unary("/example.Greeter/Greet", Name(name="you"), Greeting.FromString, timeout=5)
"""

from typing import TYPE_CHECKING

from nodespan.runtime.loading import names_in

if TYPE_CHECKING:
    from nodespan.runtime.api.grpc.client.call import Call
    from nodespan.runtime.api.grpc.client.channel import Channel, open_channel
    from nodespan.runtime.api.grpc.client.endpoint import Endpoint, EndpointError
    from nodespan.runtime.api.grpc.client.errors import CallError, Metadata, Stage
    from nodespan.runtime.api.grpc.client.options import ChannelOptions
    from nodespan.runtime.api.grpc.client.proxies import Proxy
    from nodespan.runtime.api.grpc.client.trust import TrustError, client_context, system_roots

__all__ = [
    "Call",
    "CallError",
    "Channel",
    "ChannelOptions",
    "Endpoint",
    "EndpointError",
    "Metadata",
    "Proxy",
    "Stage",
    "TrustError",
    "client_context",
    "open_channel",
    "system_roots",
]


_HOMES = {
    "Call": "call",
    "CallError": "errors",
    "Channel": "channel",
    "ChannelOptions": "options",
    "Endpoint": "endpoint",
    "EndpointError": "endpoint",
    "Metadata": "errors",
    "Proxy": "proxies",
    "Stage": "errors",
    "TrustError": "trust",
    "client_context": "trust",
    "open_channel": "channel",
    "system_roots": "trust",
}

# What is not used is not imported: who needs an error needs no channel.
__getattr__ = names_in(__name__, _HOMES)
