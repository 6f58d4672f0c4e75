"""What the DHCP operators have in common: driving a client with real packets, keeping its lease, reporting its state.

A lease is kept in a file. It is not released while the agent does not run or the link is down, but when the operator is
removed from the configuration.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

import attrs
import trio

from nodespan.controllers.common.problems import reason_of
from nodespan.controllers.common.wall_offset import WallOffset, follow_steps
from nodespan.controllers.network.dhcp.dhcp_sockets import Transport
from nodespan.controllers.network.dhcp.environment import DHCPEnvironment
from nodespan.controllers.network.dhcp.lease import Client, Lease, Outgoing
from nodespan.controllers.network.dhcp.lease_file import LeaseFile
from nodespan.controllers.network.dhcp.malformed import MalformedError
from nodespan.controllers.network.operators.base import Operator, OperatorContext, OperatorOutput
from nodespan.kernel import rtnl
from nodespan.kernel.addresses import Addresses, AddressKey
from nodespan.kernel.rtnetlink import open_rtnl_socket
from nodespan.resources.network import (
    DHCPLeaseSpec,
    LinkStatus,
    LinkStatusSpec,
    OperatorSpec,
    OperatorSpecSpec,
    operator_id,
)

DIRECTORY = "dhcp"
_BILLION = 1_000_000_000
# Trio's clock stands still while the machine sleeps, so the boot clock is looked at so often, in seconds.
_LONGEST_WAIT = 60.0
_INBOX = 32
# Until a probe that could not be sent is repeated, in seconds.
_CHECK_AGAIN = 1.0


@attrs.frozen
class _Packet:
    """An answer was received."""

    payload: bytes


@attrs.frozen
class _Checked:
    """The neighbours were probed for the address."""

    is_taken: bool


@attrs.frozen
class _Turn:
    """An input of the operator changed."""


@attrs.frozen
class _End:
    """The operator has to stop, or to restart because the link was replaced."""


_Event = _Packet | _Checked | _Turn | _End


class DHCPOperator(Operator, ABC):
    """A client on one link; the families differ in how they speak, and in what they read from an answer."""

    def __init__(self, spec: OperatorSpecSpec, environment: DHCPEnvironment) -> None:
        self.spec = spec
        self.environment = environment

    @abstractmethod
    def client_name(self, link: LinkStatusSpec) -> bytes:
        """The identity of the client. Raises MalformedError."""

    @abstractmethod
    def client(self, link: LinkStatusSpec, now: float, remembered: Lease | None, *, is_held: bool) -> Client:
        """A client of the protocol."""

    @abstractmethod
    def open_transport(self, link: LinkStatusSpec) -> AbstractAsyncContextManager[Transport]:
        """The sockets."""

    @abstractmethod
    def parse(self, message: bytes, link: LinkStatusSpec, obtained: float) -> Lease:
        """A lease from the message that gave it. Raises MalformedError."""

    @abstractmethod
    def output(self, lease: Lease) -> OperatorOutput:
        """The specs that follow from a lease."""

    def look_around(self, ctx: OperatorContext, client: Client, now: float) -> None:
        """Pass what the client needs to know of the node; called whenever that may have changed."""

    @abstractmethod
    async def is_taken(self, address: str, link: LinkStatusSpec) -> bool:
        """Whether another machine on the link has the address. Raises OSError."""

    async def run(self, ctx: OperatorContext) -> None:
        """Keep a lease until stopped. Raises OSError if there are no sockets, MalformedError for a wrong DUID."""
        status = ctx.find(LinkStatus, ctx.link_name)
        if status is None:
            return
        link = status.spec
        if not link.hardware_addr:
            raise MalformedError(f"link {ctx.link_name} has no hardware address, DHCP needs one")
        file = LeaseFile(
            self.environment.state_dir / DIRECTORY / f"{self.spec.operator.value}-{ctx.link_name}.json",
            f"{link.hardware_addr} {self.client_name(link).hex()}",
        )
        try:
            async with self.open_transport(link) as transport:
                remembered, is_held = await self._remember(ctx, file, link)
                client = self.client(link, self.environment.now().since_boot, remembered, is_held=is_held)
                await _Session(self, ctx, link, file, transport, client).run()
        except PermissionError as error:
            # A retry would change nothing: reported once.
            await ctx.report(OperatorOutput(problem=reason_of(error)))
            await ctx.stopping.wait()

    async def _remember(self, ctx: OperatorContext, file: LeaseFile, link: LinkStatusSpec) -> tuple[Lease | None, bool]:
        """The earlier lease, and whether the link still has its addresses."""
        now = self.environment.now()

        def read() -> tuple[Lease | None, bool]:
            lease = file.read(now, lambda message, obtained: self.parse(message, link, obtained))
            if lease is None:
                return None, False
            with open_rtnl_socket(self.environment.netns) as kernel:
                seen = Addresses().collect(kernel.dump(rtnl.RTM_GETADDR))
            return lease, all(AddressKey(link.index, each.address) in seen for each in lease.addresses)

        try:
            return await trio.to_thread.run_sync(read)
        except (MalformedError, OSError) as error:
            ctx.log.warning("a kept lease cannot be used, so another one is requested", reason=str(error))
            return None, False


class _Session:
    """One run of an operator: all events come in at one place, one after the other."""

    def __init__(
        self,
        operator: DHCPOperator,
        ctx: OperatorContext,
        link: LinkStatusSpec,
        file: LeaseFile,
        transport: Transport,
        client: Client,
    ) -> None:
        self._operator, self._ctx, self._link, self._file = operator, ctx, link, file
        self._transport, self._client = transport, client
        self._events, self._inbox = trio.open_memory_channel[_Event](_INBOX)
        self._checking = ""
        self._kept = client.lease
        self._reported: OperatorOutput | None = None
        self._send_error = ""
        self._wall_offset = WallOffset(self._now, self._wall)

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._listen)
            nursery.start_soon(self._follow)
            nursery.start_soon(follow_steps, self._wall_offset, self._show_again)
            while True:
                now = self._now()
                self._operator.look_around(self._ctx, self._client, now)
                await self._send(self._client.advance(now))
                await self._keep()
                await self._report()
                if self._client.to_check != self._checking:
                    self._checking = self._client.to_check
                    if self._checking:
                        nursery.start_soon(self._check, self._checking)
                event: _Event | None = None
                with trio.move_on_after(min(max(self._client.wake_at - now, 0.0), _LONGEST_WAIT)):
                    event = await self._inbox.receive()
                match event:
                    case _Packet(payload):
                        await self._receive(payload)
                    case _Checked(is_taken):
                        await self._send(self._client.checked(self._now(), is_taken=is_taken))
                    case _End():
                        await self._end()
                        nursery.cancel_scope.cancel()
                        return

    # What happens.

    async def _listen(self) -> None:
        while True:
            await self._events.send(_Packet(await self._transport.receive()))

    async def _follow(self) -> None:
        async for _ in self._ctx:
            link = self._ctx.find(LinkStatus, self._ctx.link_name)
            # Servers identify the client by its hardware address, and a bond takes that of its first member.
            is_another = link is None or link.spec.hardware_addr != self._link.hardware_addr
            if self._ctx.stopping.is_set() or is_another:
                await self._events.send(_End())
                return
            await self._events.send(_Turn())

    async def _show_again(self) -> None:
        await self._events.send(_Turn())

    async def _check(self, address: str) -> None:
        while True:
            try:
                is_taken = await self._operator.is_taken(address, self._link)
            except OSError as error:
                # The link went down meanwhile: the operator is stopped, or the link is up again.
                self._ctx.log.info("cannot probe for an address, to be retried", reason=reason_of(error))
                await trio.sleep(_CHECK_AGAIN)
            else:
                await self._events.send(_Checked(is_taken))
                return

    # What is done about it.

    async def _receive(self, payload: bytes) -> None:
        try:
            packets = self._client.receive(self._now(), payload)
        except MalformedError as error:
            self._ctx.log.debug("an invalid packet is ignored", reason=str(error))
        else:
            await self._send(packets)

    async def _send(self, packets: Sequence[Outgoing]) -> None:
        for packet in packets:
            try:
                await self._transport.send(packet.payload, source=packet.source, destination=packet.destination)
            except OSError as error:
                # Like one that is lost on the way: it is repeated when that is due.
                self._send_error = f"cannot send to {packet.destination}: {reason_of(error)}"
            else:
                self._send_error = ""

    async def _keep(self) -> None:
        """Make the file follow the lease."""
        lease = self._client.lease
        if lease == self._kept:
            return
        if lease is not None and lease.ignored != (self._kept.ignored if self._kept else ()):
            self._ctx.log.warning(
                "parts of a DHCP server's answer are ignored", server=lease.server, parts=lease.ignored
            )
        self._kept = lease
        moment = self._operator.environment.now()
        try:
            if lease is None:
                await trio.to_thread.run_sync(self._file.remove)
            else:
                await trio.to_thread.run_sync(self._file.write, lease, moment)
        except OSError as error:
            self._ctx.log.warning("the lease cannot be kept for the next start", reason=str(error))

    async def _end(self) -> None:
        """Release the lease if the operator is no longer desired; perhaps only the link is down."""
        spec = self._ctx.find(OperatorSpec, operator_id(self._operator.spec))
        if spec is not None and not spec.metadata.is_tearing_down:
            return
        await self._send(self._client.release(self._now()))
        await self._keep()

    # What is reported.

    async def _report(self) -> None:
        lease = self._client.lease
        output = OperatorOutput() if lease is None else self._operator.output(lease)
        output = attrs.evolve(output, problem=self._problem(), dhcp_lease=self._status(output))
        if output != self._reported:
            await self._ctx.report(output)
            self._reported = output

    def _status(self, output: OperatorOutput) -> DHCPLeaseSpec:
        lease = self._client.lease
        shown = DHCPLeaseSpec(link_name=self._ctx.link_name, state=self._client.state_name)
        if lease is None:
            return shown
        return attrs.evolve(
            shown,
            addresses=tuple(each.address for each in lease.addresses),
            server=lease.server,
            obtained=self._time(lease.obtained),
            renew_at=self._time(lease.renew_at),
            expires=self._time(lease.expires_at),
            routes=len(output.routes),
            ignored=lease.ignored,
        )

    def _problem(self) -> str:
        trouble, lease = self._client.trouble, self._client.lease
        if trouble is None:
            return ""
        parts = [f"{trouble.text} (since {self._time(trouble.since)})"]
        if lease is not None:
            parts.append(f"the lease lasts until {self._time(lease.expires_at)}")
        if self._send_error:
            # Alone it is no problem: it happens for a second while the link-local address is not ready.
            parts.append(self._send_error)
        return "; ".join(parts)

    def _now(self) -> float:
        return self._operator.environment.now().since_boot

    def _wall(self) -> float:
        return self._operator.environment.now().calendar / _BILLION

    def _time(self, since_boot: float) -> str:
        if not math.isfinite(since_boot):
            return "never"
        return self._wall_offset.text(since_boot)
