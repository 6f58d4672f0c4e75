"""kubespan.PortMappingController: has the router of this node let the tunnel in, by PCP, NAT-PMP or UPnP.

The router is the gateway of the IPv4 default route with the lowest metric. It is asked by one protocol after the other,
the one that worked last first; what it grants is published, announced as an endpoint (`cluster.local_affiliate`), and
renewed at half of its time, and sooner if a discovery service sees this node at another address: then the router has
another one too. A mapping that could not be renewed counts until its time is over, also while the machine sleeps.

What is asked for is recorded before (`mapping.record`), and given back when it is no longer configured, and when the
agent stops or leaves: it holds the agent until then (`AgentLifecycle`), for the way to the router may be one of what
the agent reverts. An agent that was killed leaves a mapping for ten minutes; where the router knows only permanent
ones, the next agent gives it back.

Most routers have one table for all protocols. So what another protocol had asked for is not deleted where the same
external port was granted: that would close it.
"""

import math
import random
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import trio

from nodespan.resources.cluster import NAMESPACE, PUBLIC_ADDRESS_ID
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig
from nodespan.resources.kubespan import (
    KUBESPAN_CONFIG_ID,
    LOCAL,
    KubeSpanConfig,
    KubeSpanPortMapping,
    KubeSpanPortMappingSpec,
    MappingProtocol,
    MappingState,
)
from nodespan.resources.network import (
    DEFAULT_ADDRESS_ID,
    AddressStatus,
    Family,
    NodeAddress,
    RouteStatus,
    RoutingTable,
)
from nodespan.runtime.controller import QueueContext, QueueController, exclusive, mapped, primary
from nodespan.runtime.lifecycle import AGENT_ID, AgentLifecycle
from nodespan.runtime.loading import load
from nodespan.runtime.process.boot_time import boot_time
from nodespan.runtime.resource import Metadata, Pointer

if TYPE_CHECKING:
    from nodespan.controllers.kubespan.mapping.mapping import Asking, Granted, PortMapping
    from nodespan.controllers.kubespan.mapping.record import Record

_LIBRARIES = (
    "nodespan.controllers.kubespan.mapping.record",
    "nodespan.controllers.kubespan.mapping.requests",
    "nodespan.runtime.process.boot_alarm",
)
FILE_NAME = "port-mappings.json"
# After a failure the router is asked again, in seconds; the wait doubles with each.
RETRY, LONGEST_RETRY = 30.0, 600.0
_PUBLIC_ADDRESS = AddressStatus.within(NAMESPACE)
# External ports that are tried where others have them.
_PORTS_TRIED = 4
_PORTS = (20000, 59999)
# Giving back has less time than a shutdown.
_TO_GIVE_BACK = 4.0


@attrs.frozen
class Site:
    """Where this node is: the router, the port of the tunnel, and the address that most connections come from."""

    gateway: str
    port: int
    address: str


class PortMappingController(QueueController):
    """Writes `local` while `portMapping` is on and there is a gateway.

    `new_requests` makes who asks the router, `new_record` the record in a file. `now` is the clock for durations, and
    `until` waits for a moment of it, `until_boot_time` if not given.
    """

    name = "kubespan.PortMappingController"
    inputs = (
        primary(KubeSpanConfig),
        mapped(MachineConfig, MACHINE_CONFIG_ID),
        mapped(RouteStatus),
        mapped(NodeAddress, DEFAULT_ADDRESS_ID),
        mapped(AgentLifecycle, AGENT_ID),
        mapped(_PUBLIC_ADDRESS, PUBLIC_ADDRESS_ID),
    )
    outputs = (exclusive(KubeSpanPortMapping),)

    def __init__(
        self,
        state_dir: Path,
        *,
        new_requests: "Callable[[], Asking] | None" = None,
        new_record: "Callable[[Path], Record] | None" = None,
        random: random.Random | None = None,
        now: Callable[[], float] = boot_time,
        until: Callable[[float], Awaitable[None]] | None = None,
    ) -> None:
        self._path = state_dir / FILE_NAME
        self._new_requests = new_requests
        self._new_record = new_record
        self._random = random
        self._now = now
        self._until = until
        # Where a discovery service saw this node last, and set when that is elsewhere.
        self._seen_at = ""
        self._moved = trio.Event()
        # The gateways of IPv4 default routes, with their metrics, by the id of the route.
        self._gateways: dict[str, tuple[int, str]] = {}
        self._changed = trio.Event()
        self._requests: Asking | None = None
        self._record: Record | None = None
        # What is recorded; None while the file has not been read.
        self._recorded: tuple[PortMapping, ...] | None = None
        self._is_leaving = False
        self._had_configuration = False

    def left_behind(self) -> list[str]:
        """The mappings that could not be given back, in words. Blocks."""
        recorded = self._recorded
        if recorded is None:
            from nodespan.controllers.kubespan.mapping.record import read_record

            recorded = read_record(self._path)
        return [
            f"the router {each.gateway} still maps its UDP port {each.external_port} to this machine"
            for each in recorded
            if not each.foreign
        ]

    def map_input(self, ctx: QueueContext, changed: Metadata) -> Iterable[Pointer[Any]]:
        """No item: `run` looks at all of it."""
        if changed.type == RouteStatus.name:
            before = self._gateway()
            self._note_route(ctx, changed.id)
            if self._gateway() == before:
                return ()
        if changed.type == AddressStatus.name:
            self._note_public(ctx)
            return ()
        self._changed.set()
        return ()

    async def reconcile(self, ctx: QueueContext, item: Pointer[Any]) -> None:  # noqa: ARG002 (there is one)
        """The settings changed."""
        self._changed.set()

    def _note_route(self, ctx: QueueContext, id: str) -> None:
        self._gateways.pop(id, None)
        route = ctx.find(RouteStatus, id)
        if route is None or route.spec.dst or route.spec.family is not Family.INET4:
            return
        hops = (route.spec.gateway, *(hop.gateway for hop in route.spec.next_hops))
        gateway = next((hop for hop in hops if hop and ":" not in hop), "")
        if gateway and route.spec.table == RoutingTable.MAIN:
            self._gateways[id] = (route.spec.priority, gateway)

    def _note_public(self, ctx: QueueContext) -> None:
        public = ctx.find(_PUBLIC_ADDRESS, PUBLIC_ADDRESS_ID)
        if public is None or public.spec.address == self._seen_at:
            return
        if self._seen_at:
            self._moved.set()
        self._seen_at = public.spec.address

    def _gateway(self) -> str:
        return min(self._gateways.values(), default=(0, ""))[1]

    def _site(self, ctx: QueueContext) -> Site | None:
        config, address = ctx.find(KubeSpanConfig, KUBESPAN_CONFIG_ID), ctx.find(NodeAddress, DEFAULT_ADDRESS_ID)
        gateway = self._gateway()
        if self._is_leaving or config is None or not config.spec.enabled or not config.spec.port_mapping or not gateway:
            return None
        addresses = () if address is None else address.spec.addresses
        return Site(gateway, config.spec.listen_port, addresses[0] if addresses else "")

    def _is_off(self, ctx: QueueContext) -> bool:
        """Whether no mapping is configured, rather than that nothing is known yet."""
        config = ctx.find(KubeSpanConfig, KUBESPAN_CONFIG_ID)
        # One that goes is taken away by a node that leaves.
        self._had_configuration |= ctx.find(MachineConfig, MACHINE_CONFIG_ID) is not None
        if config is None:
            return self._had_configuration
        return not (config.spec.enabled and config.spec.port_mapping)

    async def run(self, ctx: QueueContext) -> None:
        """Have a mapping while that is configured."""
        failures = 0
        while True:
            self._changed = trio.Event()
            await self._hold_agent(ctx)
            is_off, site = self._is_off(ctx), self._site(ctx)
            if site is None:
                if ctx.find(KubeSpanPortMapping, LOCAL) is not None:
                    await ctx.destroy(KubeSpanPortMapping, LOCAL)
                is_done = True
                if self._is_leaving:
                    await self._give_back_and_release(ctx)
                elif is_off:
                    is_done = await self._give_back_all(ctx)
                failures = 0 if is_done else failures + 1
                with trio.move_on_after(math.inf if is_done else _wait_after(failures)):
                    await self._changed.wait()
                continue
            failures = 0
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._keep, ctx, site)
                while self._site(ctx) == site:
                    await self._changed.wait()
                    self._changed = trio.Event()
                    await self._hold_agent(ctx)
                nursery.cancel_scope.cancel()

    async def _hold_agent(self, ctx: QueueContext) -> None:
        """Hold the agent while it runs, and notice that it is about to stop."""
        agent = ctx.find(AgentLifecycle, AGENT_ID)
        if agent is not None and agent.metadata.is_tearing_down:
            self._is_leaving = True
        elif agent is not None and ctx.name not in agent.metadata.finalizers:
            await ctx.add_finalizer(AgentLifecycle, AGENT_ID)

    async def _give_back_and_release(self, ctx: QueueContext) -> None:
        """Give back all, whatever is configured, as far as there is time; then the agent may go on to stop."""
        with trio.move_on_after(_TO_GIVE_BACK):
            await self._give_back_all(ctx)
        agent = ctx.find(AgentLifecycle, AGENT_ID)
        if agent is not None and ctx.name in agent.metadata.finalizers:
            await ctx.remove_finalizer(AgentLifecycle, AGENT_ID)

    async def _asking(self, ctx: QueueContext) -> "Asking":
        """Who asks, with the record read."""
        await load(*_LIBRARIES)
        from nodespan.controllers.kubespan.mapping.record import Record
        from nodespan.controllers.kubespan.mapping.requests import Requests

        if self._requests is None:
            self._requests = (self._new_requests or Requests)()
        if self._record is None:
            self._record = (self._new_record or Record)(self._path)
        if self._recorded is None:
            try:
                self._recorded = await self._record.read()
            except ValueError as error:
                ctx.log.warning("the record of port mappings is begun again", file=str(self._path), error=str(error))
                self._recorded = ()
        return self._requests

    async def _keep(self, ctx: QueueContext, site: Site) -> None:
        """Ask the router, again and again."""
        requests = await self._asking(ctx)
        from nodespan.controllers.kubespan.mapping.mapping import LIFETIME

        status = KubeSpanPortMappingSpec(gateway=site.gateway)
        failures, ends, wait = 0, -1.0, 0.0
        await ctx.put(KubeSpanPortMapping, LOCAL, status)
        while True:
            asked, self._moved = self._now(), trio.Event()
            try:
                granted = await self._ask(ctx, requests, site)
            except _NoMappingError as error:
                failures += 1
                wait = _wait_after(failures)
                if self._now() >= ends:
                    status = KubeSpanPortMappingSpec(state=MappingState.FAILED, gateway=site.gateway)
                else:
                    wait = min(wait, ends - self._now())
                status = attrs.evolve(status, message=str(error))
                if failures == 1:
                    ctx.log.info("the router maps no port", gateway=site.gateway, error=str(error))
            else:
                # However long it is granted for: a router that was restarted, or has another address, does not say so.
                failures, wait = 0, min(granted.counted, LIFETIME) / 2
                ends = asked + granted.counted
                before, status = status.external, _status(granted)
                if status.external != before:
                    ctx.log.info("the router maps a port", external=status.external, protocol=status.protocol.value)
            await ctx.put(KubeSpanPortMapping, LOCAL, status)
            await self._wait_until(self._now() + wait, asked + RETRY)

    async def _wait_until(self, moment: float, soonest: float) -> None:
        """Wait for a moment, or until this node is seen at another address, but in any case for so long."""
        from nodespan.runtime.process.boot_alarm import until_boot_time

        until = self._until or until_boot_time
        # What a discovery service says has the router asked no more often than a failure.
        await until(min(moment, soonest))
        async with trio.open_nursery() as nursery:

            async def moves() -> None:
                await self._moved.wait()
                nursery.cancel_scope.cancel()

            nursery.start_soon(moves)
            await until(moment)
            nursery.cancel_scope.cancel()

    async def _ask(self, ctx: QueueContext, requests: "Asking", site: Site) -> "Granted":
        """A mapping by the first protocol that gives one. Raises _NoMappingError."""
        from nodespan.controllers.kubespan.mapping.mapping import MappingError

        assert self._recorded is not None  # read before
        try:
            client = await requests.client(site.gateway)
        except MappingError as error:
            raise _NoMappingError(f"{site.gateway}: {error}") from error
        here = [each for each in self._recorded if (each.gateway, each.client) == (site.gateway, client)]
        known = [each for each in here if each.internal_port == site.port]
        await self._give_back(ctx, requests, [each for each in here if each not in known])
        protocols = dict.fromkeys((*(each.protocol for each in reversed(known)), *_PROTOCOLS))
        refusals = []
        for protocol in protocols:
            before = next((each for each in reversed(known) if each.protocol is protocol), None)
            try:
                granted = await self._map(requests, protocol, site, client, before)
            except MappingError as error:
                refusals.append(f"{protocol.value}: {error}")
                continue
            await self._drop_others(ctx, requests, granted.mapping)
            return granted
        raise _NoMappingError("; ".join(refusals))

    async def _drop_others(self, ctx: QueueContext, requests: "Asking", granted: "PortMapping") -> None:
        """Forget or give back what is on record beside what was granted, of a time when that did not work.

        Nothing that is deleted here may be the mapping that was just granted.
        """
        by_upnp = MappingProtocol.UPNP
        ended, others = [], []
        for each in self._recorded or ():
            if _tunnel(each) != _tunnel(granted) or each == granted:
                continue
            is_same_port = each.external_port == granted.external_port
            if each.protocol is MappingProtocol.NAT_PMP or (
                is_same_port and (each.protocol is not by_upnp or granted.protocol is by_upnp)
            ):
                # NAT-PMP deletes by the internal port, whatever the external one is; it and PCP end by themselves. Of
                # UPnP's there is one with this port, whatever URL the router had when it was asked.
                ended.append(each)
            elif not is_same_port:
                others.append(each)
        await self._forget(*ended)
        await self._give_back(ctx, requests, others)

    async def _map(
        self,
        requests: "Asking",
        protocol: MappingProtocol,
        site: Site,
        client: str,
        before: "PortMapping | None",
    ) -> "Granted":
        from nodespan.controllers.kubespan.mapping.mapping import MappingError, TakenError

        if before is not None and protocol is MappingProtocol.UPNP:
            try:
                return await self._try(requests, before, before)
            except TakenError:
                before = None
            except MappingError:
                # The URL is another one after each restart of many routers. A foreign one that has gone is made anew.
                pass
        mapping = before if before is not None and protocol is not MappingProtocol.UPNP else None
        mapping = mapping or await requests.prepare(protocol, site.gateway, client, site.port)
        if before is not None and protocol is MappingProtocol.UPNP:
            mapping = attrs.evolve(mapping, external_port=before.external_port, granted=before.granted)
        for left in reversed(range(_PORTS_TRIED)):
            try:
                return await self._try(requests, mapping, before)
            except TakenError:
                if not left:
                    raise
                chance = self._random or _system_random
                mapping = attrs.evolve(mapping, external_port=chance.randint(*_PORTS))
        raise AssertionError("the last port raises")

    async def _try(self, requests: "Asking", mapping: "PortMapping", before: "PortMapping | None") -> "Granted":
        """Ask for one mapping; it is recorded for as long as it may be there."""
        from nodespan.controllers.kubespan.mapping.mapping import MappingError

        recorded = self._recorded or ()
        if mapping not in recorded:
            await self._note((*recorded, mapping))
        try:
            granted = await requests.map(mapping)
        except MappingError as error:
            # What had been granted before may be there still. After silence the router may have it, and PCP wants to
            # be asked for it by the same nonce.
            if mapping != before and error.is_certain:
                await self._forget(mapping)
            raise
        made = attrs.evolve(granted.mapping, granted=not granted.mapping.foreign)
        if made != mapping or made.granted != mapping.granted:
            kept = [each for each in self._recorded or () if each not in (mapping, made)]
            await self._note((*kept, made))
        return attrs.evolve(granted, mapping=made)

    async def _note(self, mappings: "Iterable[PortMapping]") -> None:
        from nodespan.controllers.kubespan.mapping.record import most_important

        assert self._record is not None  # made before
        kept = most_important(mappings)
        # It counts as recorded once it is, however the writing ends.
        with trio.CancelScope(shield=True):
            await self._record.write(kept)
            self._recorded = kept

    async def _forget(self, *mappings: "PortMapping") -> None:
        recorded = self._recorded or ()
        left = tuple(each for each in recorded if each not in mappings)
        if left != recorded:
            await self._note(left)

    async def _give_back_all(self, ctx: QueueContext) -> bool:
        """Give back what is of the router that there is; of others, what ends by itself is forgotten.

        Returns False if the router of now could not be asked for all of its own.
        """
        if self._recorded is None and not self._path.exists():
            return True
        requests = await self._asking(ctx)
        recorded, gateway = self._recorded or (), self._gateway()
        here = [each for each in recorded if each.gateway == gateway]
        await self._give_back(ctx, requests, here)
        gone = [each for each in recorded if each not in here and each.protocol is not MappingProtocol.UPNP]
        await self._forget(*gone)
        return not any(each.gateway == gateway for each in self._recorded or ())

    async def _give_back(self, ctx: QueueContext, requests: "Asking", mappings: "list[PortMapping]") -> None:
        from nodespan.controllers.kubespan.mapping.mapping import MappingError

        # The newest is the most likely to be there, and there may be no time for all.
        for mapping in reversed(mappings):
            try:
                if not mapping.foreign:
                    await requests.give_back(mapping)
            except MappingError as error:
                ctx.log.info("a port mapping was not given back", gateway=mapping.gateway, error=str(error))
                if not error.is_certain and mapping.protocol is MappingProtocol.UPNP:
                    continue
            await self._forget(mapping)

    async def shutdown(self, ctx: QueueContext) -> None:
        """Give back what there is, as far as there is time."""
        if self._recorded:
            with trio.move_on_after(_TO_GIVE_BACK):
                await self._give_back_all(ctx)


_PROTOCOLS = (MappingProtocol.PCP, MappingProtocol.NAT_PMP, MappingProtocol.UPNP)
_system_random = random.SystemRandom()


class _NoMappingError(Exception):
    """No protocol gave a mapping; the text says why for each."""


def _wait_after(failures: int) -> float:
    # The power is bounded: after a thousand failures it would be no float.
    return min(RETRY * 2.0 ** min(failures - 1, 10), LONGEST_RETRY)


def _tunnel(mapping: "PortMapping") -> tuple[str, str, int]:
    return mapping.gateway, mapping.client, mapping.internal_port


def _status(granted: "Granted") -> KubeSpanPortMappingSpec:
    return KubeSpanPortMappingSpec(
        state=MappingState.MAPPED,
        gateway=granted.mapping.gateway,
        protocol=granted.mapping.protocol,
        internal=f"{granted.mapping.client}:{granted.mapping.internal_port}",
        external=granted.endpoint,
        lifetime=timedelta(seconds=granted.lifetime),
        behind_nat=granted.is_behind_nat,
        foreign=granted.mapping.foreign,
    )
