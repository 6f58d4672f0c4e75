"""The history of one kind at etcd, as far as a process has it, and bookmarks that hold in every process.

A bookmark has two halves. The local one is that of any collection: exact, but of this process only. The shared one is
the revision of the change, and how many changes of the kind that revision had until then; every process counts them
alike. A process that did not make the bookmark resumes by it if its own history reaches back that far.

After a gap (etcd had compacted what was missed) the changes that a process makes up have no revision of their own: as
bookmarks for others they stand for the moment before the gap, and bookmarks of others from within it are not known.
"""

import struct
from collections.abc import Callable
from typing import Any

from nodespan.runtime.errors import InvalidBookmarkError
from nodespan.runtime.resource import Kind
from nodespan.runtime.state.collection import COOKIE_SIZE, Change, Collection, History

# A revision and how many changes of it there were: all of them if it is complete.
Mark = tuple[int, int]
_ALL = 0xFFFFFFFF
_SHARED = struct.Struct(">QI")
_LOCAL_SIZE = COOKIE_SIZE + 8


class EtcdCollection(Collection):
    """A kind at etcd. `at` sets the revision of the change that follows.

    `complete` returns the revision up to which all changes are known, of any kind.
    """

    __slots__ = ("_complete", "_floor", "_mark", "_marks")

    def __init__(self, kind: Kind[Any], history: History, cookie: bytes, complete: Callable[[], int]) -> None:
        super().__init__(kind, history, cookie)
        self._complete = complete
        revision = complete()
        # Of the changes in the ring, slot by slot.
        self._marks: list[Mark] = []
        # That of the change to come, and that of the latest change before those in the ring.
        self._mark: Mark = (revision, _ALL)
        self._floor: Mark = (revision, _ALL)

    def at(self, revision: int) -> None:
        """The next change happens at this revision."""
        before, count = self._mark
        self._mark = (revision, count + 1 if revision == before else 1)

    def after_gap(self, revision: int) -> None:
        """The changes since the last one were made up; from this revision on all are known again."""
        self._mark = self._floor = (revision, _ALL)

    def _commit(self, change: Change) -> None:
        place = self.write_position % self.capacity
        # Once it has grown, the ring itself finds room at its end.
        if place == len(self._ring) or (place == 0 and self._grows(change[1])):
            self._marks.append(self._mark)
        else:
            self._floor = max(self._floor, self._marks[place])
            self._marks[place] = self._mark
        super()._commit(change)

    def _latest(self) -> Mark:
        return max(self._mark, (self._complete(), _ALL))

    def bookmark(self, position: int) -> bytes:
        if position == self.write_position - 1:
            mark = self._latest()
        elif position < max(self.write_position - self.room, 0):
            mark = self._floor
        else:
            mark = self._marks[position % self.capacity]
        return super().bookmark(position) + _SHARED.pack(*mark)

    def position_after(self, bookmark: bytes, *, lowest: int) -> int:
        if len(bookmark) == _LOCAL_SIZE + _SHARED.size:
            if bookmark.startswith(self.cookie):
                return super().position_after(bookmark[:_LOCAL_SIZE], lowest=lowest)
            mark: Mark = _SHARED.unpack_from(bookmark, _LOCAL_SIZE)
            if self._floor <= mark <= self._latest():
                position = self.write_position
                while position > max(self.write_position - self.room, 0):
                    if self._marks[(position - 1) % self.capacity] <= mark:
                        break
                    position -= 1
                return position
        raise InvalidBookmarkError("invalid watch bookmark", namespace=self.kind.namespace, type=self.kind.type)
