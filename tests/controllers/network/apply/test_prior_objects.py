"""The machine after is the machine before, whatever was there, was configured, and was killed in between."""

import functools
import itertools
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st
from pyroute2.netlink import NLM_F_CREATE, NLM_F_EXCL, rtnl

from nodespan.controllers.common.prior_state import Prior, PriorState, address_slot
from nodespan.controllers.network.apply import address_spec, route_spec, routing_rule_spec
from nodespan.controllers.network.apply.address_plan import Fence, plan_addresses
from nodespan.controllers.network.apply.objects import Changes, ObjectDriver, ObjectPlan
from nodespan.controllers.network.apply.prior_objects import PriorObjects
from nodespan.controllers.network.apply.route_plan import plan_routes
from nodespan.kernel.addresses import Addresses
from nodespan.kernel.changes.address_changes import AddressToAdd, add_address, delete_address
from nodespan.kernel.changes.route_changes import RouteToAdd, add_route, delete_route
from nodespan.kernel.changes.rule_changes import add_rule
from nodespan.kernel.link_lookup import LinkTable
from nodespan.kernel.links import KernelLink
from nodespan.kernel.routes import Routes
from nodespan.kernel.rtnetlink import Message, number8, number32
from nodespan.kernel.rules import Rules
from nodespan.resources.network import (
    AddressSpec,
    AddressSpecSpec,
    LinkFlags,
    LinkStatusSpec,
    RouteProtocol,
    RouteSpec,
    RouteSpecSpec,
    RoutingRuleSpec,
    RoutingRuleSpecSpec,
    RoutingTable,
)
from nodespan.resources.network.enums import AddressFlags, Scope
from nodespan.runtime.controller import Specs
from tests.controllers.network.apply.model_kernel import Killed, ModelKernel

NOW = 1000.0


class Boot:
    boot = "this one"

    def now(self) -> float:
        return NOW


@attrs.frozen
class Mirror:
    """What an applier looks at."""

    items: Any


LINKS = {
    index: KernelLink(name=f"eth{index - 2}", status=LinkStatusSpec(index=index, flags=LinkFlags.UP))
    for index in (2, 3)
}


class Part:
    """One applier without its loop: its specs, its plan, its driver."""

    def __init__(
        self, kernel: ModelKernel, prior: PriorState, type: Any, kind: Any, changes: Any, slots: Any, rule: Any
    ) -> None:
        self.specs: Specs[Any] = Specs(type)
        self.kind = kind
        self.kernel = kernel
        self.driver: ObjectDriver[Any, Any, Any, Any] = ObjectDriver(kernel, kind, changes, PriorObjects(prior, slots))
        self.driver.links = LinkTable(LINKS)
        self.plan: ObjectPlan[Any, Any, Any, Any, Any] = ObjectPlan(self.specs, self.driver, rule)

    def round(self) -> None:
        """Observe, decide, apply."""
        self.driver.items = Mirror(self.kind.collect(self.kind.dump(self.kernel)))  # type: ignore[assignment]
        decisions: dict[str, Any] = {}
        for id in (*self.specs.leaving, *self.specs.desired):
            decisions |= self.plan.decide(id)
        work = {id: decision.work for id, decision in decisions.items() if decision.work is not None}
        in_order = {id: work[id] for id in (*self.specs.leaving, *self.specs.desired) if id in work}
        for error in self.driver.job(in_order)().failed.values():
            assert isinstance(error, FileExistsError), error


def _plan_addresses(problem: Any) -> Any:
    return plan_addresses(problem.desired, problem.leaving, problem.links, problem.items, Fence(now=NOW))


def _plan_routes(problem: Any) -> Any:
    return plan_routes(problem.desired, problem.leaving, problem.before, problem.links, problem.items)


class Machine:
    """A kernel and the appliers of an agent, which may be killed and started again."""

    def __init__(self, directory: Path) -> None:
        self.kernel = ModelKernel()
        self._file = directory / "before.jsonl"
        # What the agents so far had in effect, or had begun to.
        self.known: dict[str, Any] = {}
        self.start()

    def start(self) -> None:
        prior = PriorState(self._file, Boot(), now=lambda: NOW, strict_kernel=self.kernel.open)
        add = functools.partial(add_address, clock=lambda: NOW)
        record = routing_rule_spec.RuleRecord(prior)
        self.parts = {
            AddressSpecSpec: Part(
                *(self.kernel, prior, AddressSpec, Addresses(), Changes(add=add, remove=delete_address)),
                *(address_spec.SLOTS, _plan_addresses),
            ),
            RouteSpecSpec: Part(
                *(self.kernel, prior, RouteSpec, Routes(), Changes(add=add_route, remove=delete_route)),
                *(route_spec.SLOTS, _plan_routes),
            ),
            RoutingRuleSpecSpec: Part(
                *(self.kernel, prior, RoutingRuleSpec, Rules(), Changes(add=record.add, remove=record.remove)),
                *(routing_rule_spec.SLOTS, record.plan),
            ),
        }
        self.parts[AddressSpecSpec].driver.prior.keeper.restore_losses(None)

    def configure(self, specs: Iterable[Any]) -> None:
        """Have these specs, and no others, in effect. Raises Killed."""
        desired = {_id(spec): spec for spec in specs}
        for kind, part in self.parts.items():
            part.specs.desired = {id: spec for id, spec in desired.items() if isinstance(spec, kind)}
            known = {id: spec for id, spec in self.known.items() if isinstance(spec, kind)}
            part.specs.leaving = {id: spec for id, spec in known.items() if id not in desired}
        self.known |= desired
        # What the kernel refuses, as a second route of one metric, is tried again and again.
        states = [self.kernel.state()]
        while len(states) < 3 or states[-1] != states[-3]:
            for part in self.parts.values():
                part.round()
            states.append(self.kernel.state())
            assert len(states) < 12, "it does not come to rest"
        self.known = desired
        for part in self.parts.values():
            for id in part.specs.leaving:
                part.plan.gone(id)
            part.specs.leaving = {}


def _id(spec: Any) -> str:
    match spec:
        case AddressSpecSpec():
            return f"address {spec.link_name}/{spec.address}"
        case RouteSpecSpec():
            return f"route {spec.family}/{spec.gateway}/{spec.dst}/{spec.priority}"
        case _:
            return f"rule {spec.family}/{spec.priority}"


def link_index(name: str) -> int:
    return next(index for index, link in LINKS.items() if link.name == name)


# What others made.


def given_address(kernel: ModelKernel, spec: AddressSpecSpec) -> None:
    add_address(kernel, AddressToAdd(spec=spec, link_index=link_index(spec.link_name)), lambda: NOW)


def given_route(kernel: ModelKernel, spec: RouteSpecSpec) -> None:
    out = link_index(spec.out_link_name) if spec.out_link_name else 0
    add_route(kernel, RouteToAdd(spec=spec, out_link=out))


def given_rule(kernel: ModelKernel, spec: RoutingRuleSpecSpec) -> None:
    add_rule(kernel, spec)


def make(kernel: ModelKernel, found: Iterable[Any]) -> None:
    for each in found:
        try:
            match each:
                case AddressSpecSpec():
                    given_address(kernel, each)
                case RouteSpecSpec():
                    given_route(kernel, each)
                case _:
                    given_rule(kernel, each)
        except FileExistsError:
            continue


addresses = st.builds(
    AddressSpecSpec,
    address=st.sampled_from(["10.0.0.1/24", "10.0.0.2/24", "10.9.0.1/32"]),
    link_name=st.sampled_from(["eth0", "eth1"]),
    scope=st.sampled_from([Scope.GLOBAL, Scope.LINK]),
    flags=st.sampled_from([AddressFlags.PERMANENT, AddressFlags.PERMANENT | AddressFlags.NOPREFIXROUTE]),
    priority=st.sampled_from([0, 7]),
)
foreign_addresses = addresses | st.builds(
    attrs.evolve, addresses, valid_until=st.sampled_from([0.0, NOW + 600.0]), flags=st.just(AddressFlags(0))
)
routes = st.builds(
    RouteSpecSpec,
    dst=st.sampled_from(["", "10.99.0.0/16"]),
    gateway=st.sampled_from(["10.0.0.254", "10.0.0.253"]),
    out_link_name=st.sampled_from(["eth0", "eth1"]),
    priority=st.sampled_from([0, 1024]),
    mtu=st.sampled_from([0, 1400]),
)
foreign_routes = st.builds(
    attrs.evolve, routes, protocol=st.sampled_from([RouteProtocol.STATIC, RouteProtocol.BOOT, RouteProtocol.DHCP])
)
rules = st.builds(
    RoutingRuleSpecSpec,
    table=st.sampled_from([RoutingTable.of(100), RoutingTable.of(101)]),
    priority=st.sampled_from([100, 200]),
    fw_mark=st.sampled_from([0, 7]),
)
machines = st.lists(foreign_addresses | foreign_routes | rules, max_size=8)
configurations = st.lists(addresses | routes | rules, max_size=8, unique_by=lambda spec: (type(spec), _id(spec)))


def foreign_order(found: Iterable[Any]) -> list[Any]:
    """Addresses first, as anybody has to make them."""
    order = {AddressSpecSpec: 0, RouteSpecSpec: 1, RoutingRuleSpecSpec: 2}
    return sorted(found, key=lambda each: order[type(each)])


@settings(max_examples=200)
@given(
    before=machines,
    configured=st.lists(configurations, min_size=1, max_size=3),
    kills=st.lists(st.integers(min_value=0, max_value=12), max_size=2),
)
@pytest.mark.slow
def test_the_machine_after_is_the_machine_before(before: Any, configured: Any, kills: list[int]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        machine = Machine(Path(directory))
        make(machine.kernel, foreign_order(before))
        expected = machine.kernel.state()
        deaths = iter(kills)
        for specs in (*configured, []):
            machine.kernel.changes_left = next(deaths, 1 << 30)
            try:
                machine.configure(specs)
            except Killed:
                note("killed")
                machine.kernel.changes_left = 1 << 30
                machine.start()
                machine.configure(specs)
        assert machine.kernel.state() == expected


ADDRESS = AddressSpecSpec(address="10.0.0.1/24", link_name="eth0")
ROUTE = RouteSpecSpec(gateway="10.0.0.254", out_link_name="eth0")
RULE = RoutingRuleSpecSpec(table=RoutingTable.of(100), priority=100)
CASES: dict[str, tuple[list[Any], list[Any]]] = {
    "the same address and route": ([ADDRESS, ROUTE], [ADDRESS, ROUTE]),
    "an address of another scope, and a route that rests on it": (
        [attrs.evolve(ADDRESS, scope=Scope.LINK), ROUTE],
        [ADDRESS],
    ),
    "an address with a lifetime": ([attrs.evolve(ADDRESS, valid_until=NOW + 600.0)], [ADDRESS]),
    "a route with another MTU": ([ADDRESS, attrs.evolve(ROUTE, mtu=1300)], [ADDRESS, ROUTE]),
    "a route of another protocol": ([ADDRESS, attrs.evolve(ROUTE, protocol=RouteProtocol.DHCP)], [ADDRESS, ROUTE]),
    "the same rule": ([RULE], [RULE]),
    "another rule of the same priority": ([attrs.evolve(RULE, fw_mark=9)], [RULE]),
    "nothing": ([], [ADDRESS, ROUTE, RULE]),
}


@pytest.mark.parametrize("case", CASES)
def test_what_was_there_before_remains(case: str, tmp_path: Path) -> None:
    before, configured = CASES[case]
    machine = Machine(tmp_path)
    make(machine.kernel, before)
    expected = machine.kernel.state()
    machine.configure(configured)
    machine.configure([])
    assert machine.kernel.state() == expected


def test_an_agent_killed_at_any_change_leaves_what_the_next_one_needs(tmp_path: Path) -> None:
    before, configured = CASES["an address of another scope, and a route that rests on it"]
    for kill_at, number in zip(range(12), itertools.count()):
        directory = tmp_path / str(number)
        directory.mkdir()
        machine = Machine(directory)
        make(machine.kernel, before)
        expected = machine.kernel.state()
        machine.kernel.changes_left = kill_at
        try:
            machine.configure(configured)
            machine.configure([])
        except Killed:
            machine.kernel.changes_left = 1 << 30
            machine.start()
            machine.configure([])
        assert machine.kernel.state() == expected


def test_what_others_change_meanwhile_is_theirs(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    given_address(machine.kernel, attrs.evolve(ADDRESS, priority=5))
    machine.configure([ADDRESS])
    machine.kernel.objects[rtnl.RTM_NEWADDR].clear()
    given_address(machine.kernel, attrs.evolve(ADDRESS, priority=9))
    theirs = machine.kernel.state()
    machine.configure([])
    assert machine.kernel.state() == theirs


@settings(max_examples=50)
@given(
    before=st.lists(rules, max_size=2),
    later=st.lists(rules, max_size=3),
    configured=st.lists(st.lists(rules, max_size=3, unique_by=_id), min_size=2, max_size=4),
    kills=st.lists(st.integers(min_value=0, max_value=4), max_size=3),
)
def test_rules_that_others_add_meanwhile_stay_whatever_is_configured(
    before: Any, later: Any, configured: list[Any], kills: list[int]
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        machine = Machine(Path(directory))
        make(machine.kernel, before)
        added, deaths = iter(later), iter(kills)
        for specs in (*configured, []):
            machine.kernel.changes_left = next(deaths, 1 << 30)
            try:
                machine.configure(specs)
            except Killed:
                note("killed")
                machine.kernel.changes_left = 1 << 30
                machine.start()
                machine.configure(specs)
            machine.kernel.changes_left = 1 << 30
            here = [attrs.evolve(each, src="192.0.2.0/24") for each in itertools.islice(added, 1)]
            # What nothing desires, and nobody made: with this source it is no spec's.
            make(machine.kernel, here)
            before = [*before, *here]
        expected = ModelKernel()
        make(expected, before)
        assert machine.kernel.state() == expected.state()


def test_a_rule_that_does_more_than_a_spec_can_say_is_not_taken_for_the_agents(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.configure([RULE])
    # The same, for TCP only; and the opposite of it.
    for flags, more in ((0, (number8(22, 6),)), (2, ())):
        fields = (2, 0, 0, 0, 100, 0, 0, 1, flags)
        common = (number32(6, RULE.priority), number32(15, 100), number8(21, 4))
        machine.kernel.change(rtnl.RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, fields, *common, *more)
    both = machine.kernel.state()
    machine.configure([RULE])
    assert machine.kernel.state() == both
    machine.configure([])
    assert len(machine.kernel.objects[rtnl.RTM_NEWRULE]) == 2
    machine.configure([RULE])
    assert len(machine.kernel.objects[rtnl.RTM_NEWRULE]) == 3


def test_an_attribute_that_nothing_here_knows_is_put_back_too(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    given_address(machine.kernel, ADDRESS)
    table, unknown = number32(15, 254), number32(16, 77)
    gateway = b"\x08\x00\x05\x00\x0a\x00\x00\xfe"
    machine.kernel.change(
        rtnl.RTM_NEWROUTE,
        NLM_F_CREATE | NLM_F_EXCL,
        (2, 0, 0, 0, 254, 4, 0, 1, 0),
        table,
        gateway,
        number32(4, 2),
        unknown,
    )
    expected = machine.kernel.state()
    machine.configure([attrs.evolve(ROUTE, mtu=1400)])
    assert machine.kernel.state() != expected
    machine.configure([])
    assert machine.kernel.state() == expected


class ListedTooLate(ModelKernel):
    """Lists an object that is removed, and forgotten by its applier, before the caller looks at the list."""

    def __init__(self) -> None:
        super().__init__()
        self.listed: Callable[[], None] = lambda: None

    def dump_matching(self, type: int, fields: tuple[int, ...], *attributes: bytes) -> Iterator[Message]:
        found = tuple(super().dump_matching(type, fields, *attributes))
        self.listed()
        yield from found


def test_an_own_object_that_is_removed_while_it_is_listed_is_not_restored(tmp_path: Path) -> None:
    kernel = ListedTooLate()
    prior = PriorState(tmp_path / "before.jsonl", Boot(), now=lambda: NOW, strict_kernel=kernel.open)
    add = AddressToAdd(spec=AddressSpecSpec(address="192.0.2.1/24", link_name="eth0"), link_index=2)
    slot = address_slot(2, "192.0.2.1/24")
    prior.note({slot: Prior()})
    add_address(kernel, add, lambda: NOW)
    kernel.listed = lambda: prior.note({slot: None})
    prior.before_loss(None, {2})
    assert not prior.links_with_losses()
    # One that belongs to another program is.
    kernel.listed = lambda: None
    prior.before_loss(None, {2})
    assert prior.links_with_losses() == {2}
