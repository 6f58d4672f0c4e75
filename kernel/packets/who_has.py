"""Probes the neighbours of a link for the owner of an address, before the address is used."""

import trio

from nodespan.kernel.packets.announcement import NeighbourSocket, open_neighbours
from nodespan.kernel.prefixes import parse_address

# A neighbour answers within milliseconds. The seconds that the RFCs allow are for much slower links.
QUESTIONS = 3
INTERVAL = 0.1
UNKNOWN = "an unknown MAC address"


async def who_has(address: str, link_name: str, hardware_addr: str, netns: str | None) -> str | None:
    """The MAC address of another machine on the link that owns the address, None if there is none.

    Takes about 0.3 seconds without an answer. Links without MAC addresses are not probed. Raises OSError.
    """
    neighbours = open_neighbours(address, link_name, hardware_addr, netns)
    if neighbours is None:
        return None
    packed = parse_address(address).packed
    with neighbours:
        for _ in range(QUESTIONS):
            neighbours.probe(packed)
            with trio.move_on_after(INTERVAL):
                owner = await _answer(neighbours, packed)
                return owner.hex(":") or UNKNOWN
    return None


async def _answer(neighbours: NeighbourSocket, packed: bytes) -> bytes:
    while True:
        await trio.lowlevel.wait_readable(neighbours)
        owner = neighbours.receive_claim(packed)
        if owner is not None:
            return owner
