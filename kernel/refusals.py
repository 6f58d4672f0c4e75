"""What a refusal of the kernel means, where it gives a bare number instead of words."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_interface

from nodespan.kernel.links import read_link
from nodespan.kernel.rtnetlink import RtnlSocket
from nodespan.resources.network.link import IPV6_MINIMUM_MTU

# Errors that callers look at, and that need no further explanation.
_CLEAR = frozenset({errno.EPERM, errno.EEXIST, errno.ENOENT, errno.ESRCH, errno.EOPNOTSUPP})


@contextmanager
def explained(explain: Callable[[int], str]) -> Iterator[None]:
    """Give an OSError without words of the kernel's own the text that `explain` makes of its number.

    The number stays. `explain` is called only where there is something to explain; it may ask the kernel, and raise
    OSError, which counts as nothing to say.
    """
    try:
        yield
    except OSError as error:
        number = error.errno
        if number is None or number in _CLEAR or error.strerror != os.strerror(number):
            raise
        try:
            text = explain(number)
        except OSError:
            raise error from None
        raise OSError(number, text) from error


def name_and_mtu(kernel: RtnlSocket, index: int) -> tuple[str, int]:
    """Of a link, as it is now; "the link" and 0 if it has gone. Blocks, raises OSError."""
    message = kernel.link(index)
    if message is None:
        return "the link", 0
    link = read_link(message)
    return link.name, link.status.mtu


def address_refusal(number: int, address: str, link: str, mtu: int) -> str:
    """Why an address, with its prefix length, is refused on a link. `mtu` is the link's, 0 if it has gone."""
    interface = ip_interface(address)
    if interface.ip.is_multicast:
        return f"{address} is a multicast address, which no link can have"
    if interface.ip.is_unspecified:
        return f"{address} stands for no address, so no link can have it"
    if interface.version == 6 and 0 < mtu < IPV6_MINIMUM_MTU:
        return _mtu_too_small(link, mtu)
    if number == errno.EACCES and interface.version == 6:
        return f"IPv6 is turned off on {link}: see net.ipv6.conf.{link}.disable_ipv6"
    return f"the kernel refuses {address} on {link}: {os.strerror(number)}"


def route_refusal(number: int, destination: str, *, is_ipv6: bool, link: str, mtu: int) -> str:
    """Why a route is refused. `link` is the one it names, "" for none; `mtu` is that link's."""
    if is_ipv6 and 0 < mtu < IPV6_MINIMUM_MTU:
        return _mtu_too_small(link, mtu)
    where = f" over {link}" if link else ""
    if number == errno.ENETUNREACH:
        return f"the gateway of the route to {destination}{where} is on no network of this machine"
    return f"the kernel refuses the route to {destination}{where}: {os.strerror(number)}"


def link_refusal(number: int, what: str, *, hardware_addr: str = "", mtu: int = 0, shared: str = "") -> str:
    """Why a link is not made or changed; `what` is that in words, the others are what it was to get.

    `shared` is the link that it was to be made on, if that can be used in one way only.
    """
    if number == errno.EADDRNOTAVAIL and hardware_addr:
        return f"{hardware_addr} is a multicast or all-zero address, which no link can have"
    if number == errno.ERANGE and mtu:
        return f"an MTU of {mtu} is more than the link below has"
    if number == errno.ENETDOWN:
        return f"{what}: the link below it is down"
    if number == errno.EBUSY and shared:
        return f"{what}: {shared} is a member of a bond or bridge, or has links of another kind that take its packets"
    if number == errno.EBUSY:
        return f"{what}: the kernel does this only while the link is down"
    return f"{what}: {os.strerror(number)}"


def wireguard_refusal(number: int, link: str, *, listen_port: int) -> str:
    """Why a WireGuard device does not take its settings."""
    if number == errno.EADDRINUSE and listen_port:
        return f"{link} cannot listen on UDP port {listen_port}: it is in use, see `ss -ulpn`"
    return f"{link} does not take its WireGuard settings: {os.strerror(number)}"


def _mtu_too_small(link: str, mtu: int) -> str:
    return f"IPv6 needs an MTU of {IPV6_MINIMUM_MTU}, {link} has {mtu}"
