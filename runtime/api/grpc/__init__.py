"""A gRPC server for trio: unary methods, streams of responses and streams both ways, as plain functions.

async def greet(request: Name, call: Call) -> Greeting:
    return Greeting(text=f"hello, {request.name}")

service = Service(methods=methods(unary("/example.Greeter/Greet", Name, greet)), log=log)
await Server(service).serve(await trio.open_tcp_listeners(8080))
"""

from typing import TYPE_CHECKING

from nodespan.runtime.loading import names_in

if TYPE_CHECKING:
    from nodespan.runtime.api.grpc.framing import frame, frame_head
    from nodespan.runtime.api.grpc.inbox import Inbox
    from nodespan.runtime.api.grpc.limits import Bounds, Limits
    from nodespan.runtime.api.grpc.method import AtOnce, Call, Method, Peer, duplex, methods, server_stream, unary
    from nodespan.runtime.api.grpc.server import Server
    from nodespan.runtime.api.grpc.server_machine import Headers
    from nodespan.runtime.api.grpc.sources import Sources, source_of
    from nodespan.runtime.api.grpc.status import Code, RPCError, Status
    from nodespan.runtime.api.grpc.stream import Service

__all__ = [
    "AtOnce",
    "Bounds",
    "Call",
    "Code",
    "Headers",
    "Inbox",
    "Limits",
    "Method",
    "Peer",
    "RPCError",
    "Server",
    "Service",
    "Sources",
    "Status",
    "duplex",
    "frame",
    "frame_head",
    "methods",
    "server_stream",
    "source_of",
    "unary",
]


_HOMES = {
    "AtOnce": "method",
    "Bounds": "limits",
    "Call": "method",
    "Code": "status",
    "Headers": "server_machine",
    "Inbox": "inbox",
    "Limits": "limits",
    "Method": "method",
    "Peer": "method",
    "RPCError": "status",
    "Server": "server",
    "Service": "stream",
    "Sources": "sources",
    "Status": "status",
    "duplex": "method",
    "frame": "framing",
    "frame_head": "framing",
    "methods": "method",
    "server_stream": "method",
    "source_of": "sources",
    "unary": "method",
}

# What is not used is not imported: a client needs no server.
__getattr__ = names_in(__name__, _HOMES)
