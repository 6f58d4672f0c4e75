"""A client's view of its cluster: the affiliates that one service reports.

Theory of operation. A service is asked to tell what it knows, which gives a stream of messages. The first message of
each stream is everything, also if it is empty: it replaces what was known. All later ones are changes. Between two
streams what was known stays known, for a dead service is no reason to forget a living node.

    message       entry                  what becomes of it
    any           with the own id        nothing
    any           without data           nothing: nobody has told yet what belongs to the id
    any           that cannot be read    counted; what was known of it stays (but not beyond a first message)
    deleted       (ids only)             forgotten
    otherwise                            known from now on, in place of what was

The endpoints of an affiliate are in the order of the service: its own first, what others report of it later. One that
cannot be read is left out and counted.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

import attrs

from nodespan.discovery.affiliate import AffiliateData
from nodespan.discovery.ciphers import BlobError, ClusterCipher
from nodespan.discovery.wire import server_pb2


@attrs.frozen
class SeenAffiliate:
    """An affiliate as the service tells of it, readable."""

    data: AffiliateData
    endpoints: tuple[str, ...] = ()


@attrs.frozen
class Rejection:
    """Something that could not be read: the affiliate it belongs to, whether it was an endpoint, and why."""

    affiliate_id: str
    reason: str
    is_endpoint: bool = False


@attrs.frozen
class Change:
    """What one message did: the ids that are known anew, otherwise, or no more, and what could not be read."""

    ids: frozenset[str] = frozenset()
    rejections: tuple[Rejection, ...] = ()


class View:
    """The affiliates of one service. `rejected` counts everything that ever could not be read."""

    def __init__(self, own_id: str, cipher: ClusterCipher) -> None:
        self._own_id = own_id
        self._cipher = cipher
        self._known: dict[str, SeenAffiliate] = {}
        self._expects_snapshot = True
        self.rejected = 0

    @property
    def known(self) -> Mapping[str, SeenAffiliate]:
        """Affiliates by the id that the service has for them: live, not to be changed."""
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
