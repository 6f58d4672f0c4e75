"""Leases of either protocol, and the interface of the clients.

All times are seconds of the boot clock (CLOCK_BOOTTIME), which counts on while the machine sleeps, as leases do.
"""

from collections.abc import Sequence
from typing import Protocol

import attrs


@attrs.frozen(kw_only=True)
class LeasedAddress:
    """An address with its prefix length, and until when it may be used."""

    address: str
    valid_until: float


@attrs.frozen(kw_only=True)
class LeasedRoute:
    """A route. `destination` "" is the default route; without a gateway the destination is on the link itself."""

    destination: str
    gateway: str


@attrs.frozen(kw_only=True)
class Lease:
    """A lease and the configuration that came with it.

    `message` is the answer that it was read from, which is kept in a file and read again. `ignored` are the parts of
    the answer that were left out or replaced, and why.
    """

    server: str
    message: bytes = attrs.field(repr=False)
    obtained: float
    renew_at: float
    rebind_at: float
    expires_at: float
    addresses: tuple[LeasedAddress, ...]
    routes: tuple[LeasedRoute, ...] = ()
    mtu: int = 0
    hostname: str = ""
    domain_name: str = ""
    name_servers: tuple[str, ...] = ()
    search_domains: tuple[str, ...] = ()
    time_servers: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class Outgoing:
    """A packet to send. Addresses as text; source "" is no address yet (IPv4) or the link-local one (IPv6)."""

    payload: bytes
    destination: str
    source: str = ""


@attrs.frozen(kw_only=True)
class Trouble:
    """A failure in words for an operator, and since when."""

    text: str
    since: float


class Client(Protocol):
    """A client's side of the protocol, as the operators drive it, without sockets and clocks.

    Every call gets the time and returns the packets to send. Afterwards `lease` is the lease in effect, `to_check` an
    address for which neighbours must be probed before it is used, and `wake_at` is when `advance` is due.
    """

    @property
    def state_name(self) -> str: ...
    @property
    def lease(self) -> Lease | None: ...
    @property
    def to_check(self) -> str: ...
    @property
    def wake_at(self) -> float: ...
    @property
    def trouble(self) -> Trouble | None: ...

    def advance(self, now: float) -> Sequence[Outgoing]:
        """Do what is due at this time."""

    def receive(self, now: float, payload: bytes) -> Sequence[Outgoing]:
        """A packet has come. Raises MalformedError; then nothing changes, except what `trouble` says later."""

    def checked(self, now: float, *, is_taken: bool) -> Sequence[Outgoing]:
        """The neighbours were probed: whether another machine has the address."""

    def release(self, now: float) -> Sequence[Outgoing]:
        """Release the lease, and end this client."""
