"""A node's side of one relay: the stream is opened, proved and kept, again and again until it is cancelled.

Packets to be sent wait in a queue of bounded size, of which the oldest is dropped: what goes through a tunnel is sent
again by its ends, and late packets are worth less than none. What comes is given to a function as it comes.
"""

import random as randoms
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Protocol

import attrs
import trio

from nodespan.discovery.client import TransportError
from nodespan.discovery.endpoint_url import DialAddress
from nodespan.discovery.relay import wire
from nodespan.discovery.relay.proof import ProofError, prove
from nodespan.runtime.api.grpc import Code, RPCError
from nodespan.runtime.api.grpc.client import Call, CallError, Channel, ChannelOptions, Endpoint
from nodespan.runtime.background import background
from nodespan.runtime.backoff import Backoff, Exponential
from nodespan.runtime.process.logger import Logger

# How long, in seconds, each step of the opening may take.
_PATIENCE = 15.0
# Proxies and address translators forget connections that are silent.
_KEEPALIVE = 25.0
# How much may be under way to this node before the relay waits; and how little the kernel should keep of what goes out.
_WINDOW = 1 << 20
_UNSENT = 64 << 10
_QUEUE = 256 << 10
_BACKOFF = Exponential(base=0.5, factor=1.7, cap=15.0, jitter=0.3)
# A stream that has lasted for so many seconds has worked: the next attempt is made at once.
_HAS_WORKED = 30.0
_SAMPLES = 3
_OPTIONS = ChannelOptions(keepalive=_KEEPALIVE, window=_WINDOW, max_message=wire.LARGEST_MESSAGE + 1024, unsent=_UNSENT)
_MEASURED = ChannelOptions(max_message=1024)

# Is given the encoded address of a source, and the packets that came from it.
Receive = Callable[[bytes, Sequence[bytes]], None]


class Channels(Protocol):
    """Where channels come from: `nodespan.discovery.transport.GrpcTransport`."""

    def channel(self, target: DialAddress, options: ChannelOptions) -> AbstractAsyncContextManager[Channel]:
        """A channel to a service. Raises TransportError."""
        ...


@attrs.frozen(kw_only=True)
class RelayClientOptions:
    """Which relay, and who asks: the node's WireGuard keys (32 bytes each) and its cluster."""

    target: DialAddress
    private_key: bytes = attrs.field(repr=False)
    public_key: bytes
    cluster_id: str


class RelayClient:
    """The client of one relay. Make it, `run` it in a task; `send` at any time."""

    def __init__(
        self,
        options: RelayClientOptions,
        channels: Channels,
        receive: Receive,
        *,
        on_change: Callable[[], None],
        log: Logger,
        random: randoms.Random,
        port: int = 0,
    ) -> None:
        self.options = options
        # What was granted last: it stays while the stream is being opened again, for the relay keeps the port.
        self.grant: wire.Grant | None = None
        self.is_connected = False
        self.failure = ""
        # Whether the relay has no place for this node, as `failure` says.
        self.is_refused = False
        # Since when it is as it is, by trio's clock.
        self.since = trio.current_time()
        # Packets and bytes that were sent and received; and packets that were dropped.
        self.sent: Counter[str] = Counter()
        self.received: Counter[str] = Counter()
        self.dropped = 0
        self._channels = channels
        self._receive = receive
        self._on_change = on_change
        self._log = log
        self._backoff = Backoff(random, _BACKOFF)
        self._port = port
        self._queue: deque[tuple[bytes, int]] = deque()
        self._queued = 0
        self._more = trio.lowlevel.ParkingLot()
        self._attempt = trio.CancelScope()
        # The stream while it is open.
        self._call: Call[bytes] | None = None

    @property
    def endpoints(self) -> tuple[str, ...]:
        """The addresses of this node at the relay, as endpoints; none before the first grant."""
        return () if self.grant is None else tuple(str(Endpoint(*each)) for each in self.grant.endpoints)

    def send(self, address: bytes, packets: Sequence[bytes]) -> None:
        """Send packets to an encoded address, as soon as that is possible; does not wait."""
        if not self.is_connected:
            self.dropped += len(packets)
            return
        # The relay ends the stream of a node that sends anything else.
        carried = [packet for packet in packets if wire.looks_like_wireguard(packet)]
        self.dropped += len(packets) - len(carried)
        for message, count in wire.packets_messages(address, carried):
            self._send(message, count)

    def _send(self, message: bytes, packets: int) -> None:
        if not self._queue and self._call is not None and self._call.offer(message):
            self._count(message, packets)
            return
        self._queued += len(message)
        self._queue.append((message, packets))
        while self._queued > _QUEUE and len(self._queue) > 1:
            oldest, count = self._queue.popleft()
            self._queued -= len(oldest)
            self.dropped += count
        self._more.unpark_all()

    def reconnect(self) -> None:
        """Open the stream again: the way to the relay has changed."""
        self._backoff.reset()
        self._attempt.cancel()

    async def run(self) -> None:
        """Keep the stream until cancelled."""
        while True:
            began = trio.current_time()
            failure, is_refused = "", False
            with trio.CancelScope() as self._attempt:
                try:
                    await self._stream()
                    failure = "the relay has ended the stream"
                except (TransportError, CallError, wire.WireError, ProofError) as error:
                    failure = reason_of(error)
                    is_refused = not self.is_connected and is_refusal(error)
            if failure:
                self._lost(failure, is_refused=is_refused)
            else:
                self._lost(self.failure, is_refused=self.is_refused)
            if not failure:
                continue  # the way has changed
            if trio.current_time() - began > _HAS_WORKED:
                self._backoff.reset()
            with trio.CancelScope() as self._attempt:
                await trio.sleep(self._backoff.next())

    async def _stream(self) -> None:
        async with (
            self._channels.channel(self.options.target, _OPTIONS) as channel,
            channel.open(wire.METHOD, bytes) as call,
        ):
            with trio.move_on_after(_PATIENCE) as patience:
                grant = await self._open(call)
            if patience.cancelled_caught:
                raise wire.WireError(f"the relay has not granted an address within {_PATIENCE:g} s")
            wire.check_loopback(grant.addresses, self.options.target.host)
            self._granted(grant)
            self._call = call
            call.pass_to(self._received)
            async with background(partial(self._send_queue, call)):
                # Until it ends: what comes is passed on.
                await call.receive()

    async def _open(self, call: Call[bytes]) -> wire.Grant:
        options = self.options
        hello = wire.Hello(
            key=options.public_key,
            cluster=wire.cluster_tag(options.cluster_id),
            port=self._port,
            name=Endpoint(options.target.host, options.target.port).authority,
        )
        await call.send(hello.encode())
        challenge = wire.Challenge.decode(await call.receive() or b"")
        await call.send(wire.encode_proof(prove(options.private_key, hello, challenge)))
        return wire.Grant.decode(await call.receive() or b"")

    def _count(self, message: bytes, packets: int) -> None:
        self.sent["packets"] += packets
        self.sent["bytes"] += len(message)

    def _received(self, message: bytes) -> None:
        """A message of the relay. Raises RPCError for an invalid one."""
        try:
            address = wire.address_of(message)
            at = 1 + len(address)
            count = wire.count_packets(message, at)
        except wire.WireError as error:
            raise RPCError(Code.INTERNAL, str(error)) from error
        self.received["packets"] += count
        self.received["bytes"] += len(message) - at - 2 * count
        self._receive(address, wire.packets_of(message, at))

    async def _send_queue(self, call: Call[bytes]) -> None:
        queue = self._queue
        try:
            while True:
                while queue:
                    message, count = queue.popleft()
                    self._queued -= len(message)
                    await call.send(message)
                    self._count(message, count)
                await self._more.park()
        except CallError:
            # The one who receives is told the same, with the reason.
            return

    def _granted(self, grant: wire.Grant) -> None:
        self.grant, self._port = grant, grant.port
        self.is_connected, self.failure, self.is_refused, self.since = True, "", False, trio.current_time()
        self._log.info("a relay is used", relay=self.options.target.address, endpoints=self.endpoints)
        self._on_change()

    def _lost(self, failure: str, *, is_refused: bool) -> None:
        was_connected, self.is_connected = self.is_connected, False
        self._call = None
        if was_connected:
            self.since = trio.current_time()
        self.dropped += sum(count for _, count in self._queue)
        self._queue.clear()
        self._queued = 0
        if was_connected or failure != self.failure:
            if failure:
                self._log.warning("a relay cannot be used", relay=self.options.target.address, reason=failure)
            self.failure, self.is_refused = failure, is_refused
            self._on_change()


async def measure(target: DialAddress, channels: Channels) -> tuple[float, wire.Description]:
    """The round trip to a relay, in seconds (the shortest of a few), and what it has.

    Raises TransportError, CallError and WireError.
    """
    async with channels.channel(target, _MEASURED) as channel, channel.open(wire.DESCRIBE_METHOD, bytes) as call:
        shortest, described = float("inf"), wire.Description(0, (0, 0), ())
        # The first answer includes the making of the connection.
        for _ in range(_SAMPLES + 1):
            before = trio.current_time()
            await call.send(b"?")
            described = wire.Description.decode(await call.receive() or b"")
            shortest = min(shortest, trio.current_time() - before)
        wire.check_loopback(described.addresses, target.host)
        return shortest, described


def is_refusal(error: Exception) -> bool:
    """Whether a relay that was asked for an address says that it has none for this node.

    What the connection or this end takes for too much has the same code, but is no status of the relay.
    """
    return isinstance(error, CallError) and error.code is Code.RESOURCE_EXHAUSTED and bool(error.trailers)


def reason_of(error: Exception) -> str:
    """Why a relay cannot be used."""
    if isinstance(error, CallError) and error.code is Code.UNIMPLEMENTED:
        return "the service there is no relay"
    return str(error)
