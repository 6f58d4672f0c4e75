"""A gRPC client for trio, on the framing of the server beside it.

async with open_channel([Endpoint.parse("https://192.0.2.1:50000")]) as channel:
    greeting = await channel.unary("/example.Greeter/Greet", Name(name="you"), Greeting.FromString, timeout=5)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

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


def __getattr__(name: str) -> Any:
    # What is not used is not imported: who needs an error needs no channel.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    return value
