"""Which peers to send to a WireGuard device, and what was sent to it already.

A device is read as a whole when it is new, and at each full comparison; in between, a changed peer is compared with
what was sent last. The endpoint is the exception to "the device is the truth", for it moves with the peer: it is sent
when the desired one changes, and not again because the device shows another one later. The peer is greeted at an
endpoint that it gets instead of another: a device does not send to it of itself, so what the peer sends from where it
was would take the device back there before it has a reason to answer from elsewhere.

A device may know peers that nothing desires (yet): after a restart of the agent, controllers learn of their peers one
after the other. Those that were never sent here are removed only when the caller says that this has lasted long enough.
"""

from collections.abc import Collection, Mapping

import attrs

from nodespan.controllers.network.wireguard.first_word import without_keepalive
from nodespan.kernel.wireguard.device import DeviceChange, DeviceState, PeerConfig, wireguard_peer_equal


class PeerLedger:
    """The peers that were sent to one device: by public key, each as it was desired then."""

    def __init__(self) -> None:
        self._sent: dict[str, PeerConfig] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._sent

    def copy(self) -> "PeerLedger":
        """The same, apart: for a worker thread."""
        twin = PeerLedger()
        twin._sent = dict(self._sent)
        return twin

    def changes(self, desired: Mapping[str, PeerConfig | None], spared: Collection[str] = ()) -> DeviceChange:
        """What to send so that the device has these peers as desired, None being not at all. Others do not matter.

        Those that are `spared` are not removed: the device had them before the agent.
        """
        changed: list[PeerConfig] = []
        removed: list[str] = []
        for key, peer in desired.items():
            sent = self._sent.get(key)
            if peer is None:
                removed += [key] if sent is not None and key not in spared else []
            elif sent is None:
                changed.append(peer)
            elif not wireguard_peer_equal(sent, peer):
                peer = self._without_known_endpoint(peer)
                # A device that is told to keep a peer alive, and did not, begins at once.
                is_greeted = peer.endpoint and sent.persistent_keepalive and peer.persistent_keepalive
                changed += [without_keepalive(peer), peer] if is_greeted else [peer]
        return DeviceChange(peers=tuple(changed), removed=tuple(removed))

    def differences(
        self,
        desired: Mapping[str, PeerConfig],
        device: DeviceState,
        *,
        remove_others: bool,
        spared: Collection[str] = (),
    ) -> DeviceChange:
        """As `changes`, for a device that was just read as a whole."""
        changed: list[PeerConfig] = []
        for key, peer in desired.items():
            seen = device.peers.get(key)
            if seen is not None and seen.config.endpoint:
                peer = self._without_known_endpoint(peer)
            if seen is None or not wireguard_peer_equal(seen.config, peer):
                changed.append(peer)
        surplus = [key for key in device.peers if key not in desired and key not in spared]
        removed = [key for key in surplus if remove_others or key in self._sent]
        return DeviceChange(peers=tuple(changed), removed=tuple(removed))

    def note_all(self, desired: Mapping[str, PeerConfig]) -> None:
        """The device has these peers, and no other that was sent here."""
        self._sent = dict(desired)

    def note(self, desired: Mapping[str, PeerConfig | None]) -> None:
        """All of this was sent to the device."""
        for key, peer in desired.items():
            if peer is None:
                self._sent.pop(key, None)
            else:
                self._sent[key] = peer

    def _without_known_endpoint(self, peer: PeerConfig) -> PeerConfig:
        sent = self._sent.get(peer.public_key)
        known = sent is not None and sent.endpoint == peer.endpoint
        return attrs.evolve(peer, endpoint="") if known else peer
