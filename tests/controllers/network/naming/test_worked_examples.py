"""Machines as trees of files, and what their links are called."""

from collections.abc import Callable
from pathlib import Path

import pytest

from nodespan.controllers.network.naming import NameFacts, choose
from nodespan.controllers.network.naming.name_facts import read_name_facts
from nodespan.resources.config.nodespan import NamingScheme
from nodespan.resources.network import LinkNameSpec, NameRule
from tests.controllers.network.naming.sysfs_tree import NO_FILES, Files, SysfsTree

Machine = Callable[[SysfsTree], object]


def facts_of(root: Path, machine: Machine) -> dict[str, NameFacts]:
    """What sysfs says of the links of a machine, by the names that they have."""
    tree = SysfsTree(root / "sys")
    machine(tree)
    found = {}
    for link in sorted((tree.root / "class" / "net").iterdir()):
        facts = read_name_facts(link.name, int((link / "ifindex").read_text()), tree.root)
        assert facts is not None
        found[link.name] = facts
    return found


def names(root: Path, machine: Machine, **settings: object) -> dict[str, LinkNameSpec]:
    """What the links of a machine come to, by the names that they have."""
    return {link: choose(facts, **settings) for link, facts in facts_of(root, machine).items()}  # type: ignore[arg-type]


def nic(
    address: str,
    *,
    multi_function: bool = False,
    slots: tuple[tuple[str, str], ...] = (),
    files: Files = NO_FILES,
    link: Files = NO_FILES,
) -> Machine:
    """A card on the root bus of its domain; `files` are those of the card, `link` those of its link."""

    def machine(tree: SysfsTree) -> None:
        for name, at in slots:
            tree.slot(name, at)
        tree.link("eth0", tree.pci(address, multi_function=multi_function, files=files), link)

    return machine


def virtio(address: str, slots: tuple[tuple[str, str], ...] = ()) -> Machine:
    def machine(tree: SysfsTree) -> None:
        for name, at in slots:
            tree.slot(name, at)
        tree.link("eth0", tree.device("virtio0", "virtio", below=tree.pci(address)))

    return machine


def behind_a_bridge(*, multi_function: bool = False) -> Machine:
    def machine(tree: SysfsTree) -> None:
        tree.slot("1", "0000:00:1c")
        bridge = tree.pci("0000:00:1c.0", files={"class": "0x060400"})
        tree.link("eth0", tree.pci("0000:05:00.0", below=bridge, multi_function=multi_function))

    return machine


def virtual_function(tree: SysfsTree) -> None:
    physical = tree.pci("0000:3b:00.0", multi_function=True)
    virtual = tree.pci("0000:3b:02.0", multi_function=True)
    (virtual / "physfn").symlink_to(physical)
    (physical / "virtfn0").symlink_to(virtual)
    tree.link("eth0", virtual)


def usb(host: str, interface: str, *, multi_function: bool = False, link: Files = NO_FILES) -> Machine:
    def machine(tree: SysfsTree) -> None:
        tree.link("eth0", tree.usb(tree.pci(host, multi_function=multi_function), interface), link)

    return machine


def on_bus(path: str, subsystem: str, link: Files = NO_FILES) -> Machine:
    return lambda tree: tree.link("eth0", tree.device(path, subsystem), link)


def two_ports(tree: SysfsTree) -> None:
    device = tree.pci("0000:05:00.0")
    tree.link("eth0", device, {"dev_port": 0})
    tree.link("eth1", device, {"dev_port": 1})


def two_functions(tree: SysfsTree) -> None:
    tree.link("eth0", tree.pci("0000:02:00.0", multi_function=True))
    tree.link("eth1", tree.pci("0000:02:00.1", multi_function=True))


def made_by_software(tree: SysfsTree) -> None:
    tree.link("bond0", files={"addr_assign_type": 3})
    tree.link("dummy0")
    tree.link("br0", files={"addr_assign_type": 3})
    tree.link("eth0.100", files={"iflink": 77, "addr_assign_type": 2})


EXAMPLES: dict[str, tuple[Machine, dict[str, str]]] = {
    "on the mainboard": (nic("0000:00:1f.6", files={"acpi_index": 1}), {"eth0": "eno1"}),
    "numbered by SMBIOS": (nic("0000:01:00.0", files={"index": 2}), {"eth0": "eno2"}),
    "number 0": (nic("0000:00:1f.6", files={"acpi_index": 0}), {"eth0": "eno0"}),
    "a number that cannot be": (
        nic("0000:0b:00.0", files={"acpi_index": 16777215}, slots=(("192", "0000:0b:00"),)),
        {"eth0": "ens192"},
    ),
    "virtio in a slot": (virtio("0000:00:12.0", (("18", "0000:00:12"),)), {"eth0": "ens18"}),
    "virtio": (virtio("0000:00:03.0"), {"eth0": "enp0s3"}),
    "one function": (nic("0000:02:00.0"), {"eth0": "enp2s0"}),
    "two functions": (two_functions, {"eth0": "enp2s0f0", "eth1": "enp2s0f1"}),
    "a slot with a bridge in it": (behind_a_bridge(), {"eth0": "enp5s0"}),
    "a second domain": (nic("0001:0a:00.0"), {"eth0": "enP1p10s0"}),
    "a domain of five digits": (nic("10000:e1:00.0"), {"eth0": "enP65536p225s0"}),
    "a named port": (
        nic("0000:3b:00.0", multi_function=True, link={"phys_port_name": "p0"}),
        {"eth0": "enp59s0f0np0"},
    ),
    "a named port in a slot": (
        nic("0000:3b:00.0", multi_function=True, link={"phys_port_name": "p0"}, slots=(("2", "0000:3b:00"),)),
        {"eth0": "ens2f0np0"},
    ),
    "numbered ports": (two_ports, {"eth0": "enp5s0", "eth1": "enp5s0d1"}),
    "a virtual function": (virtual_function, {"eth0": "enp59s0f0v0"}),
    "a representor": (
        nic("0000:03:00.0", multi_function=True, link={"phys_port_name": "pf0vf3"}),
        {"eth0": "enp3s0f0r3"},
    ),
    "functions beyond 7": (nic("0000:04:01.2", files={"ari_enabled": 1}), {"eth0": "enp4s1f10"}),
    "USB": (usb("0000:00:14.0", "2-1.4:1.0", multi_function=True), {"eth0": "enp0s20f0u1u4"}),
    "USB in its second configuration": (usb("0000:00:14.0", "1-1:2.1"), {"eth0": "enp0s20u1c2i1"}),
    "USB behind many hubs": (
        usb(
            "0000:00:14.0",
            "1-1.4.3.2.1:1.0",
            multi_function=True,
            link={"address": "00:e0:4c:68:00:01", "addr_assign_type": 0},
        ),
        {"eth0": "enx00e04c680001"},
    ),
    "only an address": (
        on_bus("platform/soc.ethernet", "platform", {"address": "78:e7:d1:ea:46:da", "addr_assign_type": 0}),
        {"eth0": "enx78e7d1ea46da"},
    ),
    "not even an address": (on_bus("platform/soc.ethernet", "platform"), {"eth0": "eth0"}),
    "wireless": (
        lambda tree: tree.link("wlan0", tree.pci("0000:03:00.0"), {"uevent": "DEVTYPE=wlan\nINTERFACE=wlan0"}),
        {"wlan0": "wlp3s0"},
    ),
    "InfiniBand": (
        nic("0000:15:00.0", multi_function=True, link={"type": 32, "addr_assign_type": 0}),
        {"eth0": "ibp21s0f0"},
    ),
    "Xen": (on_bus("vif-0", "xen"), {"eth0": "enX0"}),
    "made by software": (
        made_by_software,
        {"bond0": "bond0", "dummy0": "dummy0", "br0": "br0", "eth0.100": "eth0.100"},
    ),
}


@pytest.mark.parametrize(("machine", "expected"), EXAMPLES.values(), ids=EXAMPLES)
def test_links_are_called_by_where_their_hardware_sits(
    machine: Machine, expected: dict[str, str], tmp_path: Path
) -> None:
    assert {link: spec.name for link, spec in names(tmp_path, machine).items()} == expected


@pytest.mark.parametrize("machine", [machine for machine, _ in EXAMPLES.values()], ids=EXAMPLES)
def test_with_kernel_names_all_links_keep_theirs(machine: Machine, tmp_path: Path) -> None:
    for link, spec in names(tmp_path, machine, kernel_names=True).items():
        assert (spec.name, spec.alt_names) == (link, ())
        assert "net.ifnames=0" in spec.reason


MORE: dict[str, tuple[Machine, str]] = {
    "functions of a card behind a bridge in a slot": (behind_a_bridge(multi_function=True), "ens1f0"),
    "ACPI platform device, old vendor": (on_bus("platform/HIS00C2:01", "platform"), "enahisc2i1"),
    "ACPI platform device, new vendor": (on_bus("platform/HISI00C2:10", "platform"), "enahisic2i16"),
    "channel device": (on_bus("css0/0.0.0600", "ccwgroup"), "enc600"),
    "channel device 0": (on_bus("css0/0.0.0000", "ccw"), "enc0"),
    "simulated": (on_bus("netdevsim10", "netdevsim", {"phys_port_name": "p1"}), "eni10np1"),
    "Power": (on_bus("vio/30000002", "vio"), "env2"),
    "USB without PCI": (
        lambda tree: tree.link("eth0", tree.usb(tree.device("platform/soc", "platform"), "1-1.2:1.0")),
        "enu1u2",
    ),
    "BCMA": (
        lambda tree: tree.link("eth0", tree.device("bcma0:2", "bcma", below=tree.pci("0000:06:00.0"))),
        "enp6s0b2",
    ),
    "old InfiniBand port": (nic("0000:15:00.0", link={"type": 32, "dev_id": "0x1"}), "ibp21s0d1"),
    "serial line": (nic("0000:15:00.0", link={"type": 256}), "slp21s0"),
    "WWAN": (nic("0000:15:00.0", link={"uevent": "DEVTYPE=wwan"}), "wwp21s0"),
    "a type without names": (nic("0000:15:00.0", link={"type": 65534}), "eth0"),
    "s390": (nic("0001:00:00.0", files={"function_id": "0x00000010"}, slots=(("00000010", "0001:00:00"),)), "ens16"),
    "slots that are no numbers": (nic("0000:02:00.0", slots=(("x", "0000:02:00"), ("0", "0000:02:00"))), "enp2s0"),
}


@pytest.mark.parametrize(("machine", "expected"), MORE.values(), ids=MORE)
def test_rarer_hardware_has_names_too(machine: Machine, expected: str, tmp_path: Path) -> None:
    assert names(tmp_path, machine)["eth0"].name == expected


def device_tree(*aliases: str) -> Machine:
    def machine(tree: SysfsTree) -> None:
        device = tree.device("platform/fd580000.ethernet", "platform")
        for alias in aliases:
            tree.alias(alias, "/scb/ethernet@7d580000", device)
        tree.link("eth0", device)

    return machine


@pytest.mark.parametrize(
    ("aliases", "expected"),
    [(("ethernet0",), "end0"), (("ethernet3",), "end3"), (("ethernet",), "end0"), (("ethernet", "ethernet0"), "eth0")],
)
def test_the_device_tree_numbers_links(aliases: tuple[str, ...], expected: str, tmp_path: Path) -> None:
    assert names(tmp_path, device_tree(*aliases))["eth0"].name == expected


def switch_chip(tree: SysfsTree) -> None:
    """Two ports of one chip: each has a node of its own, and the chip has one with an alias too."""
    chip = tree.device("platform/15100000.ethernet", "platform")
    tree.alias("ethernet9", "/soc/ethernet@15100000", chip)
    for number in range(2):
        tree.link(f"eth{number}", chip)
        tree.alias(f"ethernet{number}", f"/soc/ethernet@15100000/mac@{number}", chip / "net" / f"eth{number}")


def wireless_board(*aliases: str) -> Machine:
    def machine(tree: SysfsTree) -> None:
        chip = tree.device("platform/18000000.wifi", "platform")
        for alias in aliases:
            tree.alias(alias, "/soc/wifi@18000000", chip)
        tree.link("wlan0", chip, {"uevent": "DEVTYPE=wlan"})

    return machine


SCHEMES = tuple(NamingScheme)
NEWER = SCHEMES[1:]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_only_the_newer_schemes_look_at_the_ports_own_nodes(scheme: NamingScheme, tmp_path: Path) -> None:
    named = {link: spec.name for link, spec in names(tmp_path, switch_chip, scheme=scheme).items()}
    own, shared = {"eth0": "end0", "eth1": "end1"}, {"eth0": "end9", "eth1": "end9"}
    assert named == (own if scheme in NEWER else shared)


def test_a_port_without_an_alias_of_its_own_has_that_of_its_device(tmp_path: Path) -> None:
    def machine(tree: SysfsTree) -> None:
        chip = tree.device("platform/15100000.ethernet", "platform")
        tree.link("eth0", chip)
        tree.alias("serial0", "/soc/ethernet@15100000/mac@0", chip / "net" / "eth0")
        tree.alias("ethernet2", "/soc/ethernet@15100000", chip)

    assert names(tmp_path, machine, scheme=NamingScheme.V260)["eth0"].name == "end2"


@pytest.mark.parametrize(
    ("aliases", "older", "newer"),
    [
        (("wifi0",), "wlan0", "wld0"),
        (("wifi",), "wlan0", "wld0"),
        (("wifi3", "ethernet1"), "wlan0", "wld3"),
        (("ethernet1",), "wlan0", "wld1"),
        (("wifi", "wifi0"), "wlan0", "wlan0"),
        (("serial0",), "wlan0", "wlan0"),
        (("wifix", "wifi2"), "wlan0", "wld2"),
    ],
)
def test_wireless_links_have_aliases_since_v259(
    aliases: tuple[str, ...], older: str, newer: str, tmp_path: Path
) -> None:
    for scheme in SCHEMES:
        named = names(tmp_path / scheme, wireless_board(*aliases), scheme=scheme)["wlan0"].name
        assert named == (newer if scheme in (NamingScheme.V259, NamingScheme.V260) else older)


def test_wi_fi_aliases_are_not_for_ethernet(tmp_path: Path) -> None:
    assert names(tmp_path, device_tree("wifi0"), scheme=NamingScheme.V260)["eth0"].name == "eth0"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_mctp_links_have_names_since_v260(scheme: NamingScheme, tmp_path: Path) -> None:
    machine = usb("0000:00:14.0", "1-1:1.0", link={"type": 290})
    expected = "mcp0s20u1" if scheme is NamingScheme.V260 else "eth0"
    assert names(tmp_path, machine, scheme=scheme)["eth0"].name == expected


@pytest.mark.parametrize("machine", [machine for machine, _ in EXAMPLES.values()], ids=EXAMPLES)
def test_ordinary_hardware_has_the_same_names_in_all_newer_schemes(machine: Machine, tmp_path: Path) -> None:
    for facts in facts_of(tmp_path, machine).values():
        assert len({choose(facts, scheme=scheme) for scheme in NEWER}) == 1


@pytest.mark.parametrize(("scheme", "expected"), [(NamingScheme.V255, "enp0s3"), *((each, "ens7") for each in NEWER)])
def test_only_the_newer_schemes_ask_acpi_for_the_slot(scheme: NamingScheme, expected: str, tmp_path: Path) -> None:
    machine = nic("0000:00:03.0", files={"firmware_node/sun": 7})
    assert names(tmp_path, machine, scheme=scheme)["eth0"].name == expected


@pytest.mark.parametrize(("assigned", "rule"), [(2, NameRule.KERNEL), (3, NameRule.KEEP), (4, NameRule.KEEP)])
def test_a_name_given_by_an_administrator_stays_and_the_others_are_shown(
    assigned: int, rule: NameRule, tmp_path: Path
) -> None:
    spec = names(tmp_path, nic("0000:02:00.0", files={"acpi_index": 1}, link={"name_assign_type": assigned}))["eth0"]
    assert (spec.name, spec.rule) == ("eth0", rule)
    assert (spec.onboard, spec.path) == ("eno1", "enp2s0")
    assert spec.alt_names == ("eno1", "enp2s0")
    assert spec.reason


def test_a_name_that_is_too_long_does_as_a_further_one(tmp_path: Path) -> None:
    machine, _ = EXAMPLES["USB behind many hubs"]
    spec = names(tmp_path, machine)["eth0"]
    assert (spec.rule, spec.path) == (NameRule.MAC, "enp0s20f0u1u4u3u2u1")
    assert spec.alt_names == ("enp0s20f0u1u4u3u2u1",)


def test_a_link_of_another_network_namespace_is_not_taken_for_its_namesake(tmp_path: Path) -> None:
    tree = SysfsTree(tmp_path / "sys")
    index = tree.link("eth0", tree.pci("0000:02:00.0"))
    assert read_name_facts("eth0", index + 1, tree.root) is None
    assert read_name_facts("eth1", index, tree.root) is None
