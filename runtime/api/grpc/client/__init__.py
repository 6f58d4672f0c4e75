"""A gRPC client for trio, on the framing of the server beside it.

async with open_channel([Endpoint.parse("https://192.0.2.1:50000")]) as channel:
    greeting = await channel.unary("/example.Greeter/Greet", Name(name="you"), Greeting.FromString, timeout=5)
"""

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
