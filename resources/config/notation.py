"""Annotated types for integers of the configuration with limits or a notation of their own."""

from typing import Annotated

import attrs


@attrs.frozen
class Bounds:
    """The smallest and the largest value of an integer."""

    low: int
    high: int


@attrs.frozen
class Octal:
    """An integer in base eight, as `0644` or `0o644`."""


Unsigned8 = Annotated[int, Bounds(0, 2**8 - 1)]
Unsigned16 = Annotated[int, Bounds(0, 2**16 - 1)]
Unsigned32 = Annotated[int, Bounds(0, 2**32 - 1)]
FileMode = Annotated[int, Bounds(0, 0o7777), Octal()]
