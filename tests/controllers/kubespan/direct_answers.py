"""A peer that answered directly and is down, of which nothing but the bytes sent changes until that is forgotten."""

from collections.abc import Callable
from typing import TypeVar

import attrs
import trio

from nodespan.controllers.kubespan.relay_claims import MEMORY
from nodespan.resources.kubespan import KubeSpanPeerStatus, KubeSpanPeerStatusSpec
from nodespan.runtime.testing.kit import Node

T = TypeVar("T")


async def found_while_down(
    node: Node, up: KubeSpanPeerStatusSpec, down: KubeSpanPeerStatusSpec, look: Callable[[], T]
) -> list[T]:
    """What `look` finds each half minute after the peer has answered and gone down.

    The last but one comes as it expires.
    """
    for status in (up, attrs.evolve(up, receive_bytes=1), down):
        await node.put(KubeSpanPeerStatus, "peer", status)
        await node.settled()
    found = []
    for sent in range(1, int(MEMORY / 30) + 2):
        await trio.sleep(30)
        await node.put(KubeSpanPeerStatus, "peer", attrs.evolve(down, transmit_bytes=sent))
        await node.settled()
        found.append(look())
    return found
