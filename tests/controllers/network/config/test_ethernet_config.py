"""The specs of network cards that the documents request."""

import pytest

from nodespan.controllers.network.config.ethernet_config import EthernetConfigController
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig, MachineConfigSpec
from nodespan.resources.network import (
    EthernetChannels,
    EthernetRings,
    EthernetSpec,
    EthernetSpecSpec,
    LinkStatus,
    WOLMode,
)
from nodespan.runtime.testing.kit import running
from tests.controllers.network.config.house import LOOPBACK, config, nic

ONE = "apiVersion: v1alpha1\nkind: EthernetConfig\nname: enp0s1\nchannels: {rx: 4}\n"
TWO = (
    "---\napiVersion: v1alpha1\nkind: EthernetConfig\nname: enp0s2\n"
    "features: {tx-checksum-ipv4: true}\nrings: {rx: 16, tcp-data-split: false}\nwakeOnLan: [magic, phy]\n"
)
INTERFACES = "---\nmachine: {{type: worker, network: {{interfaces: [{}]}}}}\n"


async def test_each_document_is_a_spec_as_long_as_it_is_there() -> None:
    async with running(EthernetConfigController()) as node:
        await node.put(MachineConfig, MACHINE_CONFIG_ID, config(ONE))
        first = await node.eventually(EthernetSpec, "enp0s1")
        assert first.spec == EthernetSpecSpec(channels=EthernetChannels(rx=4))
        await node.put(MachineConfig, MACHINE_CONFIG_ID, config(ONE + TWO))
        second = await node.eventually(EthernetSpec, "enp0s2")
        assert second.spec == EthernetSpecSpec(
            features={"tx-checksum-ipv4": True},
            rings=EthernetRings(rx=16, tcp_data_split=False),
            wake_on_lan=(WOLMode.MAGIC, WOLMode.PHY),
        )
        assert node.state.get(EthernetSpec, "enp0s1").metadata.version == 1
        await node.put(MachineConfig, MACHINE_CONFIG_ID, MachineConfigSpec())
        await node.gone(EthernetSpec, "enp0s1")
        await node.gone(EthernetSpec, "enp0s2")


async def test_a_document_with_a_name_alone_asks_for_nothing() -> None:
    async with running(EthernetConfigController()) as node:
        await node.put(
            MachineConfig,
            MACHINE_CONFIG_ID,
            config("apiVersion: v1alpha1\nkind: EthernetConfig\nname: a\nwakeOnLan: []"),
        )
        spec = await node.eventually(EthernetSpec, "a")
        assert spec.spec == EthernetSpecSpec(wake_on_lan=())
        assert EthernetSpecSpec(wake_on_lan=()) != EthernetSpecSpec()


@pytest.mark.parametrize(
    ("entry", "left"),
    [
        ("{interface: enp0s1, ignore: true}", ["enp0s2"]),
        ("{interface: lan, ignore: true}", ["enp0s1"]),
        ("{deviceSelector: {hardwareAddr: '02:00:00:00:00:*'}, ignore: true}", []),
        ("{interface: enp0s1, mtu: 1400}", ["enp0s1", "enp0s2"]),
        ("{interface: enp0s3, ignore: true}", ["enp0s1", "enp0s2"]),
    ],
)
async def test_links_to_be_left_alone_are(entry: str, left: list[str]) -> None:
    async with running(EthernetConfigController()) as node:
        await node.put(LinkStatus, "enp0s1", nic(2, "02:00:00:00:00:01"))
        await node.put(LinkStatus, "enp0s7", nic(3, "02:00:00:00:00:02", alt_names=("enp0s2", "lan")))
        await node.put(MachineConfig, MACHINE_CONFIG_ID, config(ONE + TWO + INTERFACES.format(entry)))
        await node.put(LinkStatus, "lo", LOOPBACK)
        await node.settled()
        assert [spec.id for spec in node.state.list(EthernetSpec)] == left
        await node.put(MachineConfig, MACHINE_CONFIG_ID, config(ONE + TWO))
        await node.settled()
        assert [spec.id for spec in node.state.list(EthernetSpec)] == ["enp0s1", "enp0s2"]


async def test_nothing_is_asked_for_before_the_names_of_ignored_links_are_known() -> None:
    async with running(EthernetConfigController()) as node:
        text = ONE + TWO + INTERFACES.format("{interface: lan, ignore: true}")
        await node.put(MachineConfig, MACHINE_CONFIG_ID, config(text))
        await node.put(LinkStatus, "enp0s1", nic(2))
        await node.settled()
        assert not node.state.list(EthernetSpec)
        await node.put(LinkStatus, "enp0s2", nic(3, alias="lan"))
        await node.put(LinkStatus, "lo", LOOPBACK)
        await node.eventually(EthernetSpec, "enp0s1")
        assert [spec.id for spec in node.state.list(EthernetSpec)] == ["enp0s1"]
