"""A client's view of its cluster: the affiliates that one service reports.

Theory of operation. A watch is a stream of messages. The first message of
each stream is a full snapshot, even if it is empty: it replaces the view. All later ones are changes. Between two
streams the view is kept: a dead service must not remove living nodes.

    message       entry                  effect
    any           this node's id         none
    any           without data           none: its owner has not announced it yet
    any           unreadable             counted; the known affiliate is kept (but a first message removes it)
    deleted       (ids only)             removed
    otherwise                            added or replaced

The endpoints of an affiliate are in the order of the service: its own first, those reported by others later. An
unreadable one is left out and counted.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

import attrs

from nodespan.discovery.affiliate import AffiliateData
from nodespan.discovery.ciphers import BlobError, ClusterCipher
from nodespan.discovery.wire import server_pb2


@attrs.frozen
class SeenAffiliate:
    """A decrypted affiliate from the service."""

    data: AffiliateData
    endpoints: tuple[str, ...] = ()


@attrs.frozen
class Rejection:
    """An unreadable record: its affiliate, whether it is an endpoint, and the reason."""

    affiliate_id: str
    reason: str
    is_endpoint: bool = False


@attrs.frozen
class Change:
    """The effect of one message: the ids that were added, changed or removed, and the unreadable records."""

    ids: frozenset[str] = frozenset()
    rejections: tuple[Rejection, ...] = ()


class View:
    """The affiliates of one service. `rejected` counts all unreadable records."""

    def __init__(self, own_id: str, cipher: ClusterCipher) -> None:
        self._own_id = own_id
        self._cipher = cipher
        self._known: dict[str, SeenAffiliate] = {}
        self._expects_snapshot = True
        self.rejected = 0

    @property
    def known(self) -> Mapping[str, SeenAffiliate]:
        """Affiliates by the service's id: a live, read-only mapping."""
        return MappingProxyType(self._known)

    def begin_stream(self) -> None:
        """The next message is the first of a stream."""
        self._expects_snapshot = True

    def receive(self, message: server_pb2.WatchResponse) -> Change:
        """Apply a message. Never raises, whatever it contains."""
        is_snapshot, self._expects_snapshot = self._expects_snapshot, False
        if message.deleted and not is_snapshot:
            return Change(self._forget(entry.id for entry in message.affiliates))
        read, rejections = self._read(message)
        self.rejected += len(rejections)
        gone = self._forget(self._known.keys() - read.keys()) if is_snapshot else frozenset()
        changed = frozenset(id for id, seen in read.items() if self._known.get(id) != seen)
        self._known.update(read)
        return Change(gone | changed, tuple(rejections))

    def _forget(self, ids: Iterable[str]) -> frozenset[str]:
        return frozenset(id for id in ids if self._known.pop(id, None) is not None)

    def _read(self, message: server_pb2.WatchResponse) -> tuple[dict[str, SeenAffiliate], list[Rejection]]:
        read: dict[str, SeenAffiliate] = {}
        rejections: list[Rejection] = []
        for entry in message.affiliates:
            if entry.id == self._own_id or not entry.data:
                continue
            try:
                data = self._cipher.decrypt_affiliate(entry.data)
            except BlobError as error:
                rejections.append(Rejection(entry.id, str(error)))
            else:
                read[entry.id] = SeenAffiliate(data, self._endpoints(entry, rejections))
        return read, rejections

    def _endpoints(self, entry: server_pb2.Affiliate, rejections: list[Rejection]) -> tuple[str, ...]:
        endpoints = []
        for blob in entry.endpoints:
            try:
                endpoints.append(self._cipher.decrypt_endpoint(blob))
            except BlobError as error:
                rejections.append(Rejection(entry.id, str(error), is_endpoint=True))
        return tuple(endpoints)
