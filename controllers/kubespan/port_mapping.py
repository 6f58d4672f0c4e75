"""kubespan.PortMappingController: has the router of this node let the tunnel in, by PCP, NAT-PMP or UPnP.

The router is the gateway of the IPv4 default route with the lowest metric. It is asked by one protocol after the other,
the one that worked last first; what it grants is published, announced as an endpoint (`cluster.local_affiliate`), and
renewed at half of its time. A mapping that could not be renewed counts until its time is over.

What is asked for is recorded before (`mapping.record`), and given back when it is no longer configured, and when the
agent stops. An agent that was killed leaves a mapping for ten minutes; where the router knows only permanent ones, the
next agent gives it back.
"""

import random
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import trio

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
from nodespan.resources.network import DEFAULT_ADDRESS_ID, Family, NodeAddress, RouteStatus, RoutingTable
from nodespan.runtime.controller import QueueContext, QueueController, exclusive, mapped, primary
from nodespan.runtime.loading import load
from nodespan.runtime.resource import Metadata, Pointer

if TYPE_CHECKING:
    from nodespan.controllers.kubespan.mapping.mapping import Asking, Granted, PortMapping
    from nodespan.controllers.kubespan.mapping.record import Record

_LIBRARIES = ("nodespan.controllers.kubespan.mapping.record", "nodespan.controllers.kubespan.mapping.requests")
FILE_NAME = "port-mappings.json"
# After a failure the router is asked again, in seconds; the wait doubles with each.
RETRY, LONGEST_RETRY = 30.0, 600.0
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

    `new_requests` makes who asks the router, `new_record` the record in a file.
    """

    name = "kubespan.PortMappingController"
    inputs = (
        primary(KubeSpanConfig),
        mapped(MachineConfig, MACHINE_CONFIG_ID),
        mapped(RouteStatus),
        mapped(NodeAddress, DEFAULT_ADDRESS_ID),
    )
    outputs = (exclusive(KubeSpanPortMapping),)

    def __init__(
        self,
        state_dir: Path,
        *,
        new_requests: "Callable[[], Asking] | None" = None,
        new_record: "Callable[[Path], Record] | None" = None,
        random: random.Random | None = None,
    ) -> None:
        self._path = state_dir / FILE_NAME
        self._new_requests = new_requests
        self._new_record = new_record
        self._random = random
        # The gateways of IPv4 default routes, with their metrics, by the id of the route.
        self._gateways: dict[str, tuple[int, str]] = {}
        self._changed = trio.Event()
        self._requests: Asking | None = None
        self._record: Record | None = None
        # What is recorded; None while the file has not been read.
        self._recorded: tuple[PortMapping, ...] | None = None

    def map_input(self, ctx: QueueContext, changed: Metadata) -> Iterable[Pointer[Any]]:
        """No item: `run` looks at all of it."""
        if changed.type == RouteStatus.name:
            before = self._gateway()
            self._note_route(ctx, changed.id)
            if self._gateway() == before:
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

    def _gateway(self) -> str:
        return min(self._gateways.values(), default=(0, ""))[1]

    def _site(self, ctx: QueueContext) -> Site | None:
        config, address = ctx.find(KubeSpanConfig, KUBESPAN_CONFIG_ID), ctx.find(NodeAddress, DEFAULT_ADDRESS_ID)
        gateway = self._gateway()
        if config is None or not config.spec.enabled or not config.spec.port_mapping or not gateway:
            return None
        addresses = () if address is None else address.spec.addresses
        return Site(gateway, config.spec.listen_port, addresses[0] if addresses else "")

    def _is_off(self, ctx: QueueContext) -> bool:
        """Whether no mapping is configured, rather than that nothing is known yet."""
        config = ctx.find(KubeSpanConfig, KUBESPAN_CONFIG_ID)
        if config is None:
            return ctx.find(MachineConfig, MACHINE_CONFIG_ID) is not None
        return not (config.spec.enabled and config.spec.port_mapping)

    async def run(self, ctx: QueueContext) -> None:
        """Have a mapping while that is configured."""
        while True:
            self._changed = trio.Event()
            site = self._site(ctx)
            if site is None:
                if ctx.find(KubeSpanPortMapping, LOCAL) is not None:
                    await ctx.destroy(KubeSpanPortMapping, LOCAL)
                if self._is_off(ctx):
                    await self._give_back_all(ctx)
                await self._changed.wait()
                continue
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._keep, ctx, site)
                while self._site(ctx) == site:
                    await self._changed.wait()
                    self._changed = trio.Event()
                nursery.cancel_scope.cancel()

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
        status = KubeSpanPortMappingSpec(gateway=site.gateway)
        failures, ends, wait = 0, -1.0, 0.0
        await ctx.put(KubeSpanPortMapping, LOCAL, status)
        while True:
            try:
                granted = await self._ask(ctx, requests, site)
            except _NoMappingError as error:
                failures += 1
                wait = min(RETRY * 2 ** (failures - 1), LONGEST_RETRY)
                if trio.current_time() >= ends:
                    status = KubeSpanPortMappingSpec(state=MappingState.FAILED, gateway=site.gateway)
                else:
                    wait = min(wait, ends - trio.current_time())
                status = attrs.evolve(status, message=str(error))
                if failures == 1:
                    ctx.log.info("the router maps no port", gateway=site.gateway, error=str(error))
            else:
                failures, wait = 0, granted.counted / 2
                ends = trio.current_time() + granted.counted
                before, status = status.external, _status(granted)
                if status.external != before:
                    ctx.log.info("the router maps a port", external=status.external, protocol=status.protocol.value)
            await ctx.put(KubeSpanPortMapping, LOCAL, status)
            await trio.sleep(wait)

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
            # Those by other protocols were of a time when this one did not work.
            await self._give_back(ctx, requests, [each for each in known if each.protocol is not protocol])
            return granted
        raise _NoMappingError("; ".join(refusals))

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
                # The URL is another one after each restart of many routers.
                pass
        mapping = before if before is not None and protocol is not MappingProtocol.UPNP else None
        mapping = mapping or await requests.prepare(protocol, site.gateway, client, site.port)
        if before is not None and protocol is MappingProtocol.UPNP:
            mapping = attrs.evolve(mapping, external_port=before.external_port)
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
            # What had been granted before may be there still; of others only UPnP's may be permanent.
            is_done = error.is_certain or mapping.protocol is not MappingProtocol.UPNP
            if mapping != before and is_done:
                await self._forget(mapping)
            raise
        if granted.mapping != mapping:
            kept = [each for each in self._recorded or () if each not in (mapping, granted.mapping)]
            await self._note((*kept, granted.mapping))
        return granted

    async def _note(self, mappings: "Iterable[PortMapping]") -> None:
        assert self._record is not None  # made before
        self._recorded = tuple(mappings)
        await self._record.write(self._recorded)

    async def _forget(self, *mappings: "PortMapping") -> None:
        recorded = self._recorded or ()
        left = tuple(each for each in recorded if each not in mappings)
        if left != recorded:
            await self._note(left)

    async def _give_back_all(self, ctx: QueueContext) -> None:
        """Give back what is of the router that there is; of others, what ends by itself is forgotten."""
        if self._recorded is None and not self._path.exists():
            return
        requests = await self._asking(ctx)
        recorded, gateway = self._recorded or (), self._gateway()
        here = [each for each in recorded if each.gateway == gateway]
        await self._give_back(ctx, requests, here)
        gone = [each for each in recorded if each not in here and each.protocol is not MappingProtocol.UPNP]
        await self._forget(*gone)

    async def _give_back(self, ctx: QueueContext, requests: "Asking", mappings: "list[PortMapping]") -> None:
        from nodespan.controllers.kubespan.mapping.mapping import MappingError

        for mapping in mappings:
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
