"""UDP datagrams from a port that another socket has, as WireGuard's: by raw sockets, which only send."""

import ipaddress
import socket
import struct

from nodespan.kernel.socket_filter import DROP, attach

_HEADER = struct.Struct("!HHHH")
# Where the checksum is in a header of UDP. IPv4 may do without.
_CHECKSUM_OFFSET = 6
# linux/in6.h, linux/socket.h
_IPV6_CHECKSUM = 7
_SO_MARK = 36


class RawDatagrams:
    """Sends with a firewall mark. Needs CAP_NET_RAW and CAP_NET_ADMIN; raises PermissionError without."""

    def __init__(self, mark: int) -> None:
        self._sockets: dict[int, socket.socket] = {}
        try:
            for family in (socket.AF_INET, socket.AF_INET6):
                self._open(family, mark)
        except BaseException:
            self.close()
            raise

    def _open(self, family: socket.AddressFamily, mark: int) -> None:
        try:
            opened = socket.socket(
                family, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, socket.IPPROTO_UDP
            )
        except PermissionError:
            raise
        except OSError:
            return  # the machine has no IPv6
        self._sockets[family] = opened
        # A raw socket would else be given a copy of all UDP.
        attach(opened, (DROP,))
        opened.setsockopt(socket.SOL_SOCKET, _SO_MARK, mark)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, _IPV6_CHECKSUM, _CHECKSUM_OFFSET)

    def send(self, data: bytes, source: int, to: tuple[str, int]) -> None:
        """Send a datagram from a port to an address; does not wait. Raises OSError, also where there is no route."""
        host, port = to
        family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
        opened = self._sockets.get(family)
        if opened is None:
            raise OSError(f"this machine has no IPv6, by which {host} would be reached")
        header = _HEADER.pack(source, port, _HEADER.size + len(data), 0)
        opened.sendto(header + data, (host, 0))

    def close(self) -> None:
        """Close the sockets."""
        for opened in self._sockets.values():
            opened.close()
        self._sockets.clear()
