"""What a server lent, whichever of the two protocols it speaks, and the words for telling how the lending goes.

All times are seconds of the clock that counts on while the machine sleeps (CLOCK_BOOTTIME), for leases do too.
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
    """A packet to send. Addresses as text; source "" is none yet (IPv4) or the link's own (IPv6)."""

    payload: bytes
    destination: str
    source: str = ""


@attrs.frozen(kw_only=True)
class Trouble:
    """What is wrong, in words for an operator, and since when."""

    text: str
    since: float


class Client(Protocol):
    """A client's side of the protocol, as the operators drive it; knows no socket and no clock.

    Every call is given the time and returns what is to be sent. After each, `lease` is what is in effect, `to_check` an
    address that must be asked for in the neighbourhood before it is, and `wake_at` is when `advance` is due.
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
        """What time alone brings about."""

    def receive(self, now: float, payload: bytes) -> Sequence[Outgoing]:
        """A packet has come. Raises MalformedError; then nothing changes, except what `trouble` says later."""

    def checked(self, now: float, *, is_taken: bool) -> Sequence[Outgoing]:
        """Whether somebody else has the address that was to be checked."""

    def release(self, now: float) -> Sequence[Outgoing]:
        """Give the lease back; the end of this client."""
