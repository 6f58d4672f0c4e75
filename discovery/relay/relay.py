"""The relay: gives each client a UDP port, and carries packets between that port and the client's stream.

    from              to                      what happens
    the world         a client's port         goes down the client's stream, with the source's address
    a client          an address that has     goes out from the client's port
                      sent to the port
    a client          another client's port   goes down the other's stream, with the first one's address here; by way of
                                              the other's process, if there are several (`parts`)
    a client          anybody else            is dropped

Nothing waits for a client that does not read: it has a queue of bounded size, of which the oldest is dropped. A client
that sends more than it may is read more slowly; what comes for it from the world above its rate is dropped. The work is
done in turns (`turns`), since discovery has to answer beside it: what one read of a client brings is carried in pieces.
"""

import socket
from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence
from ipaddress import IPv4Address, IPv6Address

import attrs
import trio

from nodespan.discovery.relay import wire
from nodespan.discovery.relay.datagrams import Datagrams, Where, open_socket
from nodespan.discovery.relay.names import has_name
from nodespan.discovery.relay.parts import Part, decode_passed, passed_head
from nodespan.discovery.relay.proof import Challenger, ProofError
from nodespan.discovery.relay.rules import Census, Doors, Ports, RelayLimits
from nodespan.discovery.relay.turns import Turns
from nodespan.runtime.api.grpc import Call, Code, Inbox, Method, RPCError, Status, duplex, frame, frame_head, source_of
from nodespan.runtime.process.logger import Logger
from nodespan.runtime.token_bucket import TokenBucket
from nodespan.runtime.waiter import Waiter

FIRST_PORT, LAST_PORT = 21000, 24999
# How long, in seconds, a client has to prove its key, or to measure the way.
_PATIENCE = 10.0
# So often the relay describes itself in one call; clients ask four times.
_MOST_ANSWERS = 8
# What a packet costs, in bytes, beside its own: small ones are not for free.
_PACKET_COST = 64
# So many bytes of a queue are sent at once.
_SENT_AT_ONCE = 64 << 10
# So many packets and messages of a client are carried in one turn, and those of one message more.
_PIECE = 64
# A client has no more under way to the relay than it may send in so many seconds, for where it sends too much it waits
# there; and no more than such a part of what there is for all.
_WINDOW_SECONDS = 0.1
_WINDOW_PART = 8
# What each has in any case, in HTTP/2.
_SMALLEST_WINDOW = 64 << 10
_BIND_ATTEMPTS = 64
_SPENT_AT_ONCE = 32 << 10
# A shorter debt, in seconds, is left for the next read.
_SHORTEST_PAUSE = 0.002


@attrs.frozen(kw_only=True)
class RelayOptions:
    """The options of a relay.

    `addresses` are those that clients announce. Without any, each client gets the one that it has connected to.
    `checks_name`: a client must have dialled the name that its request is for, which a proxy in front may change.
    `names` are those of the relay, of which a client must have dialled one: those of its certificate unless given.
    `ports` and `limits` are for all processes, of which this one has its `part`.
    """

    ports: tuple[int, int] = (FIRST_PORT, LAST_PORT)
    addresses: tuple[IPv4Address | IPv6Address, ...] = ()
    limits: RelayLimits = attrs.Factory(RelayLimits)
    checks_name: bool = True
    names: tuple[str, ...] = ()
    part: Part = attrs.Factory(Part)


@attrs.frozen
class Rates:
    """What may be carried each way: from clients, and from the world. One takes nothing from the other."""

    outward: TokenBucket
    inward: TokenBucket

    @classmethod
    def of(cls, rate: float, limits: RelayLimits, now: float) -> "Rates":
        """Both full; a packet fits in, however low the rate is."""
        burst = max(rate * limits.burst, wire.LARGEST_PACKET + _PACKET_COST)
        return cls(TokenBucket(rate, burst, now), TokenBucket(rate, burst, now))


@attrs.define(eq=False)
class Client:
    """A client with its port. `prefixes` are its addresses here, encoded: of IPv4 and IPv6.

    What it needs for packets alone is made when some come: most clients of a relay need it only in an emergency.
    """

    relay: "Relay"
    key: bytes
    cluster: bytes
    source: object
    port: int
    opened: socket.socket
    call: Call
    doors: Doors
    prefixes: tuple[bytes, ...]
    # What it may have under way, 0 for the usual.
    window: int
    # What waits to be sent, with the number of its packets: a queue only while there is something.
    queue: deque[tuple[bytes, int]] | tuple[()] = ()
    queued: int = 0
    rates: Rates | None = None
    sent: int = 0
    heard: int = 0
    since: float = 0.0
    # What a read has brought, until it is carried.
    unread: list[bytes] = attrs.field(factory=list)
    unspent: int = 0
    more: Waiter = attrs.field(factory=Waiter)

    def prefix(self, family: int) -> bytes | None:
        """Its address of a family, 4 or 6."""
        for prefix in self.prefixes:
            if prefix[0] == family:
                return prefix
        return None

    def received(self, packets: list[tuple[bytes, Where]]) -> None:
        """Packets from the world have come."""
        self.relay.from_world(self, packets)

    async def pace(self, size: int) -> None:
        """After a read of what it sends: see `Relay.pace`."""
        await self.relay.pace(self, size)


@attrs.define
class _Onward:
    """Messages that go on together: for another client, or for the process at another place.

    `carried` are the bytes of the packets of those that are counted when they are taken there.
    """

    parts: list[bytes | memoryview] = attrs.field(factory=list)
    size: int = 0
    packets: int = 0
    messages: int = 0
    carried: int = 0

    def add(self, head: bytes, rest: memoryview, packets: int) -> None:
        """One more."""
        self.parts.append(head)
        self.parts.append(rest)
        self.size += len(head) + len(rest)
        self.packets += packets
        self.messages += 1


# By the client or the place that they are for.
_Lots = dict[Client | int, _Onward]


def source_of_call(call: Call) -> object:
    """Where a client connects from, as far as limits are concerned."""
    return None if call.peer.address is None else source_of(call.peer.address)


class Relay:
    """A relay. Serve its `methods`, and `run` it beside them."""

    def __init__(
        self,
        options: RelayOptions,
        log: Logger,
        *,
        source: Callable[[Call], object] = source_of_call,
        certificate_names: Callable[[], Collection[str]] | None = None,
        elsewhere: Callable[[int, bytes], bool] | None = None,
        now: Callable[[], float] = trio.current_time,
    ) -> None:
        """`elsewhere` passes something to the process at a place (`take_passed` there), and says whether it could."""
        self.options = options
        self._elsewhere = elsewhere
        self._log = log
        self._source = source
        self._certificate_names = certificate_names if options.checks_name else None
        self._now = now
        self._limits = self.limits = options.part.limits(options.limits)
        self._turns = Turns()
        self.datagrams: Datagrams[Client] = Datagrams(self._turns.next)
        self.ports = Ports(*options.part.ports(*options.ports))
        self.census = Census(self.limits)
        self._by_key: dict[bytes, Client] = {}
        self._by_port: dict[int, Client] = {}
        self._clusters: dict[bytes, tuple[Rates, set[bytes]]] = {}
        self._total = Rates.of(self.limits.total_rate, self.limits, now())
        self._both_families = False
        # The encoded addresses of this relay, without a port.
        self._own: set[bytes] = {_host_prefix(address) for address in options.addresses}
        self.queued = 0
        # What clients may have under way beyond the usual.
        self.windows = 0
        # Packets and bytes by way: in (from the world), out (to the world), across (between clients).
        self.packets: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()
        # By reason.
        self.dropped: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()

    @property
    def clients(self) -> Sequence[Client]:
        """The clients there are."""
        return tuple(self._by_key.values())

    def methods(self) -> tuple[Method, ...]:
        """The methods of the service."""
        return (duplex(wire.METHOD, self._carry), duplex(wire.DESCRIBE_METHOD, self._describe))

    async def run(self, *, both_families: bool, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Carry what comes from the world, until cancelled."""
        self._both_families = both_families
        with self.datagrams:
            task_status.started()
            await self.datagrams.run()

    # Calls.

    async def _describe(self, inbox: Inbox, call: Call) -> None:
        """Answer a few messages, by which clients measure the way, with what there is room for.

        An answer is a piece of work like what is carried, and one that needs no key.
        """
        answers = 0
        with trio.move_on_after(_PATIENCE) as patience:
            while await inbox.receive() is not None:
                if answers == _MOST_ANSWERS:
                    text = f"the relay describes itself at most {_MOST_ANSWERS} times a call"
                    raise RPCError(Code.RESOURCE_EXHAUSTED, text)
                answers += 1
                await self._turns.next()
                free = max(0, min(self.ports.free, self._limits.clients - self.census.clients))
                described = wire.Description(free, self.options.ports, self._addresses_for(call))
                await call.send_framed(frame(described.encode()))
        if patience.cancelled_caught:
            raise RPCError(Code.DEADLINE_EXCEEDED, f"the call has not ended within {_PATIENCE:g} s")

    async def _carry(self, inbox: Inbox, call: Call) -> None:
        source = self._source(call)
        hello = await self._proved(inbox, call, source)
        addresses = self._addresses_for(call)
        client = self._admit(call, hello, source, addresses)
        self._log.info("relay: a client has come", peer=str(call.peer), port=client.port)
        try:
            grant = wire.Grant(client.port, addresses, int(self._limits.rate))
            await call.send_framed(frame(grant.encode()))
            # To a list first: how much is carried in a turn is not left to the client.
            inbox.pass_to(client.unread.append, client.pace, window=client.window)
            while True:
                if client.queue:
                    await self._send_queue(client)
                await client.more.wait()
        finally:
            self._leave(client)
            carried = {"sent": client.sent, "received": client.heard}
            self._log.info("relay: a client has left", peer=str(call.peer), port=client.port, **carried)

    async def _proved(self, inbox: Inbox, call: Call, source: object) -> wire.Hello:
        """What a client has said and proved."""
        if problem := self.census.begin(source):
            raise self._refused("beginnings", problem)
        try:
            with trio.move_on_after(_PATIENCE) as patience:
                return await self._prove(inbox, call)
        finally:
            self.census.begun(source)
        assert patience.cancelled_caught
        raise RPCError(Code.DEADLINE_EXCEEDED, f"the key was not proved within {_PATIENCE:g} s")

    async def _prove(self, inbox: Inbox, call: Call) -> wire.Hello:
        try:
            hello = wire.Hello.decode(await inbox.receive() or b"")
            if self.options.checks_name and hello.name != call.header(":authority"):
                raise RPCError(Code.PERMISSION_DENIED, "the client has dialled another name than this call is for")
            if not self._is_called(hello.name):
                raise RPCError(Code.PERMISSION_DENIED, "the client has dialled a name that this relay does not have")
            challenger = Challenger()
            await call.send_framed(frame(challenger.challenge.encode()))
            challenger.check(hello, wire.decode_proof(await inbox.receive() or b""))
        except wire.WireError as error:
            raise RPCError(Code.INVALID_ARGUMENT, str(error)) from error
        except ProofError as error:
            self.refused["proof"] += 1
            raise RPCError(Code.UNAUTHENTICATED, str(error)) from error
        return hello

    def _is_called(self, authority: str) -> bool:
        """Whether the client has dialled this relay, as far as it knows its names, and no other that passes it on."""
        if self.options.names:
            return has_name(self.options.names, authority)
        if self._certificate_names is None:
            return True
        try:
            return has_name(self._certificate_names(), authority)
        except OSError as error:
            # It is being replaced: those in use are not known, so nobody is let in by another name.
            self._log.error("relay: the names of the certificate cannot be read", error=str(error))
            return False

    def _addresses_for(self, call: Call) -> tuple[IPv4Address | IPv6Address, ...]:
        addresses = self.options.addresses or ((call.peer.local,) if call.peer.local is not None else ())
        if not addresses:
            raise self._refused("address", "the relay has no address that it could give: it needs --relay-address")
        return addresses

    def _refused(self, reason: str, text: str) -> RPCError:
        self.refused[reason] += 1
        return RPCError(Code.RESOURCE_EXHAUSTED, text)

    def _admit(
        self,
        call: Call,
        hello: wire.Hello,
        source: object,
        addresses: Sequence[IPv4Address | IPv6Address],
    ) -> Client:
        now = self._now()
        before = self._by_key.get(hello.key)
        if before is not None:
            # Whoever has the key is the same node: its other connection is broken, and does not know it yet.
            before.call.end(Status(Code.ABORTED, "another connection has come with the same key"))
            self._leave(before)
        if problem := self.census.refusal(hello.cluster, source):
            raise self._refused("full", problem)
        port, opened = self._open(hello, now)
        prefixes = tuple(wire.encode_address((str(address), port)) for address in addresses)
        self._own.update(_host_prefix(address) for address in addresses)
        limits = self._limits
        client = Client(
            relay=self,
            key=hello.key,
            cluster=hello.cluster,
            source=source,
            port=port,
            opened=opened,
            call=call,
            doors=Doors(limits.sources),
            prefixes=prefixes,
            window=self._free_window(),
            since=now,
        )
        try:
            self.datagrams.add(opened, client)
        except OSError as error:
            self.ports.leave(hello.key, now)
            raise self._refused("ports", f"the relay can watch no further port: {error.strerror}") from error
        self.windows += client.window
        self.census.add(client.cluster, source)
        self._by_key[client.key] = self._by_port[port] = client
        cluster = self._clusters.get(client.cluster)
        if cluster is None:
            cluster = self._clusters[client.cluster] = (Rates.of(limits.cluster_rate, limits, now), set())
        cluster[1].add(client.key)
        return client

    def _free_window(self) -> int:
        """What a new client may have under way, beyond the usual: less and less, the more the others may."""
        limits = self._limits
        free = (limits.total_window - self.windows) // _WINDOW_PART
        window = min(limits.window, int(limits.rate * _WINDOW_SECONDS), free)
        return window if window > _SMALLEST_WINDOW else 0

    def _open(self, hello: wire.Hello, now: float) -> tuple[int, socket.socket]:
        for _ in range(_BIND_ATTEMPTS):
            port = self.ports.take(hello.key, hello.port, now)
            if port is None:
                break
            try:
                opened = open_socket(port, both_families=self._both_families)
            except OSError as error:
                self._log.debug("relay: a port cannot be used", port=port, error=str(error))
                self.ports.spoil(hello.key)
            else:
                return port, opened
        self.ports.retry_spoiled()
        raise self._refused("ports", "the relay is full: it has no free port")

    def _leave(self, client: Client) -> None:
        if self._by_key.get(client.key) is not client:
            return
        del self._by_key[client.key], self._by_port[client.port]
        self.census.remove(client.cluster, client.source)
        _, keys = self._clusters[client.cluster]
        keys.discard(client.key)
        if not keys:
            del self._clusters[client.cluster]
        self.ports.leave(client.key, self._now())
        self.datagrams.close(client.opened)
        self.windows -= client.window
        self.queued -= client.queued
        client.queue = ()
        client.queued = 0

    # What is carried.

    def _from_client(self, client: Client, message: bytes, onward: _Lots) -> int:
        """A client sends packets to an address. Raises RPCError for what is not packets; returns how many they are.

        What is for other clients, of this process or another, is added to `onward`.
        """
        try:
            address = wire.address_of(message)
            at = 1 + len(address)
            count = wire.count_packets(message, at)
        except wire.WireError as error:
            raise RPCError(Code.INVALID_ARGUMENT, str(error)) from error
        client.sent += count
        # Beside the bytes: a message may be many packets, and a read many messages.
        client.unspent += (1 + count) * _PACKET_COST
        other = self._by_port.get(wire.port_of(address)) if address[:-2] in self._own else None
        if other is not None:
            self._across(client, other, message, at, count, onward)
            return count
        if address[:-2] in self._own and self._pass_elsewhere(client, address, message, at, count, onward):
            return count
        # This also goes for what else there is on this machine, as a node of the mesh.
        door = client.doors.for_answer(address, self._now())
        if door is None:
            if self._may_be_own(address) and self._pass_elsewhere(client, address, message, at, count, onward):
                return count
            self.dropped["unknown"] += count
            return count
        send, where, size, lost = client.opened.sendto, door.where, 0, 0
        for packet in wire.packets_of(message, at):
            try:
                size += send(packet, where)
            except OSError:
                # The queue of the network card is full, or there is no route: datagrams may get lost.
                lost += 1
        self.dropped["unsendable"] += lost
        self.packets["out"] += count - lost
        self.bytes["out"] += size
        return count

    def _may_be_own(self, address: bytes) -> bool:
        """Whether it may be an address of this relay that only clients of another process have dialled."""
        return not self.options.addresses and address[:-2] not in self._own

    def _across(self, client: Client, other: Client, message: bytes, at: int, count: int, onward: _Lots) -> None:
        """To another client: what it gets is the same message, with the address that the first one has here."""
        prefix = client.prefix(message[1])
        if prefix is None or other is client:
            self.dropped["absent"] += count
            return
        self.packets["across"] += count
        self.bytes["across"] += len(message) - at - 2 * count
        rest = memoryview(message)[at:]
        head = frame_head(1 + len(prefix) + len(rest)) + b"\x10" + prefix
        self._gather(onward, other, head, rest, count)

    def _gather(self, onward: _Lots, to: Client | int, head: bytes, rest: memoryview, count: int) -> _Onward:
        """Add a message to what goes on to a client or a place; when that is enough it goes at once."""
        together = onward.get(to)
        if together is None or together.size + len(head) + len(rest) > _SENT_AT_ONCE:
            if together is not None:
                self._pass_on(to, together)
            together = onward[to] = _Onward()
        together.add(head, rest, count)
        return together

    def _pass_elsewhere(
        self, client: Client, address: bytes, message: bytes, at: int, count: int, onward: _Lots
    ) -> bool:
        """To the process of a port, if that is another one."""
        options, port = self.options, wire.port_of(address)
        place = options.part.place_of_port(port, *options.ports)
        if self._elsewhere is None or place is None or place == options.part.place:
            return False
        prefix = client.prefix(message[1])
        if prefix is None:
            self.dropped["absent"] += count
            return True
        rest = memoryview(message)[at:]
        host = address[:-2] if self._may_be_own(address) else b""
        head = passed_head(port, count, 1 + len(prefix) + len(rest), host) + b"\x10" + prefix
        self._gather(onward, place, head, rest, count).carried += len(rest) - 2 * count
        return True

    def take_passed(self, data: bytes) -> int:
        """Something that the relay of another process has passed on. Returns how many packets and messages it is."""
        onward: _Lots = {}
        done = 0
        for port, count, host, message in decode_passed(data):
            done += 1 + count
            client = self._by_port.get(port)
            if client is None or (host and host not in self._own):
                self.dropped["unknown"] += count
            else:
                self._gather(onward, client, frame_head(len(message)), message, count)
        self._pass_all_on(onward)
        return done

    def _pass_on(self, to: Client | int, together: _Onward) -> None:
        data = b"".join(together.parts)
        if isinstance(to, Client):
            if self._by_key.get(to.key) is to:
                self._deliver(to, data, together.packets, together.messages)
        elif self._elsewhere is not None and self._elsewhere(to, data):
            self.packets["across"] += together.packets
            self.bytes["across"] += together.carried
        else:
            self.dropped["passed"] += together.packets

    def _pass_all_on(self, onward: _Lots) -> None:
        for to, together in onward.items():
            self._pass_on(to, together)
        onward.clear()

    def from_world(self, client: Client, packets: list[tuple[bytes, Where]]) -> None:
        """Packets have come at a client's port."""
        now = self._now()
        groups: dict[bytes, list[bytes]] = {}
        size = 0
        for packet, where in packets:
            if not wire.looks_like_wireguard(packet):
                self.dropped["foreign"] += 1
                continue
            door = client.doors.find(where, now) or client.doors.open(where, wire.encode_address(where[:2]), now)
            if door is None:
                self.dropped["sources"] += 1
                continue
            size += len(packet) + _PACKET_COST
            groups.setdefault(door.address, []).append(packet)
        if not groups:
            return
        fits = self._may_receive(client, size, now)
        for address, packets_of_one in groups.items():
            group = packets_of_one if fits else self._within_rate(client, packets_of_one, now)
            self.packets["in"] += len(group)
            self.bytes["in"] += sum(map(len, group))
            for message, count in wire.packets_messages(address, group):
                self._deliver(client, frame(message), count)

    def _within_rate(self, client: Client, packets: list[bytes], now: float) -> list[bytes]:
        """As many of the packets as may be received."""
        for count, packet in enumerate(packets):
            if not self._may_receive(client, len(packet) + _PACKET_COST, now):
                self.dropped["rate"] += len(packets) - count
                return packets[:count]
        return packets

    def _deliver(self, client: Client, framed: bytes, count: int, messages: int = 1) -> None:
        client.heard += count
        if not client.queue and client.call.offer(framed, messages):
            return
        size = len(framed)
        limits = self._limits
        while client.queue and client.queued + size > limits.queue:
            self._drop_oldest(client.queue, client)
        if self.queued + size > limits.total_queue:
            self.dropped["queues"] += count
            return
        if client.queue:
            client.queue.append((framed, count))
        else:
            client.queue = deque(((framed, count),))
        client.queued += size
        self.queued += size
        client.more.wake()

    def _drop_oldest(self, queue: deque[tuple[bytes, int]], client: Client) -> None:
        oldest, count = queue.popleft()
        client.queued -= len(oldest)
        self.queued -= len(oldest)
        self.dropped["queue"] += count

    async def _send_queue(self, client: Client) -> None:
        """Send what could not be sent at once."""
        while queue := client.queue:
            together = [queue.popleft()[0]]
            size = len(together[0])
            while queue and size + len(queue[0][0]) <= _SENT_AT_ONCE:
                together.append(queue.popleft()[0])
                size += len(together[-1])
            client.queued -= size
            self.queued -= size
            await client.call.send_framed(b"".join(together), len(together))
        client.queue = ()

    async def pace(self, client: Client, size: int) -> None:
        """After a read of what a client sends: carry it, and wait for its turn, and as long as it has sent too much.

        Raises RPCError for what is not packets.
        """
        client.unspent += size
        if client.unread:
            await self._carry_read(client)
        if client.unspent >= _SPENT_AT_ONCE:
            # In lots: the clock and three buckets would cost more than what they count.
            size, client.unspent, now = client.unspent, 0, self._now()
            owed = max([rates.outward.spend(size, now) for rates in self._rates(client)])
            if owed > _SHORTEST_PAUSE:
                await trio.sleep(owed)
                return
        await self._turns.next()

    async def _carry_read(self, client: Client) -> None:
        """Carry what a read has brought, a piece in each turn."""
        messages = tuple(client.unread)
        client.unread.clear()
        onward: _Lots = {}
        done = 0
        try:
            for message in messages:
                if done >= _PIECE:
                    self._pass_all_on(onward)
                    done = 0
                    await self._turns.next()
                    if self._by_key.get(client.key) is not client:
                        return  # another connection has come with the same key
                done += 1 + self._from_client(client, message, onward)
        finally:
            # Also before a message that is not packets.
            self._pass_all_on(onward)

    def _may_receive(self, client: Client, size: int, now: float) -> bool:
        """Account for what comes from the world, unless it is too much."""
        spent: list[TokenBucket] = []
        for rates in self._rates(client):
            spent.append(rates.inward)
            if rates.inward.spend(size, now):
                for each in spent:
                    each.spend(-size, now)
                return False
        return True

    def _rates(self, client: Client) -> tuple[Rates, ...]:
        """Whose bytes they are. The client's own first: a flood at one takes nothing from all above its rate."""
        rates = client.rates
        if rates is None:
            rates = client.rates = Rates.of(self._limits.rate, self._limits, self._now())
        cluster = self._clusters.get(client.cluster)
        return (rates, self._total) if cluster is None else (rates, cluster[0], self._total)


def _host_prefix(address: IPv4Address | IPv6Address) -> bytes:
    return bytes((address.version,)) + address.packed
