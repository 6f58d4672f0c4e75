"""network.OperatorSpecController: runs the desired operators, and writes their specs.

An operator runs while its link exists and, if it needs that, can carry packets. One whose spec changes is replaced; one
that fails is restarted, and its output stays meanwhile. Its specs go to `network-config` under ids that start with the
operator and its link: `dhcp4/eth0/eth0/10.0.0.7/24`.
"""

import contextlib
import random
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import attrs
import trio

from nodespan.controllers.common.problems import Problems
from nodespan.controllers.network.operators.base import Operator, OperatorContext, OperatorFactory, OperatorOutput
from nodespan.resources.config import MachineConfig
from nodespan.resources.network import (
    CONFIG_NAMESPACE,
    HOSTNAME_ID,
    RESOLVERS_ID,
    TIME_SERVERS_ID,
    AddressSpec,
    ConfigLayer,
    DHCPLease,
    HostnameSpec,
    HostnameStatus,
    LinkFlags,
    LinkSpec,
    LinkStatus,
    LinkStatusSpec,
    NetworkProblem,
    OperationalState,
    OperatorSpec,
    OperatorSpecSpec,
    ResolverSpec,
    RouteSpec,
    TimeServerSpec,
    VIPStatus,
    address_id,
    operator_id,
    route_id,
)
from nodespan.resources.network.operator import Operator as OperatorKind
from nodespan.runtime.backoff import Backoff
from nodespan.runtime.controller import Controller, ControllerContext, Input, shared, strong, weak
from nodespan.runtime.errors import leaves
from nodespan.runtime.lifecycle import AGENT_ID, AgentLifecycle
from nodespan.runtime.resource import Kind

# How long an operator may take to release what it holds, in seconds.
PATIENCE = 10.0
# For how long, in seconds, leased configuration stays on a link that has lost its carrier. Many cards lose it for a
# moment when their MTU is set, and the MTU may be leased: removing it would lose the carrier again, and so on.
CARRIER_PATIENCE = 5.0
_CLIENTS = (OperatorKind.DHCP4, OperatorKind.DHCP6)
_READY = (OperationalState.UP, OperationalState.UNKNOWN)

_ADDRESSES = AddressSpec.within(CONFIG_NAMESPACE)
_LINKS = LinkSpec.within(CONFIG_NAMESPACE)
_ROUTES = RouteSpec.within(CONFIG_NAMESPACE)
_HOSTNAMES = HostnameSpec.within(CONFIG_NAMESPACE)
_RESOLVERS = ResolverSpec.within(CONFIG_NAMESPACE)
_TIME_SERVERS = TimeServerSpec.within(CONFIG_NAMESPACE)

_Outputs = dict[tuple[Kind[Any], str], Any]


def prefix_of(spec: OperatorSpecSpec) -> str:
    """The prefix of the ids of an operator's specs: `vip/eth0`."""
    return f"{spec.operator.value}/{spec.link_name}"


def outputs_of(spec: OperatorSpecSpec, output: OperatorOutput) -> _Outputs:
    """The output of an operator as resources, by kind and id."""
    prefix = prefix_of(spec)
    outputs: _Outputs = {}
    for address in output.addresses:
        outputs[_ADDRESSES, f"{prefix}/{address_id(address.link_name, address.address)}"] = address
    for link in output.links:
        outputs[_LINKS, f"{prefix}/{link.name}"] = link
    for route in output.routes:
        id = route_id(
            table=route.table,
            family=route.family,
            gateway=route.gateway,
            dst=route.dst,
            priority=route.priority,
            out_link_name=route.out_link_name,
        )
        outputs[_ROUTES, f"{prefix}/{id}"] = route
    single = (
        (_HOSTNAMES, HOSTNAME_ID, output.hostname),
        (_RESOLVERS, RESOLVERS_ID, output.resolvers),
        (_TIME_SERVERS, TIME_SERVERS_ID, output.time_servers),
    )
    outputs |= {(kind, f"{prefix}/{id}"): each for kind, id, each in single if each is not None}
    if output.vip_status is not None:
        outputs[VIPStatus.kind, f"{spec.link_name}/{output.vip_status.ip}"] = output.vip_status
    if output.dhcp_lease is not None:
        outputs[DHCPLease.kind, prefix] = output.dhcp_lease
    return outputs


def can_run(spec: OperatorSpecSpec, link: LinkStatusSpec | None) -> bool:
    """Whether the operator can work on the link."""
    return link is not None and (not spec.require_up or link.operational_state in _READY)


@attrs.define(eq=False)
class _Task:
    """A running operator. The scope is that of its whole life, restarts included."""

    spec: OperatorSpecSpec
    operator: Operator
    ctx: OperatorContext
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    @property
    def is_stopping(self) -> bool:
        return self.ctx.stopping.is_set()


class OperatorSpecController(Controller):
    """`factories` make the operator of each kind; specs of other kinds are problems.

    `inputs` are what operators read beside their link, the machine configuration and the hostname.
    """

    name = "network.OperatorSpecController"
    outputs = (
        *(shared(kind) for kind in (_ADDRESSES, _LINKS, _ROUTES, _HOSTNAMES, _RESOLVERS, _TIME_SERVERS)),
        shared(VIPStatus),
        shared(DHCPLease),
        shared(NetworkProblem),
    )

    def __init__(self, factories: Mapping[OperatorKind, OperatorFactory], *, inputs: tuple[Input, ...] = ()) -> None:
        self.inputs = (
            weak(OperatorSpec),
            weak(LinkStatus),
            weak(MachineConfig),
            weak(HostnameSpec),
            weak(HostnameStatus),
            strong(AgentLifecycle),
            *inputs,
        )
        self._factories = factories
        self._tasks: dict[str, _Task] = {}
        # The output of each operator, also while none runs in its place for a moment.
        self._written: dict[str, _Outputs] = {}
        # Until when it stays for those whose links have lost their carriers.
        self._kept_until: dict[str, float] = {}
        self._is_leaving = False

    async def run(self, ctx: ControllerContext) -> None:
        """Follow specs and links."""
        self._tasks.clear()
        self._kept_until.clear()
        problems = Problems(ctx, OperatorSpec)
        async with trio.open_nursery() as nursery, self._woken_to_the_end(ctx, nursery):
            async for _ in ctx:
                is_leaving = await self._hold_agent(ctx)
                desired = dict(self._desired(ctx, is_leaving=is_leaving))
                self._stop_others(nursery, desired)
                # One that is stopping may be waiting for its output to be removed.
                for task in self._tasks.values():
                    if task.is_stopping:
                        task.ctx.wake()
                for id, spec in desired.items():
                    if id in self._tasks:
                        self._tasks[id].ctx.wake()
                    elif spec.operator in self._factories:
                        self._start(ctx, nursery, problems, id, spec)
                    else:
                        await problems.set(id, f"operators of kind {spec.operator} are not supported on this node")
                for id in self._written.keys() - desired.keys() - self._tasks.keys():
                    if not self._is_kept(ctx, nursery, id):
                        await self._write(ctx, problems, id, {}, "")
                        del self._written[id]
                self._kept_until = {id: end for id, end in self._kept_until.items() if id not in self._tasks}
                if is_leaving and not any(task.operator.hands_over for task in self._tasks.values()):
                    await self._release_agent(ctx)

    @contextlib.asynccontextmanager
    async def _woken_to_the_end(self, ctx: ControllerContext, nursery: trio.Nursery) -> AsyncIterator[None]:
        """However the turns end, operators that hand over are notified of changes for as long as they take."""
        try:
            yield
        finally:
            # They are shielded, and would otherwise not learn that what they wait for has happened.
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                while any(task.operator.hands_over for task in self._tasks.values()):
                    await ctx.wait_woken()
                    for task in self._tasks.values():
                        task.ctx.wake()

    async def _hold_agent(self, ctx: ControllerContext) -> bool:
        """Hold the agent while it runs; returns whether it is about to stop."""
        agent = ctx.find(AgentLifecycle, AGENT_ID)
        if agent is not None and agent.metadata.is_tearing_down:
            self._is_leaving = True
        elif agent is not None and ctx.name not in agent.metadata.finalizers:
            await ctx.add_finalizer(AgentLifecycle, AGENT_ID)
        # Turns may come until the very end, also after the agent was released: what was handed over stays so.
        return self._is_leaving

    async def _release_agent(self, ctx: ControllerContext) -> None:
        agent = ctx.find(AgentLifecycle, AGENT_ID)
        if agent is not None and ctx.name in agent.metadata.finalizers:
            await ctx.remove_finalizer(AgentLifecycle, AGENT_ID)

    def _desired(self, ctx: ControllerContext, *, is_leaving: bool) -> Iterator[tuple[str, OperatorSpecSpec]]:
        for resource in ctx.list(OperatorSpec):
            spec = attrs.evolve(resource.spec, layer=ConfigLayer.DEFAULT)
            link = ctx.find(LinkStatus, spec.link_name)
            if resource.metadata.is_tearing_down or not can_run(spec, None if link is None else link.spec):
                continue
            task = self._tasks.get(operator_id(spec))
            if is_leaving and (task is None or task.operator.hands_over):
                continue
            yield operator_id(spec), spec

    def _stop_others(self, nursery: trio.Nursery, desired: Mapping[str, OperatorSpecSpec]) -> None:
        for id, task in self._tasks.items():
            if desired.get(id) != task.spec and not task.is_stopping:
                task.ctx.stop()
                nursery.start_soon(self._end, task)

    def _is_kept(self, ctx: ControllerContext, nursery: trio.Nursery, id: str) -> bool:
        """Whether the output of an operator stays for a moment, since it may be about to go on."""
        resource = ctx.find(OperatorSpec, id)
        if resource is None or resource.metadata.is_tearing_down or resource.spec.operator not in _CLIENTS:
            return False
        link = ctx.find(LinkStatus, resource.spec.link_name)
        if link is None or LinkFlags.UP not in link.spec.flags:
            return False
        now = trio.current_time()
        if id not in self._kept_until:
            self._kept_until[id] = now + CARRIER_PATIENCE
            nursery.start_soon(self._look_again, ctx)
        return now < self._kept_until[id]

    async def _look_again(self, ctx: ControllerContext) -> None:
        await trio.sleep(CARRIER_PATIENCE)
        ctx.wake()

    async def _end(self, task: _Task) -> None:
        await trio.sleep(PATIENCE)
        task.scope.cancel()

    def _start(
        self, ctx: ControllerContext, nursery: trio.Nursery, problems: Problems, id: str, spec: OperatorSpecSpec
    ) -> None:
        async def report(output: OperatorOutput) -> None:
            await self._write(ctx, problems, id, outputs_of(spec, output), output.problem)

        task = _Task(spec, self._factories[spec.operator](spec), OperatorContext(ctx, spec, report))
        self._tasks[id] = task
        nursery.start_soon(self._run, ctx, problems, id, task)

    async def _run(self, ctx: ControllerContext, problems: Problems, id: str, task: _Task) -> None:
        try:
            await self._run_until_stopped(problems, id, task)
        finally:
            del self._tasks[id]
            ctx.wake()
        if task.scope.cancelled_caught:
            ctx.log.warning("an operator did not stop in time and was cancelled", operator=id)

    async def _run_until_stopped(self, problems: Problems, id: str, task: _Task) -> None:
        backoff = Backoff(random.Random())  # noqa: S311  # spreads restarts, protects nothing
        with task.scope:
            while not task.is_stopping:
                try:
                    await task.operator.run(task.ctx)
                except Exception as error:
                    # As with controllers: one that fails is restarted, and the others go on.
                    task.ctx.log.exception("an operator failed and is restarted", operator=id)
                    reason = "; ".join(str(leaf) for leaf in leaves(error))
                    await problems.set(id, f"it failed and is restarted: {reason}", loud=False)
                    with trio.move_on_after(backoff.next()):
                        await task.ctx.stopping.wait()
                else:
                    backoff.reset()
                    with trio.move_on_after(1.0):
                        await task.ctx.stopping.wait()
                task.ctx.wake()

    async def _write(
        self, ctx: ControllerContext, problems: Problems, id: str, outputs: _Outputs, problem: str
    ) -> None:
        """Make these all the output of the operator."""
        for (kind, output), spec in outputs.items():
            await ctx.put(kind, output, spec)
        # Noted before anything is removed, so that a cancellation in between forgets nothing.
        before = self._written.get(id, {})
        self._written[id] = before | outputs
        for kind, output in before.keys() - outputs.keys():
            await ctx.remove(kind, output)
        self._written[id] = outputs
        if problem:
            await problems.set(id, problem)
        else:
            await problems.clear(id)
