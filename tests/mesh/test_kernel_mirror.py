"""The mirrors of kernel objects agree with what `ip` says, through whatever the kernel goes through."""

import contextlib
import json
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest
import trio

from nodespan.kernel.addresses import Addresses
from nodespan.kernel.hardware.ethtool import open_ethtool
from nodespan.kernel.links import KernelLink, Links, with_names
from nodespan.kernel.mirror import Mirror, open_mirror
from nodespan.kernel.routes import KernelRoute, Routes
from nodespan.kernel.routes import with_names as route_with_names
from nodespan.kernel.rtnetlink import Message, RtnlSocket
from nodespan.kernel.rules import Rules
from nodespan.resources.network import LinkStatusSpec, RouteStatusSpec
from nodespan.resources.network.enums import AddressFlags
from tests.support.netns import Namespace, namespace
from tests.support.process import eventually

# What `ip` calls flags and states that have other names outside.
IP_FLAGS = {"POINTOPOINT": "POINTTOPOINT"}
IP_TYPES = {"none": "nohdr"}
IP_STATES = {"LOWERLAYERDOWN": "lowerLayerDown", "NOTPRESENT": "notPresent"}
IP_ADDRESS_FLAGS = ("nodad", "tentative", "deprecated", "dadfailed", "noprefixroute", "mngtmpaddr", "secondary")


def ip(inside: Namespace, *arguments: str) -> list[Any]:
    found: list[Any] = json.loads(inside.run("ip", "-json", "-details", *arguments) or "[]")
    return [each for each in found if each]


def change(inside: Namespace, *commands: str) -> None:
    inside.run("ip", "-batch", "-", stdin="".join(f"{command}\n" for command in commands))


# Links.


def seen_links(mirror: Mirror[int, KernelLink]) -> dict[str, dict[str, Any]]:
    names = {index: link.name for index, link in mirror.items.items()}
    return {link.name: outline(with_names(link, lambda index: names.get(index, ""))) for link in mirror.items.values()}


def outline(status: LinkStatusSpec) -> dict[str, Any]:
    bridge = status.bridge_master
    return {
        "index": status.index,
        "mtu": status.mtu,
        "flags": set(status.flags.text().split(",")) - {"RUNNING", ""},
        "address": status.hardware_addr,
        "broadcast": status.broadcast_addr,
        "kind": status.kind,
        "slave kind": status.slave_kind,
        "type": status.type.value,
        "qdisc": status.queue_disc,
        "state": status.operational_state.value,
        "alias": status.alias,
        "altnames": set(status.alt_names),
        "master": status.master_index,
        "peer": status.veth.peer_name if status.veth is not None else "",
        "stp": bridge is not None and bridge.stp.enabled,
        "vlan filtering": bridge is not None and bridge.vlan.filtering_enabled,
    }


def reported_links(inside: Namespace) -> dict[str, dict[str, Any]]:
    links = ip(inside, "link")
    index_of = {link["ifname"]: link["ifindex"] for link in links}
    reported = {}
    for link in links:
        info = link.get("linkinfo", {})
        data = info.get("info_data", {})
        kind = info.get("info_kind", "")
        flags = {IP_FLAGS.get(flag, flag) for flag in link["flags"]} - {"NO-CARRIER", "M-DOWN"}
        reported[link["ifname"]] = {
            "index": link["ifindex"],
            "mtu": link["mtu"],
            "flags": flags,
            "address": link.get("address", ""),
            "broadcast": link.get("broadcast", ""),
            "kind": kind,
            "slave kind": info.get("info_slave_kind", ""),
            "type": IP_TYPES.get(link["link_type"], link["link_type"]),
            "qdisc": link["qdisc"],
            "state": IP_STATES.get(link["operstate"], link["operstate"].lower()),
            "alias": link.get("ifalias", ""),
            "altnames": set(link.get("altnames", ())),
            "master": index_of.get(link.get("master", ""), 0),
            "peer": link.get("link", "") if kind == "veth" else "",
            "stp": bool(kind == "bridge" and data["stp_state"]),
            "vlan filtering": bool(kind == "bridge" and data["vlan_filtering"]),
        }
    return reported


async def agree_on_links(inside: Namespace, mirror: Mirror[int, KernelLink]) -> None:
    def check() -> bool:
        assert seen_links(mirror) == reported_links(inside)
        return True

    await eventually(check)


LINK_STEPS = {
    "veth": ("link add v0 type veth peer name v1",),
    "veth up": ("link add v0 type veth peer name v1", "link set v0 up", "link set v1 up"),
    "bridge with ports": (
        "link add br0 type bridge stp_state 1",
        "link add v0 type veth peer name v1",
        "link set br0 up",
        "link set v0 master br0 up",
        "link set v1 up",
    ),
    "port left its bridge": (
        "link add br0 type bridge",
        "link add v0 type veth peer name v1",
        "link set v0 master br0",
        "link set v0 nomaster",
    ),
    "bridge deleted under its port": (
        "link add br0 type bridge",
        "link add v0 type veth peer name v1",
        "link set v0 master br0",
        "link del br0",
    ),
    "macvlan": ("link add v0 type veth peer name v1", "link add m0 link v0 type macvlan mode bridge"),
    "vxlan": ("link add vx0 type vxlan id 7 dstport 4789 local 192.0.2.1",),
    "ifb": ("link add i0 type ifb", "link set i0 up"),
    "tun and tap": ("tuntap add tun0 mode tun", "tuntap add tap0 mode tap"),
    "named otherwise": (
        "link add v0 type veth peer name v1",
        "link set v0 up",
        "link property add dev v0 altname other altname another",
        "link set v0 alias uplink",
    ),
    "renamed": ("link add v0 type veth peer name v1", "link set v0 up", "link set v0 name w0"),
    "names swapped": (
        "link add v0 type veth peer name v1",
        "link set v0 name x",
        "link set v1 name v0",
        "link set x name v1",
    ),
    "changed": ("link add v0 type veth peer name v1", "link set v0 mtu 1400 address 02:00:00:00:00:07 up"),
    "gone": ("link add v0 type veth peer name v1", "link add v2 type veth peer name v3", "link del v0"),
}


@pytest.mark.needs_link("veth", "bridge", "macvlan", "vxlan", "ifb")
@pytest.mark.parametrize("steps", LINK_STEPS.values(), ids=LINK_STEPS.keys())
async def test_links_are_as_ip_shows_them(steps: tuple[str, ...]) -> None:
    with namespace() as inside:
        async with open_mirror(Links(), netns=str(inside.path)) as followed:
            change(inside, *steps)
            await agree_on_links(inside, followed)
        async with open_mirror(Links(), netns=str(inside.path)) as listed:
            assert seen_links(listed) == reported_links(inside)


@pytest.mark.needs_program("tc")
@pytest.mark.needs_link("veth")
async def test_a_change_of_queueing_discipline_alone_is_observed() -> None:
    with namespace() as inside:
        change(inside, "link add v0 type veth peer name v1", "link set v0 up")
        async with open_mirror(Links(), netns=str(inside.path)) as mirror:
            inside.run("tc", "qdisc", "replace", "dev", "v0", "root", "pfifo_fast")
            await agree_on_links(inside, mirror)


@pytest.mark.needs_link("veth")
async def test_the_other_end_of_a_veth_in_another_namespace_has_no_name() -> None:
    with namespace() as inside, namespace("other") as other:
        async with open_mirror(Links(), netns=str(inside.path)) as mirror:
            change(inside, f"link add v0 type veth peer name lo2 netns {other.name}")
            await eventually(lambda: "v0" in seen_links(mirror))
            assert seen_links(mirror)["v0"]["peer"] == ""


@pytest.mark.needs_link("veth")
async def test_a_thousand_links_are_all_observed_and_forgotten() -> None:
    with namespace() as inside:
        async with open_mirror(Links(), netns=str(inside.path)) as mirror:
            before = dict(mirror.items)
            change(inside, *(f"link add a{number} group 5 type veth peer name b{number}" for number in range(500)))
            # Asking `ip` holds up the loop, so that is left for the end.
            await eventually(lambda: len(mirror.items) == len(before) + 1000)
            await agree_on_links(inside, mirror)
            change(inside, "link del group 5")
            await eventually(lambda: len(mirror.items) == len(before))
            assert dict(mirror.items) == before


# What is reported.


@pytest.mark.needs_link("veth")
async def test_only_what_changed_is_reported() -> None:
    with namespace() as inside:
        change(inside, "link add v0 type veth peer name v1", "link add v2 type veth peer name v3")
        async with open_mirror(Links(), netns=str(inside.path)) as mirror:
            assert await mirror.changed() == mirror.items.keys()
            change(inside, "link set v0 mtu 1400")
            assert {mirror.items[index].name for index in await mirror.changed()} == {"v0"}
            await mirror.resync()
            assert not mirror.take()
            gone = {index for index, link in mirror.items.items() if link.name in ("v2", "v3")}
            change(inside, "link del v2")
            reported: set[int] = set()
            while reported != gone:
                reported |= await mirror.changed()


async def test_waiting_for_changes_can_be_cancelled_without_losing_them() -> None:
    with namespace() as inside:
        async with open_mirror(Addresses(), netns=str(inside.path)) as mirror:
            mirror.take()
            with trio.move_on_after(0.01) as impatient:
                await mirror.changed()
            assert impatient.cancelled_caught
            change(inside, "addr add 192.0.2.1/24 dev lo")
            assert [key.address for key in await mirror.changed()] == ["192.0.2.1/24"]


async def test_each_round_of_changes_is_announced() -> None:
    rounds: list[None] = []
    with namespace() as inside:
        async with open_mirror(Addresses(), netns=str(inside.path), on_change=lambda: rounds.append(None)) as mirror:
            assert len(rounds) == 1
            change(inside, "addr add 192.0.2.1/24 dev lo")
            await eventually(lambda: len(rounds) == 2)
            assert mirror.take()


async def test_a_namespace_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        async with open_mirror(Links(), netns="/run/netns/no-such-namespace"):
            pass


# Addresses.


def seen_addresses(mirror: Mirror[Any, Any]) -> set[tuple[Any, ...]]:
    return {
        (
            status.link_index,
            status.local or status.address.partition("/")[0],
            status.address,
            status.broadcast,
            status.scope.value,
            status.priority,
            status.flags,
        )
        for statuses in mirror.items.values()
        for status in statuses
    }


def reported_addresses(inside: Namespace) -> set[tuple[Any, ...]]:
    reported = set()
    for link in ip(inside, "address"):
        for address in link["addr_info"]:
            flags = AddressFlags(0)
            for word, flag in zip(IP_ADDRESS_FLAGS, ADDRESS_FLAGS, strict=True):
                flags |= flag if address.get(word) else AddressFlags(0)
            if not address.get("dynamic"):
                flags |= AddressFlags.PERMANENT
            far = address.get("address", address["local"])
            reported.add(
                (
                    link["ifindex"],
                    address["local"],
                    f"{far}/{address['prefixlen']}",
                    address.get("broadcast", ""),
                    address["scope"],
                    address.get("metric", 0),
                    flags,
                )
            )
    return reported


ADDRESS_FLAGS = (
    AddressFlags.NODAD,
    AddressFlags.TENTATIVE,
    AddressFlags.DEPRECATED,
    AddressFlags.DADFAILED,
    AddressFlags.NOPREFIXROUTE,
    AddressFlags.MNGMTMPADDR,
    AddressFlags.TEMPORARY,
)

ADDRESS_STEPS = {
    "IPv4": ("addr add 192.0.2.1/24 brd + dev v0", "addr add 192.0.2.2/24 dev v0"),
    "IPv6": ("addr add 2001:db8::1/64 dev v0 nodad", "addr add 2001:db8::2/64 dev v0 nodad noprefixroute"),
    "point to point": (
        "addr add 198.51.100.1 peer 198.51.100.9/32 dev v0 metric 5",
        "addr add 198.51.100.2 peer 198.51.100.9/32 dev v0",
        "addr add 2001:db8::1 peer 2001:db8::9/128 dev v0 nodad",
    ),
    "one of two near ends gone": (
        "addr add 198.51.100.1 peer 198.51.100.9/32 dev v0",
        "addr add 198.51.100.2 peer 198.51.100.9/32 dev v0",
        "addr del 198.51.100.1 peer 198.51.100.9/32 dev v0",
    ),
    "scopes": ("addr add 192.0.2.1/24 scope link dev v0", "addr add 192.0.2.9/32 scope host dev v0"),
    "lifetime": ("addr add 192.0.2.1/24 dev v0 valid_lft 300 preferred_lft 200",),
    "second promoted": (
        "addr add 192.0.2.1/24 dev v0",
        "addr add 192.0.2.2/24 dev v0",
        "addr del 192.0.2.1/24 dev v0",
    ),
    "on both links": ("addr add 192.0.2.1/24 dev v0", "addr add 192.0.2.1/24 dev v1"),
    "gone": ("addr add 192.0.2.1/24 dev v0", "addr del 192.0.2.1/24 dev v0"),
    "gone with the link": ("addr add 192.0.2.1/24 dev v0", "link del v0"),
}


@pytest.mark.needs_link("veth")
@pytest.mark.parametrize("steps", ADDRESS_STEPS.values(), ids=ADDRESS_STEPS.keys())
async def test_addresses_are_as_ip_shows_them(steps: tuple[str, ...]) -> None:
    with namespace() as inside:
        change(inside, "link add v0 type veth peer name v1", "link set v0 up", "link set v1 up")
        async with open_mirror(Addresses(), netns=str(inside.path)) as followed:
            change(inside, *steps)

            def check() -> bool:
                assert seen_addresses(followed) == reported_addresses(inside)
                return True

            await eventually(check)


# Losses.


class CountingAddresses(Addresses):
    dumps = 0

    def dump(self, kernel: RtnlSocket) -> Iterable[Message]:
        self.dumps += 1
        return super().dump(kernel)


async def test_the_mirror_recovers_from_a_buffer_overflow() -> None:
    count = 3000
    kind = CountingAddresses()
    with namespace() as inside:
        async with open_mirror(kind, netns=str(inside.path), receive_buffer=4096) as mirror:
            change(inside, *(f"addr add 10.{n // 250}.{n % 250}.1/32 dev lo" for n in range(count)))

            def check() -> bool:
                assert len(mirror.items) == count + 2
                return True

            await eventually(check)
            assert kind.dumps > 1, "no notification was lost, the test tested nothing"
            change(inside, "addr flush dev lo to 10.0.0.0/8")
            await eventually(lambda: len(mirror.items) == 2)
            assert seen_addresses(mirror) == reported_addresses(inside)


# Routes.


def seen_routes(mirror: Mirror[Any, tuple[KernelRoute, ...]], inside: Namespace) -> list[dict[str, Any]]:
    names = {link["ifindex"]: link["ifname"] for link in ip(inside, "link")}
    return sorted(
        (
            route_outline(route_with_names(route, lambda index: names.get(index, "")))
            for routes in mirror.items.values()
            for route in routes
        ),
        key=repr,
    )


def route_outline(status: RouteStatusSpec) -> dict[str, Any]:
    return {
        "family": status.family.value,
        "dst": status.dst,
        "src": status.src,
        "gateway": status.gateway,
        "link": status.out_link_name,
        "table": status.table.value,
        "priority": status.priority,
        "scope": status.scope.value,
        "type": status.type.value,
        "protocol": status.protocol.value,
        "mtu": status.mtu,
        "hops": sorted((hop.gateway, hop.out_link_name, hop.weight) for hop in status.next_hops),
    }


def reported_routes(inside: Namespace) -> list[dict[str, Any]]:
    reported = []
    for family, option, length in (("inet4", "-4", 32), ("inet6", "-6", 128)):
        for route in ip(inside, option, "route", "show", "table", "all"):
            dst = "" if route["dst"] == "default" else route["dst"]
            reported.append(
                {
                    "family": family,
                    "dst": f"{dst}/{length}" if dst and "/" not in dst else dst,
                    "src": route.get("prefsrc", ""),
                    "gateway": route.get("via", {}).get("host", route.get("gateway", "")),
                    "link": route.get("dev", ""),
                    "table": route["table"],
                    "priority": route.get("metric", 0),
                    "scope": route["scope"],
                    "type": route["type"],
                    "protocol": route["protocol"],
                    "mtu": route.get("metrics", [{}])[0].get("mtu", 0),
                    "hops": sorted(
                        (hop.get("gateway", ""), hop.get("dev", ""), hop["weight"]) for hop in route.get("nexthops", ())
                    ),
                }
            )
    return sorted(reported, key=repr)


@contextlib.asynccontextmanager
async def routes_of(inside: Namespace) -> AsyncIterator[Mirror[Any, tuple[KernelRoute, ...]]]:
    change(
        inside,
        "link add v0 type veth peer name v1",
        "link set v0 up",
        "link set v1 up",
        "addr add 192.0.2.1/24 dev v0",
        "addr add 2001:db8::1/64 dev v0 nodad",
    )
    async with open_mirror(Routes(), netns=str(inside.path)) as mirror:
        yield mirror


ROUTE_STEPS = {
    "gateways": ("route add default via 192.0.2.254 metric 10", "route add default via 2001:db8::2 metric 77"),
    "other tables": ("route add 203.0.113.0/24 via 192.0.2.9 table 1000 proto 99 mtu 1300",),
    "several ways": (
        "route add 203.0.113.0/24 nexthop via 192.0.2.9 weight 2 nexthop via 192.0.2.10 dev v0",
        "route add 2001:db8:5::/48 nexthop via 2001:db8::5 nexthop via 2001:db8::6",
    ),
    "without a way": ("route add blackhole 203.0.113.0/25", "route add unreachable 2001:db8:6::/48"),
    "gateway of the other family": ("route add 203.0.113.0/24 via inet6 2001:db8::9 dev v0",),
    "replaced": ("route add 203.0.113.0/24 via 192.0.2.9", "route replace 203.0.113.0/24 via 192.0.2.10"),
    "one of rivals replaced": (
        "route add 203.0.113.0/24 via 192.0.2.9",
        "route append 203.0.113.0/24 via 192.0.2.10",
        "route replace 203.0.113.0/24 via 192.0.2.11",
    ),
    "one of rivals gone": (
        "route add 203.0.113.0/24 via 192.0.2.9",
        "route append 203.0.113.0/24 via 192.0.2.10",
        "route del 203.0.113.0/24 via 192.0.2.9",
    ),
    "IPv6 ways merged and parted": (
        "route add 2001:db8:5::/48 via 2001:db8::5 metric 9",
        "route append 2001:db8:5::/48 via 2001:db8::6 metric 9",
        "route append 2001:db8:5::/48 via 2001:db8::7 metric 9",
        "route del 2001:db8:5::/48 via 2001:db8::5 metric 9",
    ),
    "IPv6 replaced": (
        "route add 2001:db8:5::/48 via 2001:db8::5 metric 9",
        "route replace 2001:db8:5::/48 via 2001:db8::7 metric 9",
    ),
    "of each link": ("route add fe80:5::/64 dev v0 metric 9", "route append fe80:5::/64 dev v1 metric 9"),
    "of one link gone": (
        "route add fe80:5::/64 dev v0 metric 9",
        "route append fe80:5::/64 dev v1 metric 9",
        "route del fe80:5::/64 dev v0 metric 9",
    ),
    "of another link replaced": (
        "route add fe80:5::/64 dev v0 metric 9",
        "route append fe80:5::/64 dev v1 metric 9",
        "route replace fe80:5::/64 dev v1 metric 9 mtu 1300",
    ),
    "of a link replaced by a way": (
        "route add fe80:5::/64 dev v0 metric 9",
        "route replace fe80:5::/64 via 2001:db8::7 metric 9",
    ),
    "gone": ("route add 203.0.113.0/24 via 192.0.2.9", "route del 203.0.113.0/24"),
    "silently gone with the link down": ("route add 203.0.113.0/24 via 192.0.2.9", "link set v0 down"),
    "silently gone with their source": (
        "addr add 198.51.100.7/32 dev v0",
        "route add 203.0.113.0/24 via 192.0.2.9 src 198.51.100.7",
        "addr del 198.51.100.7/32 dev v0",
    ),
    "gone with the link": ("route add 203.0.113.0/24 via 192.0.2.9", "link del v0"),
    "renamed link": ("route add 203.0.113.0/24 via 192.0.2.9", "link set v0 name w0"),
}


@pytest.mark.needs_link("veth")
@pytest.mark.parametrize("steps", ROUTE_STEPS.values(), ids=ROUTE_STEPS.keys())
async def test_routes_are_as_ip_shows_them(steps: tuple[str, ...]) -> None:
    with namespace() as inside:
        async with routes_of(inside) as mirror:
            change(inside, *steps)

            def check() -> bool:
                assert seen_routes(mirror, inside) == reported_routes(inside)
                return True

            await eventually(check)


# Rules.


def seen_rules(mirror: Mirror[Any, Any]) -> set[tuple[Any, ...]]:
    return {
        (
            rule.family.value,
            rule.priority,
            rule.src,
            rule.dst,
            rule.table.value if rule.action == "unicast" else "",
            rule.action.value,
            rule.iif_name,
            rule.oif_name,
            rule.fw_mark,
            rule.fw_mask,
        )
        for rule in (each.status for rules in mirror.items.values() for each in rules)
    }


def reported_rules(inside: Namespace) -> set[tuple[Any, ...]]:
    reported = set()
    for family, option, length in (("inet4", "-4", 32), ("inet6", "-6", 128)):
        for rule in ip(inside, option, "rule"):
            mark = int(rule.get("fwmark", "0"), 16)
            reported.add(
                (
                    family,
                    rule["priority"],
                    "" if rule["src"] == "all" else f"{rule['src']}/{rule.get('srclen', length)}",
                    f"{rule['dst']}/{rule.get('dstlen', length)}" if "dst" in rule else "",
                    rule.get("table", ""),
                    rule.get("action", "unicast"),
                    rule.get("iif", ""),
                    rule.get("oif", ""),
                    mark,
                    int(rule.get("fwmask", "0xffffffff" if mark else "0"), 16),
                )
            )
    return reported


async def test_rules_are_as_ip_shows_them() -> None:
    with namespace() as inside:
        async with open_mirror(Rules(), netns=str(inside.path)) as mirror:
            for step in (
                "rule add fwmark 0x20/0x60 from 192.0.2.0/24 iif lo table 180 priority 180",
                "-6 rule add to 2001:db8::/32 blackhole priority 5",
                "rule add from 192.0.2.7 oif lo table 1000 priority 181",
                "rule add from 192.0.2.8 table 1001 priority 181",
                "rule add from 192.0.2.9 table 1002 priority 181",
                "rule del from 192.0.2.8 priority 181",
                "rule del priority 180",
            ):
                inside.run("ip", *step.split())

                def check() -> bool:
                    assert seen_rules(mirror) == reported_rules(inside)
                    return True

                await eventually(check)


# Drivers.


@pytest.mark.needs_link("veth")
def test_drivers_are_queried_in_the_namespace() -> None:
    with namespace() as inside:
        change(inside, "link add v0 type veth peer name v1", "link set v0 up", "link set v1 up")
        with open_ethtool(str(inside.path)) as ethtool:
            facts = ethtool.read("v0")
            assert (facts.driver, facts.bus_info, facts.permanent_addr, facts.link_state) == ("veth", "", "", True)
            assert facts.speed_mbit == 10000
            change(inside, "link set v1 down")
            assert ethtool.read("v0").link_state is False
