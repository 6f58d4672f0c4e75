"""The messages between a node and a relay. No I/O.

Theory of operation. The stream is a call of gRPC (`METHOD`) in whose messages, both ways, the first byte is the kind:

    node      HELLO       the node's WireGuard key, its cluster, the port that it would like, the name that it dialled
    relay     CHALLENGE   a key made for this call, and a nonce
    node      PROOF       shows that the node has the private key (`proof`)
    relay     GRANT       the node's address here, and how much it may carry
    both      PACKETS     datagrams from, or to, one address

A packet is a datagram of WireGuard: its first four bytes are a type from 1 to 4. Others are not carried, which keeps a
relay from being of any use for other protocols. An address is written as the family (4 or 6), the address and the port;
these bytes are also what addresses are compared by.
"""

import hashlib
import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

import attrs

METHOD: Final = "/nodespan.relay.v1.Relay/Carry"
DESCRIBE_METHOD: Final = "/nodespan.relay.v1.Relay/Describe"

VERSION: Final = 1
HELLO, CHALLENGE, PROOF, GRANT, PACKETS = 1, 2, 3, 4, 16

KEY_SIZE: Final = 32
NONCE_SIZE: Final = 16
PROOF_SIZE: Final = 32
CLUSTER_SIZE: Final = 16
_LONGEST_NAME: Final = 255
# One of IPv4 and one of IPv6: what a relay says is its own goes over it.
_MOST_ADDRESSES: Final = 2
# A relay gives away no port that a service of the system may have.
_LOWEST_PORT: Final = 1024

# The shortest datagram of WireGuard is an empty packet of data; the longest that is carried is one of a jumbo frame.
SMALLEST_PACKET: Final = 32
LARGEST_PACKET: Final = 9216
# Of a message with its packets: neither end sends, nor takes, a larger one.
LARGEST_MESSAGE: Final = 64 << 10
# And none with more packets: a message is carried in one go.
MOST_PACKETS: Final = 64

_HELLO = struct.Struct(f">BB{KEY_SIZE}s{CLUSTER_SIZE}sHB")
_GRANT = struct.Struct(">BHQB")
_DESCRIPTION = struct.Struct(">BIHHB")
_LENGTH = struct.Struct(">H")
_PORT = struct.Struct(">H")
_SIZES: Final = {4: 4, 6: 16}
_PREFIX_SIZES: Final = {4: 7, 6: 19}
_RESERVED: Final = b"\0\0\0"

Address = tuple[str, int]


class WireError(ValueError):
    """A message is invalid. The text says how."""


@attrs.frozen(kw_only=True)
class Hello:
    """What a node asks with. `cluster` is `cluster_tag` of its cluster; `port` 0 leaves the choice to the relay."""

    key: bytes
    cluster: bytes
    port: int = 0
    name: str = ""

    def encode(self) -> bytes:
        """The message. Raises WireError for a name that is too long."""
        name = self.name.encode()
        if len(name) > _LONGEST_NAME:
            raise WireError(f"the name of the relay has {len(name)} bytes, at most {_LONGEST_NAME} are sent")
        return _HELLO.pack(HELLO, VERSION, self.key, self.cluster, self.port, len(name)) + name

    @classmethod
    def decode(cls, message: bytes) -> "Hello":
        """Raises WireError."""
        if len(message) < _HELLO.size or message[0] != HELLO:
            raise WireError("the stream does not begin with a hello")
        _, version, key, cluster, port, size = _HELLO.unpack_from(message)
        if version != VERSION:
            raise WireError(f"version {version} of the protocol is not spoken here, only {VERSION}")
        try:
            name = message[_HELLO.size :].decode()
        except UnicodeDecodeError as error:
            raise WireError("the name of the relay is not text") from error
        if len(message) != _HELLO.size + size:
            raise WireError("the hello has a wrong length")
        return cls(key=key, cluster=cluster, port=port, name=name)


@attrs.frozen
class Challenge:
    """The key that a relay has made for one call, and a nonce."""

    key: bytes
    nonce: bytes

    def encode(self) -> bytes:
        """The message."""
        return bytes((CHALLENGE,)) + self.key + self.nonce

    @classmethod
    def decode(cls, message: bytes) -> "Challenge":
        """Raises WireError."""
        if len(message) != 1 + KEY_SIZE + NONCE_SIZE or message[0] != CHALLENGE:
            raise WireError("the relay does not send a challenge")
        return cls(message[1 : 1 + KEY_SIZE], message[1 + KEY_SIZE :])


def encode_proof(proof: bytes) -> bytes:
    """The message with a proof."""
    return bytes((PROOF,)) + proof


def decode_proof(message: bytes) -> bytes:
    """The proof. Raises WireError."""
    if len(message) != 1 + PROOF_SIZE or message[0] != PROOF:
        raise WireError("the node does not answer the challenge")
    return message[1:]


@attrs.frozen
class Grant:
    """A node's port at the relay, the relay's addresses, and the bytes a second that may be carried."""

    port: int
    addresses: tuple[IPv4Address | IPv6Address, ...]
    rate: int

    def encode(self) -> bytes:
        """The message."""
        head = _GRANT.pack(GRANT, self.port, self.rate, len(self.addresses))
        return head + _packed(self.addresses)

    @classmethod
    def decode(cls, message: bytes) -> "Grant":
        """Raises WireError."""
        if len(message) < _GRANT.size or message[0] != GRANT:
            raise WireError("the relay does not grant an address")
        _, port, rate, count = _GRANT.unpack_from(message)
        if port < _LOWEST_PORT:
            raise WireError("the relay grants no valid port")
        return cls(port, _unpacked(message, _GRANT.size, count), rate)

    @property
    def endpoints(self) -> tuple[Address, ...]:
        """Where the node can be reached."""
        return tuple((str(address), self.port) for address in self.addresses)


@attrs.frozen
class Description:
    """What a relay has: how many nodes it still takes, and the addresses and ports that it gives them."""

    free: int
    ports: tuple[int, int]
    addresses: tuple[IPv4Address | IPv6Address, ...]

    def encode(self) -> bytes:
        """The message."""
        head = _DESCRIPTION.pack(VERSION, self.free, *self.ports, len(self.addresses))
        return head + _packed(self.addresses)

    @classmethod
    def decode(cls, message: bytes) -> "Description":
        """Raises WireError."""
        if len(message) < _DESCRIPTION.size:
            raise WireError("the relay does not describe itself")
        _, free, first, last, count = _DESCRIPTION.unpack_from(message)
        if not _LOWEST_PORT <= first <= last:
            raise WireError("the relay has no valid ports")
        return cls(free, (first, last), _unpacked(message, _DESCRIPTION.size, count))

    def has(self, address: Address) -> bool:
        """Whether an address is one that the relay may have given to a node."""
        return self.ports[0] <= address[1] <= self.ports[1] and address[0] in map(str, self.addresses)


def check_loopback(addresses: Iterable[IPv4Address | IPv6Address], host: str) -> None:
    """Raises WireError for addresses of this machine, unless that is where the relay was dialled."""
    try:
        is_here = ip_address(host).is_loopback
    except ValueError:
        is_here = host == "localhost"
    if not is_here and any(address.is_loopback for address in addresses):
        raise WireError("the relay has an address that only its own machine can reach it at")


def _packed(addresses: Iterable[IPv4Address | IPv6Address]) -> bytes:
    return b"".join(bytes((address.version,)) + address.packed for address in addresses)


def _unpacked(message: bytes, at: int, count: int) -> tuple[IPv4Address | IPv6Address, ...]:
    """The addresses with which a message ends. Raises WireError."""
    if not 0 < count <= _MOST_ADDRESSES:
        raise WireError("the relay has no valid address")
    addresses: list[IPv4Address | IPv6Address] = []
    for _ in range(count):
        size = _SIZES.get(message[at]) if at < len(message) else None
        if size is None or len(message) < at + 1 + size:
            raise WireError("the relay has no valid address")
        address = ip_address(message[at + 1 : at + 1 + size])
        if address.is_unspecified or address.is_multicast or address.is_link_local:
            raise WireError("the relay has an address that nobody can reach it at")
        addresses.append(address)
        at += 1 + size
    if at != len(message):
        raise WireError("the message of the relay has a wrong length")
    if len({address.version for address in addresses}) < count:
        raise WireError("the relay has more than one address of a kind")
    return tuple(addresses)


def cluster_tag(cluster_id: str) -> bytes:
    """What names a cluster to a relay: the relay can count its nodes, and learns its id no other way."""
    return hashlib.sha256(b"nodespan relay: the cluster\0" + cluster_id.encode()).digest()[:CLUSTER_SIZE]


# Addresses.


def encode_address(address: Address) -> bytes:
    """An address and its port. An IPv4-mapped address is one of IPv4. Raises WireError."""
    host, port = address
    try:
        found = ip_address(host.partition("%")[0])
    except ValueError as error:
        raise WireError(f"{host!r} is not an address") from error
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return bytes((found.version,)) + found.packed + _PORT.pack(port)


def decode_address(prefix: bytes) -> Address:
    """The address that `address_of` has cut off."""
    family = socket.AF_INET if prefix[0] == 4 else socket.AF_INET6
    return socket.inet_ntop(family, prefix[1:-2]), _PORT.unpack(prefix[-2:])[0]


def port_of(prefix: bytes) -> int:
    """The port of an encoded address."""
    port: int = _PORT.unpack(prefix[-2:])[0]
    return port


# Packets.


def looks_like_wireguard(packet: bytes) -> bool:
    """Whether a datagram may be one of WireGuard's, and of a size that is carried."""
    return SMALLEST_PACKET <= len(packet) <= LARGEST_PACKET and 1 <= packet[0] <= 4 and packet[1:4] == _RESERVED


def packets_message(address: bytes, packets: Iterable[bytes]) -> bytes:
    """A message with packets from, or to, an encoded address."""
    parts = [b"\x10", address]
    for packet in packets:
        parts.append(_LENGTH.pack(len(packet)))
        parts.append(packet)
    return b"".join(parts)


def packets_messages(address: bytes, packets: Iterable[bytes]) -> Iterator[tuple[bytes, int]]:
    """The same in as many messages as it takes for none to be too large, each with the number of its packets."""
    group, size = list[bytes](), 1 + len(address)
    for packet in packets:
        needed = _LENGTH.size + len(packet)
        if group and (size + needed > LARGEST_MESSAGE or len(group) == MOST_PACKETS):
            yield packets_message(address, group), len(group)
            group, size = [], 1 + len(address)
        group.append(packet)
        size += needed
    if group:
        yield packets_message(address, group), len(group)


def address_of(message: bytes) -> bytes:
    """The encoded address of a message with packets. Raises WireError."""
    if len(message) < 2 or message[0] != PACKETS:
        raise WireError("a message of an unknown kind")
    if len(message) > LARGEST_MESSAGE:
        raise WireError(f"a message of {len(message)} bytes, at most {LARGEST_MESSAGE} are carried")
    size = _PREFIX_SIZES.get(message[1])
    if size is None or len(message) < 1 + size:
        raise WireError("packets of an invalid address")
    return message[1 : 1 + size]


def count_packets(message: bytes, at: int) -> int:
    """How many packets there are from this place on, all of which look like WireGuard's. Raises WireError for none."""
    count, end = 0, len(message)
    while at < end:
        start = at + 2
        if start > end:
            raise WireError("a packet is cut off")
        size = message[at] << 8 | message[at + 1]
        at = start + size
        if at > end:
            raise WireError("a packet is cut off")
        if (
            not SMALLEST_PACKET <= size <= LARGEST_PACKET
            or not 1 <= message[start] <= 4
            or message[start + 1 : start + 4] != _RESERVED
        ):
            raise WireError("a packet is not one of WireGuard")
        count += 1
    if count > MOST_PACKETS:
        raise WireError(f"a message with {count} packets, at most {MOST_PACKETS} are carried")
    if not count:
        raise WireError("a message without a packet")
    return count


def packets_of(message: bytes, at: int) -> Sequence[bytes]:
    """The packets from this place on, as `count_packets` has checked them."""
    found, end = [], len(message)
    while at < end:
        start = at + 2
        at = start + (message[at] << 8 | message[at + 1])
        found.append(message[start:at])
    return found
