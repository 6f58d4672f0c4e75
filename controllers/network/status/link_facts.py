"""What is known of a link beside the kernel's own message: from its driver, its bus and its WireGuard device.

The rule of precedence: the bus wins, the driver fills what it leaves empty. This is what gives a virtio NIC a bus path
while its PCI id stays empty, and a bond a driver.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import attrs

from nodespan.kernel.hardware import pci, sysfs
from nodespan.kernel.hardware.ethtool import DriverFacts, open_ethtool
from nodespan.kernel.hardware.sysfs import DeviceFacts
from nodespan.kernel.links import KernelLink
from nodespan.kernel.wireguard import read_wireguard
from nodespan.resources.network import LinkStatusSpec, WireguardStatus


@attrs.frozen(kw_only=True)
class LinkFacts:
    """Everything about one link that is not in the kernel's message."""

    driver: DriverFacts = attrs.field(factory=DriverFacts)
    device: DeviceFacts = attrs.field(factory=DeviceFacts)
    vendor_id: str = ""
    product_id: str = ""
    vendor: str = ""
    product: str = ""
    wireguard: WireguardStatus | None = None


def bus_path(driver: DriverFacts, device: DeviceFacts) -> str:
    """Where on which bus the device sits."""
    return device.bus_path or driver.bus_info


def complete(status: LinkStatusSpec, facts: LinkFacts) -> LinkStatusSpec:
    """The status with the facts filled in. A driver that does not know its link state leaves the kernel's carrier."""
    driver, device = facts.driver, facts.device
    return attrs.evolve(
        status,
        permanent_addr=driver.permanent_addr or status.permanent_addr,
        bus_path=bus_path(driver, device),
        pci_id=device.pci_id,
        driver=device.driver or driver.driver,
        driver_version=driver.driver_version,
        firmware_version=driver.firmware_version,
        product_id=facts.product_id,
        vendor_id=facts.vendor_id,
        product=facts.product,
        vendor=facts.vendor,
        link_state=status.link_state if driver.link_state is None else driver.link_state,
        speed_mbit=driver.speed_mbit,
        port=driver.port,
        duplex=driver.duplex,
        wireguard=facts.wireguard,
    )


def with_true_endpoints(device: WireguardStatus | None, relayed: Mapping[str, str]) -> WireguardStatus | None:
    """A device whose peers over a relay have the endpoints that their local addresses stand for."""
    if device is None or not any(peer.endpoint in relayed for peer in device.peers):
        return device
    peers = (attrs.evolve(peer, endpoint=relayed.get(peer.endpoint, peer.endpoint)) for peer in device.peers)
    return attrs.evolve(device, peers=tuple(peers))


def read_facts(links: Iterable[KernelLink], *, netns: str | None, sysfs_root: Path) -> Mapping[int, LinkFacts]:
    """The facts of these links by index. Blocks: for a worker thread."""
    found: dict[int, LinkFacts] = {}
    with open_ethtool(netns) as ethtool:
        for link in links:
            driver = ethtool.read(link.name)
            device = sysfs.read_device(link.name, link.status.index, sysfs_root)
            vendor_id, product_id = sysfs.read_pci_ids(bus_path(driver, device), sysfs_root)
            vendor, product = pci.names(vendor_id, product_id)
            found[link.status.index] = LinkFacts(
                driver=driver,
                device=device,
                vendor_id=vendor_id,
                product_id=product_id,
                vendor=vendor,
                product=product,
                wireguard=read_wireguard(link.name, link.status.kind, netns),
            )
    return found
