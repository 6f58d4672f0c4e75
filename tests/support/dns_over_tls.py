"""A name server that is asked over TLS, and has one address for all names."""

import contextlib
import socketserver
import ssl
import struct
import threading
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

from tests.support.netns import Namespace, entered

_PORT = 853
_HEADER = struct.Struct("!6H")
_ANSWERED, _ADDRESS = 0x8180, 1


@contextlib.contextmanager
def answering(inside: Namespace, address: str, certificate: tuple[Path, Path], answer: str) -> Iterator[None]:
    """One that listens in a namespace for as long as the block lasts. In threads, for tests that block."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while length := self.rfile.read(2):
                reply = _reply(self.rfile.read(int.from_bytes(length)), IPv4Address(answer))
                self.wfile.write(len(reply).to_bytes(2) + reply)

    with entered(inside):
        server = socketserver.ThreadingTCPServer((address, _PORT), Handler)
    server.daemon_threads = True
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def _reply(query: bytes, answer: IPv4Address) -> bytes:
    id, _, questions, *_ = _HEADER.unpack_from(query)
    end = query.index(0, _HEADER.size) + 1
    kind, _ = struct.unpack_from("!2H", query, end)
    record = struct.pack("!3HIH4s", 0xC000 | _HEADER.size, _ADDRESS, 1, 60, 4, answer.packed)
    answers = [record] if kind == _ADDRESS else []
    header = _HEADER.pack(id, _ANSWERED, questions, len(answers), 0, 0)
    return header + query[_HEADER.size : end + 4] + b"".join(answers)
