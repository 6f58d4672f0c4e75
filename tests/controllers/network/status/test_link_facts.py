"""What drivers and buses say of links."""

from pathlib import Path

import pytest

from nodespan.controllers.network.status.link_facts import LinkFacts, complete, with_true_endpoints
from nodespan.kernel.hardware import pci, sysfs
from nodespan.kernel.hardware.ethtool import DriverFacts, open_ethtool
from nodespan.kernel.hardware.sysfs import DeviceFacts
from nodespan.resources.network import LinkStatusSpec, WireguardPeerStatus, WireguardStatus
from nodespan.resources.network.enums import Duplex, Port


@pytest.mark.parametrize(
    ("driver", "device", "bus_path", "name"),
    [
        (
            DriverFacts(driver="virtio_net", bus_info="0000:00:03.0"),
            DeviceFacts(driver="virtio_net"),
            "0000:00:03.0",
            "virtio_net",
        ),
        (
            DriverFacts(driver="e1000", bus_info="elsewhere"),
            DeviceFacts(driver="e1000e", pci_id="8086:10D3", bus_path="0000:00:14.0"),
            "0000:00:14.0",
            "e1000e",
        ),
        (DriverFacts(driver="bonding"), DeviceFacts(), "", "bonding"),
        (
            DriverFacts(driver="cdc_ether", bus_info="usb-0000:00:14.0-1"),
            DeviceFacts(driver="cdc_ether"),
            "usb-0000:00:14.0-1",
            "cdc_ether",
        ),
    ],
)
def test_the_bus_wins_and_the_driver_fills_in(
    driver: DriverFacts, device: DeviceFacts, bus_path: str, name: str
) -> None:
    status = complete(LinkStatusSpec(), LinkFacts(driver=driver, device=device))
    assert (status.bus_path, status.driver, status.pci_id) == (bus_path, name, device.pci_id)


@pytest.mark.parametrize(("said", "shown"), [(None, True), (True, True), (False, False)])
def test_a_driver_without_an_opinion_leaves_the_carrier(said: bool | None, shown: bool) -> None:
    facts = LinkFacts(driver=DriverFacts(link_state=said))
    assert complete(LinkStatusSpec(link_state=True), facts).link_state is shown


def test_everything_else_is_taken_over() -> None:
    facts = LinkFacts(
        driver=DriverFacts(
            driver_version="6.8.0",
            firmware_version="0x800003df",
            permanent_addr="00:50:56:8e:8f:e4",
            speed_mbit=10000,
            port=Port.TWISTED_PAIR,
            duplex=Duplex.FULL,
        ),
        vendor_id="0x8086",
        product_id="0x10fb",
        vendor="Intel Corporation",
        product="82599ES",
        wireguard=WireguardStatus(listen_port=1),
    )
    assert complete(LinkStatusSpec(index=2), facts) == LinkStatusSpec(
        index=2,
        driver_version="6.8.0",
        firmware_version="0x800003df",
        permanent_addr="00:50:56:8e:8f:e4",
        speed_mbit=10000,
        port=Port.TWISTED_PAIR,
        duplex=Duplex.FULL,
        vendor_id="0x8086",
        product_id="0x10fb",
        vendor="Intel Corporation",
        product="82599ES",
        wireguard=WireguardStatus(listen_port=1),
    )


def test_a_link_that_is_not_there_has_no_driver() -> None:
    with open_ethtool(None) as ethtool:
        assert ethtool.read("no-such-link") == DriverFacts()


def sysfs_with(root: Path, uevent: str | None) -> Path:
    link = root / "class" / "net" / "eth0"
    link.mkdir(parents=True)
    (link / "ifindex").write_text("2\n")
    if uevent is not None:
        (link / "device").mkdir()
        (link / "device" / "uevent").write_text(uevent)
    return root


@pytest.mark.parametrize(
    ("uevent", "facts"),
    [
        (
            "DRIVER=e1000e\nPCI_CLASS=20000\nPCI_ID=8086:10D3\nPCI_SLOT_NAME=0000:00:14.0\n",
            DeviceFacts(driver="e1000e", pci_id="8086:10D3", bus_path="0000:00:14.0"),
        ),
        ("DRIVER=virtio_net\nMODALIAS=virtio:d00000001v00001AF4\n", DeviceFacts(driver="virtio_net")),
        (None, DeviceFacts()),
    ],
    ids=["PCI", "virtio", "no device"],
)
def test_the_device_is_read_from_sysfs(tmp_path: Path, uevent: str | None, facts: DeviceFacts) -> None:
    assert sysfs.read_device("eth0", 2, sysfs_with(tmp_path, uevent)) == facts


def test_a_link_of_another_namespace_with_the_same_name_is_not_believed(tmp_path: Path) -> None:
    assert sysfs.read_device("eth0", 3, sysfs_with(tmp_path, "DRIVER=e1000e\n")) == DeviceFacts()


@pytest.mark.parametrize(
    ("bus_path", "ids"),
    [
        ("0000:00:03.0", ("0x1af4", "0x1000")),
        ("0000:00:04.0", ("", "")),
        ("usb-0000:00:14.0-1", ("", "")),
        ("../../escape", ("", "")),
        ("", ("", "")),
    ],
)
def test_ids_are_those_of_the_pci_device(tmp_path: Path, bus_path: str, ids: tuple[str, str]) -> None:
    device = tmp_path / "bus" / "pci" / "devices" / "0000:00:03.0"
    device.mkdir(parents=True)
    (device / "vendor").write_text("0x1af4\n")
    (device / "device").write_text("0x1000\n")
    assert sysfs.read_pci_ids(bus_path, tmp_path) == ids


DATABASE = b"""# comment
10fb  Not The Product
8086  Intel Corporation
\t10fa  Something Else
\t10fb  82599ES 10-Gigabit SFI/SFP+ Network Connection
\t\t8086 0003  Ethernet Server Adapter X520-2
# in between
\t1100  After The Comment
8087  Other Vendor
\t1101  Not Intel's
C 02  Network controller"""


@pytest.mark.parametrize(
    ("vendor", "product", "names"),
    [
        ("0x8086", "0x10fb", ("Intel Corporation", "82599ES 10-Gigabit SFI/SFP+ Network Connection")),
        ("0x8086", "0x1100", ("Intel Corporation", "After The Comment")),
        ("0x8086", "0x1101", ("Intel Corporation", "")),
        ("0x8087", "0x1101", ("Other Vendor", "Not Intel's")),
        ("0x10fb", "0x0001", ("Not The Product", "")),
        ("0xffff", "0x10fb", ("", "")),
    ],
)
def test_names_are_found_in_the_database(vendor: str, product: str, names: tuple[str, str]) -> None:
    assert pci.find_names(DATABASE, vendor, product) == names


def test_without_a_database_there_are_no_names(tmp_path: Path) -> None:
    missing, present = tmp_path / "missing", tmp_path / "pci.ids"
    present.write_bytes(DATABASE)
    assert pci.names("0x8086", "0x10fa", (missing,)) == ("", "")
    assert pci.names("0x8086", "0x10fa", (missing, present)) == ("Intel Corporation", "Something Else")
    assert pci.names("", "", (present,)) == ("", "")


def test_a_peer_over_a_relay_is_shown_with_its_true_endpoint() -> None:
    peers = (
        WireguardPeerStatus(public_key="a", endpoint="127.0.0.1:40001"),
        WireguardPeerStatus(public_key="b", endpoint="192.0.2.1:51820"),
    )
    device = WireguardStatus(peers=peers)
    shown = with_true_endpoints(device, {"127.0.0.1:40001": "203.0.113.9:21007"})
    assert shown is not None
    assert [peer.endpoint for peer in shown.peers] == ["203.0.113.9:21007", "192.0.2.1:51820"]
    assert with_true_endpoints(device, {}) is device
    assert with_true_endpoints(None, {}) is None
