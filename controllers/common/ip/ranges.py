"""Which addresses of a family a match is about, as ranges: what is included, without what is excluded, or the rest."""

from collections.abc import Iterable
from ipaddress import ip_network

Range = tuple[int, int]

_BITS = {4: 32, 6: 128}


def everything(version: int) -> Range:
    """All addresses of a family."""
    return 0, (1 << _BITS[version]) - 1


def ranges(
    version: int, include: Iterable[str], exclude: Iterable[str] = (), *, invert: bool = False
) -> tuple[Range, ...]:
    """The ranges of one family, in order, apart from each other. Raises ValueError for what is no prefix."""
    found = subtract(union(_ranges(version, include)), union(_ranges(version, exclude)))
    return subtract((everything(version),), found) if invert else found


def union(given: Iterable[Range]) -> tuple[Range, ...]:
    """The same addresses without overlaps; neighbours become one."""
    merged: list[Range] = []
    for first, last in sorted(given):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return tuple(merged)


def subtract(given: Iterable[Range], away: tuple[Range, ...]) -> tuple[Range, ...]:
    """What is left of disjoint ranges when others, sorted and disjoint, are taken away."""
    left: list[Range] = []
    for first, last in given:
        for hole_first, hole_last in away:
            if hole_last < first or hole_first > last:
                continue
            if hole_first > first:
                left.append((first, hole_first - 1))
            first = hole_last + 1
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
