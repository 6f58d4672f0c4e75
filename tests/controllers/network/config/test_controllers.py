"""From configuration to unmerged specs, while links and configuration change."""

import random
from typing import Any

import attrs
import pytest
import trio.testing

from nodespan.controllers.network.config.device_config import DeviceConfigController, resolve_device
from nodespan.controllers.network.config.selectors import SelectableLinks
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig, MachineConfigSpec
from nodespan.resources.config.device import Device
from nodespan.resources.config.links import VRFConfig
from nodespan.resources.config.main import Machine, MainDocument, Network
from nodespan.resources.config.network import RoutingRuleConfig
from nodespan.resources.config.nodespan import DefaultsSettings, NodespanConfig
from nodespan.resources.network import (
    NAMESPACE,
    AddressSpec,
    ConfigLayer,
    DeviceConfigSpec,
    DeviceConfigSpecSpec,
    LinkFlags,
    LinkSpec,
    LinkStatus,
    LinkStatusSpec,
    LinkType,
    NetworkProblem,
    OperatorSpec,
    RouteSpec,
    RoutingRuleSpec,
    Scope,
    device_config_id,
)
from nodespan.resources.network.problem import Severity
from nodespan.runtime.testing.kit import Node, running
from tests.controllers.network.config.house import LOOPBACK, config, configure, devices, house, nic, problems, unmerged

pytestmark = pytest.mark.virtual_clock

MAC_A, MAC_B = "52:54:00:aa:00:01", "52:54:00:aa:00:02"
BOND = """
{interface: bond0, bond: {mode: active-backup, miimon: 100, deviceSelectors: [{hardwareAddr: "52:54:00:aa:*"}]}}
"""


def members(node: Node) -> dict[str, int]:
    links = unmerged(node, LinkSpec).values()
    return {link.name: link.slave_index for link in links if link.master_name == "bond0"}


async def see(node: Node, name: str, status: LinkStatusSpec) -> None:
    await node.put(LinkStatus, name, status)
    await node.settled()


async def test_nothing_is_selected_before_all_links_have_been_seen() -> None:
    async with running(DeviceConfigController()) as node:
        await node.put(LinkStatus, "eth1", nic(3, MAC_B))
        await node.put(MachineConfig, MACHINE_CONFIG_ID, devices(BOND))
        # Not until it settles, for virtual time would go on.
        await trio.testing.wait_all_tasks_blocked()
        assert not node.state.list(DeviceConfigSpec)
        assert not problems(node)
        await node.put(LinkStatus, "eth0", nic(2, MAC_A))
        await see(node, "lo", LOOPBACK)
        (device,) = node.state.list(DeviceConfigSpec)
        assert device.spec.device.bond is not None
        assert device.spec.device.bond.interfaces == ("eth0", "eth1")


async def test_an_entry_follows_the_link_that_its_selector_matches() -> None:
    async with house({}) as node:
        await configure(node, devices(f"{{deviceSelector: {{hardwareAddr: '{MAC_A}'}}, addresses: [10.0.0.5/24]}}"))
        assert list(problems(node, Severity.WARNING)) == ["DeviceConfigSpecs/000"]
        await see(node, "eth0", nic(2, MAC_A))
        assert not problems(node)
        assert list(unmerged(node, AddressSpec)) == ["configuration/eth0/10.0.0.5/24"]
        # Another link of the same address: now nobody knows which one is meant.
        await see(node, "eth1", nic(3, MAC_A))
        (message,) = problems(node, Severity.ERROR).values()
        assert "eth0 (busPath 0000:00:02.0)" in message
        assert not unmerged(node, AddressSpec)
        assert not unmerged(node, LinkSpec)
        await node.destroy(LinkStatus, "eth0")
        await node.settled()
        assert not problems(node)
        assert list(unmerged(node, AddressSpec)) == ["configuration/eth1/10.0.0.5/24"]


async def test_an_invalid_selector_affects_its_entry_alone() -> None:
    async with house({"eth0": nic(2), "eth1": nic(3)}) as node:
        await configure(
            node,
            devices(
                "{deviceSelector: {physical: true}, addresses: [10.0.0.5/24]}\n"
                "{interface: eth0, addresses: [10.0.1.5/24]}"
            ),
        )
        assert list(problems(node)) == ["DeviceConfigSpecs/000"]
        assert list(unmerged(node, AddressSpec)) == ["configuration/eth0/10.0.1.5/24"]


async def test_a_selected_link_stays_selected_with_vlans_on_it() -> None:
    async with house({"eth0": nic(2, MAC_A)}) as node:
        await configure(
            node,
            devices(
                f"{{deviceSelector: {{hardwareAddr: '{MAC_A}'}}, vlans: [{{vlanId: 100, addresses: [10.0.0.5/24]}}]}}"
            ),
        )
        await see(node, "eth0.100", LinkStatusSpec(index=7, link_index=2, hardware_addr=MAC_A, kind="vlan"))
        assert not problems(node)
        assert list(unmerged(node, LinkSpec)) == ["configuration/eth0", "configuration/eth0.100"]


async def test_a_bond_stays_whole_when_its_members_take_its_address() -> None:
    async with house({"eth0": nic(2, MAC_A), "eth1": nic(3, MAC_B), "eth2": nic(4)}) as node:
        await configure(node, devices(BOND))
        assert members(node) == {"eth0": 0, "eth1": 1}
        await see(node, "bond0", LinkStatusSpec(index=10, hardware_addr=MAC_A, kind="bond"))
        await see(node, "eth0", nic(2, MAC_A, master_index=10, slave_kind="bond"))
        await see(node, "eth1", nic(3, MAC_A, permanent_addr=MAC_B, master_index=10, slave_kind="bond"))
        # A VLAN and a bridge on the bond carry the address too.
        await see(node, "bond0.100", LinkStatusSpec(index=11, link_index=10, hardware_addr=MAC_A, kind="vlan"))
        await see(node, "bond0", LinkStatusSpec(index=10, hardware_addr=MAC_A, kind="bond", master_index=12))
        await see(node, "br0", LinkStatusSpec(index=12, hardware_addr=MAC_A, kind="bridge"))
        assert members(node) == {"eth0": 0, "eth1": 1}
        assert not problems(node)


async def test_members_of_a_bond_come_and_go() -> None:
    async with house({"eth0": nic(2, MAC_A), "eth1": nic(3, MAC_B)}) as node:
        await configure(node, devices(BOND))
        await node.destroy(LinkStatus, "eth0")
        await node.settled()
        assert members(node) == {"eth1": 0}
        await see(node, "renamed", nic(2, MAC_A))
        assert members(node) == {"eth1": 0, "renamed": 1}
        await node.destroy(LinkStatus, "eth1")
        await node.destroy(LinkStatus, "renamed")
        await node.settled()
        assert list(problems(node, Severity.WARNING)) == ["DeviceConfigSpecs/000"]
        assert not unmerged(node, LinkSpec)


async def test_an_ignored_interface_is_not_configured_by_any_source() -> None:
    text = """
machine:
  type: controlplane
  network:
    interfaces:
      - {interface: eth0, ignore: true, dhcp: true, addresses: [10.0.0.5/24], vip: {ip: 10.0.0.9}}
      - {interface: eth1, bridge: {interfaces: [eth0, eth2]}}
---
{apiVersion: v1alpha1, kind: DHCPv4Config, name: eth0}
---
{apiVersion: v1alpha1, kind: Layer2VIPConfig, name: 10.0.0.10, link: eth0}
"""
    line = "ip=10.0.0.6::10.0.0.1:24::eth0:dhcp"
    async with house({"eth0": nic(2, alias="net0"), "eth2": nic(3)}, cmdline=line) as node:
        await configure(node, config(text))
        assert list(unmerged(node, LinkSpec)) == ["configuration/eth1", "configuration/eth2"]
        assert not any(unmerged(node, type) for type in (AddressSpec, RouteSpec, OperatorSpec))


@pytest.mark.parametrize(
    ("machine", "stands"),
    [("machine: {type: worker}", False), ("machine: {}", False), ("machine: {type: controlplane}", True), ("", True)],
)
async def test_the_documents_of_virtual_ips_have_no_effect_on_a_worker(machine: str, stands: bool) -> None:
    document = "{apiVersion: v1alpha1, kind: Layer2VIPConfig, name: 10.0.0.10, link: eth0}"
    other = "{apiVersion: v1alpha1, kind: Layer2VIPConfig, name: 10.0.0.11, link: eth0}"
    async with house({"eth0": nic(2)}) as node:
        await configure(node, config("\n---\n".join(filter(None, (machine, document)))))
        vips = ["configuration/vip/eth0/10.0.0.10"] if stands else []
        assert list(unmerged(node, OperatorSpec)) == vips
        # The type alone may change, too.
        await configure(node, config(f"machine: {{type: controlplane}}\n---\n{document}\n---\n{other}"))
        assert len(unmerged(node, OperatorSpec)) == 2
        await configure(node, config(f"machine: {{type: worker}}\n---\n{document}\n---\n{other}"))
        assert not unmerged(node, OperatorSpec)


async def test_the_kernel_command_line_has_a_layer_of_its_own() -> None:
    line = (
        "ip=10.0.0.6::10.0.9.1:24::eth0 ip=10.0.1.6::10.0.1.1:24::eth1 ip=eth2:dhcp vlan=eth0.5:eth0 "
        "bond=bond7:eth3,eth4:mode=1:1400"
    )
    async with house({"eth0": nic(2)}, cmdline=line) as node:
        await node.settled()
        links = unmerged(node, LinkSpec)
        assert [id.removeprefix("cmdline/") for id in links] == [
            "bond7",
            "eth0",
            "eth0.5",
            "eth1",
            "eth2",
            "eth3",
            "eth4",
        ]
        assert (links["cmdline/bond7"].mtu, links["cmdline/eth4"].slave_index) == (1400, 1)
        assert list(unmerged(node, AddressSpec)) == ["cmdline/eth0/10.0.0.6/24", "cmdline/eth1/10.0.1.6/24"]
        routes = unmerged(node, RouteSpec)
        # The first default route is preferred; a gateway outside the prefix is reached over the link.
        assert list(routes) == [
            "cmdline/inet4//10.0.9.1/32/1024",
            "cmdline/inet4/10.0.1.1//1025",
            "cmdline/inet4/10.0.9.1//1024",
        ]
        assert routes["cmdline/inet4//10.0.9.1/32/1024"].scope == Scope.LINK
        assert list(unmerged(node, OperatorSpec)) == ["cmdline/dhcp4/eth2"]


async def test_an_address_of_the_kernel_command_line_without_link_is_for_the_first_one() -> None:
    loopback = LinkStatusSpec(index=1, type=LinkType.LOOPBACK, flags=LinkFlags.LOOPBACK)
    async with house({"a": loopback}, cmdline="ip=10.0.0.6:::24") as node:
        await node.settled()
        assert not unmerged(node, AddressSpec)
        await see(node, "eth1", nic(3))
        await see(node, "eth0", nic(2))
        assert list(unmerged(node, AddressSpec)) == ["cmdline/eth0/10.0.0.6/24"]


async def test_a_mistake_in_the_kernel_command_line_is_a_problem_and_dhcp_stays() -> None:
    async with house({}, cmdline="ip=eth0:dhcp ip=off") as node:
        await node.settled()
        assert list(problems(node)) == ["AddressSpecs/cmdline"]
        assert not unmerged(node, LinkSpec)
        assert list(unmerged(node, OperatorSpec)) == ["cmdline/dhcp4/eth0"]


DEFAULTS = NodespanConfig(defaults=DefaultsSettings(dhcp=True))


@pytest.mark.parametrize(
    ("machine", "cmdline", "links", "operators"),
    [
        (devices("{interface: eth0}"), "", ["configuration/eth0"], []),
        (
            attrs.evolve(devices("{interface: eth0}"), nodespan=DEFAULTS),
            "",
            ["configuration/eth0", "default/eth1", "default/eth2", "default/lo"],
            ["default/dhcp4/eth1", "default/dhcp4/eth2"],
        ),
        (
            attrs.evolve(devices("{interface: bond0, bond: {interfaces: [eth0]}}"), nodespan=DEFAULTS),
            "talos.network.interface.ignore=eth1 ip=10.0.0.5:::24::eth2",
            ["cmdline/eth2", "configuration/bond0", "configuration/eth0", "default/lo"],
            [],
        ),
        (
            attrs.evolve(config("{apiVersion: v1alpha1, kind: LinkConfig, name: eth0}"), nodespan=DEFAULTS),
            "",
            ["configuration/eth0", "default/lo"],
            [],
        ),
    ],
    ids=["off unless asked for", "on NICs that nothing mentions", "mentioned elsewhere", "off with link documents"],
)
async def test_defaults(machine: MachineConfigSpec, cmdline: str, links: list[str], operators: list[str]) -> None:
    nics = {"eth0": nic(2), "eth1": nic(3), "eth2": nic(4), "dummy0": LinkStatusSpec(index=9, kind="dummy")}
    async with house(nics, cmdline=cmdline) as node:
        await configure(node, machine)
        assert list(unmerged(node, LinkSpec)) == links
        assert list(unmerged(node, OperatorSpec)) == operators
        lo = unmerged(node, AddressSpec).get("default/lo/127.0.0.1/8")
        assert (lo is not None) is machine.nodespan.defaults.dhcp
        assert lo is None or (lo.scope, lo.layer) == (Scope.HOST, ConfigLayer.DEFAULT)


async def test_names_are_resolved_as_soon_as_a_link_has_them() -> None:
    text = """
{interface: net0, dhcp: true, addresses: [10.0.0.5/24], vlans: [{vlanId: 100}]}
{interface: br0, bridge: {interfaces: [enxother]}}
"""
    async with house({}) as node:
        await configure(node, devices(text))
        assert list(unmerged(node, LinkSpec)) == [
            *("configuration/br0", "configuration/enxother", "configuration/net0", "configuration/net0.100")
        ]
        await see(node, "eth0", nic(2, alias="net0"))
        await see(node, "eth1", nic(3, alt_names=("enp0s3", "enxother")))
        links = unmerged(node, LinkSpec)
        assert list(links) == [
            *("configuration/br0", "configuration/eth0", "configuration/eth1", "configuration/net0.100")
        ]
        assert links["configuration/net0.100"].parent_name == "eth0"
        assert list(unmerged(node, OperatorSpec)) == ["configuration/dhcp4/eth0"]
        # Whoever applies addresses finds links by all their names.
        assert list(unmerged(node, AddressSpec)) == ["configuration/net0/10.0.0.5/24"]
        # A real name wins over an alias.
        await see(node, "net0", nic(4))
        assert "configuration/net0" in unmerged(node, LinkSpec)


async def test_documents_refine_devices() -> None:
    text = """
machine:
  network:
    interfaces: [{interface: eth0, mtu: 9000, addresses: [10.0.0.5/24]}]
---
apiVersion: v1alpha1
kind: LinkConfig
name: eth0
up: false
multicast: true
addresses: [{address: 10.0.0.5/24, routePriority: 5}]
---
{apiVersion: v1alpha1, kind: DHCPv4Config, name: eth0}
"""
    async with house({}) as node:
        await configure(node, config(text))
        (link,) = unmerged(node, LinkSpec).values()
        assert (link.up, link.mtu, link.multicast) == (False, 9000, True)
        (address,) = unmerged(node, AddressSpec).values()
        assert address.priority == 5


BY_NAME = "machine: {type: controlplane, network: {interfaces: [%s]}}"
DOCUMENT = "\n---\n{apiVersion: v1alpha1, kind: LinkConfig, name: %s}\n"


@pytest.mark.parametrize(
    ("text", "problem", "says"),
    [
        pytest.param(
            BY_NAME % "{interface: eth0, mtu: 1400}, {interface: enp0s2, mtu: 1300}",
            "LinkSpecs/configuration/eth0",
            "mtu is 1400 in machine.network.interfaces[0] (eth0), and 1300 in machine.network.interfaces[1] (enp0s2)",
            id="alternative-name",
        ),
        pytest.param(
            BY_NAME % "{interface: net0, mtu: 1400}, {deviceSelector: {busPath: '0000:00:02*'}, mtu: 1300}",
            "LinkSpecs/configuration/eth0",
            "mtu is 1400 in machine.network.interfaces[0] (net0), and 1300 in machine.network.interfaces[1] (eth0)",
            id="selector",
        ),
        pytest.param(
            DOCUMENT % "eth0, multicast: false, up: false" + DOCUMENT % "net0, multicast: true",
            "LinkSpecs/configuration/eth0",
            "multicast is false in LinkConfig eth0, and true in LinkConfig net0; up is false in LinkConfig eth0, and",
            id="documents",
        ),
        pytest.param(
            BY_NAME % "{interface: eth0, mtu: 1400}" + DOCUMENT % "enp0s2, mtu: 1300",
            "LinkSpecs/configuration/eth0",
            "mtu is 1400 in machine.network.interfaces[0] (eth0), and 1300 in LinkConfig enp0s2",
            id="device-and-document",
        ),
        pytest.param(
            BY_NAME % "{interface: br0, bridge: {interfaces: [eth0]}}, {interface: bond0, bond: {interfaces: [net0]}}",
            "LinkSpecs/configuration/eth0",
            "the master is br0 in machine.network.interfaces[0] (br0), and bond0 in",
            id="masters",
        ),
        pytest.param(
            BY_NAME % "{interface: eth0, dhcp: true}, {interface: net0, dhcp: true, dhcpOptions: {routeMetric: 9}}",
            "OperatorSpecs/configuration/dhcp4/eth0",
            "dhcp4.route_metric is 1024 in machine.network.interfaces[0] (eth0), and 9 in",
            id="dhcp",
        ),
        pytest.param(
            BY_NAME % "{interface: eth0, routes: [{network: 10.8.0.0/16, gateway: 10.0.0.1, mtu: 1400}]}, "
            "{deviceSelector: {busPath: '0000:00:02*'}, routes: [{network: 10.8.0.0/16, gateway: 10.0.0.1}]}",
            "RouteSpecs/configuration/inet4/10.0.0.1/10.8.0.0/16/1024",
            "mtu is 1400 in machine.network.interfaces[0] (eth0), and 0 in",
            id="routes",
        ),
    ],
)
async def test_one_link_configured_differently_under_two_names_names_both_places(
    text: str, problem: str, says: str
) -> None:
    async with house({"eth0": nic(2, alias="net0", alt_names=("enp0s2",))}) as node:
        await configure(node, config(text))
        found = problems(node, Severity.ERROR)
        assert list(found) == [problem]
        assert says in found[problem]
        # Without the names there are two links, which contradict nothing.
        await see(node, "eth0", nic(3))
        assert not problems(node, Severity.ERROR)


@pytest.mark.parametrize(
    "text",
    [
        BY_NAME % "{interface: eth0, mtu: 1400, dhcp: true}, {interface: enp0s2, mtu: 1400, addresses: [10.0.0.5/24]}",
        BY_NAME % "{interface: eth0, vip: {ip: 10.0.0.9}}, {interface: net0, vip: {ip: 10.0.0.9}}",
        BY_NAME % "{interface: br0, bridge: {interfaces: [eth0, net0]}}, {interface: enp0s2, mtu: 1300}",
        BY_NAME % "{interface: net0, mtu: 1400}" + DOCUMENT % "net0, mtu: 1300",
    ],
)
async def test_one_link_under_two_names_that_agree_is_one_link(text: str) -> None:
    async with house({"eth0": nic(2, alias="net0", alt_names=("enp0s2",))}) as node:
        await configure(node, config(text))
        assert not problems(node, Severity.ERROR)
        assert "configuration/eth0" in unmerged(node, LinkSpec)
        assert not unmerged(node, LinkSpec).keys() & {"configuration/net0", "configuration/enp0s2"}
        assert len(unmerged(node, OperatorSpec)) <= 1


async def test_a_link_that_is_ignored_under_one_name_is_ignored_under_all() -> None:
    text = "{interface: eth0, ignore: true}\n{interface: net0, dhcp: true, addresses: [10.0.0.5/24], mtu: 1400}"
    async with house({"eth0": nic(2, alias="net0")}) as node:
        await configure(node, devices(text))
        assert not any(unmerged(node, type) for type in (LinkSpec, AddressSpec, RouteSpec, OperatorSpec))


async def test_invalid_parts_are_problems_and_all_others_are_kept() -> None:
    vlan = "{vlanId: 5, addresses: [10.0.5.5, 10.0.5.6/24], routes: [{network: x}], vip: {ip: y}}"
    text = f"{{interface: eth0, addresses: [10.0.0.5/24], vlans: [{vlan}]}}"
    async with house({}) as node:
        await configure(node, devices(text))
        assert list(problems(node, Severity.ERROR)) == [
            "AddressSpecs/configuration/eth0.5/10.0.5.5",
            "OperatorSpecs/configuration/vip/eth0.5/y",
            "RouteSpecs/configuration/eth0.5/routes/0",
        ]
        assert list(unmerged(node, AddressSpec)) == [
            "configuration/eth0.5/10.0.5.6/24",
            "configuration/eth0/10.0.0.5/24",
        ]
        assert len(unmerged(node, LinkSpec)) == 2
        await configure(node, devices("{interface: eth0}"))
        assert not problems(node)


async def test_a_restart_removes_specs_that_are_no_longer_desired() -> None:
    async with house({}) as node:
        await configure(node, devices("{interface: eth0, addresses: [10.0.0.5/24, 10.0.0.6/24]}\n{interface: eth1}"))
        state = node.state
    async with house({}, state=state) as node:
        await configure(node, devices("{interface: eth0, addresses: [10.0.0.5/24]}"))
        assert list(unmerged(node, AddressSpec)) == ["configuration/eth0/10.0.0.5/24"]
        assert list(unmerged(node, LinkSpec)) == ["configuration/eth0"]


def many(count: int, changed: int = -1) -> MachineConfigSpec:
    entries = tuple(
        Device(interface=f"eth{index}", addresses=(f"10.{index >> 8}.{index & 255}.{2 if index == changed else 1}/24",))
        for index in range(count)
    )
    return MachineConfigSpec(main=MainDocument(machine=Machine(network=Network(interfaces=entries))))


async def test_one_changed_address_among_many_writes_only_that_one() -> None:
    async with house({}) as node:
        await configure(node, many(500))
        writes = {name: runner.status().writes for name, runner in node.engine.runners.items()}
        await configure(node, many(500))
        assert {name: runner.status().writes for name, runner in node.engine.runners.items()} == writes
        await configure(node, many(500, changed=250))
        after = {name: runner.status().writes for name, runner in node.engine.runners.items()}
        different = {name: after[name] - writes[name] for name in after if after[name] != writes[name]}
        # The old address is torn down and destroyed, the new one is written.
        assert different == {"network.DeviceConfigController": 1, "network.AddressConfigController": 3}


async def test_a_link_that_nothing_refers_to_causes_no_write() -> None:
    async with house({"eth0": nic(2)}) as node:
        await configure(node, devices("{interface: eth0, addresses: [10.0.0.5/24]}\n{deviceSelector: {driver: e1000}}"))
        writes = {name: runner.status().writes for name, runner in node.engine.runners.items()}
        await see(node, "veth1", LinkStatusSpec(index=9, kind="veth"))
        await see(node, "eth0", nic(2, mtu=9000))
        assert {name: runner.status().writes for name, runner in node.engine.runners.items()} == writes


async def test_bad_rules_from_elsewhere_do_not_stop_the_others() -> None:
    # What a configuration file cannot say, for it is checked, a resource can.
    rule = RoutingRuleConfig(name="1000", src="10.0.0.0/8", table="main")
    vrf = VRFConfig(name="blue", table="10")
    bad = (attrs.evolve(rule, name="1001", src="x"), attrs.evolve(rule, name="1002", dst="fd00::/8"))
    documents = (rule, *bad, vrf, attrs.evolve(vrf, name="red", table="many"))
    async with house({}) as node:
        await configure(node, MachineConfigSpec(documents=documents))
        assert list(unmerged(node, RoutingRuleSpec)) == ["configuration/inet4/01000"]
        assert list(unmerged(node, LinkSpec)) == ["configuration/blue"]
        assert list(problems(node)) == [
            "LinkSpecs/configuration/red",
            "RoutingRuleSpecs/configuration/1001",
            "RoutingRuleSpecs/configuration/1002",
        ]


async def test_an_entry_of_another_owner_is_left() -> None:
    async with house({}) as node:
        spec = DeviceConfigSpecSpec(device=Device(interface="eth9", addresses=("10.9.0.1/24",)))
        await node.state.create(DeviceConfigSpec.new(device_config_id("eth9", 0), spec, namespace=NAMESPACE))
        await node.settled()
        assert list(unmerged(node, AddressSpec)) == ["configuration/eth9/10.9.0.1/24"]
        assert not node.state.list(NetworkProblem)


SELECTORS = """
{deviceSelector: {hardwareAddr: "52:54:00:00:00:01"}}
{deviceSelector: {hardwareAddr: "52:54:00:00:00:0*"}}
{deviceSelector: {driver: e1000}}
{deviceSelector: {physical: true, busPath: "0000:00:02.0"}}
{interface: bond0, bond: {mode: active-backup, miimon: 100, deviceSelectors: [{hardwareAddr: "52:54:00:00:00:*"}]}}
"""


@pytest.mark.parametrize("seed", range(8))
async def test_the_selected_links_do_not_depend_on_earlier_states(seed: int) -> None:
    chance = random.Random(seed)
    machine = devices(SELECTORS)
    async with house({}) as node:
        await configure(node, machine)
        for _ in range(25):
            index = chance.randrange(2, 6)
            name = f"eth{index}"
            if chance.random() < 0.3:
                if node.state.find(LinkStatus, name) is not None:
                    await node.destroy(LinkStatus, name)
            else:
                await node.put(LinkStatus, name, some_link(index, chance))
            await node.settled()
            links = SelectableLinks({each.id: each.spec for each in node.state.list(LinkStatus)})
            entries = enumerate(machine.machine.network.interfaces)
            expected = [resolve_device(index, device, links) for index, device in entries]
            found = {each.id: each.spec for each in node.state.list(DeviceConfigSpec)}
            assert found == {id: spec for asked in expected for id, spec in asked.outputs}
            wrong = {id: text for asked in expected for id, text in (*asked.problems, *asked.warnings)}
            assert problems(node) == {f"DeviceConfigSpecs/{id}": text for id, text in wrong.items()}


def test_ignore_applies_to_all_links_that_a_selector_matches() -> None:
    (device,) = devices("{deviceSelector: {driver: e1000}, ignore: true}").machine.network.interfaces
    links = {f"eth{n}": nic(n, driver="e1000") for n in (2, 3)} | {"eth4": nic(4)}
    found = resolve_device(0, device, SelectableLinks(links))
    assert [(spec.device.interface, spec.device.ignore) for _, spec in found.outputs] == [
        ("eth2", True),
        ("eth3", True),
    ]
    assert (found.problems, found.warnings) == ((), ())
    # A selector that is to be configured still has to match one link, and one that matches none is reported.
    (configured,) = devices("{deviceSelector: {driver: e1000}, mtu: 1400}").machine.network.interfaces
    assert resolve_device(0, configured, SelectableLinks(links)).problems
    assert resolve_device(0, device, SelectableLinks({"eth4": nic(4)})).warnings


def some_link(index: int, chance: random.Random) -> LinkStatusSpec:
    """A NIC or something that rests on one, alike others in something."""
    mac = f"52:54:00:00:00:{chance.choice((1, 2, 17)):02x}"
    facts: dict[str, Any] = {"driver": chance.choice(("virtio_net", "e1000")), "master_index": chance.choice((0, 0, 3))}
    if chance.random() < 0.3:
        facts |= {"kind": "vlan", "link_index": chance.randrange(2, 6)}
    return nic(index, mac, **facts)


def test_the_defaults_are_enabled_in_a_document() -> None:
    text = "{apiVersion: nodespan.dev/v1alpha1, kind: NodespanConfig, defaults: {dhcp: true, timeServers: true}}"
    assert config(text).nodespan.defaults == DefaultsSettings(dhcp=True, time_servers=True)
