"""Which addresses stand for the node."""

import itertools
from ipaddress import ip_interface

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodespan.controllers.network.status import node_address_rules
from nodespan.controllers.network.status.node_address_rules import (
    LinkAddress,
    carries_traffic,
    current_addresses,
    default_address,
    filter_addresses,
    first_hardware_address,
    own_address,
    reaches_others,
    routed_addresses,
    sort_addresses,
)
from nodespan.resources.network import (
    AddressSortAlgorithm,
    AddressStatusSpec,
    HardwareAddrSpec,
    LinkStatusSpec,
    LinkType,
    NodeAddressFilterSpec,
    OperationalState,
    Scope,
)

V1, V2 = AddressSortAlgorithm.V1, AddressSortAlgorithm.V2

NIC = LinkStatusSpec(hardware_addr="02:00:00:00:00:01", operational_state=OperationalState.UP, link_state=True)
BRIDGE = attrs.evolve(NIC, kind="bridge")


@pytest.mark.parametrize(
    ("algorithm", "expected"),
    [
        (
            V1,
            ["10.0.0.1/8", "10.0.0.1/24", "10.3.4.1/24", "10.3.4.5/16", "192.0.2.1/32", "2001:db8::1/64", "fd00::1/8"],
        ),
        (
            V2,
            ["10.0.0.1/24", "10.3.4.1/24", "10.3.4.5/16", "10.0.0.1/8", "192.0.2.1/32", "2001:db8::1/64", "fd00::1/8"],
        ),
    ],
)
def test_addresses_are_sorted(algorithm: AddressSortAlgorithm, expected: list[str]) -> None:
    for given_order in (expected, expected[::-1], expected + expected):
        assert list(sort_addresses(given_order, algorithm)) == expected


# From few networks, so that they hold each other.
interfaces = st.one_of(
    st.builds("10.{}.{}.{}/{}".format, *[st.integers(0, 3)] * 3, st.integers(8, 32)),
    st.builds("2001:db8:{:x}::{:x}/{}".format, st.integers(0, 3), st.integers(0, 3), st.integers(32, 128)),
)


def comes_first(left: str, right: str) -> bool:
    """The rule of v2 as it is written down, for two addresses."""
    a, b = ip_interface(left), ip_interface(right)
    if a.version != b.version:
        return a.version == 4
    if a.ip == b.ip:
        return a.network.prefixlen >= b.network.prefixlen
    if a.network != b.network and a.ip in b.network and a.network.prefixlen > b.network.prefixlen:
        return True
    if a.network != b.network and b.ip in a.network and b.network.prefixlen > a.network.prefixlen:
        return False
    return int(a.ip) < int(b.ip)


@given(st.lists(interfaces, max_size=12))
def test_v2_puts_every_two_addresses_as_its_rule_says(addresses: list[str]) -> None:
    ordered = sort_addresses(addresses, V2)
    for left, right in itertools.combinations(ordered, 2):
        assert comes_first(left, right), f"{left} stands before {right}"


@given(st.lists(interfaces, max_size=12), st.sampled_from([V1, V2]))
def test_sorting_keeps_each_address_once_whatever_the_order(
    addresses: list[str], algorithm: AddressSortAlgorithm
) -> None:
    ordered = sort_addresses(addresses, algorithm)
    assert sorted(ordered) == sorted(set(addresses))
    assert sort_addresses(reversed(addresses), algorithm) == ordered


@pytest.mark.parametrize(
    ("links", "first"),
    [
        ({}, None),
        ({"lo": attrs.evolve(NIC, type=LinkType.LOOPBACK), "br0": BRIDGE}, None),
        ({"eth1": attrs.evolve(NIC, hardware_addr="02::01"), "eth0": NIC, "bond0": BRIDGE}, "eth0"),
        ({"eth0": attrs.evolve(NIC, hardware_addr=""), "eth1": NIC}, "eth1"),
    ],
)
def test_the_first_nic_by_name_gives_the_hardware_address(links: dict[str, LinkStatusSpec], first: str | None) -> None:
    expected = None if first is None else HardwareAddrSpec(name=first, hardware_addr=links[first].hardware_addr)
    assert first_hardware_address(links) == expected


@pytest.mark.parametrize(
    ("status", "own"),
    [
        (AddressStatusSpec(address="192.0.2.1/24", local="192.0.2.1"), "192.0.2.1/24"),
        (AddressStatusSpec(address="2001:db8::1/64"), "2001:db8::1/64"),
        (AddressStatusSpec(address="198.51.100.2/32", local="198.51.100.1"), "198.51.100.1/32"),
    ],
)
def test_of_two_ends_the_near_one_is_the_nodes(status: AddressStatusSpec, own: str) -> None:
    assert own_address(status) == own


@pytest.mark.parametrize(
    ("address", "scope", "reaches"),
    [
        ("192.0.2.1/24", Scope.GLOBAL, True),
        ("10.0.0.1/8", Scope.SITE, True),
        ("fd00::1/64", Scope.GLOBAL, True),
        ("192.0.2.1/24", Scope.LINK, False),
        ("192.0.2.1/24", Scope.HOST, False),
        ("127.0.0.1/8", Scope.GLOBAL, False),
        ("169.254.1.1/16", Scope.GLOBAL, False),
        ("fe80::1/64", Scope.GLOBAL, False),
        ("ff02::1/128", Scope.GLOBAL, False),
        ("::1/128", Scope.HOST, False),
    ],
)
def test_addresses_that_others_cannot_reach_are_left_out(address: str, scope: Scope, reaches: bool) -> None:
    assert reaches_others(AddressStatusSpec(address=address, scope=scope)) is reaches


@pytest.mark.parametrize(
    ("link", "carries"),
    [
        (NIC, True),
        (attrs.evolve(NIC, link_state=False), False),
        (attrs.evolve(NIC, operational_state=OperationalState.DOWN), False),
        (attrs.evolve(NIC, operational_state=OperationalState.UNKNOWN), True),
        (attrs.evolve(BRIDGE, link_state=False), True),
        (attrs.evolve(BRIDGE, operational_state=OperationalState.LOWER_LAYER_DOWN), False),
    ],
)
def test_addresses_of_links_that_are_down_are_left_out(link: LinkStatusSpec, carries: bool) -> None:
    assert carries_traffic(link) is carries


def test_current_addresses_are_those_of_known_links() -> None:
    addresses = [
        AddressStatusSpec(address="192.0.2.1/24", link_name="eth0"),
        AddressStatusSpec(address="192.0.2.2/24", link_name="eth9"),
        AddressStatusSpec(address="fe80::1/64", link_name="eth0", scope=Scope.LINK),
    ]
    assert current_addresses(addresses, {"eth0": NIC}) == (LinkAddress("eth0", "192.0.2.1/24"),)


def test_routed_addresses_leave_out_the_management_tunnel() -> None:
    siderolink, kubespan = "fdae:41e4:649b:9303::1/64", "fdae:41e4:649b:9302::1/128"
    assert routed_addresses(["192.0.2.1/24", siderolink, kubespan]) == ("192.0.2.1/24", kubespan)


ETH0, ETH1, ETH1_LOW = (
    LinkAddress("eth0", "192.0.2.9/24"),
    LinkAddress("eth1", "192.0.2.1/24"),
    LinkAddress("eth1", "10.0.0.1/8"),
)


@pytest.mark.parametrize(
    ("current", "previous", "chosen"),
    [
        ((), None, None),
        ((), "192.0.2.9/24", None),
        ((ETH1, ETH0), None, "192.0.2.9/24"),
        ((ETH1, ETH1_LOW), None, "10.0.0.1/8"),
        ((ETH1, ETH0), "192.0.2.1/24", "192.0.2.1/24"),
        ((ETH1, ETH0), "203.0.113.1/24", "192.0.2.9/24"),
    ],
)
def test_the_default_address_is_the_first_and_stays(
    current: tuple[LinkAddress, ...], previous: str | None, chosen: str | None
) -> None:
    assert default_address(current, V1, previous, {}) == chosen


@pytest.mark.parametrize("bridge", ["docker0", "br-0123456789ab", "cni0", "virbr0"])
def test_the_default_address_is_never_that_of_a_container_bridge(bridge: str) -> None:
    guest = LinkAddress(bridge, "172.17.0.1/16")
    links = {bridge: LinkStatusSpec(kind="bridge"), "eth0": LinkStatusSpec(), "zbr0": LinkStatusSpec(kind="bridge")}
    own = LinkAddress("zbr0", "192.0.2.1/24")
    assert default_address((guest, ETH0), V1, None, links) == ETH0.address
    assert default_address((guest, own), V1, guest.address, links) == own.address
    assert default_address((guest,), V1, None, links) is None


def test_a_link_with_addresses_of_pods_and_services_only_gives_the_default_address_last() -> None:
    outside = NodeAddressFilterSpec(exclude_subnets=("10.244.0.0/16", "10.96.0.0/12"))
    service, own = LinkAddress("dummy0", "10.96.0.1/32"), LinkAddress("wlan0", "192.0.2.7/24")
    assert default_address((service, own), V1, None, {}, outside) == own.address
    assert default_address((service, own), V1, service.address, {}, outside) == own.address
    assert default_address((service,), V1, None, {}, outside) == service.address
    # A link of the node, whose other address lies in such a network.
    inner = LinkAddress("wlan0", "10.100.0.7/8")
    assert default_address((service, inner, own), V1, None, {}, outside) == inner.address


def test_the_hosts_end_of_a_nested_containers_link_is_no_nic() -> None:
    veth = attrs.evolve(NIC, kind="veth")
    links = {
        "cni0": attrs.evolve(BRIDGE, index=7),
        "a-guest": attrs.evolve(veth, index=8, master_index=7),
        "eth0": attrs.evolve(veth, index=9),
    }
    assert first_hardware_address(links) == HardwareAddrSpec(name="eth0", hardware_addr=NIC.hardware_addr)


@pytest.mark.parametrize(
    ("include", "exclude", "passing"),
    [
        ((), (), ("10.0.0.1/8", "192.0.2.1/24", "2001:db8::1/64")),
        (("10.0.0.0/8", "2001:db8::/32"), (), ("10.0.0.1/8", "2001:db8::1/64")),
        ((), ("192.0.2.0/24", "::/0"), ("10.0.0.1/8",)),
        (("0.0.0.0/0",), ("10.0.0.0/16",), ("192.0.2.1/24",)),
    ],
)
def test_filters_keep_what_is_included_and_not_excluded(
    include: tuple[str, ...], exclude: tuple[str, ...], passing: tuple[str, ...]
) -> None:
    rule = NodeAddressFilterSpec(include_subnets=include, exclude_subnets=exclude)
    assert filter_addresses(("10.0.0.1/8", "192.0.2.1/24", "2001:db8::1/64"), rule) == passing


def test_addresses_of_a_link_are_not_even_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand links have a thousand of them, and each turn looks at all."""
    monkeypatch.setattr(node_address_rules, "ip_interface", None)
    link_local = AddressStatusSpec(address="fe80::1234/64", link_name="v0", scope=Scope.LINK)
    assert not reaches_others(link_local)
