"""The controller that runs operators: when they run, what happens to their output, and how they end."""

from unittest.mock import MagicMock

import attrs
import pytest
import trio

from nodespan.controllers.network.operators.base import Operator, OperatorContext, OperatorOutput
from nodespan.controllers.network.operators.operator_spec import (
    CARRIER_PATIENCE,
    PATIENCE,
    OperatorSpecController,
    can_run,
)
from nodespan.resources.network import (
    CONFIG_NAMESPACE,
    AddressSpec,
    AddressSpecSpec,
    ConfigLayer,
    HostnameSpec,
    HostnameSpecSpec,
    HostnameStatus,
    HostnameStatusSpec,
    LinkFlags,
    LinkStatus,
    LinkStatusSpec,
    NetworkProblem,
    OperationalState,
    OperatorSpec,
    OperatorSpecSpec,
    VIPOperatorSpec,
)
from nodespan.resources.network.operator import DHCP4OperatorSpec
from nodespan.resources.network.operator import Operator as OperatorKind
from nodespan.runtime.controller import Controller, ControllerContext, shared
from nodespan.runtime.lifecycle import AGENT_ID, AgentLifecycle, AgentLifecycleSpec
from nodespan.runtime.testing.kit import Node, running

pytestmark = pytest.mark.virtual_clock

ADDRESSES = AddressSpec.within(CONFIG_NAMESPACE)
HOSTNAMES = HostnameSpec.within(CONFIG_NAMESPACE)
DHCP = OperatorSpecSpec(operator=OperatorKind.DHCP4, link_name="eth0", dhcp4=DHCP4OperatorSpec())
VIP = OperatorSpecSpec(operator=OperatorKind.VIP, link_name="eth0", vip=VIPOperatorSpec(ip="192.0.2.9"))
LEASED = AddressSpecSpec(address="192.0.2.7/24", link_name="eth0", layer=ConfigLayer.OPERATOR)
LEASED_ID = "dhcp4/eth0/eth0/192.0.2.7/24"


@attrs.define(eq=False)
class Scripted(Operator):
    """Reports the given output, and notes what happens to it."""

    output: OperatorOutput
    hands_over: bool = False
    failures: int = 0
    stubborn: bool = False
    release: trio.Event = attrs.field(factory=trio.Event)
    events: list[str] = attrs.field(factory=list)

    async def run(self, ctx: OperatorContext) -> None:
        self.events.append("started")
        try:
            async for _ in ctx:
                await ctx.report(self.output)
                if self.failures:
                    self.failures -= 1
                    raise OSError("no luck")
                if ctx.stopping.is_set():
                    if self.stubborn:
                        await trio.sleep_forever()
                    if self.hands_over:
                        await self.release.wait()
                    self.events.append("ended")
                    return
        except trio.Cancelled:
            self.events.append("cut off")
            raise


@attrs.define(eq=False)
class WaitsForChange(Operator):
    """Must not end before its address is gone, also where everything is cancelled around it."""

    hands_over: bool = True
    waited: float = -1.0

    async def run(self, ctx: OperatorContext) -> None:
        try:
            await ctx.report(OperatorOutput(addresses=(LEASED,)))
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                began, change = trio.current_time(), ctx.next_change
                with trio.move_on_after(PATIENCE):
                    await change.wait()
                self.waited = trio.current_time() - began


class Remover(Controller):
    """Changes an input of operators, some time after everything else was cancelled."""

    name = "test.Remover"
    outputs = (shared(HostnameStatus),)

    async def run(self, ctx: ControllerContext) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
                await ctx.put(HostnameStatus, "hostname", HostnameStatusSpec(hostname="one"))


async def test_an_operator_that_hands_over_is_notified_while_its_controller_is_cancelled() -> None:
    operator = WaitsForChange()
    waiting = OperatorSpecController({OperatorKind.VIP: lambda _: operator})
    async with running(waiting, Remover()) as node:
        await node.create(OperatorSpec.new("vip/eth0", VIP))
        await link(node, OperationalState.UP)
        await node.eventually(ADDRESSES, "vip/eth0/eth0/192.0.2.7/24")
    assert operator.waited == 1.0


def controller(*operators: Scripted) -> OperatorSpecController:
    waiting = list(operators)
    return OperatorSpecController(
        {OperatorKind.DHCP4: lambda _: waiting.pop(0), OperatorKind.VIP: lambda _: waiting.pop(0)}
    )


async def link(node: Node, state: OperationalState, *flags: LinkFlags) -> None:
    new = LinkStatus.new("eth0", LinkStatusSpec(operational_state=state, flags=LinkFlags(sum(flags))))
    await node.state.modify(new, lambda known: known.with_spec(new.spec))


@pytest.mark.parametrize(
    ("state", "require_up", "runs"),
    [
        (OperationalState.UP, True, True),
        (OperationalState.UNKNOWN, True, True),
        (OperationalState.DOWN, True, False),
        (OperationalState.DOWN, False, True),
        (None, False, False),
    ],
)
def test_an_operator_that_requires_it_needs_a_link_that_is_up(
    state: OperationalState | None, require_up: bool, runs: bool
) -> None:
    status = None if state is None else LinkStatusSpec(operational_state=state)
    assert can_run(attrs.evolve(DHCP, require_up=require_up), status) is runs


async def test_the_output_of_an_operator_lasts_as_long_as_its_link_is_up() -> None:
    first, second = Scripted(OperatorOutput(addresses=(LEASED,))), Scripted(OperatorOutput(addresses=(LEASED,)))
    async with running(controller(first, second)) as node:
        await node.create(OperatorSpec.new("dhcp4/eth0", DHCP))
        await node.settled()
        assert not first.events
        await link(node, OperationalState.UP)
        await node.eventually(ADDRESSES, LEASED_ID, spec=LEASED)
        await link(node, OperationalState.DOWN)
        await node.gone(ADDRESSES, LEASED_ID)
        assert first.events == ["started", "ended"]
        await link(node, OperationalState.UP)
        await node.eventually(ADDRESSES, LEASED_ID, spec=LEASED)
        assert second.events == ["started"]


async def test_leased_configuration_outlasts_a_short_loss_of_carrier_only() -> None:
    operators = [Scripted(OperatorOutput(addresses=(LEASED,))) for _ in range(3)]
    async with running(controller(*operators)) as node:
        await node.create(OperatorSpec.new("dhcp4/eth0", DHCP))
        await link(node, OperationalState.UP, LinkFlags.UP)
        created = (await node.eventually(ADDRESSES, LEASED_ID)).metadata.created
        for number in (0, 1):
            await link(node, OperationalState.DOWN, LinkFlags.UP)
            await trio.sleep(CARRIER_PATIENCE - 1)
            assert operators[number].events == ["started", "ended"]
            await link(node, OperationalState.UP, LinkFlags.UP)
            await node.settled()
            assert node.state.get(ADDRESSES, LEASED_ID).metadata.created == created
        await link(node, OperationalState.DOWN, LinkFlags.UP)
        await trio.sleep(CARRIER_PATIENCE + 1)
        assert not node.state.list(ADDRESSES)


async def test_a_virtual_ip_goes_at_once_with_the_carrier() -> None:
    operator = Scripted(OperatorOutput(addresses=(LEASED,)))
    async with running(controller(operator)) as node:
        await node.create(OperatorSpec.new("vip/eth0/192.0.2.9", VIP))
        await link(node, OperationalState.UP, LinkFlags.UP)
        await node.eventually(ADDRESSES, "vip/eth0/eth0/192.0.2.7/24")
        await link(node, OperationalState.DOWN, LinkFlags.UP)
        await node.settled()
        assert not node.state.list(ADDRESSES)


async def test_the_output_of_a_removed_operator_is_removed() -> None:
    operator = Scripted(OperatorOutput(addresses=(LEASED,), hostname=HostnameSpecSpec(hostname="one")))
    async with running(controller(operator)) as node:
        await link(node, OperationalState.UP)
        await node.create(OperatorSpec.new("dhcp4/eth0", DHCP))
        await node.eventually(HOSTNAMES, "dhcp4/eth0/hostname")
        operator.output = OperatorOutput(problem="no server answers")
        await link(node, OperationalState.UNKNOWN)
        await node.gone(HOSTNAMES, "dhcp4/eth0/hostname")
        await node.gone(ADDRESSES, LEASED_ID)
        problem = await node.eventually(NetworkProblem, "OperatorSpecs/dhcp4/eth0")
        assert problem.spec.message == "no server answers"
        await node.state.destroy(OperatorSpec.kind, "dhcp4/eth0")
        await node.gone(NetworkProblem, "OperatorSpecs/dhcp4/eth0")


async def test_an_operator_that_fails_is_restarted_and_keeps_its_output() -> None:
    operator = Scripted(OperatorOutput(addresses=(LEASED,)), failures=3)
    async with running(controller(operator)) as node:
        await link(node, OperationalState.UP)
        await node.create(OperatorSpec.new("dhcp4/eth0", DHCP))
        await node.eventually(ADDRESSES, LEASED_ID)
        version = node.state.get(ADDRESSES, LEASED_ID).metadata.version
        await trio.sleep(60)
        assert operator.events == ["started"] * 4
        assert node.state.get(ADDRESSES, LEASED_ID).metadata.version == version
        assert node.state.find(NetworkProblem, "OperatorSpecs/dhcp4/eth0") is None


async def test_a_changed_spec_ends_the_old_operator_before_the_new_one_starts() -> None:
    first, second = Scripted(OperatorOutput(), hands_over=True), Scripted(OperatorOutput(addresses=(LEASED,)))
    async with running(controller(first, second)) as node:
        await link(node, OperationalState.UP)
        await node.create(OperatorSpec.new("vip/eth0/192.0.2.9", VIP))
        await node.settled()
        changed = attrs.evolve(VIP, require_up=False)
        await node.state.modify(OperatorSpec.new("vip/eth0/192.0.2.9", VIP), lambda known: known.with_spec(changed))
        await node.settled()
        assert (first.events, second.events) == (["started"], [])
        first.release.set()
        await node.settled()
        await trio.sleep(1)
        assert (first.events, second.events) == (["started", "ended"], ["started"])


async def test_another_layer_of_a_spec_restarts_nothing() -> None:
    operator = Scripted(OperatorOutput())
    async with running(controller(operator)) as node:
        await link(node, OperationalState.UP)
        await node.create(OperatorSpec.new("dhcp4/eth0", DHCP))
        await node.settled()
        layered = attrs.evolve(DHCP, layer=ConfigLayer.CONFIGURATION)
        await node.state.modify(OperatorSpec.new("dhcp4/eth0", DHCP), lambda known: known.with_spec(layered))
        await trio.sleep(5)
        assert operator.events == ["started"]


async def test_one_that_does_not_come_to_an_end_is_cut_off() -> None:
    operator = Scripted(OperatorOutput(), stubborn=True)
    async with running(controller(operator)) as node:
        await link(node, OperationalState.UP)
        await node.create(OperatorSpec.new("dhcp4/eth0", DHCP))
        await node.settled()
        await node.state.destroy(OperatorSpec.kind, "dhcp4/eth0")
        await trio.sleep(PATIENCE + 1)
        assert operator.events == ["started", "cut off"]


async def test_the_agent_stops_when_what_others_wait_for_is_handed_over() -> None:
    vip, dhcp = Scripted(OperatorOutput(), hands_over=True), Scripted(OperatorOutput(addresses=(LEASED,)))
    runs = OperatorSpecController({OperatorKind.DHCP4: lambda _: dhcp, OperatorKind.VIP: lambda _: vip})
    async with running(runs) as node:
        await node.create(AgentLifecycle.new(AGENT_ID, AgentLifecycleSpec(pid=1)))
        await link(node, OperationalState.UP)
        await node.create(OperatorSpec.new("dhcp4/eth0", DHCP))
        await node.create(OperatorSpec.new("vip/eth0/192.0.2.9", VIP))
        await node.settled()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(node.state.teardown_and_destroy, AgentLifecycle, AGENT_ID)
            await trio.sleep(2)
            assert node.state.find(AgentLifecycle, AGENT_ID) is not None
            vip.release.set()
            with trio.fail_after(30):
                await node.gone(AgentLifecycle, AGENT_ID)
        assert vip.events == ["started", "ended"]
        assert dhcp.events == ["started"]
        assert node.state.find(ADDRESSES, LEASED_ID) is not None


async def test_a_change_during_a_check_is_not_missed() -> None:
    async def report(output: OperatorOutput) -> None:
        raise AssertionError(output)

    access = MagicMock(spec=ControllerContext, log=MagicMock())
    ctx = OperatorContext(access, VIP, report)
    change = ctx.next_change
    ctx.wake()
    await change.wait()
    assert not ctx.next_change.is_set()
