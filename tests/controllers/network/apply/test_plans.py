"""What is added, replaced and removed of addresses, routes and rules, and what is left alone."""

from typing import Any

import attrs
import pytest

from nodespan.controllers.network.apply.address_plan import Fence, plan_addresses
from nodespan.controllers.network.apply.plan import Step
from nodespan.controllers.network.apply.route_plan import plan_routes
from nodespan.controllers.network.apply.rule_plan import plan_rules
from nodespan.kernel.addresses import key_of as address_key
from nodespan.kernel.changes.address_changes import AddressToAdd
from nodespan.kernel.changes.route_changes import RouteToAdd
from nodespan.kernel.links import KernelLink
from nodespan.kernel.routes import KernelRoute
from nodespan.kernel.routes import key_of as route_key
from nodespan.kernel.rules import KernelRule, RuleKey
from nodespan.resources.network import (
    AddressFlags,
    AddressSpecSpec,
    AddressStatusSpec,
    ConfigLayer,
    Family,
    LinkFlags,
    LinkStatusSpec,
    RouteSpecSpec,
    RouteStatusSpec,
    RoutingRuleSpecSpec,
    RoutingRuleStatusSpec,
    RoutingTable,
    Scope,
)
from nodespan.resources.network.enums import RouteProtocol


def link(index: int, name: str, **fields: Any) -> KernelLink:
    return KernelLink(name=name, status=LinkStatusSpec(index=index, **{"flags": LinkFlags.UP, **fields}))


LINKS = {
    1: link(1, "lo"),
    2: link(2, "eth0", alias="uplink", alt_names=("enp1s0", "lo")),
    3: link(3, "down0", flags=LinkFlags(0)),
    4: link(4, "eth1"),
}

# Addresses.

WANTED = AddressSpecSpec(address="192.0.2.1/24", link_name="eth0")
SEEN = AddressStatusSpec(
    address="192.0.2.1/24", local="192.0.2.1", link_index=2, flags=AddressFlags.PERMANENT | AddressFlags.TENTATIVE
)
ADD = AddressToAdd(spec=WANTED, link_index=2)
FENCE = Fence(now=100.0)


def addresses(*seen: AddressStatusSpec) -> dict[Any, Any]:
    return {address_key(each): (each,) for each in seen}


@pytest.mark.parametrize(
    ("seen", "step"),
    [
        ((), Step(id="a", add=ADD)),
        ((SEEN,), None),
        ((attrs.evolve(SEEN, link_index=1),), Step(id="a", add=ADD)),
        ((attrs.evolve(SEEN, address="192.0.2.1/32"),), Step(id="a", add=ADD)),
        # The far end of somebody's point-to-point address.
        ((attrs.evolve(SEEN, local="192.0.2.99"),), Step(id="a", add=ADD)),
        *(
            ((other,), Step(id="a", remove=(other,), add=ADD))
            for other in (
                attrs.evolve(SEEN, scope=Scope.LINK),
                attrs.evolve(SEEN, priority=5),
                attrs.evolve(SEEN, flags=AddressFlags.PERMANENT | AddressFlags.NOPREFIXROUTE),
            )
        ),
    ],
)
def test_an_address_is_added_unless_it_is_there(
    seen: tuple[AddressStatusSpec, ...], step: Step[Any, Any] | None
) -> None:
    plan = plan_addresses({"a": WANTED}, {}, LINKS, addresses(*seen), FENCE)
    assert plan.steps == (() if step is None else (step,))


def test_an_address_that_leaves_is_removed_and_no_other() -> None:
    other = attrs.evolve(SEEN, address="192.0.2.2/24", local="192.0.2.2")
    plan = plan_addresses({}, {"a": WANTED}, LINKS, addresses(SEEN, other), FENCE)
    assert plan.steps == (Step(id="a", remove=(SEEN,)),)
    assert not plan_addresses({}, {"a": WANTED}, LINKS, addresses(other), FENCE).steps
    assert not plan_addresses({}, {"a": attrs.evolve(WANTED, link_name="gone0")}, LINKS, addresses(SEEN), FENCE).steps
    # Somebody else among the specs wants it still.
    assert not plan_addresses({"b": WANTED}, {"a": WANTED}, LINKS, addresses(SEEN), FENCE).steps


@pytest.mark.parametrize("name", ["eth0", "uplink", "enp1s0"])
def test_a_link_goes_by_all_its_names(name: str) -> None:
    plan = plan_addresses({"a": attrs.evolve(WANTED, link_name=name)}, {}, LINKS, addresses(SEEN), FENCE)
    assert not plan.steps
    assert not plan.waiting


CONFIGURATION = ConfigLayer.CONFIGURATION


@pytest.mark.parametrize("other_name", ["uplink", "enp1s0"])
@pytest.mark.parametrize("there", [0, 100, 200, None])
def test_an_address_of_a_link_under_two_names_has_one_owner(other_name: str, there: int | None) -> None:
    real = attrs.evolve(WANTED, priority=100, layer=CONFIGURATION)
    other = attrs.evolve(WANTED, link_name=other_name, priority=200, layer=CONFIGURATION)
    seen = () if there is None else (attrs.evolve(SEEN, priority=there),)
    plan = plan_addresses({"a": other, "b": real}, {}, LINKS, addresses(*seen), FENCE)
    assert [(step.id, step.add and step.add.spec) for step in plan.steps] == ([] if there == 100 else [("b", real)])
    assert plan.refused.keys() == {"a"}
    assert f"priority is 100 at eth0, and 200 at {other_name}" in plan.refused["a"]
    # When the owner goes, the other one takes over what is there.
    after = plan_addresses({"a": other}, {"b": real}, LINKS, addresses(*seen), FENCE)
    assert all(step.id == "a" for step in after.steps)
    assert not after.refused


def test_of_two_names_of_a_link_the_higher_layer_decides_and_what_agrees_is_no_conflict() -> None:
    low = attrs.evolve(WANTED, priority=100, layer=ConfigLayer.OPERATOR)
    high = attrs.evolve(WANTED, link_name="uplink", priority=200, layer=CONFIGURATION)
    plan = plan_addresses({"low": low, "high": high}, {}, LINKS, {}, FENCE)
    assert [step.id for step in plan.steps] == ["high"]
    assert not plan.refused
    alike = {"a": WANTED, "b": attrs.evolve(WANTED, link_name="uplink"), "c": attrs.evolve(WANTED, link_name="enp1s0")}
    plan = plan_addresses(alike, {}, LINKS, {}, FENCE)
    assert [step.id for step in plan.steps] == ["a"]
    assert not plan.refused


def test_a_real_name_wins_over_another_links_alias() -> None:
    (step,) = plan_addresses({"a": attrs.evolve(WANTED, link_name="lo")}, {}, LINKS, {}, FENCE).steps
    assert step.add is not None
    assert step.add.link_index == 1


def test_steps_that_must_wait_and_steps_that_are_refused_are_distinguished() -> None:
    wanted = {"a": attrs.evolve(WANTED, link_name="later0"), "b": attrs.evolve(WANTED, address="bad")}
    plan = plan_addresses(wanted, {}, LINKS, {}, FENCE)
    assert plan.waiting == {"a": "there is no link later0"}
    assert plan.refused.keys() == {"b"}


@pytest.mark.parametrize("text", ["2001:DB8:0::5/64", "2001:db8::5/64"])
def test_an_address_is_the_same_however_it_is_written(text: str) -> None:
    seen = AddressStatusSpec(address="2001:db8::5/64", link_index=2, family=Family.INET6, flags=AddressFlags.PERMANENT)
    spec = attrs.evolve(WANTED, address=text, family=Family.INET6)
    assert not plan_addresses({"a": spec}, {}, LINKS, addresses(seen), FENCE).steps


FENCED = attrs.evolve(WANTED, address="192.0.2.10/32", flags=AddressFlags(0), valid_until=103.75)
SEEN_FENCED = attrs.evolve(SEEN, address="192.0.2.10/32", local="192.0.2.10", flags=AddressFlags(0), fenced=True)
FENCED_KEY = address_key(SEEN_FENCED)
ADD_FENCED = AddressToAdd(spec=FENCED, link_index=2)
RENEW = attrs.evolve(ADD_FENCED, renews=True)


@pytest.mark.parametrize(
    ("now", "seen", "given_until", "step", "says"),
    [
        (100.0, (), 0.0, Step(id="a", add=ADD_FENCED), ""),
        (100.0, (SEEN_FENCED,), 103.75, None, ""),
        (100.0, (SEEN_FENCED,), 102.75, Step(id="a", add=RENEW), ""),
        # The controller was started anew, and does not know until when it is there.
        (100.0, (SEEN_FENCED,), 0.0, Step(id="a", add=RENEW), ""),
        # The kernel knows whole seconds only, so the last one is left to it.
        (102.8, (), 0.0, None, "as good as over"),
        (102.8, (SEEN_FENCED,), 102.75, None, "as good as over"),
        (103.75, (SEEN_FENCED,), 103.75, Step(id="a", remove=(SEEN_FENCED,)), "is over"),
        (103.75, (), 103.75, None, "is over"),
        *(
            ((100.0, (other,), 103.75, Step(id="a", remove=(other,), add=ADD_FENCED), ""))
            for other in (attrs.evolve(SEEN_FENCED, scope=Scope.LINK), attrs.evolve(SEEN_FENCED, priority=5))
        ),
    ],
)
def test_a_fenced_address_is_there_until_its_time_is_over(
    now: float, seen: tuple[AddressStatusSpec, ...], given_until: float, step: Step[Any, Any] | None, says: str
) -> None:
    fence = Fence(now=now, given_until={FENCED_KEY: given_until})
    plan = plan_addresses({"a": FENCED}, {}, LINKS, addresses(*seen), fence)
    assert plan.steps == (() if step is None else (step,))
    assert says in plan.waiting.get("a", "")
    assert bool(says) == bool(plan.waiting)


def test_a_permanent_address_of_another_program_is_neither_fenced_nor_removed() -> None:
    foreign = attrs.evolve(SEEN_FENCED, flags=AddressFlags.PERMANENT, fenced=False)
    for now in (100.0, 200.0):
        plan = plan_addresses({"a": FENCED}, {}, LINKS, addresses(foreign), Fence(now=now))
        assert not plan.steps
        assert plan.refused == {"a": "eth0 has 192.0.2.10/32 permanently already: another program gave it that address"}
    assert not plan_addresses({}, {"a": FENCED}, LINKS, addresses(foreign), FENCE).steps
    assert plan_addresses({}, {"a": FENCED}, LINKS, addresses(SEEN_FENCED), FENCE).steps


# Routes.

ROUTE = RouteSpecSpec(dst="10.0.0.0/8", out_link_name="eth0", priority=1, mtu=1420, table=RoutingTable.of(180))
STATUS = RouteStatusSpec(
    dst="10.0.0.0/8",
    out_link_index=2,
    priority=1,
    mtu=1420,
    table=RoutingTable.of(180),
    protocol=RouteProtocol.STATIC,
)


def kernel(**changes: Any) -> KernelRoute:
    return KernelRoute(status=attrs.evolve(STATUS, **changes))


def routes(*seen: KernelRoute) -> dict[Any, tuple[KernelRoute, ...]]:
    found: dict[Any, tuple[KernelRoute, ...]] = {}
    for each in seen:
        key = route_key(each.status)
        found[key] = (*found.get(key, ()), each)
    return found


def route_steps(*seen: KernelRoute, spec: RouteSpecSpec = ROUTE, before: RouteSpecSpec | None = None) -> Any:
    known = {} if before is None else {"r": before}
    return plan_routes({"r": spec}, {}, known, LINKS, routes(*seen)).steps


TO_ADD = RouteToAdd(spec=ROUTE, out_link=2)
REPLACING = attrs.evolve(TO_ADD, replace=True)


@pytest.mark.parametrize(
    ("seen", "steps"),
    [
        ((), (Step(id="r", add=TO_ADD),)),
        ((kernel(),), ()),
        ((kernel(mtu=0),), (Step(id="r", add=REPLACING),)),
        ((kernel(out_link_index=1),), (Step(id="r", add=REPLACING),)),
        ((kernel(scope=Scope.LINK),), (Step(id="r", add=REPLACING),)),
        # Other tables, metrics and destinations are other routes.
        ((kernel(table=RoutingTable.MAIN),), (Step(id="r", add=TO_ADD),)),
        ((kernel(priority=2),), (Step(id="r", add=TO_ADD),)),
        ((kernel(dst=""),), (Step(id="r", add=TO_ADD),)),
        # With a rival, ours is taken out, for replacing might hit the rival.
        (
            (kernel(mtu=0), kernel(gateway="192.0.2.9")),
            (Step(id="r", remove=(kernel(mtu=0),), add=TO_ADD),),
        ),
    ],
)
def test_a_route_is_added_unless_it_is_there(seen: tuple[KernelRoute, ...], steps: tuple[Any, ...]) -> None:
    assert route_steps(*seen) == steps


def test_a_route_of_another_protocol_is_refused_unless_it_was_ours_before() -> None:
    dhcp = kernel(protocol=RouteProtocol.DHCP)
    assert "protocol dhcp" in plan_routes({"r": ROUTE}, {}, {}, LINKS, routes(dhcp)).refused["r"]
    before = attrs.evolve(ROUTE, protocol=RouteProtocol.DHCP)
    assert route_steps(dhcp, before=before) == (Step(id="r", add=REPLACING),)


DEFAULT_0 = RouteSpecSpec(gateway="192.0.2.1", out_link_name="eth0", priority=1024, protocol=RouteProtocol.BOOT)
DEFAULT_1 = attrs.evolve(DEFAULT_0, gateway="198.51.100.1", out_link_name="eth1")
SEEN_0 = KernelRoute(
    status=RouteStatusSpec(gateway="192.0.2.1", out_link_index=2, priority=1024, protocol=RouteProtocol.BOOT)
)
BOTH = {"route-0": DEFAULT_0, "route-1": DEFAULT_1}


def test_of_two_routes_for_one_place_one_is_added_and_the_other_names_it() -> None:
    plan = plan_routes(BOTH, {}, {}, LINKS, {})
    assert [step.id for step in plan.steps] == ["route-0"]
    assert plan.refused == {
        "route-1": "its place in the routing table is taken by route-0: give one of the two another metric"
    }


def test_the_route_that_is_there_keeps_the_place() -> None:
    seen = KernelRoute(status=attrs.evolve(SEEN_0.status, gateway="198.51.100.1", out_link_index=4))
    plan = plan_routes(BOTH, {}, {}, LINKS, routes(seen))
    assert plan.steps == ()
    assert "taken by route-1" in plan.refused["route-0"]


@pytest.mark.parametrize("there", [1400, 0, None])
def test_a_route_of_a_link_under_two_names_has_one_owner(there: int | None) -> None:
    real = attrs.evolve(DEFAULT_0, mtu=1400, layer=CONFIGURATION)
    other = attrs.evolve(DEFAULT_0, out_link_name="uplink", layer=CONFIGURATION)
    seen = () if there is None else (KernelRoute(status=attrs.evolve(SEEN_0.status, mtu=there)),)
    plan = plan_routes({"a": other, "b": real}, {}, {}, LINKS, routes(*seen))
    assert [step.id for step in plan.steps] == ([] if there == 1400 else ["b"])
    assert "mtu is 1400 at eth0, and 0 at uplink" in plan.refused["a"]
    assert not plan_routes({"a": other}, {}, {}, LINKS, routes(*seen)).refused


@pytest.mark.parametrize(("on_link", "keeps"), [(2, "a"), (4, "b")])
def test_of_two_routes_that_differ_only_in_their_link_the_one_that_is_there_stays(on_link: int, keeps: str) -> None:
    both = {"a": DEFAULT_0, "b": attrs.evolve(DEFAULT_0, out_link_name="eth1")}
    seen = KernelRoute(status=attrs.evolve(SEEN_0.status, out_link_index=on_link))
    plan = plan_routes(both, {}, {}, LINKS, routes(seen))
    assert plan.steps == ()
    (text,) = plan.refused.values()
    assert f"taken by {keeps}" in text


def test_a_waiting_route_is_added_in_the_plan_that_removes_its_rival() -> None:
    plan = plan_routes({"route-1": DEFAULT_1}, {"route-0": DEFAULT_0}, {}, LINKS, routes(SEEN_0))
    assert [(step.id, bool(step.remove), step.add is not None) for step in plan.steps] == [
        ("route-0", True, False),
        ("route-1", False, True),
    ]
    assert not plan.refused
    # It may also have gone by itself, with its link.
    assert [step.id for step in plan_routes(BOTH, {}, {}, {4: LINKS[4]}, {}).steps] == ["route-1"]


@pytest.mark.parametrize(
    ("protocol", "text"),
    [
        (RouteProtocol.RA, "via 192.0.2.1 on eth0, of protocol ra (a router advertisement)"),
        (RouteProtocol.STATIC, "via 192.0.2.1 on eth0, of protocol static (the configuration, or another network"),
        (RouteProtocol.of(77), "via 192.0.2.1 on eth0, of protocol 77: give"),
    ],
)
@pytest.mark.parametrize("family", [Family.INET4, Family.INET6])
def test_a_rival_that_is_not_ours_is_named_by_its_protocol(protocol: RouteProtocol, text: str, family: Family) -> None:
    wanted = attrs.evolve(DEFAULT_1, family=family)
    rival = KernelRoute(status=attrs.evolve(SEEN_0.status, family=family, protocol=protocol))
    plan = plan_routes({"r": wanted}, {}, {}, LINKS, routes(rival))
    assert not plan.steps
    assert text in plan.refused["r"]


def test_a_route_for_one_type_of_service_is_no_rival() -> None:
    rival = attrs.evolve(SEEN_0, tos=8)
    assert plan_routes({"r": DEFAULT_1}, {}, {}, LINKS, routes(rival)).steps


def test_a_route_that_leaves_is_removed_if_it_is_ours() -> None:
    def leaving(seen: KernelRoute) -> Any:
        return plan_routes({}, {"r": ROUTE}, {}, LINKS, routes(seen)).steps

    assert leaving(kernel()) == (Step(id="r", remove=(kernel(),)),)
    assert leaving(kernel(protocol=RouteProtocol.DHCP)) == ()


def test_an_ipv6_route_has_no_scope_and_a_default_metric() -> None:
    spec = RouteSpecSpec(family=Family.INET6, out_link_name="eth0", scope=Scope.LINK)
    seen = KernelRoute(
        status=RouteStatusSpec(family=Family.INET6, out_link_index=2, priority=1024, protocol=RouteProtocol.STATIC)
    )
    assert not plan_routes({"r": spec}, {}, {}, LINKS, routes(seen)).steps


@pytest.mark.parametrize(("name", "reason"), [("later0", "there is no link later0"), ("down0", "link down0 is down")])
def test_a_route_waits_for_its_link(name: str, reason: str) -> None:
    plan = plan_routes({"r": attrs.evolve(ROUTE, out_link_name=name)}, {}, {}, LINKS, {})
    assert plan.waiting == {"r": reason}


# Rules.

RULE = RoutingRuleSpecSpec(table=RoutingTable.of(180), priority=32500, fw_mark=0x40, fw_mask=0x60)


def kernel_rule(protocol: RouteProtocol = RouteProtocol.STATIC, **changes: Any) -> KernelRule:
    status = RoutingRuleStatusSpec(table=RoutingTable.of(180), priority=32500, fw_mark=0x40, fw_mask=0x60)
    return KernelRule(attrs.evolve(status, **changes), protocol, (), ())


def rule_steps(*seen: KernelRule, spec: RoutingRuleSpecSpec = RULE, made: tuple[RoutingRuleSpecSpec, ...] = ()) -> Any:
    return plan_rules({"r": spec}, {}, {RuleKey(Family.INET4, 32500): seen}, lambda _id, _key: made).steps


def test_a_rule_is_added_unless_it_is_there() -> None:
    assert rule_steps() == (Step(id="r", add=RULE, add_first=True),)
    assert rule_steps(kernel_rule()) == ()
    # The kernel shows a mark without a mask as one that is compared as a whole.
    whole = attrs.evolve(RULE, fw_mask=0)
    assert rule_steps(kernel_rule(fw_mask=0xFFFFFFFF), spec=whole) == ()


def test_a_rule_that_differs_is_removed_after_the_right_one_is_there() -> None:
    other, made = kernel_rule(table=RoutingTable.MAIN), (attrs.evolve(RULE, table=RoutingTable.MAIN),)
    assert rule_steps(other, made=made) == (Step(id="r", remove=(other,), add=RULE, add_first=True),)
    assert rule_steps(kernel_rule(), other, made=made) == (Step(id="r", remove=(other,), add_first=True),)


def test_a_rule_of_another_program_with_our_protocol_and_priority_stays() -> None:
    other = kernel_rule(table=RoutingTable.MAIN)
    assert rule_steps(other) == (Step(id="r", add=RULE, add_first=True),)
    assert rule_steps(kernel_rule(), other) == ()
    both = {RuleKey(Family.INET4, 32500): (other, kernel_rule())}
    assert plan_rules({}, {"r": RULE}, both).steps == (Step(id="r", remove=(kernel_rule(),)),)


def test_rules_of_other_protocols_are_left_alone() -> None:
    foreign = kernel_rule(RouteProtocol.KERNEL)
    assert rule_steps(foreign) == (Step(id="r", add=RULE, add_first=True),)
    assert not plan_rules({}, {"r": RULE}, {RuleKey(Family.INET4, 32500): (foreign,)}).steps


@pytest.mark.parametrize("priority", [0, 32766, 32767])
def test_the_kernels_own_rules_are_out_of_bounds(priority: int) -> None:
    spec = attrs.evolve(RULE, priority=priority)
    own = kernel_rule(priority=priority)
    plan = plan_rules({"r": spec}, {"l": spec}, {RuleKey(Family.INET4, priority): (own,)})
    assert plan.refused.keys() == {"r"}
    assert not plan.steps
