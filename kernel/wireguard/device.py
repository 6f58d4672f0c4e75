"""WireGuard devices as values: state, changes, and the difference between desired and observed."""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Generic, Protocol, TypeVar

import attrs

from nodespan.kernel.prefixes import Prefix
from nodespan.kernel.wireguard.keys import format_key, parse_given_key, parse_key, public_key_of
from nodespan.resources.network.link_spec import WireguardPeer, WireguardSpec

R = TypeVar("R", bound=Hashable)
_LONGEST_KEEPALIVE = 0xFFFF
_MOST_REMEMBERED = 2000


@attrs.frozen(kw_only=True)
class PeerConfig:
    """The settings of a peer in canonical form: keys in base64, an endpoint with a numeric address.

    "" is no preshared key, and leaves the device's endpoint. The keepalive is in seconds, 0 for none;
    allowed IPs are sorted, IPv4 first.
    """

    public_key: str
    preshared_key: str = attrs.field(default="", repr=False)
    endpoint: str = ""
    persistent_keepalive: int = 0
    allowed_ips: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class PeerState:
    """A peer as observed. `endpoint` in its config is the source of its last valid packet."""

    config: PeerConfig
    last_handshake_time: datetime | None = None
    receive_bytes: int = 0
    transmit_bytes: int = 0


@attrs.frozen(kw_only=True)
class DeviceState:
    """A device: its own public key ("" if it has none), and its peers by public key. The private key is left out."""

    public_key: str = ""
    listen_port: int = 0
    firewall_mark: int = 0
    peers: Mapping[str, PeerState] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class DeviceChange:
    """A change of a device; None leaves a setting. Peers are given completely, other peers stay as they are."""

    private_key: str | None = attrs.field(default=None, repr=False)
    listen_port: int | None = None
    firewall_mark: int | None = None
    peers: tuple[PeerConfig, ...] = ()
    removed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self != DeviceChange()


class PeersOfAnswers(Generic[R]):
    """Makes the peers of one answer after the other from what they are in it; what did not change is not made again.

    A device is read every second, and of a hundred peers few differ from what they were in the answer before.
    """

    def __init__(self, make: Callable[[R], PeerState]) -> None:
        self._make = make
        self._known: dict[R, PeerState] = {}

    def of(self, answer: Sequence[R]) -> list[PeerState]:
        """The peers of the next answer. May be called in any thread."""
        known = self._known
        made = {one: known[one] if one in known else self._make(one) for one in answer}
        # Of a device with more it would take memory that matters, and it is read less often.
        self._known = made if len(made) <= _MOST_REMEMBERED else {}
        return [made[one] for one in answer]


class WireguardBackend(Protocol):
    """Talks to the devices of one network namespace. All calls block, and raise OSError if they are refused."""

    def read(self, name: str, *, peers: bool = True) -> DeviceState | None:
        """The device, None if it does not exist; without peers the cost does not depend on their number."""
        ...

    def read_private_key(self, name: str) -> str:
        """The private key, "" if the device has none; for who is to give it back."""
        ...

    def change(self, name: str, change: DeviceChange) -> None:
        """Apply a change. Peers that are not in it are not disturbed."""
        ...


def parse_endpoint(text: str) -> tuple[str, int]:
    """Host and port of `192.0.2.1:51820`, `[2001:db8::1]:51820` or `host.example:51820`. Raises ValueError."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isascii() or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise ValueError(f"{text!r} is not an endpoint, write it like 192.0.2.1:51820 or [2001:db8::1]:51820")
    return host, int(port)


@lru_cache(maxsize=_MOST_REMEMBERED)
def canonical_endpoint(text: str) -> str:
    """The canonical text of a numeric endpoint. Raises ValueError."""
    return format_endpoint(*parse_endpoint(text))


def format_endpoint(address: str, port: int) -> str:
    """The canonical text of an endpoint: an IPv4-mapped address as IPv4, without a zone."""
    parsed = ip_address(address.partition("%")[0])
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return f"[{parsed}]:{port}" if parsed.version == 6 else f"{parsed}:{port}"


def is_numeric(host: str) -> bool:
    """Whether the host of an endpoint is an IP address."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def sort_allowed_ips(prefixes: Iterable[str]) -> tuple[str, ...]:
    """IPv4 first, by address, then by length; each once, without host bits. Raises ValueError."""
    return _sorted_prefixes(tuple(prefixes))


@lru_cache(maxsize=_MOST_REMEMBERED)
def _sorted_prefixes(prefixes: tuple[str, ...]) -> tuple[str, ...]:
    networks = (ip_network(prefix, strict=False) for prefix in prefixes)
    found = {Prefix(network.network_address.packed, network.prefixlen) for network in networks}
    return tuple(each.text for each in sorted(found, key=lambda each: (len(each.packed), each.packed, each.length)))


def canonical_peer(peer: WireguardPeer, endpoint: str) -> PeerConfig:
    """The device's form of a desired peer, with this endpoint (numeric, or ""). Raises ValueError."""
    keepalive = round(peer.persistent_keepalive_interval.total_seconds())
    if not 0 <= keepalive <= _LONGEST_KEEPALIVE:
        raise ValueError(f"a keepalive of {keepalive} s is not between 0 and {_LONGEST_KEEPALIVE}")
    return PeerConfig(
        public_key=format_key(parse_given_key(peer.public_key)),
        preshared_key=format_key(parse_key(peer.preshared_key)) if peer.preshared_key else "",
        endpoint=format_endpoint(*parse_endpoint(endpoint)) if endpoint else "",
        persistent_keepalive=keepalive,
        allowed_ips=sort_allowed_ips(peer.allowed_ips),
    )


def wireguard_peer_equal(current: PeerConfig, desired: PeerConfig) -> bool:
    """Whether the device is up to date. An empty desired endpoint never differs: a peer that roamed stays there."""
    if not desired.endpoint:
        desired = attrs.evolve(desired, endpoint=current.endpoint)
    return current == desired


def device_difference(desired: WireguardSpec, current: DeviceState) -> DeviceChange:
    """The change of the device's own settings, without its peers. Raises ValueError for an invalid key.

    A desired port of 0 equals any, a desired key of "" leaves the device's own.
    """
    change = DeviceChange()
    if desired.private_key and public_key_of(desired.private_key) != current.public_key:
        change = attrs.evolve(change, private_key=desired.private_key)
    if desired.listen_port and desired.listen_port != current.listen_port:
        change = attrs.evolve(change, listen_port=desired.listen_port)
    if desired.firewall_mark != current.firewall_mark:
        change = attrs.evolve(change, firewall_mark=desired.firewall_mark)
    return change
