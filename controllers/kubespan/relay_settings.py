"""What relaying is given: the settings, and how a direct path is tried."""

from typing import Protocol

import attrs


class Trials(Protocol):
    """How a direct path to a peer is tried. None of it waits, except where it is async."""

    def probe(self, address: str) -> None:
        """Have WireGuard send the peer with this address of the mesh something small that is answered."""
        ...

    def send(self, packet: bytes, port: int, endpoint: str) -> bool:
        """Send a packet of WireGuard to an endpoint from WireGuard's own port; whether that could be done."""
        ...

    async def is_tunnelled(self, endpoint: str) -> bool:
        """Whether the tunnel's own packets to this endpoint would be routed into the tunnel."""
        ...

    def close(self) -> None:
        """Close what was opened."""
        ...


@attrs.frozen
class RelaySettings:
    """Which relays, and who this node is."""

    relays: tuple[str, ...]
    cluster_id: str
    public_key: str
    private_key: bytes = attrs.field(repr=False)
    # WireGuard's own.
    port: int
