"""The specs of network cards that the documents request."""

from nodespan.controllers.network.config.ethernet_config import EthernetConfigController
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig, MachineConfigSpec
from nodespan.resources.network import EthernetChannels, EthernetRings, EthernetSpec, EthernetSpecSpec, WOLMode
from nodespan.runtime.testing.kit import running
from tests.controllers.network.config.house import config

ONE = "apiVersion: v1alpha1\nkind: EthernetConfig\nname: enp0s1\nchannels: {rx: 4}\n"
TWO = (
    "---\napiVersion: v1alpha1\nkind: EthernetConfig\nname: enp0s2\n"
    "features: {tx-checksum-ipv4: true}\nrings: {rx: 16, tcp-data-split: false}\nwakeOnLan: [magic, phy]\n"
)


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
