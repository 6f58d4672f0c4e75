"""The file that keeps a lease, so that the next agent, or the same link when it is up again, requests that address.

It holds the server's answer as it came, and when it was requested: by the boot clock, which is exact, and by the wall
clock, the only one that counts across a reboot.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

from nodespan.controllers.network.dhcp.lease import Lease
from nodespan.controllers.network.dhcp.malformed import MalformedError
from nodespan.runtime.codec.plain import format_time, parse_time
from nodespan.runtime.whole_file import make_directory, replace_file

_BILLION = 1_000_000_000


@attrs.frozen(kw_only=True)
class Moment:
    """Now, by both clocks: seconds since this boot, nanoseconds of the wall clock."""

    boot_id: str
    since_boot: float
    calendar: int


@attrs.frozen
class LeaseFile:
    """One lease at `path`. `client` identifies the owner: a client with another identity does not get it.

    All calls block, and raise OSError.
    """

    path: Path
    client: str

    def write(self, lease: Lease, now: Moment) -> None:
        """Keep this lease, readable by this user only. Atomic."""
        age = int((now.since_boot - lease.obtained) * _BILLION)
        data = {
            "client": self.client,
            "bootID": now.boot_id,
            "obtained": lease.obtained,
            "obtainedAt": format_time(now.calendar - age),
            "message": lease.message.hex(),
        }
        make_directory(self.path.parent, mode=0o700)
        replace_file(self.path, json.dumps(data))

    def remove(self) -> None:
        """Remove the kept lease."""
        self.path.unlink(missing_ok=True)

    def read(self, now: Moment, parse: Callable[[bytes, float], Lease]) -> Lease | None:
        """The lease, None if there is none of this client. Raises MalformedError if the file is damaged."""
        try:
            data: Any = json.loads(self.path.read_bytes())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise MalformedError(f"{self.path} is not JSON") from error
        try:
            if data["client"] != self.client:
                return None
            message = bytes.fromhex(data["message"])
            obtained = float(data["obtained"])
            age = now.since_boot - obtained
            if data["bootID"] != now.boot_id:
                age = (now.calendar - parse_time(data["obtainedAt"])) / _BILLION
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise MalformedError(f"{self.path} lacks a part, or it is invalid: {error}") from error
        # A wall clock that was set back does not give the age of the lease.
        return None if age < 0 else parse(message, now.since_boot - age)
