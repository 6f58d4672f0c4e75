"""The relays that this node uses: which endpoints are addresses that they have given to nodes."""

from collections.abc import Collection, Iterable
from typing import Self

import attrs

from nodespan.resources.addresses import AddressError, encode_address, split_endpoint
from nodespan.resources.kubespan import KubeSpanRelayStatusSpec
from nodespan.runtime.resource import Resource


@attrs.frozen
class _RelayAddresses:
    """The addresses of a relay, and the first and the last of the ports that it gives to nodes.

    `dialled` is the address by which this node knows it, empty for a name.
    """

    addresses: frozenset[bytes]
    first_port: int
    last_port: int
    dialled: bytes

    @classmethod
    def of(cls, id: str, addresses: Iterable[str], ports: Collection[int]) -> Self | None:
        """From what the status of a relay has; None while that is not known."""
        found = frozenset(map(encode_address, addresses))
        if not found or not ports:
            return None
        try:
            dialled, _ = split_endpoint(id)
        except AddressError:
            dialled = b""
        return cls(found, min(ports), max(ports), dialled)


class KnownRelays:
    """From the statuses of the relays. What a relay was once found to have stays while it connects again."""

    def __init__(self) -> None:
        self._relays: dict[str, _RelayAddresses] = {}

    @classmethod
    def of(cls, statuses: Iterable[Resource[KubeSpanRelayStatusSpec]]) -> Self:
        """Those of which something is known now."""
        known = cls()
        for status in statuses:
            known.note(status.id, status.spec)
        return known

    def __bool__(self) -> bool:
        return bool(self._relays)

    def note(self, id: str, status: KubeSpanRelayStatusSpec | None) -> bool:
        """A relay as it is now, None for one that is used no more. Returns whether other addresses are known now."""
        if status is None:
            return self._relays.pop(id, None) is not None
        found = _RelayAddresses.of(id, status.addresses, status.ports)
        if found is None or found == self._relays.get(id):
            return False
        self._relays[id] = found
        return True

    def have(self, endpoint: str, *, answers_directly: bool = False) -> bool:
        """Whether an endpoint is an address at one of the relays.

        Of one at which a peer answers without a relay, only a relay that was dialled at that address can say so.
        """
        if not self._relays:
            return False
        try:
            packed, port = split_endpoint(endpoint)
        except AddressError:
            return False
        return any(
            packed in relay.addresses
            and relay.first_port <= port <= relay.last_port
            and (not answers_directly or packed == relay.dialled)
            for relay in self._relays.values()
        )
