"""Which end of a new tunnel begins the first handshake.

Both ends learn of each other at about the same time, and a persistent keepalive makes a device begin a handshake as
soon as it has the peer. Two initiations that cross are both in vain: each end answers as a responder and refuses the
other's answer, and tries again after 5 s (REKEY_TIMEOUT). In wireguard-go the two may even race inside of one device,
which is then left with a session whose answers it cannot receive until it notices, 15 s after it has sent data.

So a new peer has no keepalive at first. The end with the smaller public key begins as soon as the other can be expected
to know it too: an initiation that comes before is refused, and a NAT may be in front of those who could send the next.
The end with the greater key begins half a second later, if it was not greeted until then.
"""

from collections.abc import Collection, Mapping

import attrs

from nodespan.kernel.wireguard.device import DeviceState, PeerConfig

# In seconds. Two nodes learn of each other within as much, which is short beside the 5 s of a retry.
ACQUAINTANCE = 0.25
HEAD_START = 0.5


def silence_at_first(own_key: str, peer: PeerConfig) -> float:
    """For how many seconds a device with this public key ("" if unknown) has a new peer without its keepalive."""
    if not (peer.persistent_keepalive and own_key):
        return 0.0
    return ACQUAINTANCE + (HEAD_START if own_key > peer.public_key else 0.0)


def without_keepalive(peer: PeerConfig) -> PeerConfig:
    """The peer as it is sent at first."""
    return attrs.evolve(peer, persistent_keepalive=0)


def held_back(held: Collection[str], device: DeviceState) -> frozenset[str]:
    """Those of the peers that the device does not keep alive already, as it does after a restart of the agent."""
    seen = ((key, device.peers.get(key)) for key in held)
    return frozenset(key for key, peer in seen if peer is None or not peer.config.persistent_keepalive)


def with_held_back(peers: Mapping[str, PeerConfig], held: Collection[str]) -> dict[str, PeerConfig]:
    """The peers, with those that are held back as they are sent now."""
    return {key: without_keepalive(peer) if key in held else peer for key, peer in peers.items()}
