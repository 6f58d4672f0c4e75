"""The large receive offload of network cards (`rx-lro`), which the kernel turns off for good to forward packets."""

import errno
import socket
from typing import Protocol

from nodespan.kernel.hardware.ethernet_settings import EthernetChange
from nodespan.kernel.hardware.ethtool_netlink import open_ethtool_netlink

FEATURE = "rx-lro"


class LargeReceive(Protocol):
    """What is known and done of it, in the network namespace of the calling thread."""

    def links(self) -> dict[int, str]:
        """The links that it is asked for, by index, with their names. Blocks. Raises OSError."""
        ...

    def turn_on(self, index: int) -> None:
        """Ask for it on a link; nothing happens to one that is gone or has no such thing. Blocks. Raises OSError."""
        ...


class KernelLargeReceive:
    """See `LargeReceive`."""

    def links(self) -> dict[int, str]:
        """See `LargeReceive`."""
        try:
            with open_ethtool_netlink(None) as ethtool:
                found: dict[int, str] = {}
                for index, name in socket.if_nameindex():
                    feature = ethtool.features(index).get(FEATURE)
                    if feature is not None and feature.is_requested and not feature.is_fixed:
                        found[index] = name
                return found
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP:
                # Before Linux 5.6 nobody can be asked.
                return {}
            raise

    def turn_on(self, index: int) -> None:
        """See `LargeReceive`."""
        with open_ethtool_netlink(None) as ethtool:
            feature = ethtool.features(index).get(FEATURE)
            if feature is None or feature.is_fixed or feature.is_requested:
                return
            for error in ethtool.change(index, EthernetChange(features={FEATURE: True})).values():
                raise error
