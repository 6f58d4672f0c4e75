"""Reads a link's properties from its driver, through the ethtool ioctls. Needs no privileges.

Links are addressed by name. Drivers implement what they like: a field that a driver refuses stays empty.
"""

import array
import fcntl
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import attrs

from nodespan.kernel.netns import in_netns
from nodespan.kernel.outside_text import c_text
from nodespan.kernel.packet_sockets import link_request
from nodespan.resources.network.enums import Duplex, Port

_SIOCETHTOOL = 0x8946
_GDRVINFO = 0x03
_GLINK = 0x0A
_GPERMADDR = 0x20
_GLINKSETTINGS = 0x4C

_DRIVER_INFO = struct.Struct("=I32s32s32s32s32s12s5I")
_LINK_SETTINGS = struct.Struct("=II5B2Bb4B28x")
_LINK_MODE_MAPS = 3
_MAX_ADDRESS = 32


@attrs.frozen(kw_only=True)
class DriverFacts:
    """A driver's answers. `link_state` is None without an answer; `speed_mbit` is 4294967295 if unknown."""

    driver: str = ""
    driver_version: str = ""
    firmware_version: str = ""
    bus_info: str = ""
    permanent_addr: str = ""
    link_state: bool | None = None
    speed_mbit: int = 0
    port: Port = Port.OTHER
    duplex: Duplex = Duplex.UNKNOWN


class Ethtool:
    """A connection to the drivers of a network namespace. Calls may block while a driver asks its hardware."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control

    def read(self, name: str) -> DriverFacts:
        """All facts about one link; empty if the link does not exist or its driver does not answer."""
        info = self._driver_info(name)
        speed, duplex, port = self._settings(name) or (0, Duplex.UNKNOWN.number, Port.OTHER.number)
        link = self._ask(name, struct.pack("=II", _GLINK, 0))
        return DriverFacts(
            driver=info[0],
            driver_version=info[1],
            firmware_version=info[2],
            bus_info=info[3],
            permanent_addr=self._permanent_address(name),
            link_state=None if link is None else bool(struct.unpack_from("=I", link, 4)[0]),
            speed_mbit=speed,
            port=Port.of(port),
            duplex=Duplex.of(duplex),
        )

    def _driver_info(self, name: str) -> tuple[str, str, str, str]:
        answer = self._ask(name, struct.pack("=I", _GDRVINFO).ljust(_DRIVER_INFO.size, b"\0"))
        if answer is None:
            return ("", "", "", "")
        _, driver, version, firmware, bus, *_ = _DRIVER_INFO.unpack(answer)
        return _c_text(driver), _c_text(version), _c_text(firmware), _c_text(bus)

    def _permanent_address(self, name: str) -> str:
        answer = self._ask(name, struct.pack("=II", _GPERMADDR, _MAX_ADDRESS) + bytes(_MAX_ADDRESS))
        if answer is None:
            return ""
        size = struct.unpack_from("=I", answer, 4)[0]
        address = answer[8 : 8 + size]
        # Software links report an address of zeros, which means none.
        return address.hex(":") if any(address) else ""

    def _settings(self, name: str) -> tuple[int, int, int] | None:
        # The first request only returns, as a negative number, the size in words of the maps of the second.
        answer = self._ask(name, self._settings_request(0))
        if answer is None:
            return None
        words = -_LINK_SETTINGS.unpack_from(answer)[9]
        answer = self._ask(name, self._settings_request(words)) if words > 0 else answer
        if answer is None:
            return None
        _, speed, duplex, port, *_ = _LINK_SETTINGS.unpack_from(answer)
        return speed, duplex, port

    def _settings_request(self, words: int) -> bytes:
        head = _LINK_SETTINGS.pack(_GLINKSETTINGS, 0, 0, 0, 0, 0, 0, 0, 0, words, 0, 0, 0, 0)
        return head + bytes(4 * words * _LINK_MODE_MAPS)

    def _ask(self, name: str, request: bytes) -> bytes | None:
        data = array.array("B", request)
        address, _ = data.buffer_info()
        try:
            fcntl.ioctl(self._control, _SIOCETHTOOL, struct.pack("16sP", link_request(name), address))
        except OSError:
            # No such link, not supported, not while it is down ...: drivers differ in what they refuse, and how.
            return None
        return data.tobytes()


def _c_text(field: bytes) -> str:
    text = c_text(field).strip()
    return "" if text == "N/A" else text


@contextmanager
def open_ethtool(netns: str | None) -> Iterator[Ethtool]:
    """Query the drivers of a network namespace (a path; None: the current one)."""
    with in_netns(netns):
        control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    with control:
        yield Ethtool(control)
