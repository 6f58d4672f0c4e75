"""Accounts for buffered bytes. Data that several holders share is in memory once, and counts once."""

from typing import Protocol


class Sized(Protocol):
    """Bytes, however they are kept."""

    def __len__(self) -> int: ...


class Ledger:
    """Counts bytes up to a limit. What is added here is added to the parent too, which has a limit of its own.

    Data is identified by object identity: pass the same object to `add` and `drop`, and keep it alive in between.
    """

    __slots__ = ("_limit", "_parent", "_shared", "used")

    def __init__(self, limit: float, parent: "Ledger | None" = None) -> None:
        self.used = 0
        self._limit = limit
        self._parent = parent
        # None while there is nothing.
        self._shared: dict[int, int] | None = None

    def has_room(self, data: Sized) -> bool:
        """Whether the data could be added."""
        return self._grants(id(data), len(data))

    def add(self, data: Sized) -> bool:
        """Account for the data; returns False, and changes nothing, if that exceeds a limit."""
        if not self.has_room(data):
            return False
        self._add(id(data), len(data))
        return True

    def drop(self, data: Sized) -> None:
        """Release the data."""
        self._drop(id(data), len(data))

    def grow(self, size: int) -> bool:
        """Account for this many bytes that are not shared; returns False, and changes nothing, beyond a limit."""
        if not self._has_room_for(size):
            return False
        ledger: Ledger | None = self
        while ledger is not None:
            ledger.used += size
            ledger = ledger._parent
        return True

    def shrink(self, size: int) -> None:
        """Release this many bytes."""
        ledger: Ledger | None = self
        while ledger is not None:
            ledger.used -= size
            ledger = ledger._parent

    def _has_room_for(self, size: int) -> bool:
        return self.used + size <= self._limit and (self._parent is None or self._parent._has_room_for(size))

    def _grants(self, key: int, size: int) -> bool:
        if self._shared is not None and key in self._shared:
            return True  # so the parents count it already
        return self.used + size <= self._limit and (self._parent is None or self._parent._grants(key, size))

    def _add(self, key: int, size: int) -> None:
        if self._shared is None:
            self._shared = {}
        holders = self._shared[key] = self._shared.get(key, 0) + 1
        if holders == 1:
            self.used += size
            if self._parent is not None:
                self._parent._add(key, size)

    def _drop(self, key: int, size: int) -> None:
        shared = self._shared
        assert shared is not None
        holders = shared.pop(key) - 1
        if holders:
            shared[key] = holders
            return
        if not shared:
            self._shared = None
        self.used -= size
        if self._parent is not None:
            self._parent._drop(key, size)
