"""Whole numbers of the configuration that have limits or a notation of their own, as annotated types."""

from typing import Annotated

import attrs


@attrs.frozen
class Bounds:
    """The smallest and the largest value that a whole number may have."""

    low: int
    high: int


@attrs.frozen
class Octal:
    """The number is written in base eight, as `0644` or `0o644`."""


Unsigned8 = Annotated[int, Bounds(0, 2**8 - 1)]
Unsigned16 = Annotated[int, Bounds(0, 2**16 - 1)]
Unsigned32 = Annotated[int, Bounds(0, 2**32 - 1)]
FileMode = Annotated[int, Bounds(0, 0o7777), Octal()]
