"""Asking the neighbours of a link whether one of them has an IPv4 address, before it is used."""

from ipaddress import IPv4Address

import trio

from controllers.network.kernel.arp import ArpSocket

# A neighbour answers within milliseconds. RFC 5227 gives it seconds, but a node waits for its network.
PROBES = 3
INTERVAL = 0.15


async def is_in_use(address: str, link_name: str, hardware_addr: str, netns: str | None) -> bool:
    """Whether another machine on the link has the address; takes about half a second. Raises OSError.

    On links without MAC addresses nobody can be asked, and nobody is said to have it.
    """
    wanted, hardware_address = IPv4Address(address).packed, bytes.fromhex(hardware_addr.replace(":", ""))
    if len(hardware_address) != 6:
        return False
    with ArpSocket(link_name, hardware_address, netns) as arp:
        for _ in range(PROBES):
            arp.ask(wanted)
            with trio.move_on_after(INTERVAL):
                while arp.hear(wanted) is None:
                    await trio.lowlevel.wait_readable(arp)
                return True
    return False
