"""How a direct path to a peer is tried in the kernel: probes through the tunnel, and packets past it."""

from functools import cached_property
from typing import TYPE_CHECKING

from nodespan.controllers.kubespan.data_path import FIREWALL_MARK
from nodespan.controllers.kubespan.device import WireguardDevice
from nodespan.kernel.wireguard.device import parse_endpoint

if TYPE_CHECKING:
    from nodespan.kernel.packets.raw_datagrams import RawDatagrams


class KernelTrials:
    """Needs CAP_NET_ADMIN and CAP_NET_RAW from the first use on; without them `probe` raises PermissionError."""

    def __init__(self, device: WireguardDevice) -> None:
        self._device = device

    @cached_property
    def _datagrams(self) -> "RawDatagrams":
        # Only a node with a relay sends any.
        from nodespan.kernel.packets.raw_datagrams import RawDatagrams

        return RawDatagrams(FIREWALL_MARK)

    def probe(self, address: str) -> None:
        """Have WireGuard send the peer with this address of the mesh something small that is answered."""
        self._device.probe([address])

    def send(self, packet: bytes, port: int, endpoint: str) -> bool:
        """Send a packet of WireGuard to an endpoint from WireGuard's own port; whether that could be done."""
        try:
            self._datagrams.send(packet, port, parse_endpoint(endpoint))
        except OSError:
            return False  # there is no route to it: it goes over the relay
        return True

    async def is_tunnelled(self, endpoint: str) -> bool:
        """Whether the tunnel's own packets to this endpoint would be routed into the tunnel."""
        return await self._device.is_tunnelled(endpoint)

    def close(self) -> None:
        """Close what was opened; it is opened again on use."""
        self._device.close()
        if "_datagrams" in vars(self):
            self._datagrams.close()
            del self._datagrams
