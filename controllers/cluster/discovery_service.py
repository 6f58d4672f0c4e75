"""cluster.DiscoveryServiceController: talks to the discovery services and publishes what they report.

One task per service runs its client, which is loaded once a service is configured. The controller's turns give the
clients the record of this node. A task beside them publishes what the clients receive; it is not a turn, so a change of
one node does not read the records of all others. Nothing that a service reported is dropped before the services in use
have sent a full snapshot, and what that lacks counts for a while (`missing_nodes`): a controller that restarts, and a
service that is replaced or starts without its records, do not tear down the mesh.
"""

import os
import random
import secrets
from collections.abc import Callable, Mapping
from ipaddress import ip_interface
from typing import TYPE_CHECKING

import attrs
import trio

from nodespan.controllers.cluster.missing_nodes import MissingNodes
from nodespan.controllers.cluster.raw_affiliates import RawAffiliates
from nodespan.controllers.common.problems import Problems
from nodespan.discovery.endpoint_url import DialAddress
from nodespan.resources.cluster import (
    DISCOVERY_CONFIG_ID,
    LOCAL,
    NAMESPACE,
    PUBLIC_ADDRESS_ID,
    RAW_AFFILIATE,
    RESET_ID,
    Affiliate,
    DiscoveryConfig,
    DiscoveryServiceStatus,
    DiscoveryServiceStatusSpec,
    Identity,
    MachineResetSignal,
    ServiceState,
)
from nodespan.resources.kubespan import KubeSpanEndpoint
from nodespan.resources.network import (
    DEFAULT_ADDRESS_ID,
    AddressStatus,
    AddressStatusSpec,
    Family,
    NetworkProblem,
    NodeAddress,
    Severity,
)
from nodespan.resources.runtime import ENVIRONMENT_ID, Environment
from nodespan.resources.trust import TRUST_BUNDLE_ID, TrustBundle
from nodespan.runtime.controller import Controller, ControllerContext, exclusive, shared, strong, weak
from nodespan.runtime.loading import load

if TYPE_CHECKING:
    from nodespan.discovery.client import Client, ClientOptions, Transport

# What a client needs, and so does each function below that imports some of it.
_LIBRARIES = (
    "nodespan.controllers.cluster.conversion",
    "nodespan.discovery.client",
    "nodespan.discovery.proxy",
    "nodespan.discovery.transport",
)
_PUBLIC_ADDRESS = AddressStatus.within(NAMESPACE)
_SOURCE = "service/"

# Makes the transport of a controller, given what returns the certificate authorities that the configuration adds, and
# the environment with its proxies.
TransportFactory = Callable[[Callable[[], bytes], Callable[[], Mapping[str, str]]], "Transport"]


class DiscoveryServiceController(Controller):
    """Writes `service/<node id>` in cluster-raw for each node that a service reports, and the public address.

    Of each service it writes a DiscoveryServiceStatus, and a NetworkProblem while it is not in use or not readable.
    The own record is deleted from all services while there is a MachineResetSignal. The signal is held by a finalizer
    until they have confirmed it: to leave, create the signal, tear it down and wait for as long as it
    is worth it. Stopping deletes nothing: the record lives on until its time is over.
    """

    name = "cluster.DiscoveryServiceController"
    inputs = (
        weak(DiscoveryConfig, DISCOVERY_CONFIG_ID),
        weak(Identity, LOCAL),
        # Narrowed to the own one as soon as its id is known.
        weak(Affiliate),
        weak(KubeSpanEndpoint),
        weak(TrustBundle, TRUST_BUNDLE_ID),
        weak(Environment, ENVIRONMENT_ID),
        weak(NodeAddress, DEFAULT_ADDRESS_ID),
        strong(MachineResetSignal, RESET_ID),
    )
    outputs = (
        shared(Affiliate),
        shared(AddressStatus),
        exclusive(DiscoveryServiceStatus),
        shared(NetworkProblem),
    )

    def __init__(
        self,
        *,
        version: str,
        transport: TransportFactory | None = None,
        random: random.Random | None = None,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._version = version
        self._own_input = weak(Affiliate)
        self._surroundings = _Surroundings()
        self._new_transport = transport
        self._transport: Transport | None = None
        self._random = _system_random if random is None else random
        self._random_bytes = random_bytes

    async def run(self, ctx: ControllerContext) -> None:
        """Run the clients and exchange data with them."""
        async with trio.open_nursery() as nursery:
            service: _Run | None = None
            async for _ in ctx:
                self._surroundings = _surroundings(ctx, self._surroundings.address)
                self._narrow_inputs(ctx)
                if service is None:
                    if not _is_needed(ctx):
                        continue
                    await load(*_LIBRARIES)
                    service = _Run(ctx, nursery, self._new_client)
                    nursery.start_soon(service.publish_forever)
                service.use(self._configured(ctx))
                service.redial(self._surroundings)
                await service.announce()

    def _narrow_inputs(self, ctx: ControllerContext) -> None:
        identity = ctx.find(Identity, LOCAL)
        own = weak(Affiliate, None if identity is None else identity.spec.node_id)
        if own != self._own_input:
            self._own_input = own
            ctx.set_inputs(own if input.kind == own.kind else input for input in self.inputs)

    def _configured(self, ctx: ControllerContext) -> "dict[str, ClientOptions]":
        from nodespan.discovery.client import ClientOptions

        config, identity = ctx.find(DiscoveryConfig, DISCOVERY_CONFIG_ID), ctx.find(Identity, LOCAL)
        if config is None or identity is None:
            return {}
        return {
            service.name: ClientOptions(
                target=DialAddress(service.endpoint, service.insecure),
                cluster_id=config.spec.service_cluster_id,
                node_id=identity.spec.node_id,
                key=config.spec.service_encryption_key,
                version=self._version,
            )
            for service in config.spec.service_endpoints
        }

    def _new_client(
        self, ctx: ControllerContext, name: str, options: "ClientOptions", on_change: Callable[[], None]
    ) -> "Client":
        from nodespan.discovery.client import Client
        from nodespan.discovery.transport import GrpcTransport

        if self._transport is None:
            new_transport = self._new_transport or GrpcTransport
            self._transport = new_transport(
                lambda: self._surroundings.added_roots, lambda: self._surroundings.environment
            )
        return Client(
            options,
            self._transport,
            log=ctx.log.bind(discovery=name),
            on_change=on_change,
            random=self._random,
            random_bytes=self._random_bytes,
        )


def _is_needed(ctx: ControllerContext) -> bool:
    """Whether there is anything to do: services, or what an earlier run has left of them."""
    config = ctx.find(DiscoveryConfig, DISCOVERY_CONFIG_ID)
    has_services = config is not None and bool(config.spec.service_endpoints)
    return has_services or ctx.find(MachineResetSignal, RESET_ID) is not None or any(ctx.list(DiscoveryServiceStatus))


_system_random = random.SystemRandom()
_NewClient = Callable[[ControllerContext, str, "ClientOptions", Callable[[], None]], "Client"]


@attrs.frozen
class _Way:
    """How a connection reaches its service."""

    proxy: str
    roots: str
    # The one that most connections come from. Connections of a node that moves are dead once it has another one, which
    # would show only after a minute.
    address: str

    def is_other_than(self, before: "_Way") -> bool:
        """Whether to reconnect; a first address invalidates no connection."""
        return self != attrs.evolve(before, address=before.address or self.address)


@attrs.frozen
class _Surroundings:
    """What connections are dialled with: authorities that are added to those of the system, proxies, an address."""

    added_roots: bytes = b""
    # Changes with the authorities of the system too.
    roots_digest: str = ""
    environment: Mapping[str, str] = attrs.field(factory=lambda: dict(os.environ))
    # The last one that the node had, "" before the first.
    address: str = ""

    def way_to(self, target: DialAddress) -> _Way:
        """What concerns connections to a service."""
        from nodespan.discovery.proxy import ProxyError, proxy_for

        try:
            proxy = proxy_for(target, self.environment) or ""
        except ProxyError as error:
            proxy = str(error)
        return _Way(proxy, "" if target.insecure else self.roots_digest, self.address)


@attrs.define(eq=False)
class _Service:
    """A client at work, and the way by which it reaches its service; None before the first turn."""

    client: "Client"
    way: _Way | None = None
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    async def run(self) -> None:
        with self.scope:
            await self.client.run()


class _Run:
    """One run of the controller: its clients and what they reported."""

    def __init__(self, ctx: ControllerContext, nursery: trio.Nursery, new_client: _NewClient) -> None:
        self._ctx = ctx
        self._nursery = nursery
        self._new_client = new_client
        self._services: dict[str, _Service] = {}
        # No longer used; what they reported counts until those in use have sent a full snapshot.
        self._retired: list[_Service] = []
        self._records: RawAffiliates[_Service] = RawAffiliates()
        self._problems = Problems(ctx, DiscoveryServiceStatus)
        # As published; an earlier run may have left some.
        self._statuses = {status.id: status.spec for status in ctx.list(DiscoveryServiceStatus)}
        self._touched: set[str] = set()
        # Nodes that a snapshot lacks, to be looked at; and those that count nevertheless, for now.
        self._lacking: set[str] = set()
        self._missing = MissingNodes()
        self._has_swept = False
        self._changed = trio.Event()

    # The turns: which services, and what is announced to them.

    def use(self, configured: "dict[str, ClientOptions]") -> None:
        """Use these services from now on, each with a client of its own."""
        for name, service in list(self._services.items()):
            options = configured.get(name)
            if options == service.client.options:
                continue
            service.scope.cancel()
            del self._services[name]
            self._receive(service)
            self._retired.append(service)
        clusters = {(options.cluster_id, options.node_id, options.key) for options in configured.values()}
        for service in list(self._retired):
            options = service.client.options
            if (options.cluster_id, options.node_id, options.key) not in clusters:
                self._touched |= self._give_up(service) | self._missing.clear()
        for name, options in configured.items():
            if name not in self._services:
                service = _Service(self._new_client(self._ctx, name, options, self._wake))
                self._services[name] = service
                self._nursery.start_soon(service.run)
        # The order of the configuration, which is also that of the public addresses.
        self._services = {name: self._services[name] for name in configured}
        self._wake()

    def redial(self, surroundings: _Surroundings) -> None:
        """Reconnect to the services whose route has changed."""
        for service in self._services.values():
            way = surroundings.way_to(service.client.options.target)
            if service.way is not None and way.is_other_than(service.way):
                service.client.reconnect()
            service.way = way

    async def announce(self) -> None:
        """Send the services this node's affiliate, or that it leaves."""
        from nodespan.controllers.cluster.conversion import to_wire

        signal = self._ctx.find(MachineResetSignal, RESET_ID)
        if signal is not None:
            if not signal.metadata.is_tearing_down:
                await self._ctx.add_finalizer(MachineResetSignal, RESET_ID)
            for service in self._services.values():
                service.client.leave()
            return
        identity = self._ctx.find(Identity, LOCAL)
        own = None if identity is None else self._ctx.find(Affiliate, identity.spec.node_id)
        if own is None or own.metadata.is_tearing_down:
            return
        observed: dict[str, tuple[str, ...]] = {}
        for endpoint in self._ctx.list(KubeSpanEndpoint):
            affiliate_id = endpoint.spec.affiliate_id
            if affiliate_id != own.id:
                observed[affiliate_id] = (*observed.get(affiliate_id, ()), endpoint.spec.endpoint)
        data, endpoints = to_wire(own.spec)
        for service in self._services.values():
            service.client.publish(data, endpoints)
            service.client.report(observed)

    # Beside the turns: what the services report.

    def _wake(self) -> None:
        self._changed.set()

    async def publish_forever(self) -> None:
        """Publish what the clients receive, as it comes."""
        while True:
            with trio.move_on_at(self._missing.due):
                await self._changed.wait()
            self._changed = trio.Event()
            for service in self._services.values():
                self._receive(service)
            if all(service.client.is_synced for service in self._services.values()):
                self._clear_out()
            touched, self._touched = self._touched | self._missing.expired(trio.current_time()), set()
            lacking, self._lacking = self._lacking - touched, set()
            for node_id in touched:
                self._missing.drop(node_id)
            for node_id in lacking:
                self._keep(node_id)
            for node_id in lacking | touched:
                await self._publish(node_id)
            await self._publish_address()
            await self._publish_statuses()
            await self._let_go_of_signal()

    def _receive(self, service: _Service) -> None:
        """Receive a client's changes since the last call."""
        from nodespan.controllers.cluster.conversion import from_wire

        client = service.client
        missing = client.take_missing()
        changes = {}
        for id in client.take_changes():
            seen = client.affiliates.get(id)
            spec = None if seen is None else from_wire(seen)
            # A record with this node's id that is not its own was copied, or made up by another member.
            changes[id] = None if spec is None or spec.node_id in ("", client.options.node_id) else spec
        lacking = {id: None for id in missing if id in changes and changes[id] is None}
        self._lacking |= self._records.take(service, lacking)
        self._touched |= self._records.take(service, {id: changes[id] for id in changes.keys() - lacking.keys()})

    def _give_up(self, service: _Service) -> set[str]:
        """Forget what a service reported; returns the ids of the nodes."""
        self._retired.remove(service)
        return self._records.forget(service)

    def _clear_out(self) -> None:
        """All services in use have sent a full snapshot: what none of them reported is missing."""
        for service in list(self._retired):
            self._lacking |= self._give_up(service)
        if not self._has_swept:
            self._has_swept = True
            mine = (raw for raw in self._ctx.list(RAW_AFFILIATE) if raw.metadata.owner == self._ctx.name)
            self._lacking |= self._records.unknown(raw.metadata.id.removeprefix(_SOURCE) for raw in mine)

    def _keep(self, node_id: str) -> None:
        """Let a node count for a while although no service reports it, if it counts now."""
        found = self._ctx.find(RAW_AFFILIATE, f"{_SOURCE}{node_id}")
        if found is not None and self._records.latest(node_id) is None:
            self._missing.add(node_id, found.spec, trio.current_time())

    async def _publish(self, node_id: str) -> None:
        spec = self._records.latest(node_id)
        if spec is not None:
            self._missing.drop(node_id)
            if self._missing:
                known = self._ctx.find(RAW_AFFILIATE, f"{_SOURCE}{node_id}")
                for replaced in self._missing.replaced_by(spec, None if known is None else known.spec):
                    await self._remove(replaced)
            await self._ctx.put(RAW_AFFILIATE, f"{_SOURCE}{node_id}", spec)
        elif node_id not in self._missing:
            await self._remove(node_id)

    async def _remove(self, node_id: str) -> None:
        id = f"{_SOURCE}{node_id}"
        if self._ctx.find(RAW_AFFILIATE, id) is not None:
            await self._ctx.teardown_and_destroy(RAW_AFFILIATE, id)

    async def _publish_address(self) -> None:
        for service in self._services.values():
            spec = public_address(service.client.public_address)
            if spec is not None:
                await self._ctx.put(_PUBLIC_ADDRESS, PUBLIC_ADDRESS_ID, spec)
                return

    async def _publish_statuses(self) -> None:
        for name in self._statuses.keys() - self._services.keys():
            del self._statuses[name]
            await self._ctx.destroy(DiscoveryServiceStatus, name)
        await self._problems.keep(self._services)
        for name, service in list(self._services.items()):
            status = service_status(service.client)
            if self._statuses.get(name) != status:
                self._statuses[name] = status
                await self._ctx.put(DiscoveryServiceStatus, name, status)
            problem = service_problem(service.client)
            if problem is None:
                await self._problems.clear(name)
            else:
                # The client has logged it.
                await self._problems.set(name, problem[0], loud=False, severity=problem[1])

    async def _let_go_of_signal(self) -> None:
        signal = self._ctx.find(MachineResetSignal, RESET_ID)
        has_left = all(service.client.has_left for service in self._services.values())
        if has_left and signal is not None and signal.metadata.is_tearing_down:
            await self._ctx.remove_finalizer(MachineResetSignal, RESET_ID)


def service_status(client: "Client") -> DiscoveryServiceStatusSpec:
    """The status of a client."""
    failure = client.failure
    state = ServiceState.CONNECTED if client.is_connected else ServiceState.CONNECTING
    return DiscoveryServiceStatusSpec(
        endpoint=client.options.target.address,
        state=state if failure is None else ServiceState.FAILED,
        stage="" if failure is None else str(failure.stage),
        message="" if failure is None else failure.message,
        affiliates=len(client.affiliates),
        unreadable=len(client.unreadable),
        own_endpoints=client.own_endpoints,
    )


def service_problem(client: "Client") -> tuple[str, Severity] | None:
    """The problem with a service, and its severity; None if there is none."""
    if client.failure is not None:
        return f"{client.options.target.address} cannot be used: {client.failure.message}", Severity.ERROR
    if not client.unreadable:
        return None
    count, total = len(client.unreadable), len(client.unreadable) + len(client.affiliates)
    # Any of them will do: with a wrong secret all reasons are the same.
    reason = next(iter(client.unreadable.values()))
    message = f"{count} of {total} records of other nodes cannot be read: {reason}"
    return message, Severity.WARNING if client.affiliates else Severity.ERROR


def public_address(address: str) -> AddressStatusSpec | None:
    """The status of the address that a service sees this node at; None if it sees none where others can reach it.

    A service on the node itself sees the loopback address, which every peer would look for on itself.
    """
    if not address:
        return None
    own = ip_interface(address)
    if own.ip.is_loopback or own.ip.is_link_local or own.ip.is_unspecified or own.ip.is_multicast:
        return None
    return AddressStatusSpec(address=str(own), family=Family.INET4 if own.version == 4 else Family.INET6)


def _surroundings(ctx: ControllerContext, address_before: str) -> _Surroundings:
    bundle, environment = ctx.find(TrustBundle, TRUST_BUNDLE_ID), ctx.find(Environment, ENVIRONMENT_ID)
    address = ctx.find(NodeAddress, DEFAULT_ADDRESS_ID)
    found = _Surroundings(address=address_before)
    if address is not None and address.spec.addresses:
        found = attrs.evolve(found, address=address.spec.addresses[0])
    if bundle is not None:
        found = attrs.evolve(found, added_roots=bundle.spec.added.encode(), roots_digest=bundle.spec.digest)
    if environment is not None:
        variables = (variable.partition("=") for variable in environment.spec.variables)
        found = attrs.evolve(found, environment={name: value for name, _, value in variables})
    return found
