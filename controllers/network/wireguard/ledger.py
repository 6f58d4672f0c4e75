"""Which peers to tell a WireGuard device of, and what the device was told already.

A device is read as a whole when it is new, and every now and then; in between, a changed peer is compared with what the
device was told of it last. The endpoint is the exception to "the device is the truth", for it moves with the peer: it
is told when the desired one changes, and not again because the device shows another one later.

A device may know peers that nothing desires (yet): after a restart of the agent, controllers learn of their peers one
after the other. Those that were never told here are removed only when the caller says that this has lasted long enough.
"""

from collections.abc import Collection, Mapping

import attrs

from nodespan.kernel.wireguard.device import DeviceChange, DeviceState, PeerConfig, wireguard_peer_equal


class PeerLedger:
    """What one device was told of its peers: by public key, each peer as it was desired then."""

    def __init__(self) -> None:
        self._told: dict[str, PeerConfig] = {}

    def copy(self) -> "PeerLedger":
        """The same, apart: for a worker thread."""
        twin = PeerLedger()
        twin._told = dict(self._told)
        return twin

    def changes(self, desired: Mapping[str, PeerConfig | None], spared: Collection[str] = ()) -> DeviceChange:
        """What to tell the device so that these peers are as desired, None being not at all. Others do not matter.

        Those that are `spared` are not removed: the device had them before the agent.
        """
        changed: list[PeerConfig] = []
        removed: list[str] = []
        for key, peer in desired.items():
            told = self._told.get(key)
            if peer is None:
                removed += [key] if told is not None and key not in spared else []
            elif told is None:
                changed.append(peer)
            elif not wireguard_peer_equal(told, peer):
                changed.append(self._without_known_endpoint(peer))
        return DeviceChange(peers=tuple(changed), removed=tuple(removed))

    def differences(
        self,
        desired: Mapping[str, PeerConfig],
        device: DeviceState,
        *,
        remove_others: bool,
        spared: Collection[str] = (),
    ) -> DeviceChange:
        """What to tell the device, which is as was read just now, so that it has the desired peers; as in `changes`."""
        changed: list[PeerConfig] = []
        for key, peer in desired.items():
            seen = device.peers.get(key)
            if seen is not None and seen.config.endpoint:
                peer = self._without_known_endpoint(peer)
            if seen is None or not wireguard_peer_equal(seen.config, peer):
                changed.append(peer)
        surplus = [key for key in device.peers if key not in desired and key not in spared]
        removed = [key for key in surplus if remove_others or key in self._told]
        return DeviceChange(peers=tuple(changed), removed=tuple(removed))

    def note_all(self, desired: Mapping[str, PeerConfig]) -> None:
        """The device has these peers, and no other that was told here."""
        self._told = dict(desired)

    def note(self, desired: Mapping[str, PeerConfig | None]) -> None:
        """The device was told all of this."""
        for key, peer in desired.items():
            if peer is None:
                self._told.pop(key, None)
            else:
                self._told[key] = peer

    def _without_known_endpoint(self, peer: PeerConfig) -> PeerConfig:
        told = self._told.get(peer.public_key)
        known = told is not None and told.endpoint == peer.endpoint
        return attrs.evolve(peer, endpoint="") if known else peer
