"""A port mapping as this node knows it, what a router granted, and how a router can refuse. Pure values and rules.

All that a router says is hostile until it is checked here: an address that cannot be an endpoint is no mapping, and a
lifetime is kept within bounds, so that a router makes nobody ask it more often than every `SHORTEST / 2` seconds.
"""

from collections.abc import Mapping
from ipaddress import IPv4Address, ip_network
from typing import Any, Protocol

import attrs

from nodespan.controllers.common.ip.blocks import IPSet
from nodespan.controllers.kubespan.member_word import RESERVED
from nodespan.resources.kubespan import MappingProtocol

# Asked for, in seconds: a mapping of an agent that was killed is gone by then.
LIFETIME = 600
# What is granted counts as no less and no more than this.
SHORTEST, LONGEST = 120, 86400

_BEHIND = IPSet.of(map(ip_network, ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16")))


class MappingError(Exception):
    """A router made no mapping, or cannot be asked; the text says why.

    `is_certain` is whether no mapping was made. It is not after silence: the answer may have been lost.
    """

    def __init__(self, text: str, *, is_certain: bool = True) -> None:
        super().__init__(text)
        self.is_certain = is_certain


class UnsupportedError(MappingError):
    """The router does not speak the protocol."""


class TakenError(MappingError):
    """The external port belongs to another mapping."""


@attrs.frozen(kw_only=True)
class PortMapping:
    """What is asked of a router, and enough to give it back.

    `nonce` is PCP's proof of who made it, in hex; `control_url` and `service` are UPnP's. One that is `foreign` was
    there before this node asked for one: it is used, and never given back. One that was `granted` is this node's own,
    whatever a router shows of it later; it is no other mapping for that.
    """

    protocol: MappingProtocol
    gateway: str
    client: str
    internal_port: int
    external_port: int
    nonce: str = ""
    control_url: str = ""
    service: str = ""
    foreign: bool = False
    granted: bool = attrs.field(default=False, eq=False)


@attrs.frozen(kw_only=True)
class Granted:
    """What a router answered: where the mapping is, and for how many seconds; 0 for as long as it likes."""

    mapping: PortMapping
    address: IPv4Address
    lifetime: int = LIFETIME

    @property
    def counted(self) -> int:
        """The seconds that the mapping counts for before it has to be asked for again."""
        return min(max(self.lifetime, SHORTEST), LONGEST) if self.lifetime else LIFETIME

    @property
    def endpoint(self) -> str:
        """What is announced."""
        return f"{self.address}:{self.mapping.external_port}"

    @property
    def is_behind_nat(self) -> bool:
        """Whether the router itself is behind another NAT, so that not everybody reaches the mapping."""
        return _BEHIND.has(4, int(self.address))


class Asking(Protocol):
    """Who asks routers. All of it raises MappingError."""

    async def client(self, gateway: str) -> str:
        """The address that this node has for a gateway."""
        ...

    async def prepare(self, protocol: MappingProtocol, gateway: str, client: str, port: int) -> PortMapping:
        """What to ask a router for, with what the protocol needs for it."""
        ...

    async def map(self, mapping: PortMapping) -> Granted:
        """Ask for a mapping, or for more of its time. Raises TakenError if another port is to be tried."""
        ...

    async def give_back(self, mapping: PortMapping) -> None:
        """Delete a mapping; one that is not there is none."""
        ...


def check_external(address: IPv4Address, port: int, *, is_made: bool = False) -> None:
    """Raise MappingError for what cannot be reached from anywhere else; `is_made` if the router has mapped it."""
    if not port or RESERVED.has(4, int(address)):
        text = f"the router says that it maps {address}:{port}, which is no address of a router"
        raise MappingError(text, is_certain=not is_made)


def to_plain(mapping: PortMapping) -> dict[str, Any]:
    """The mapping as JSON has it."""
    return {**attrs.asdict(mapping), "protocol": mapping.protocol.value}


def from_plain(plain: Mapping[str, Any]) -> PortMapping:
    """The mapping that JSON holds. Raises ValueError."""
    try:
        fields = attrs.fields(PortMapping)
        known = {field.name: plain[field.name] for field in fields if field.eq or field.name in plain}
        mapping = PortMapping(**{**known, "protocol": MappingProtocol(known["protocol"])})
    except (KeyError, TypeError) as error:
        raise ValueError(f"it is no port mapping: {error}") from error
    for field in attrs.fields(PortMapping):
        value = getattr(mapping, field.name)
        if not isinstance(value, field.type or object) or (field.type is int and isinstance(value, bool)):
            raise ValueError(f"{field.name} of a port mapping is {value!r}")
    return mapping
