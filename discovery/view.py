"""A client's view of its cluster: the affiliates that one service reports.

Theory of operation. A watch is a stream of messages. The first message of
each stream is a full snapshot, even if it is empty: it replaces the view. All later ones are changes. Between two
streams the view is kept: a dead service must not remove living nodes.

    message       entry                  effect
    any           this node's id         none, but for its endpoints: some are what others report of it, and those of
                                         the last such entry are read
    any           without data           none: its owner has not announced it yet
    any           unreadable             counted; the known affiliate is kept (but a first message removes it)
    first         (missing)              removed, and named as missing: nobody said that it is gone
    deleted       (ids only)             removed
    otherwise                            added or replaced

A message is applied in slices, so that other tasks run in between; nothing has changed before its end. A message with
more than a service may send raises ExcessError, and the view is kept.

The endpoints of an affiliate are in the order of the service: its own first, those reported by others later. An
unreadable one is left out and counted.
"""

import contextlib
from collections.abc import Generator, Iterable, Iterator, Mapping
from types import MappingProxyType

import attrs

from nodespan.discovery.affiliate import AffiliateData
from nodespan.discovery.ciphers import BlobError, ClusterCipher
from nodespan.discovery.message_limits import MOST_AFFILIATES, MOST_ENDPOINTS, ExcessError
from nodespan.discovery.wire import server_pb2

# Blobs that are read in one slice, some milliseconds.
_SLICE = 200
# Rejections of one message that are kept; the others are counted.
_MOST_REJECTIONS = 64


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
    """The effect of one message: the ids that were added, changed or removed, and the first unreadable records.

    `missing` are those among the ids that a first message lacks, while none said that they are gone.
    """

    ids: frozenset[str] = frozenset()
    rejections: tuple[Rejection, ...] = ()
    missing: frozenset[str] = frozenset()


class View:
    """The affiliates of one service. `rejected` counts all unreadable records."""

    def __init__(self, own_id: str, cipher: ClusterCipher) -> None:
        self._own_id = own_id
        self._cipher = cipher
        self._known: dict[str, SeenAffiliate] = {}
        self._unreadable: dict[str, str] = {}
        self._expects_snapshot = True
        self.rejected = 0
        # What the service has of this node itself: announced by it, now or lately, and reported by others.
        self.own_endpoints: tuple[str, ...] = ()

    @property
    def known(self) -> Mapping[str, SeenAffiliate]:
        """Affiliates by the service's id: a live, read-only mapping."""
        return MappingProxyType(self._known)

    @property
    def unreadable(self) -> Mapping[str, str]:
        """Reasons of affiliates whose latest record is unreadable, by id: a live, read-only mapping."""
        return MappingProxyType(self._unreadable)

    def begin_stream(self) -> None:
        """The next message is the first of a stream."""
        self._expects_snapshot = True

    def receive(self, message: server_pb2.WatchResponse) -> Change:
        """Apply a message at once, whatever it contains. Raises ExcessError."""
        slices = self.receive_in_slices(message)
        while True:
            try:
                next(slices)
            except StopIteration as end:
                change: Change = end.value
                return change

    def receive_in_slices(self, message: server_pb2.WatchResponse) -> Generator[None, None, Change]:
        """`receive`, with a pause after each slice of work."""
        if len(message.affiliates) > MOST_AFFILIATES:
            raise ExcessError(f"a message has {len(message.affiliates)} affiliates, at most {MOST_AFFILIATES} are read")
        if message.deleted and not self._expects_snapshot:
            if any(entry.id == self._own_id for entry in message.affiliates):
                self.own_endpoints = ()
            return Change(self._forget(entry.id for entry in message.affiliates))
        reading = _Reading(self._own_id, self._cipher)
        yield from reading.read(message)
        known = {} if self._expects_snapshot else self._known
        unreadable = {} if self._expects_snapshot else self._unreadable
        ids = known.keys() | unreadable.keys() | reading.read_affiliates.keys() | reading.unreadable.keys()
        if len(ids) > MOST_AFFILIATES:
            raise ExcessError(f"it tells of more than {MOST_AFFILIATES} affiliates")
        return self._apply(reading)

    def _apply(self, reading: "_Reading") -> Change:
        read = reading.read_affiliates
        self.rejected += reading.rejected
        if reading.own_endpoints is not None:
            self.own_endpoints = reading.own_endpoints
        elif self._expects_snapshot:
            self.own_endpoints = ()
        gone: frozenset[str] = frozenset()
        if self._expects_snapshot:
            self._expects_snapshot = False
            gone = self._forget((self._known.keys() | self._unreadable.keys()) - read.keys())
        changed = frozenset(id for id, seen in read.items() if self._known.get(id) != seen)
        self._known.update(read)
        for id in read:
            self._unreadable.pop(id, None)
        self._unreadable.update(reading.unreadable)
        return Change(gone | changed, tuple(reading.rejections), gone)

    def _forget(self, ids: Iterable[str]) -> frozenset[str]:
        gone = set()
        for id in ids:
            self._unreadable.pop(id, None)
            if self._known.pop(id, None) is not None:
                gone.add(id)
        return frozenset(gone)


class _Reading:
    """What is read of one message."""

    def __init__(self, own_id: str, cipher: ClusterCipher) -> None:
        self._own_id = own_id
        self._cipher = cipher
        self._left = _SLICE
        self.read_affiliates: dict[str, SeenAffiliate] = {}
        self.unreadable: dict[str, str] = {}
        self.rejections: list[Rejection] = []
        self.rejected = 0
        self.own_endpoints: tuple[str, ...] | None = None

    def read(self, message: server_pb2.WatchResponse) -> Generator[None, None, None]:
        own: server_pb2.Affiliate | None = None
        for entry in message.affiliates:
            if entry.id == self._own_id:
                # Read once, after the loop: a message may repeat it thousands of times, with as many endpoints each.
                own = entry
                continue
            if not entry.data:
                continue
            yield from self._account(1 + len(entry.endpoints))
            if len(entry.endpoints) > MOST_ENDPOINTS:
                raise ExcessError(
                    f"an affiliate has {len(entry.endpoints)} endpoints, at most {MOST_ENDPOINTS} are read"
                )
            try:
                data = self._cipher.decrypt_affiliate(entry.data)
            except BlobError as error:
                self.unreadable[entry.id] = str(error)
                self._reject(Rejection(entry.id, str(error)))
            else:
                self.unreadable.pop(entry.id, None)
                self.read_affiliates[entry.id] = SeenAffiliate(data, self._endpoints(entry))
        if own is not None:
            # Others report some of them: too many are no reason to refuse the message.
            blobs = own.endpoints[:MOST_ENDPOINTS]
            yield from self._account(len(blobs))
            self.own_endpoints = tuple(self._readable(blobs))

    def _account(self, blobs: int) -> Generator[None, None, None]:
        """Pause before so many blobs are read, if the slice is over."""
        self._left -= blobs
        if self._left <= 0:
            self._left = _SLICE
            yield

    def _endpoints(self, entry: server_pb2.Affiliate) -> tuple[str, ...]:
        endpoints = []
        for blob in entry.endpoints:
            try:
                endpoints.append(self._cipher.decrypt_endpoint(blob))
            except BlobError as error:
                self._reject(Rejection(entry.id, str(error), is_endpoint=True))
        return tuple(endpoints)

    def _readable(self, blobs: Iterable[bytes]) -> Iterator[str]:
        for blob in blobs:
            # What others report of this node, and cannot be read, concerns nobody.
            with contextlib.suppress(BlobError):
                yield self._cipher.decrypt_endpoint(blob)

    def _reject(self, rejection: Rejection) -> None:
        self.rejected += 1
        if len(self.rejections) < _MOST_REJECTIONS:
            self.rejections.append(rejection)
