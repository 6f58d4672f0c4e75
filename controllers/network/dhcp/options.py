"""Reads the options of a server's answer one by one: what is invalid is left out and named, the rest applies."""

import enum
from collections.abc import Callable
from typing import Generic, TypeVar

import attrs

from nodespan.controllers.network.dhcp.malformed import MalformedError

T = TypeVar("T")
C = TypeVar("C", bound=enum.IntEnum)
D = TypeVar("D")


@attrs.frozen
class Items(Generic[T]):
    """The valid items of a list, and what was wrong with the others."""

    valid: tuple[T, ...] = ()
    errors: tuple[str, ...] = ()


def parse_fixed(data: bytes, size: int, parse: Callable[[bytes], T]) -> Items[T]:
    """A list whose items have `size` bytes each. `parse` raises MalformedError for an invalid one."""
    valid: list[T] = []
    errors: list[str] = []
    whole = len(data) - len(data) % size
    for at in range(0, whole, size):
        try:
            valid.append(parse(data[at : at + size]))
        except MalformedError as error:
            errors.append(str(error))
    if not data:
        errors.append("it is empty")
    elif whole < len(data):
        errors.append(f"the last {len(data) - whole} bytes are no whole item of {size} bytes")
    return Items(tuple(valid), tuple(errors))


class OptionReader(Generic[C]):
    """`find` gives the bytes of an option, None where the message does not have it. `ignored` collects the errors."""

    def __init__(self, find: Callable[[C], bytes | None]) -> None:
        self._find = find
        self._ignored: list[str] = []

    @property
    def ignored(self) -> tuple[str, ...]:
        """What was left out so far, each with the option that it was in."""
        return tuple(self._ignored)

    def ignore(self, code: C, error: str) -> None:
        """Note something that is left out."""
        self._ignored.append(f"option {code.value} ({code.name}): {error}")

    def required(self, code: C, parse: Callable[[bytes], T]) -> T:
        """An option without which there is no lease. Raises MalformedError."""
        data = self._find(code)
        if data is None:
            raise MalformedError(f"an answer without the option {code.name}")
        try:
            return parse(data)
        except MalformedError as error:
            raise MalformedError(f"option {code.name}: {error}") from error

    def optional(self, code: C, parse: Callable[[bytes], T], default: D) -> T | D:
        """One value; the default where the option is missing or invalid."""
        data = self._find(code)
        if data is None:
            return default
        try:
            return parse(data)
        except MalformedError as error:
            self.ignore(code, str(error))
            return default

    def items(self, code: C, parse: Callable[[bytes], Items[T]]) -> tuple[T, ...]:
        """The valid items of a list; none where the option is missing."""
        data = self._find(code)
        if data is None:
            return ()
        found = parse(data)
        for error in found.errors:
            self.ignore(code, error)
        return found.valid
