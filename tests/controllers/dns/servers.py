"""Servers for others' names, of the tests' own: what they answer, and whether, is up to the test."""

import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import attrs
import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import h2.config
import h2.connection
import h2.events
import h2.exceptions
import trio

from tests.support.ports import free_port

HOST = "127.0.0.1"
Respond = Callable[[dns.message.QueryMessage], dns.message.Message | None]


def answer(
    question: dns.message.QueryMessage, *rrsets: str, rcode: int = 0, truncated: bool = False
) -> dns.message.Message:
    """An answer with these records, each `name ttl IN type value`."""
    message = dns.message.make_response(question, recursion_available=True)
    message.set_rcode(dns.rcode.Rcode(rcode))
    for text in rrsets:
        name, ttl, _, type, *values = text.split(" ", 4)
        message.answer.append(dns.rrset.from_text(name, int(ttl), "IN", type, *values))
    if truncated:
        message.flags |= dns.flags.TC
    return message


@attrs.define
class Server:
    """One server over UDP, TCP, TLS and HTTPS. What it was asked is in `asked`, by protocol.

    Names that begin with `slow` wait until the test lets them be answered; those that come later do not wait for them.
    """

    respond: Respond
    released: trio.Event = attrs.field(factory=trio.Event)
    ports: dict[str, int] = attrs.field(factory=dict)
    asked: list[tuple[str, dns.message.QueryMessage]] = attrs.field(factory=list)
    connections: int = 0

    async def reply(self, protocol: str, data: bytes) -> bytes | None:
        """The answer to a message."""
        question = dns.message.from_wire(data)
        assert isinstance(question, dns.message.QueryMessage)
        self.asked.append((protocol, question))
        if question.question[0].name.to_text().startswith("slow"):
            await self.released.wait()
        found = self.respond(question)
        return None if found is None else found.to_wire(max_size=65535)

    async def serve_udp(self, opened: trio.socket.SocketType) -> None:
        """Over UDP."""

        async def answer_to(data: bytes, source: tuple[object, ...]) -> None:
            if (found := await self.reply("udp", data)) is not None:
                await opened.sendto(found, source)

        async with trio.open_nursery() as nursery:
            while True:
                nursery.start_soon(answer_to, *await opened.recvfrom(4096))

    async def serve_stream(self, protocol: str, stream: trio.abc.Stream) -> None:
        """Over TCP or TLS."""
        self.connections += 1
        sending = trio.Lock()

        async def answer_to(data: bytes) -> None:
            if (found := await self.reply(protocol, data)) is not None:
                async with sending:
                    await stream.send_all(len(found).to_bytes(2) + found)

        try:
            async with stream, trio.open_nursery() as nursery:
                buffer = b""
                async for part in stream:
                    buffer += part
                    while len(buffer) >= 2 and len(buffer) >= 2 + (size := int.from_bytes(buffer[:2])):
                        nursery.start_soon(answer_to, buffer[2 : 2 + size])
                        buffer = buffer[2 + size :]
                nursery.cancel_scope.cancel()
        except* trio.BrokenResourceError:
            pass  # the client has closed the connection while it was answered

    async def serve_https(self, stream: trio.abc.Stream) -> None:
        """Over HTTP/2."""
        self.connections += 1
        machine = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding=None))
        machine.initiate_connection()
        bodies: dict[int, bytes] = {}
        sending = trio.Lock()

        async def flush() -> None:
            async with sending:
                await stream.send_all(machine.data_to_send())

        async def answer_to(number: int, data: bytes) -> None:
            found = await self.reply("https", data)
            # The client may have given it up meanwhile.
            with contextlib.suppress(h2.exceptions.StreamClosedError):
                machine.send_headers(number, [(":status", "503" if found is None else "200")], end_stream=found is None)
                if found is not None:
                    machine.send_data(number, found, end_stream=True)
            await flush()

        try:
            async with stream, trio.open_nursery() as nursery:
                await flush()
                async for part in stream:
                    for event in machine.receive_data(bytes(part)):
                        if isinstance(event, h2.events.RequestReceived):
                            headers = dict(event.headers)
                            assert (headers[b":method"], headers[b":path"]) == (b"POST", b"/dns-query")
                            assert headers[b"content-type"] == b"application/dns-message"
                            bodies[event.stream_id] = b""
                        elif isinstance(event, h2.events.DataReceived):
                            bodies[event.stream_id] += event.data
                        elif isinstance(event, h2.events.StreamEnded):
                            nursery.start_soon(answer_to, event.stream_id, bodies.pop(event.stream_id))
                    await flush()
                nursery.cancel_scope.cancel()
        except* trio.BrokenResourceError:
            pass  # the client has closed the connection while it was answered


@contextlib.asynccontextmanager
async def serving(respond: Respond, certificate: tuple[Path, Path] | None = None) -> AsyncIterator[Server]:
    """A server at ports of its own: `udp` and `tcp` have the same, `tls` and `https` are there with a certificate."""
    server = Server(respond)
    async with trio.open_nursery() as nursery:
        port = free_port()
        listeners = await trio.open_tcp_listeners(port, host=HOST)
        opened = trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM)
        with opened:
            await opened.bind((HOST, port))
            nursery.start_soon(server.serve_udp, opened)
            nursery.start_soon(trio.serve_listeners, lambda stream: server.serve_stream("tcp", stream), listeners)
            server.ports |= {"udp": port, "tcp": port}
            for protocol, alpn in () if certificate is None else (("tls", "dot"), ("https", "h2")):
                assert certificate is not None
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(*certificate)
                context.set_alpn_protocols([alpn])
                secure = await trio.open_ssl_over_tcp_listeners(0, context, host=HOST, https_compatible=True)
                transport: trio.SocketListener = secure[0].transport_listener  # type: ignore[assignment]
                server.ports[protocol] = transport.socket.getsockname()[1]
                nursery.start_soon(_serve_secure, server, protocol, secure)
            yield server
            nursery.cancel_scope.cancel()


async def _serve_secure(server: Server, protocol: str, listeners: list[trio.SSLListener[trio.SocketStream]]) -> None:
    async def handle(stream: trio.SSLStream[trio.SocketStream]) -> None:
        try:
            await stream.do_handshake()
        except trio.BrokenResourceError:
            # Of a client that does not trust the certificate.
            return
        if protocol == "https":
            await server.serve_https(stream)
        else:
            await server.serve_stream(protocol, stream)

    await trio.serve_listeners(handle, listeners)
