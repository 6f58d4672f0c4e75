"""Reports to the service manager that started this process: readiness, the stop, and signs of life (sd_notify).

systemd names a datagram socket in $NOTIFY_SOCKET, `@` standing for its first byte in the abstract namespace, and in
$WATCHDOG_USEC how long it waits for a sign of life. A report that cannot be sent is lost: the process serves its
clients all the same.
"""

import contextlib
import os
import socket
from collections.abc import MutableMapping

import attrs
import trio


@attrs.frozen
class ServiceManager:
    """The service manager of this process; without one, reports go nowhere."""

    address: str = ""
    watchdog: float = 0.0

    @classmethod
    def of(cls, environment: MutableMapping[str, str]) -> "ServiceManager":
        """As the environment says. Takes the variables out of it: they are not for processes that this one starts."""
        address = environment.pop("NOTIFY_SOCKET", "")
        microseconds = environment.pop("WATCHDOG_USEC", "")
        pid = environment.pop("WATCHDOG_PID", "") or str(os.getpid())
        watched = microseconds.isdecimal() and pid == str(os.getpid())
        return cls(address, int(microseconds) / 1e6 if address and watched else 0.0)

    def ready(self) -> None:
        """The process serves."""
        self._send("READY=1")

    def stopping(self) -> None:
        """The process ends."""
        self._send("STOPPING=1")

    async def keep_alive(self) -> None:
        """Give signs of life until cancelled, for as long as the loop of this process runs."""
        while self.watchdog:
            self.alive()
            await trio.sleep(self.watchdog / 2)

    def alive(self) -> None:
        """Give one sign of life, if any is expected."""
        if self.watchdog:
            self._send("WATCHDOG=1")

    def _send(self, report: str) -> None:
        if not self.address:
            return
        address = f"\0{self.address[1:]}" if self.address.startswith("@") else self.address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.settimeout(0)
            notify.sendto(report.encode(), address)
