"""Opens the sockets that servers listen at."""

from ipaddress import ip_address

import trio


async def open_at(host: str, port: int) -> list[trio.SocketListener]:
    """Listen at a host. The unspecified address of IPv6, and "", stand for all addresses, of IPv4 too.

    Port 0 is any free one, the same for both families. Raises OSError.
    """
    if host and not _is_every(host):
        return await trio.open_tcp_listeners(port, host=host)
    # One socket for each family that the machine has.
    listeners = await trio.open_tcp_listeners(port, host=None)
    if port or len(listeners) == 1:
        return listeners
    # Each has got a port of its own.
    chosen: int = listeners[0].socket.getsockname()[1]
    for listener in listeners:
        listener.socket.close()
    return await trio.open_tcp_listeners(chosen, host=None)


def _is_every(host: str) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return address.version == 6 and address.is_unspecified
