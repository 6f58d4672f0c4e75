"""The names that the server knows by itself: static hosts, members of the cluster, and those with a fixed meaning.

What it knows of a name is all that there is: a type of record that it has not got is answered with nothing, and is not
asked of other servers, which would know the name as somebody else's, or would learn it.
"""

import ipaddress
from collections import defaultdict
from collections.abc import Iterable

import attrs

from nodespan.controllers.dns.queries import RCode, Type, address_record, pointer_record
from nodespan.resources.cluster import MemberNameSpec
from nodespan.resources.network import StaticHostSpec

# In seconds: names change when the configuration does, and everybody shall see it soon.
HOST_TTL = 10
_LOCALHOST = "localhost"
# Top-level names that no server may be asked for (RFC 6761, RFC 7686).
_NOWHERE = ("invalid", "onion")


@attrs.frozen
class Known:
    """What is known of a name: its records by type."""

    rcode: RCode = RCode.NOERROR
    records: dict[int, tuple[bytes, ...]] = attrs.field(factory=dict)


_NONE = Known(RCode.NXDOMAIN)


def known_host(addresses: Iterable[str], ttl: int) -> Known:
    """A name that stands for these addresses; what is not an address is left out."""
    found: dict[int, list[bytes]] = {Type.A: [], Type.AAAA: []}
    for address in dict.fromkeys(addresses):
        try:
            record = address_record(address, ttl)
        except ValueError:
            continue
        found[Type.AAAA if ":" in address else Type.A].append(record)
    return Known(records={type: tuple(records) for type, records in found.items()})


# In the name that an IPv6 address is asked under.
_ADDRESS_DOTS = 33
_LOOPBACK = known_host(("127.0.0.1", "::1"), HOST_TTL)


class Names:
    """The names, kept as they change, one at a time.

    A name below `domain`, or below one of the zones in `reverse`, those of the mesh, is a member's or nobody's.
    """

    def __init__(self, domain: str = "") -> None:
        self.domain = domain
        self.reverse: tuple[str, ...] = ()
        self._hosts: dict[str, Known] = {}
        self._members: dict[str, Known] = {}
        # By the name that an address is asked under, the names that it leads back to, and their lifetimes.
        self._host_pointers: _Pointers = _Pointers()
        self._member_pointers: _Pointers = _Pointers()

    def __len__(self) -> int:
        return len(self._hosts) + len(self._members)

    def set_host(self, name: str, spec: StaticHostSpec | None) -> None:
        """A static host is so now; None for gone."""
        if spec is None:
            self._hosts.pop(name, None)
        else:
            self._hosts[name] = known_host(spec.addresses, HOST_TTL)
        self._host_pointers.put(name, () if spec is None else spec.addresses, HOST_TTL)

    def set_member(self, name: str, spec: MemberNameSpec | None) -> None:
        """The name of a member is so now; None for gone."""
        if spec is None:
            self._members.pop(name, None)
        else:
            self._members[name] = known_host(spec.addresses, spec.ttl)
        self._member_pointers.put(name, () if spec is None else spec.reverse_addresses, 0 if spec is None else spec.ttl)

    def find(self, name: str, *, members_only: bool = False) -> Known | None:
        """What is known of a name in lower case, without a final dot; None if others are to be asked."""
        last = name.rpartition(".")[2]
        if not members_only:
            if last == _LOCALHOST:
                return _LOOPBACK
            if last in _NOWHERE:
                return _NONE
            if (found := self._hosts.get(name) or self._host_pointers.find(name)) is not None:
                return found
        if (found := self._members.get(name) or self._member_pointers.find(name)) is not None:
            return found
        if self.domain and (name == self.domain or name.endswith(f".{self.domain}")):
            return Known() if name == self.domain else _NONE
        for zone in self.reverse:
            # What is between the zone and an address exists, and has no records.
            if name == zone or name.endswith(f".{zone}"):
                return _NONE if name.count(".") == _ADDRESS_DOTS else Known()
        return None


class _Pointers:
    """Which names addresses lead back to."""

    def __init__(self) -> None:
        self._names: defaultdict[str, dict[str, int]] = defaultdict(dict)
        self._addresses: dict[str, tuple[str, ...]] = {}

    def put(self, name: str, addresses: Iterable[str], ttl: int) -> None:
        """These addresses, and no others, lead to the name."""
        for reverse in self._addresses.pop(name, ()):
            self._names[reverse].pop(name, None)
            if not self._names[reverse]:
                del self._names[reverse]
        reverses = tuple(dict.fromkeys(reverse for address in addresses if (reverse := reverse_name(address))))
        for reverse in reverses:
            self._names[reverse][name] = ttl
        if reverses:
            self._addresses[name] = reverses

    def find(self, reverse: str) -> Known | None:
        """What is known of the name of an address."""
        names = self._names.get(reverse)
        if names is None:
            return None
        records: list[bytes] = []
        # The longest first: programs that take one name want the one with its domain.
        for name, ttl in sorted(names.items(), key=lambda item: (-len(item[0]), item[0])):
            try:
                records.append(pointer_record(name, ttl))
            except ValueError:
                continue
        return Known(records={Type.PTR: tuple(records)}) if records else None


def reverse_name(address: str) -> str:
    """The name that an address is asked under, "" for what is no address."""
    try:
        return ipaddress.ip_address(address.partition("%")[0]).reverse_pointer
    except ValueError:
        return ""
