"""Wanted addresses, routes and rules come true in a namespace, are healed, and leave nothing; the rest stays."""

import contextlib
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import attrs
import pytest
import trio
from structlog.testing import capture_logs
from structlog.typing import EventDict

from nodespan.controllers.common import damping
from nodespan.controllers.network.apply import disturbances
from nodespan.controllers.network.apply.address_spec import AddressSpecController
from nodespan.controllers.network.apply.route_spec import RouteSpecController
from nodespan.controllers.network.apply.routing_rule_spec import RoutingRuleSpecController
from nodespan.controllers.network.merge.controllers import (
    AddressMergeController,
    RouteMergeController,
    RoutingRuleMergeController,
)
from nodespan.controllers.network.status.routing_rule_status import RoutingRuleStatusController
from nodespan.resources.network import (
    CONFIG_NAMESPACE,
    AddressSpec,
    AddressSpecSpec,
    ConfigLayer,
    Family,
    NetworkProblem,
    NextHop,
    RouteSpec,
    RouteSpecSpec,
    RouteType,
    RoutingRuleSpec,
    RoutingRuleSpecSpec,
    RoutingRuleStatus,
    RoutingTable,
    Severity,
    layered_id,
)
from nodespan.resources.network.enums import RouteProtocol, Scope
from nodespan.runtime.resource import ResourceType
from nodespan.runtime.testing.kit import Node, running
from tests.support.deadlines import PATIENCE
from tests.support.monitor import watching
from tests.support.netns import Namespace, connect, namespace
from tests.support.process import eventually

pytestmark = pytest.mark.needs_link("veth")

TABLE = RoutingTable.of(180)
OPERATOR = ConfigLayer.OPERATOR


@contextlib.asynccontextmanager
async def node(*, allow_crashes: bool = False) -> AsyncIterator[tuple[Namespace, Node]]:
    """A namespace with a cable to another one, and the appliers at work in it."""
    with namespace() as inside, namespace("far") as far:
        connect(inside, "eth0", far, "eth0")
        async with running(*controllers(inside), allow_crashes=allow_crashes) as runtime:
            yield inside, runtime


def controllers(inside: Namespace) -> tuple[Any, ...]:
    netns = str(inside.path)
    return (
        AddressMergeController(),
        RouteMergeController(),
        RoutingRuleMergeController(),
        AddressSpecController(netns=netns),
        RouteSpecController(netns=netns),
        RoutingRuleSpecController(netns=netns),
    )


async def want(runtime: Node, type: ResourceType[Any], id: str, spec: Any) -> None:
    resource = type.new(layered_id(spec.layer, id), spec, namespace=CONFIG_NAMESPACE)
    await runtime.state.modify(resource, lambda known: known.with_spec(spec))


async def unwant(runtime: Node, type: ResourceType[Any], id: str, layer: ConfigLayer = OPERATOR) -> None:
    await runtime.state.destroy(type.within(CONFIG_NAMESPACE), layered_id(layer, id))


def ip(inside: Namespace, *arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(inside.run("ip", "-json", "-details", *arguments) or "[]")
    return [each for each in found if each]


def addresses(inside: Namespace) -> dict[str, dict[str, Any]]:
    (link,) = ip(inside, "addr", "show", "dev", "eth0")
    return {f"{each['local']}/{each['prefixlen']}": each for each in link["addr_info"]}


def table(inside: Namespace, option: str = "-4") -> list[dict[str, Any]]:
    return ip(inside, option, "route", "show", "table", "180")


def rules(inside: Namespace, family: str = "-4") -> list[dict[str, Any]]:
    return [rule for rule in ip(inside, family, "rule", "show") if rule["priority"] == 32500]


def address(text: str, **changes: Any) -> AddressSpecSpec:
    family = Family.INET6 if ":" in text else Family.INET4
    return AddressSpecSpec(address=text, link_name="eth0", family=family, layer=OPERATOR, **changes)


def default_route(family: Family, **changes: Any) -> RouteSpecSpec:
    return attrs.evolve(
        RouteSpecSpec(family=family, table=TABLE, priority=1, mtu=1420, out_link_name="eth0", layer=OPERATOR), **changes
    )


def rule(family: Family, **changes: Any) -> RoutingRuleSpecSpec:
    spec = RoutingRuleSpecSpec(family=family, table=TABLE, priority=32500, fw_mark=0x40, fw_mask=0x60, layer=OPERATOR)
    return attrs.evolve(spec, **changes)


# Addresses.


async def test_desired_addresses_are_added_and_removed_and_others_kept() -> None:
    async with node() as (inside, runtime):
        inside.run("ip", "addr", "add", "192.0.2.77/24", "dev", "eth0")
        foreign = addresses(inside).keys()
        await want(runtime, AddressSpec, "a", address("198.51.100.1/24"))
        await want(runtime, AddressSpec, "b", address("fd00::5/64"))
        await eventually(lambda: addresses(inside).keys() == foreign | {"198.51.100.1/24", "fd00::5/64"})
        shown = addresses(inside)["198.51.100.1/24"]
        assert (shown["broadcast"], shown["scope"]) == ("198.51.100.255", "global")
        await unwant(runtime, AddressSpec, "a")
        await unwant(runtime, AddressSpec, "b")
        await eventually(lambda: addresses(inside).keys() == foreign)
        await runtime.gone(AddressSpec, "eth0/198.51.100.1/24")


async def test_a_refusal_without_words_is_explained() -> None:
    async with node() as (inside, runtime):
        inside.run("ip", "link", "set", "eth0", "mtu", "1000")
        expected = {
            "10.0.0.1/24": "",
            "fd00::1/64": "IPv6 needs an MTU of 1280, eth0 has 1000",
            "ff02::5/64": "ff02::5/64 is a multicast address, which no link can have",
        }
        for number, text in enumerate(expected):
            await want(runtime, AddressSpec, f"a{number}", address(text))
        route = RouteSpecSpec(
            family=Family.INET6, dst="fd01::/64", table=TABLE, out_link_name="eth0", priority=1, layer=OPERATOR
        )
        await want(runtime, RouteSpec, "r", route)
        for text in filter(expected.get, expected):
            problem = await runtime.eventually(NetworkProblem, f"AddressSpecs/eth0/{text}")
            assert problem.spec.message == expected[text]
        problem = await runtime.eventually(NetworkProblem, "RouteSpecs/180/eth0/inet6//fd01::/64/1")
        assert problem.spec.message == "IPv6 needs an MTU of 1280, eth0 has 1000"
        inside.run("ip", "link", "set", "eth0", "mtu", "1500")
        await runtime.gone(NetworkProblem, "AddressSpecs/eth0/fd00::1/64")


async def test_a_removed_address_is_added_again() -> None:
    async with node() as (inside, runtime):
        await want(runtime, AddressSpec, "a", address("fd00::5/64"))
        for _ in range(3):
            await eventually(lambda: "fd00::5/64" in addresses(inside))
            inside.run("ip", "addr", "del", "fd00::5/64", "dev", "eth0")
        await eventually(lambda: "fd00::5/64" in addresses(inside))


async def test_an_address_waits_for_its_link() -> None:
    async with node() as (inside, runtime):
        await want(runtime, AddressSpec, "a", attrs.evolve(address("192.0.2.1/24"), link_name="later0"))
        problem = await runtime.eventually(NetworkProblem, "AddressSpecs/later0/192.0.2.1/24")
        assert problem.spec.message == "there is no link later0"
        inside.run("ip", "link", "add", "later0", "type", "veth", "peer", "name", "later1")
        await eventually(lambda: "192.0.2.1" in inside.run("ip", "addr", "show", "dev", "later0"))
        await runtime.gone(NetworkProblem, "AddressSpecs/later0/192.0.2.1/24")
        inside.run("ip", "link", "del", "later0")
        await unwant(runtime, AddressSpec, "a")
        await runtime.gone(AddressSpec, "later0/192.0.2.1/24")


async def test_an_address_that_differs_is_replaced() -> None:
    async with node() as (inside, runtime):
        inside.run("ip", "addr", "add", "192.0.2.1/24", "dev", "eth0", "scope", "link", "metric", "9")
        await want(runtime, AddressSpec, "a", address("192.0.2.1/24"))
        await eventually(lambda: addresses(inside).get("192.0.2.1/24", {}).get("scope") == "global")
        await want(runtime, AddressSpec, "a", address("192.0.2.1/24", priority=77, scope=Scope.LINK))
        await eventually(lambda: addresses(inside).get("192.0.2.1/24", {}).get("metric") == 77)
        assert addresses(inside)["192.0.2.1/24"]["scope"] == "link"


async def test_one_invalid_address_does_not_block_the_others() -> None:
    async with node() as (inside, runtime):
        await want(runtime, AddressSpec, "a", address("no address"))
        await want(runtime, AddressSpec, "b", address("192.0.2.1/24"))
        await eventually(lambda: "192.0.2.1/24" in addresses(inside))
        problem = await runtime.eventually(NetworkProblem, "AddressSpecs/eth0/no address")
        assert "write it like 10.0.0.5/24" in problem.spec.message


# Routes.


async def test_routes_of_an_owned_table_are_added_and_removed() -> None:
    async with node() as (inside, runtime):
        for family in Family:
            await want(runtime, RouteSpec, family.value, default_route(family))
        await eventually(lambda: bool(table(inside, "-4")) and bool(table(inside, "-6")))
        (v4,) = table(inside)
        assert (v4["dst"], v4["dev"], v4["metric"], v4["protocol"]) == ("default", "eth0", 1, "static")
        assert v4["metrics"] == [{"mtu": 1420}]
        for family in Family:
            await unwant(runtime, RouteSpec, family.value)
        await eventually(lambda: not table(inside) and not ip(inside, "-6", "route", "show", "table", "180"))


async def test_a_changed_route_is_replaced_without_a_gap() -> None:
    async with node() as (inside, runtime):
        await want(runtime, RouteSpec, "r", default_route(Family.INET4))
        await eventually(lambda: bool(table(inside)))
        await want(runtime, RouteSpec, "r", default_route(Family.INET4, mtu=1300))
        await eventually(lambda: table(inside)[0]["metrics"] == [{"mtu": 1300}])


@pytest.mark.parametrize("family", list(Family))
async def test_routes_removed_by_hand_or_lost_with_their_link_are_restored(family: Family) -> None:
    option = "-4" if family == Family.INET4 else "-6"
    async with node() as (inside, runtime):
        await want(runtime, RouteSpec, "r", default_route(family))
        await eventually(lambda: bool(ip(inside, option, "route", "show", "table", "180")))
        inside.run("ip", option, "route", "flush", "table", "180")
        await eventually(lambda: bool(ip(inside, option, "route", "show", "table", "180")))
        inside.run("ip", "link", "set", "eth0", "down")
        await eventually(lambda: not ip(inside, option, "route", "show", "table", "180"))
        inside.run("ip", "link", "set", "eth0", "up")
        await eventually(lambda: bool(ip(inside, option, "route", "show", "table", "180")))


async def test_a_route_of_another_protocol_is_reported_and_left_alone() -> None:
    async with node() as (inside, runtime):
        inside.run("ip", "route", "add", "203.0.113.0/24", "dev", "eth0", "proto", "dhcp", "metric", "5")
        spec = RouteSpecSpec(dst="203.0.113.0/24", out_link_name="eth0", priority=5, layer=OPERATOR)
        await want(runtime, RouteSpec, "r", spec)
        problem = await runtime.eventually(NetworkProblem, "RouteSpecs/inet4//203.0.113.0/24/5")
        assert "protocol dhcp" in problem.spec.message
        await unwant(runtime, RouteSpec, "r")
        await runtime.gone(RouteSpec, "inet4//203.0.113.0/24/5")
        assert "203.0.113.0/24" in inside.run("ip", "route")


@pytest.mark.parametrize("how", ["its spec is removed", "its link is removed", "it is removed by hand"])
async def test_a_route_whose_place_is_taken_waits_and_is_added_when_its_rival_goes(how: str) -> None:
    with capture_logs() as logs:
        async with node() as (inside, runtime):
            inside.run("ip", "link", "add", "eth1", "type", "veth", "peer", "eth9")
            inside.run("ip", "link", "set", "eth9", "up")
            inside.run("ip", "link", "set", "eth1", "up")
            for number, link in enumerate(("eth0", "eth1"), start=1):
                inside.run("ip", "addr", "add", f"198.51.{number}.2/24", "dev", link)
                spec = default_route(Family.INET4, out_link_name=link, gateway=f"198.51.{number}.1")
                await want(runtime, RouteSpec, link, spec)
                if number == 1:
                    await eventually(lambda: [each["dev"] for each in table(inside)] == ["eth0"])
            problem = await runtime.eventually(NetworkProblem, "RouteSpecs/180/inet4/198.51.2.1//1")
            assert "is taken by 180/inet4/198.51.1.1//1" in problem.spec.message
            if how == "its spec is removed":
                await unwant(runtime, RouteSpec, "eth0")
            elif how == "its link is removed":
                inside.run("ip", "link", "delete", "eth0")
            else:
                # Our own comes back, so the spec goes as well.
                await unwant(runtime, RouteSpec, "eth0")
                inside.run("ip", "route", "flush", "table", "180")
            await eventually(lambda: [each["dev"] for each in table(inside)] == ["eth1"])
            await runtime.gone(NetworkProblem, problem.id)
    assert not [each for each in logs if "undoing" in str(each)]


@pytest.mark.parametrize(
    ("on", "address", "id", "spec"),
    [
        (
            "-4",
            "192.0.2.1/24",
            "inet4/192.0.2.9/203.0.113.0/24/0",
            RouteSpecSpec(dst="203.0.113.0/24", gateway="192.0.2.9", layer=OPERATOR),
        ),
        (
            # An address of IPv6 is not there before nobody else turned out to have it.
            "-6",
            "fd00:1::1/64",
            "eth0/inet6//fd00:2::/64/0",
            RouteSpecSpec(
                family=Family.INET6, dst="fd00:2::/64", src="fd00:1::1", out_link_name="eth0", layer=OPERATOR
            ),
        ),
    ],
    ids=["a gateway", "a source of IPv6"],
)
async def test_a_route_applied_before_its_address_is_not_logged_as_an_error(
    on: str, address: str, id: str, spec: RouteSpecSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a busy machine the address may take longer to come than it does anywhere else.
    monkeypatch.setattr(damping, "LASTING", PATIENCE)
    with capture_logs() as logs:
        async with node() as (inside, runtime):
            await want(runtime, RouteSpec, "r", spec)
            problem = await runtime.eventually(NetworkProblem, f"RouteSpecs/{id}")
            inside.run("ip", "addr", "add", address, "dev", "eth0")
            await eventually(lambda: spec.dst in inside.run("ip", on, "route", "show", "proto", "static"))
            await runtime.gone(NetworkProblem, problem.id)
    assert alarms(logs) == []


async def test_a_route_that_stays_impossible_is_reported_at_once_and_logged_soon() -> None:
    with capture_logs() as logs:
        async with node() as (inside, runtime):
            spec = RouteSpecSpec(dst="203.0.113.0/24", gateway="192.0.2.9", layer=OPERATOR)
            await want(runtime, RouteSpec, "r", spec)
            problem = await runtime.eventually(
                NetworkProblem, "RouteSpecs/inet4/192.0.2.9/203.0.113.0/24/0", within=PATIENCE
            )
            await eventually(lambda: alarms(logs))
            assert alarms(logs) == [problem.spec.message]
            inside.run("ip", "addr", "add", "192.0.2.1/24", "dev", "eth0")
            await eventually(lambda: "203.0.113.0/24 via 192.0.2.9" in inside.run("ip", "route"))
            await runtime.gone(NetworkProblem, problem.id)


def alarms(logs: list[EventDict]) -> list[str]:
    return [log["reason"] for log in logs if log["event"] == "cannot apply"]


async def test_kinds_of_routes() -> None:
    async with node() as (inside, runtime):
        inside.run("ip", "addr", "add", "192.0.2.1/24", "dev", "eth0")
        hops = (NextHop(gateway="192.0.2.8", weight=3), NextHop(gateway="192.0.2.9", weight=1))
        wanted = {
            "blackhole": RouteSpecSpec(dst="198.51.100.0/24", type=RouteType.BLACKHOLE, layer=OPERATOR),
            "multipath": RouteSpecSpec(dst="203.0.113.0/24", next_hops=hops, layer=OPERATOR),
            "source": RouteSpecSpec(dst="10.9.0.0/16", out_link_name="eth0", src="192.0.2.1", scope=Scope.LINK),
            "via the other family": RouteSpecSpec(dst="10.8.0.0/16", gateway="fe80::1", out_link_name="eth0"),
        }
        for id, spec in wanted.items():
            await want(runtime, RouteSpec, id, attrs.evolve(spec, layer=OPERATOR))
        await eventually(lambda: len(ip(inside, "route")) == 5)
        shown = inside.run("ip", "route")
        assert "blackhole 198.51.100.0/24 proto static" in shown
        assert "nexthop via 192.0.2.8 dev eth0 weight 3" in shown
        assert "10.9.0.0/16 dev eth0 proto static scope link src 192.0.2.1" in shown
        assert "10.8.0.0/16 via inet6 fe80::1 dev eth0" in shown
        await runtime.settled()
        assert not runtime.state.list(NetworkProblem)
        for id in wanted:
            await unwant(runtime, RouteSpec, id)
        await eventually(lambda: len(ip(inside, "route")) == 1)


async def test_a_layer_that_changes_the_protocol_takes_the_route_over() -> None:
    async with node() as (inside, runtime):
        spec = RouteSpecSpec(dst="203.0.113.0/24", out_link_name="eth0", priority=5, layer=OPERATOR)
        await want(runtime, RouteSpec, "r", attrs.evolve(spec, protocol=RouteProtocol.BOOT))
        await eventually(lambda: "203.0.113.0/24 dev eth0 proto boot" in inside.run("ip", "-d", "route"))
        await want(runtime, RouteSpec, "r", attrs.evolve(spec, layer=ConfigLayer.CONFIGURATION))
        await eventually(lambda: "203.0.113.0/24 dev eth0 proto static" in inside.run("ip", "-d", "route"))
        assert len([line for line in inside.run("ip", "route").splitlines() if "203.0.113" in line]) == 1


# Rules.


@pytest.mark.parametrize("family", list(Family))
async def test_rules_are_added_repaired_and_removed(family: Family) -> None:
    option = "-4" if family == Family.INET4 else "-6"
    async with node() as (inside, runtime):
        inside.run("ip", option, "rule", "add", "priority", "32500", "fwmark", "7", "table", "7", "protocol", "kernel")
        await want(runtime, RoutingRuleSpec, "r", rule(family))
        await eventually(lambda: len(rules(inside, option)) == 2)
        (own,) = [each for each in rules(inside, option) if each["protocol"] == "static"]
        assert (own["table"], own["fwmark"], own["fwmask"]) == ("180", "0x40", "0x60")
        inside.run("ip", option, "rule", "del", "priority", "32500", "table", "180")
        await eventually(lambda: len(rules(inside, option)) == 2)
        await want(runtime, RoutingRuleSpec, "r", rule(family, table=RoutingTable.of(1000)))
        await eventually(lambda: [each["table"] for each in rules(inside, option)] == ["7", "1000"])
        await unwant(runtime, RoutingRuleSpec, "r")
        await eventually(lambda: [each["table"] for each in rules(inside, option)] == ["7"])


async def test_a_static_rule_that_others_add_at_our_priority_stays_and_both_are_shown() -> None:
    async with node() as (inside, runtime), running(RoutingRuleStatusController(netns=str(inside.path))) as shown:
        await want(runtime, RoutingRuleSpec, "r", rule(Family.INET4))
        await eventually(lambda: len(rules(inside)) == 1)
        theirs = ("priority", "32500", "fwmark", "9", "table", "9", "protocol", "static")
        inside.run("ip", "rule", "add", *theirs)
        # The same as ours, for one protocol only.
        ours = ("fwmark", "0x40/0x60", "table", "180", "protocol", "static")
        inside.run("ip", "rule", "add", "priority", "32500", *ours, "ipproto", "tcp")
        await eventually(
            lambda: len([each for each in shown.state.list(RoutingRuleStatus) if each.spec.priority == 32500]) == 3
        )
        await want(runtime, RoutingRuleSpec, "r", rule(Family.INET4, table=RoutingTable.of(1000)))
        await eventually(lambda: sorted(each["table"] for each in rules(inside)) == ["1000", "180", "9"])
        await unwant(runtime, RoutingRuleSpec, "r")
        await eventually(lambda: sorted(each["table"] for each in rules(inside)) == ["180", "9"])
        await runtime.settled()
        assert len(rules(inside)) == 2


async def test_rules_of_all_sorts() -> None:
    async with node() as (inside, runtime):
        spec = RoutingRuleSpecSpec(
            src="192.0.2.0/24", dst="198.51.100.0/24", table=TABLE, priority=100, iif_name="eth0", layer=OPERATOR
        )
        await want(runtime, RoutingRuleSpec, "r", spec)
        wanted = "from 192.0.2.0/24 to 198.51.100.0/24 iif eth0 lookup 180 proto static"
        await eventually(lambda: wanted in inside.run("ip", "rule"))
        await runtime.settled()
        assert inside.run("ip", "rule").count("static") == 1
        await unwant(runtime, RoutingRuleSpec, "r")
        await eventually(lambda: "static" not in inside.run("ip", "rule"))


# All of them.


async def test_a_restart_does_not_touch_what_already_matches() -> None:
    async with node() as (inside, runtime):
        await fill(runtime)
        await eventually(lambda: rules(inside) and table(inside) and "fd00::5/64" in addresses(inside))
        await runtime.settled()
        async with watching(inside, "address", "route", "rule") as seen, running(*controllers(inside)) as again:
            await fill(again)
            await again.eventually(RoutingRuleSpec, "inet4/32500", lambda found: bool(found.metadata.finalizers))
            await again.settled()
        assert seen() == ""


async def fill(runtime: Node) -> None:
    await want(runtime, AddressSpec, "a", address("fd00::5/64"))
    await want(runtime, RouteSpec, "r", default_route(Family.INET4))
    await want(runtime, RoutingRuleSpec, "r", rule(Family.INET4))


# What others do.


async def test_what_others_undo_is_restored_within_a_second_until_it_is_a_conflict() -> None:
    async with node() as (inside, runtime):
        await want(runtime, AddressSpec, "a", address("198.51.100.1/24"))
        await want(runtime, RouteSpec, "r", default_route(Family.INET4))
        await want(runtime, RoutingRuleSpec, "r", rule(Family.INET4))
        await eventually(lambda: rules(inside) and table(inside) and "198.51.100.1/24" in addresses(inside))
        ids = ("AddressSpecs/eth0/198.51.100.1/24", "RouteSpecs/180/inet4///1", "RoutingRuleSpecs/inet4/32500")
        for id, undo in zip(
            ids,
            (
                ("addr", "del", "198.51.100.1/24", "dev", "eth0"),
                ("route", "flush", "table", "180"),
                ("rule", "del", "priority", "32500"),
            ),
            strict=True,
        ):
            # Only what the applier has seen to be in effect counts as undone, and that is a moment after it is.
            for _ in range(3):
                inside.run("ip", *undo)
                await eventually(lambda: rules(inside) and table(inside) and "198.51.100.1/24" in addresses(inside))
                with trio.move_on_after(3):
                    await runtime.eventually(NetworkProblem, id)
                    break
        await runtime.settled()
        await eventually(lambda: {each.id for each in runtime.state.list(NetworkProblem)} == set(ids))
        for problem in runtime.state.list(NetworkProblem):
            assert problem.spec.severity is Severity.WARNING
            assert re.fullmatch(
                r"it was removed by another program \(.*process \d+.*\) and has been restored; .*", problem.spec.message
            )


async def test_what_the_agent_itself_takes_away_is_no_other_programs_doing() -> None:
    async with node() as (inside, runtime):
        await want(runtime, AddressSpec, "a", address("198.51.100.1/24"))
        await want(runtime, RouteSpec, "r", default_route(Family.INET4))
        await eventually(lambda: table(inside) and "198.51.100.1/24" in addresses(inside))
        await unwant(runtime, RouteSpec, "r")
        await runtime.gone(RouteSpec, "180/inet4///1")
        await want(runtime, RouteSpec, "r", attrs.evolve(default_route(Family.INET4), mtu=1400))
        await eventually(lambda: "1400" in str(table(inside)))
        await want(runtime, RouteSpec, "r", attrs.evolve(default_route(Family.INET4), mtu=1300))
        await eventually(lambda: "1300" in str(table(inside)))
        # The kernel removes the routes of a link that goes down by itself.
        inside.run("ip", "link", "set", "eth0", "down")
        await eventually(lambda: not table(inside))
        inside.run("ip", "link", "set", "eth0", "up")
        await eventually(lambda: "1300" in str(table(inside)))
        await runtime.settled()
        assert not runtime.state.list(NetworkProblem)


@pytest.mark.parametrize(
    ("undo", "id", "said"),
    [
        (("addr", "del", "198.51.100.1/24", "dev", "eth0"), "AddressSpecs/eth0/198.51.100.1/24", "it is gone again"),
        (
            (
                "route",
                "replace",
                "default",
                "dev",
                "eth0",
                "table",
                "180",
                "metric",
                "1",
                "proto",
                "static",
                "mtu",
                "900",
            ),
            "RouteSpecs/180/inet4///1",
            "mtu 900 instead of 1420",
        ),
    ],
)
async def test_a_conflict_is_damped_and_reported_and_ends_after_a_while(
    undo: tuple[str, ...], id: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disturbances, "SHOWN_FOR", 1.0)
    async with node() as (inside, runtime):
        await want(runtime, AddressSpec, "a", address("198.51.100.1/24"))
        await want(runtime, RouteSpec, "r", default_route(Family.INET4))

        def in_effect() -> bool:
            return "198.51.100.1/24" in addresses(inside) and all("1420" in str(route) for route in table(inside))

        await eventually(lambda: table(inside) and in_effect())
        turns = 0
        while not any(each.spec.severity is Severity.ERROR for each in runtime.state.list(NetworkProblem)):
            if in_effect():
                turns += 1
                inside.run("ip", *undo)
            await trio.sleep(0.01)
        # Not before: on a busy machine two turns may be further apart.
        monkeypatch.setattr(damping, "CALM", 1.0)
        assert damping.FREE <= turns <= damping.FREE + 2
        problem = (
            await runtime.eventually(NetworkProblem, id, lambda found: found.spec.severity is Severity.ERROR)
        ).spec.message
        assert said in problem
        assert "another program keeps reverting it" in problem
        # The others are none the worse for it.
        assert [each.id for each in runtime.state.list(NetworkProblem)] == [id]
        await eventually(in_effect)
        await runtime.gone(NetworkProblem, id, within=PATIENCE)


async def test_an_address_released_by_one_spec_stays_while_another_desires_it() -> None:
    async with node() as (inside, runtime):
        inside.run("ip", "link", "property", "add", "dev", "eth0", "altname", "uplink")
        await want(runtime, AddressSpec, "a", address("198.51.100.1/24"))
        await want(runtime, AddressSpec, "b", attrs.evolve(address("198.51.100.1/24"), link_name="uplink"))
        await eventually(lambda: "198.51.100.1/24" in addresses(inside))
        await runtime.settled()
        async with watching(inside, "address") as seen:
            await unwant(runtime, AddressSpec, "a")
            await runtime.gone(AddressSpec, "eth0/198.51.100.1/24")
        assert seen() == ""
        await unwant(runtime, AddressSpec, "b")
        await eventually(lambda: "198.51.100.1/24" not in addresses(inside))


async def test_a_link_configured_by_two_of_its_names_is_configured_once_and_named() -> None:
    async with node() as (inside, runtime):
        inside.run("ip", "link", "property", "add", "dev", "eth0", "altname", "enp0s3")
        configured = ConfigLayer.CONFIGURATION
        by_name = AddressSpecSpec(address="10.77.0.5/24", link_name="eth0", priority=100, layer=configured)
        by_altname = attrs.evolve(by_name, link_name="enp0s3", priority=200)
        async with watching(inside, "address") as seen:
            await want(runtime, AddressSpec, "a", by_altname)
            await want(runtime, AddressSpec, "b", by_name)
            problem = await runtime.eventually(NetworkProblem, "AddressSpecs/enp0s3/10.77.0.5/24")
            assert "priority is 100 at eth0, and 200 at enp0s3" in problem.spec.message
            await eventually(lambda: _metric(inside) == 100)
            await unwant(runtime, AddressSpec, "b", configured)
            await eventually(lambda: _metric(inside) == 200)
            await eventually(lambda: not runtime.state.list(NetworkProblem))
        # Added for whichever came first, and moved to the other and back: two programs would undo each other for ever.
        assert seen().count("10.77.0.5") <= 5


def _metric(inside: Namespace) -> int:
    return int(addresses(inside).get("10.77.0.5/24", {}).get("metric", 0))
