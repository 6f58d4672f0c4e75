"""The reference implementation's server, with a method of each kind, in threads of its own."""

import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import attrs
import grpc

PATH = "/test.Reference"


@attrs.define
class Reference:
    """The server; `metadata` is that of the last call, `ended` the methods whose calls have ended."""

    port: int = 0
    metadata: dict[str, str | bytes] = attrs.field(factory=dict)
    ended: list[str] = attrs.field(factory=list)

    def echo(self, request: bytes, context: Any) -> bytes:
        self.metadata = dict(context.invocation_metadata())
        context.send_initial_metadata((("greeting", "hello"), ("raw-bin", b"\x00\xff")))
        context.set_trailing_metadata((("farewell", "bye"),))
        return request

    def fail(self, request: bytes, context: Any) -> bytes:
        context.set_trailing_metadata((("reason", "because"),))
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, request.decode())
        raise AssertionError

    def hang(self, _request: bytes, context: Any) -> Iterator[bytes]:
        context.add_callback(lambda: self.ended.append("hang"))
        over = threading.Event()
        context.add_callback(over.set)
        yield b"begun"
        over.wait(60)

    def blocks(self, request: bytes, _context: Any) -> Iterator[bytes]:
        count, size = map(int, request.split())
        for _ in range(count):
            yield bytes(size)

    def total(self, requests: Iterator[bytes], _context: Any) -> bytes:
        return b"%d" % sum(map(len, requests))

    def chat(self, requests: Iterator[bytes], _context: Any) -> Iterator[bytes]:
        for request in requests:
            yield request.upper()


@contextlib.contextmanager
def reference_server(
    *, authority: bytes | None = None, certificate: tuple[Path, Path] | None = None
) -> Iterator[Reference]:
    """Serve while the block runs: over TLS with a certificate; to clients of the authority only, if there is one."""
    reference = Reference()
    handlers = {
        "Echo": grpc.unary_unary_rpc_method_handler(reference.echo),
        "Fail": grpc.unary_unary_rpc_method_handler(reference.fail),
        "Hang": grpc.unary_stream_rpc_method_handler(reference.hang),
        "Blocks": grpc.unary_stream_rpc_method_handler(reference.blocks),
        "Total": grpc.stream_unary_rpc_method_handler(reference.total),
        "Chat": grpc.stream_stream_rpc_method_handler(reference.chat),
    }
    server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(PATH[1:], handlers),))
    if certificate is None:
        reference.port = server.add_insecure_port("127.0.0.1:0")
    else:
        chain, key = (file.read_bytes() for file in certificate)
        credentials = grpc.ssl_server_credentials([(key, chain)], authority, require_client_auth=authority is not None)
        reference.port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    try:
        yield reference
    finally:
        server.stop(0).wait()
