"""Sorted, disjoint ranges of addresses of one family, as integers: union, difference and complement."""

from collections.abc import Iterable
from ipaddress import ip_network

# First and last address, both included.
Range = tuple[int, int]

# The length of an address, by version.
BITS = {4: 32, 6: 128}


def everything(version: int) -> Range:
    """All addresses of a family."""
    return 0, (1 << BITS[version]) - 1


def ranges(
    version: int, include: Iterable[str], exclude: Iterable[str] = (), *, invert: bool = False
) -> tuple[Range, ...]:
    """The ranges of `include` without `exclude`, sorted and disjoint. Raises ValueError for an invalid prefix."""
    found = subtract(union(_ranges(version, include)), union(_ranges(version, exclude)))
    return subtract((everything(version),), found) if invert else found


def union(given: Iterable[Range]) -> tuple[Range, ...]:
    """Sort ranges and merge those that overlap or touch."""
    merged: list[Range] = []
    for first, last in sorted(given):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return tuple(merged)


def subtract(given: Iterable[Range], away: tuple[Range, ...]) -> tuple[Range, ...]:
    """Remove `away` from `given`; both are sorted and disjoint. Takes as long as both are, not as their product."""
    left: list[Range] = []
    hole = 0
    for first, last in given:
        while hole < len(away) and away[hole][1] < first:
            hole += 1
        at = hole
        while at < len(away) and away[at][0] <= last:
            hole_first, hole_last = away[at]
            if hole_first > first:
                left.append((first, hole_first - 1))
            first = max(first, hole_last + 1)
            at += 1
        # The last hole may reach into the next range.
        hole = max(hole, at - 1)
        if first <= last:
            left.append((first, last))
    return tuple(left)


def _ranges(version: int, prefixes: Iterable[str]) -> list[Range]:
    networks = (ip_network(prefix, strict=False) for prefix in prefixes)
    return [
        (int(network.network_address), int(network.broadcast_address))
        for network in networks
        if network.version == version
    ]
