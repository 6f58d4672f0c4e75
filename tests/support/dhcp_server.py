"""DHCP servers for tests: a real dnsmasq, and a small one that does as a test tells it: late, refusing, silent.

The small one is for DHCPv4, and pure, or on a real link.
"""

import contextlib
import socket
from collections.abc import AsyncIterator
from ipaddress import IPv4Address
from pathlib import Path

import attrs
import trio

from nodespan.controllers.network.dhcp.message4 import UNSPECIFIED, Code, Message4, MessageType, decode, encode
from tests.support.netns import Namespace, entered
from tests.support.process import running

# What a message is about: the four ways to ask, by what is in it (RFC 2131, table 4).
DISCOVER, SELECT, REBOOT, EXTEND, DECLINE, RELEASE = "discover", "select", "reboot", "extend", "decline", "release"
_OTHER_KINDS = {
    MessageType.DISCOVER: DISCOVER,
    MessageType.DECLINE: DECLINE,
    MessageType.RELEASE: RELEASE,
}


def kind_of(message: Message4) -> str:
    """What the client wants."""
    if message.type != MessageType.REQUEST:
        return _OTHER_KINDS[message.type]
    if message.client_address != UNSPECIFIED:
        return EXTEND
    return SELECT if message.option(Code.SERVER_ID) else REBOOT


@attrs.define(kw_only=True)
class ScriptedServer:
    """Lends one address. Tests change the fields as they go, and find what came in `seen`.

    `silent_on` and `refuses` are kinds of messages; `delay` is seconds until an answer leaves.
    """

    server: IPv4Address = attrs.field(factory=lambda: IPv4Address("192.0.2.1"))
    lends: IPv4Address = attrs.field(factory=lambda: IPv4Address("192.0.2.100"))
    seconds: int = 10
    options: dict[int, bytes] = attrs.field(factory=dict)
    delay: float = 0.0
    broadcasts: bool = False
    silent_on: frozenset[str] = frozenset()
    refuses: frozenset[str] = frozenset()
    refusal: bytes = b"not here"
    seen: list[Message4] = attrs.field(factory=list)

    @property
    def kinds(self) -> list[str]:
        """What came, by kind."""
        return [kind_of(message) for message in self.seen]

    def answer(self, message: Message4) -> Message4 | None:
        """The answer, None if there is none."""
        kind = kind_of(message)
        if message.is_reply or not self._is_for_me(message):
            return None
        self.seen.append(message)
        if kind in self.silent_on or kind in (DECLINE, RELEASE):
            return None
        answer = Message4(
            type=MessageType.NAK,
            xid=message.xid,
            is_reply=True,
            hardware_address=message.hardware_address,
            options=((Code.SERVER_ID, self.server.packed), (Code.MESSAGE, self.refusal)),
        )
        if kind in self.refuses:
            return answer
        lent = {
            Code.SERVER_ID: self.server.packed,
            Code.LEASE_TIME: self.seconds.to_bytes(4),
            Code.SUBNET_MASK: IPv4Address("255.255.255.0").packed,
            **self.options,
        }
        return attrs.evolve(
            answer,
            type=MessageType.OFFER if kind == DISCOVER else MessageType.ACK,
            your_address=self.lends,
            options=tuple((int(code), data) for code, data in lent.items()),
        )

    def _is_for_me(self, message: Message4) -> bool:
        return message.option(Code.SERVER_ID) in (None, self.server.packed)


@contextlib.asynccontextmanager
async def serving(script: ScriptedServer, inside: Namespace, link_name: str) -> AsyncIterator[None]:
    """The server on a real link, for as long as the block lasts."""
    with entered(inside):
        port = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    with port:
        port.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        port.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, link_name.encode())
        port.bind(("0.0.0.0", 67))
        udp = trio.socket.from_stdlib_socket(port)
        async with trio.open_nursery() as nursery:

            async def send(answer: Message4, destination: str) -> None:
                await trio.sleep(script.delay)
                await udp.sendto(encode(answer), (destination, 68))

            async def serve() -> None:
                while True:
                    message = decode(await udp.recv(2048))
                    answer = script.answer(message)
                    if answer is not None:
                        everybody = script.broadcasts or message.client_address == UNSPECIFIED
                        target = "255.255.255.255" if everybody else str(message.client_address)
                        nursery.start_soon(send, answer, target)

            nursery.start_soon(serve)
            yield
            nursery.cancel_scope.cancel()


@contextlib.asynccontextmanager
async def dnsmasq(inside: Namespace, directory: Path, *options: str) -> AsyncIterator[trio.Process]:
    """A real dnsmasq on all links of a namespace, for as long as the block lasts; its leases are in the directory."""
    command = ("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--log-facility=-", "--no-ping")
    files = (f"--dhcp-leasefile={directory}/leases", f"--pid-file={directory}/pid", "--user=root")
    async with running(*command, *files, "--log-dhcp", *options, namespace=inside) as process:
        yield process
