"""The differences between resources, and what they are for the kernel, in lines."""

from collections.abc import Mapping
from typing import Any

import pytest

from nodespan.controllers.config.differences import change_texts, difference_lines
from nodespan.controllers.config.kernel_differences import kernel_lines
from nodespan.resources.network import (
    AddressSpec,
    AddressSpecSpec,
    AddressStatus,
    AddressStatusSpec,
    EthernetChannels,
    EthernetRings,
    EthernetRingsStatus,
    EthernetSpec,
    EthernetSpecSpec,
    EthernetStatus,
    EthernetStatusSpec,
    Family,
    LinkFlags,
    LinkSpec,
    LinkSpecSpec,
    LinkStatus,
    LinkStatusSpec,
    RouteSpec,
    RouteSpecSpec,
    RouteStatus,
    RouteStatusSpec,
    RoutingRuleSpec,
    RoutingRuleSpecSpec,
    WOLMode,
)
from nodespan.resources.network.link import BondMaster
from nodespan.resources.network.link_spec import WireguardSpec
from nodespan.resources.runtime import (
    EnvironmentSpec,
    KernelModuleSpec,
    KernelModuleSpecSpec,
    KernelModuleStatus,
    KernelModuleStatusSpec,
    KernelParamDefaultSpec,
    KernelParamSpec,
    KernelParamSpecSpec,
    KernelParamStatus,
    KernelParamStatusSpec,
)
from nodespan.runtime.resource import Resource
from nodespan.runtime.state import MemoryState


@pytest.mark.parametrize(
    ("old", "new", "texts"),
    [
        ({"mtu": 1500}, {"mtu": 9000}, ["mtu 1500 -> 9000"]),
        ({"mtu": 0}, {"mtu": 9000}, ["mtu 0 -> 9000"]),
        ({"up": True}, {"up": False}, ["up true -> false"]),
        ({"name": ""}, {"name": "a"}, ["name (none) -> a"]),
        ({"vlans[0].mtu": 0, "vlans[0].vlanId": 5}, {}, ["vlans[0].vlanId 5 -> (none)"]),
        ({"addresses": ["a", "b"]}, {"addresses": ["b", "c"]}, ["addresses -a +c"]),
        ({"servers": ["a", "b"]}, {"servers": ["b", "a"]}, ["servers in another order"]),
        (
            {"wireguard.privateKey": "abc"},
            {"wireguard.privateKey": "def"},
            ["wireguard.privateKey (secret) -> (secret)"],
        ),
        ({"url": "http://u:p@host"}, {"url": "http://host"}, ["url http://***@host -> http://host"]),
        (
            {"variables": ["A=1"]},
            {"variables": ["API_TOKEN=hidden", "P=http://u:hidden@h"]},
            ["variables -A=1 +API_TOKEN=(secret) +P=http://********@h"],
        ),
        ({"text": "a\nb"}, {"text": "x" * 100}, [f"text a b -> {'x' * 59}…"]),
    ],
)
def test_a_change_shows_old_and_new_value(old: Mapping[str, Any], new: Mapping[str, Any], texts: list[str]) -> None:
    assert list(change_texts(old, new)) == texts


def test_added_removed_and_changed_resources_are_shown() -> None:
    before = {("LinkSpec", "a"): LinkSpecSpec(name="a", mtu=1400), ("LinkSpec", "b"): LinkSpecSpec(name="b")}
    after = {
        ("LinkSpec", "a"): LinkSpecSpec(name="a", mtu=1500),
        ("LinkSpec", "c"): LinkSpecSpec(name="c", kind="wireguard", wireguard=WireguardSpec(private_key="hidden")),
        ("Environment", "machined"): EnvironmentSpec(),
    }
    assert list(difference_lines(before, after)) == [
        "+ Environment machined",
        "~ LinkSpec a: mtu 1400 -> 1500",
        "- LinkSpec b",
        "+ LinkSpec c: name c, kind wireguard, type netrom, wireguard.privateKey (secret), layer default",
    ]


def link(name: str, **fields: Any) -> Resource[LinkSpecSpec]:
    return LinkSpec.new(name, LinkSpecSpec(name=name, up=True, **fields))


def seen(name: str, index: int, **fields: Any) -> Resource[LinkStatusSpec]:
    return LinkStatus.new(name, LinkStatusSpec(index=index, **{"flags": LinkFlags.UP, "mtu": 1500, **fields}))


def address(name: str, cidr: str) -> Resource[AddressSpecSpec]:
    return AddressSpec.new(f"{name}/{cidr}", AddressSpecSpec(address=cidr, link_name=name))


def has_address(name: str, cidr: str) -> Resource[AddressStatusSpec]:
    return AddressStatus.new(f"{name}/{cidr}", AddressStatusSpec(address=cidr, link_name=name))


def route(id: str, **fields: Any) -> Resource[RouteSpecSpec]:
    return RouteSpec.new(id, RouteSpecSpec(**fields))


BOND = {"logical": True, "kind": "bond"}


def parameter(id: str, value: str) -> Resource[KernelParamSpecSpec]:
    return KernelParamSpec.new(id, KernelParamSpecSpec(value=value))


def module(name: str) -> Resource[KernelModuleSpecSpec]:
    return KernelModuleSpec.new(name, KernelModuleSpecSpec(name=name))


@pytest.mark.parametrize(
    ("live", "after", "lines"),
    [
        # Links.
        ([], [link("bond0", **BOND)], ["+ link bond0 (bond)"]),
        ([seen("bond0", 1, kind="bond")], [link("bond0", **BOND)], []),
        ([seen("bond0", 1, kind="bond"), link("bond0", **BOND)], [], ["- link bond0 (bond)"]),
        ([link("bond0", **BOND)], [], []),
        ([seen("a", 1), link("a")], [], []),
        ([], [link("a")], ["  link a is not there; it is set up when it appears"]),
        ([seen("a", 1)], [link("a", mtu=9000)], ["~ link a: mtu 1500 -> 9000"]),
        ([seen("a", 1, flags=LinkFlags(0))], [link("a")], ["~ link a: up false -> true"]),
        ([seen("a", 1, alt_names=("long",))], [link("long", mtu=9000)], ["~ link long: mtu 1500 -> 9000"]),
        (
            [seen("a", 1, master_index=7), seen("b0", 7), seen("b1", 8)],
            [link("a", master_name="b1")],
            ["~ link a: master b0 -> b1"],
        ),
        ([seen("a", 1, alias="n0", master_index=7), seen("b0", 7)], [link("n0", master_name="b0")], []),
        (
            [seen("b", 1, bond_master=BondMaster(miimon=0)), link("b", **BOND, bond_master=BondMaster(miimon=0))],
            [link("b", **BOND, bond_master=BondMaster(miimon=100))],
            ["~ link b: bond miimon (none) -> 100"],
        ),
        # Addresses.
        ([seen("a", 1)], [address("a", "10.0.0.1/24")], ["+ address 10.0.0.1/24 on a"]),
        (
            [seen("a", 1), has_address("a", "10.0.0.1/24")],
            [address("a", "10.0.0.1/24")],
            ["= address 10.0.0.1/24 on a: already there, stays"],
        ),
        (
            [seen("a", 1), has_address("a", "10.0.0.1/24"), address("a", "10.0.0.1/24")],
            [address("a", "10.0.0.1/24")],
            [],
        ),
        ([has_address("a", "10.0.0.1/24"), address("a", "10.0.0.1/24")], [], ["- address 10.0.0.1/24 on a"]),
        ([address("a", "10.0.0.1/24")], [], []),
        (
            [seen("a", 1, alias="n0"), has_address("a", "10.0.0.1/24"), address("n0", "10.0.0.1/24")],
            [address("a", "10.0.0.1/24")],
            [],
        ),
        # Routes and rules.
        (
            [],
            [route("x", dst="10.0.0.0/8", gateway="10.0.0.1", out_link_name="a", priority=5)],
            ["+ route 10.0.0.0/8 via 10.0.0.1 on a metric 5"],
        ),
        (
            [RouteStatus.new("a/inet6//fd00::/8/1024", RouteStatusSpec(family=Family.INET6))],
            [route("x", family=Family.INET6, dst="fd00::/8", out_link_name="a")],
            ["= route fd00::/8 on a: already there, stays"],
        ),
        ([], [route("x", family=Family.INET6, gateway="fe80::1")], ["+ route default (inet6) via fe80::1"]),
        (
            [],
            [RoutingRuleSpec.new("inet4/01000", RoutingRuleSpecSpec(family=Family.INET4, priority=1000))],
            ["+ rule 1000 (inet4)"],
        ),
        # Kernel parameters and modules.
        ([], [parameter("proc.sys.a", "1")], ["+ kernel parameter proc.sys.a: 1"]),
        (
            [KernelParamDefaultSpec.new("proc.sys.a", KernelParamSpecSpec(value="1"))],
            [KernelParamDefaultSpec.new("proc.sys.a", KernelParamSpecSpec(value="1")), parameter("proc.sys.a", "0")],
            ["~ kernel parameter proc.sys.a: 1 -> 0"],
        ),
        (
            [
                parameter("proc.sys.a", "1"),
                KernelParamStatus.new("proc.sys.a", KernelParamStatusSpec(current="7", default="0")),
            ],
            [parameter("proc.sys.a", "2")],
            ["~ kernel parameter proc.sys.a: 7 -> 2"],
        ),
        (
            [
                parameter("proc.sys.a", "1"),
                KernelParamStatus.new("proc.sys.a", KernelParamStatusSpec(current="1", default="0")),
            ],
            [],
            ["- kernel parameter proc.sys.a: the value before, 0"],
        ),
        (
            [
                module("b"),
                KernelModuleStatus.new("c", KernelModuleStatusSpec(state="live")),
            ],
            [module("a"), module("c")],
            ["+ kernel module a", "= kernel module b: stays loaded"],
        ),
    ],
)
async def test_the_kernel_is_compared_with_the_new_desired_state(
    live: list[Resource[Any]], after: list[Resource[Any]], lines: list[str]
) -> None:
    is_, will = MemoryState(), MemoryState()
    for state, resources in ((is_, live), (will, after)):
        for resource in resources:
            await state.create(resource)
    assert list(kernel_lines(is_, will)) == lines


def test_of_a_card_off_and_0_are_shown_too() -> None:
    spec = EthernetSpecSpec(rings=EthernetRings(rx=0, tx_push=False), features={"rx-gro": False}, wake_on_lan=())
    assert list(difference_lines({}, {("EthernetSpec", "a"): spec})) == [
        "+ EthernetSpec a: rings.rx 0, rings.tx-push off, features.rx-gro off, wakeOnLan off"
    ]
    assert list(difference_lines({("EthernetSpec", "a"): EthernetSpecSpec()}, {("EthernetSpec", "a"): spec})) == [
        (
            "~ EthernetSpec a: features.rx-gro (none) -> off, rings.rx (none) -> 0, rings.tx-push (none) -> off, "
            "wakeOnLan (none) -> off"
        )
    ]


async def test_the_settings_of_cards_are_compared_with_what_their_drivers_report() -> None:
    live, after = MemoryState(), MemoryState()
    known = EthernetSpecSpec(rings=EthernetRings(rx=256, tx=64), features={"rx-gro": True})
    for name in ("eth0", "eth1", "eth3"):
        await live.create(EthernetSpec.new(name, known))
    status = EthernetStatusSpec(
        rings=EthernetRingsStatus(rx_max=4096, rx=256, tx=64),
        features={"rx-gro": "on", "tx-tcp-segmentation": "on [requested off]"},
        wake_on_lan=(WOLMode.MAGIC,),
    )
    await live.create(EthernetStatus.new("eth0", status))
    await after.create(
        EthernetSpec.new(
            "eth0",
            EthernetSpecSpec(
                rings=EthernetRings(rx=512),
                features={"rx-gro": True, "tx-tcp-segmentation": False},
                wake_on_lan=(),
            ),
        )
    )
    unknown = EthernetSpecSpec(channels=EthernetChannels(combined=2), features={"rx-gro": False})
    await after.create(EthernetSpec.new("eth2", unknown))
    await after.create(EthernetSpec.new("eth3", EthernetSpecSpec()))
    assert list(kernel_lines(live, after)) == [
        (
            "~ card eth0: features.tx-tcp-segmentation on -> off, rings.rx 256 -> 512, wakeOnLan [magic] -> off, "
            "rings.tx -> the one before"
        ),
        "~ card eth2: features.rx-gro -> off, channels.combined -> 2",
        "~ card eth3: rings.rx -> the one before, rings.tx -> the one before, features.rx-gro -> the one before",
        "~ card eth1: rings.rx, rings.tx, features.rx-gro -> those before",
    ]
