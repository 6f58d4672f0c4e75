"""Which links a selector means, also while links are put on top of one another."""

from collections.abc import Mapping
from typing import Any

import pytest

from nodespan.controllers.network.config.selectors import SelectableLinks
from nodespan.resources.config.selector import DeviceSelector
from nodespan.resources.network import LinkStatusSpec, LinkType

MAC_A, MAC_B = "52:54:00:aa:00:01", "52:54:00:aa:00:02"

Links = Mapping[str, LinkStatusSpec]


def nic(index: int, mac: str, **facts: Any) -> LinkStatusSpec:
    given: dict[str, Any] = {
        "hardware_addr": mac,
        "permanent_addr": mac,
        "bus_path": f"0000:00:0{index}.0",
        "driver": "virtio_net",
    }
    return LinkStatusSpec(index=index, **(given | facts))


def upper(index: int, mac: str, kind: str, *, on: int = 0, **facts: Any) -> LinkStatusSpec:
    return LinkStatusSpec(index=index, hardware_addr=mac, kind=kind, link_index=on, **facts)


LOOPBACK = LinkStatusSpec(index=1, type=LinkType.LOOPBACK)
BARE: Links = {"lo": LOOPBACK, "eth0": nic(2, MAC_A), "eth1": nic(3, MAC_B, driver="e1000", pci_id="8086:100E")}
# Both NICs in a bond that has the address of the first, a VLAN and a bridge on it.
BONDED: Links = {
    "lo": LOOPBACK,
    "eth0": nic(2, MAC_A, master_index=10, slave_kind="bond"),
    "eth1": nic(3, MAC_A, permanent_addr=MAC_B, master_index=10, slave_kind="bond"),
    "bond0": upper(10, MAC_A, "bond", driver="bonding", master_index=12, slave_kind="bridge"),
    "bond0.100": upper(11, MAC_A, "vlan", on=10),
    "br0": upper(12, MAC_A, "bridge"),
}
VLANS: Links = {**BARE, "eth0.5": upper(20, MAC_A, "vlan", on=2), "eth0.5.6": upper(21, MAC_A, "vlan", on=20)}
PAIR: Links = {
    "veth-a": upper(30, MAC_A, "veth", on=31),
    "veth-b": upper(31, MAC_B, "veth", on=30),
}
USB: Links = {"lo": LOOPBACK, "end0": nic(2, MAC_A, bus_path="fd580000.ethernet", driver="bcmgenet")}

ONE = [
    ("by address", BARE, DeviceSelector(hardware_addr=MAC_A), "eth0"),
    ("by pattern", BARE, DeviceSelector(hardware_addr="52:54:*:01"), "eth0"),
    ("by PCI id", BARE, DeviceSelector(pci_id="8086:*"), "eth1"),
    ("by bus path", BARE, DeviceSelector(bus_path="0000:00:03.0"), "eth1"),
    ("all fields must match", BARE, DeviceSelector(hardware_addr="52:54:*", driver="e1000"), "eth1"),
    ("physical", USB, DeviceSelector(physical=True), "end0"),
    ("not physical", USB, DeviceSelector(physical=False), "lo"),
    ("the NIC under VLANs", VLANS, DeviceSelector(hardware_addr=MAC_A), "eth0"),
    (
        "a VLAN if asked for",
        {"eth0": BARE["eth0"], "eth0.5": VLANS["eth0.5"]},
        DeviceSelector(physical=False),
        "eth0.5",
    ),
    ("a member with the bond's address", BONDED, DeviceSelector(hardware_addr=MAC_B), "eth1"),
    ("the member whose address the bond has", BONDED, DeviceSelector(hardware_addr=MAC_A), "eth0"),
    ("the permanent address", BONDED, DeviceSelector(permanent_addr=MAC_B), "eth1"),
    ("the bond by its driver", BONDED, DeviceSelector(driver="bonding"), "bond0"),
    ("one end of a pair", PAIR, DeviceSelector(hardware_addr=MAC_B), "veth-b"),
]

NONE = [
    ("no such link", BARE, DeviceSelector(driver="virtio"), False, ["no link has driver", "did you mean virtio_net?"]),
    ("an address in capitals", BARE, DeviceSelector(hardware_addr=MAC_A.upper()), False, ["lower case"]),
    ("a bus path off PCI", USB, DeviceSelector(bus_path="0*"), False, ["fd580000.ethernet", "use physical: true"]),
    ("an empty selector", BARE, DeviceSelector(), False, ["no link has nothing"]),
    (
        "two links",
        BARE,
        DeviceSelector(physical=True),
        True,
        [
            "2 links have physical true",
            f"eth0 (permanentAddr {MAC_A}",
            f"eth1 (permanentAddr {MAC_B}",
            "add permanentAddr",
        ],
    ),
    (
        "two links with the same address",
        {"a": nic(2, MAC_A), "b": nic(3, MAC_A)},
        DeviceSelector(hardware_addr=MAC_A),
        True,
        ["a (busPath 0000:00:02.0); b (busPath 0000:00:03.0)", "add busPath"],
    ),
    (
        "two links that are alike",
        {"a": upper(2, MAC_A, "dummy"), "b": upper(3, MAC_A, "dummy")},
        DeviceSelector(hardware_addr=MAC_A),
        True,
        ["a; b", "name the link with interface"],
    ),
    (
        "many links",
        {f"eth{index}": nic(index, MAC_A, bus_path=f"0000:0{index}") for index in range(1, 11)},
        DeviceSelector(driver="virtio*"),
        True,
        ["10 links", "2 more"],
    ),
    ("both ends of a pair", PAIR, DeviceSelector(hardware_addr="52:*"), True, ["veth-a", "veth-b"]),
]

MEMBERS = [
    ("nothing bonded yet", BARE, [MAC_A, MAC_B], ("eth0", "eth1")),
    ("in the order of the selectors", BARE, [MAC_B, MAC_A], ("eth1", "eth0")),
    ("many for one selector, by name", BARE, ["52:*"], ("eth0", "eth1")),
    ("matched by two selectors: one member, the later place", BARE, ["52:*", MAC_A], ("eth1", "eth0")),
    ("no other member after they have taken the bond's address", BONDED, [MAC_A, MAC_B], ("eth0", "eth1")),
    ("neither the bond nor what rests on it", BONDED, ["52:*"], ("eth0", "eth1")),
    ("no VLAN of a member", VLANS, [MAC_A], ("eth0",)),
    ("none", BARE, ["00:*"], ()),
]


@pytest.mark.parametrize(("links", "selector", "expected"), [case[1:] for case in ONE], ids=[case[0] for case in ONE])
def test_a_selector_matches_one_link(links: Links, selector: DeviceSelector, expected: str) -> None:
    assert SelectableLinks(links).select_one(selector).link == expected


@pytest.mark.parametrize(
    ("links", "selector", "is_mistake", "words"), [case[1:] for case in NONE], ids=[case[0] for case in NONE]
)
def test_a_selector_without_one_link_is_explained(
    links: Links, selector: DeviceSelector, is_mistake: bool, words: list[str]
) -> None:
    selection = SelectableLinks(links).select_one(selector)
    assert not selection.link
    assert selection.is_mistake is is_mistake
    assert all(word in selection.problem for word in words), selection.problem


@pytest.mark.parametrize(
    ("links", "patterns", "expected"), [case[1:] for case in MEMBERS], ids=[case[0] for case in MEMBERS]
)
def test_members_of_a_bond(links: Links, patterns: list[str], expected: tuple[str, ...]) -> None:
    selectors = [DeviceSelector(hardware_addr=pattern) for pattern in patterns]
    assert SelectableLinks(links).select_members("bond0", selectors) == expected


def test_a_selector_by_exact_address_uses_the_index() -> None:
    links = {f"eth{index}": nic(index, f"52:54:00:00:{index >> 8:02x}:{index & 255:02x}") for index in range(2000)}
    selectable = SelectableLinks(links)
    looked_at = {
        len(list(selectable._candidates(DeviceSelector(hardware_addr=s.hardware_addr)))) for s in links.values()
    }
    assert looked_at == {1}
