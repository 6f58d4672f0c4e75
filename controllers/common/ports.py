"""Ports of TCP and UDP as a configuration writes them."""

import re
from collections.abc import Iterable

HIGHEST_PORT = 65535
_RANGE = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")

# The first and the last port, both included.
Ports = tuple[int, int]


def parse_ports(text: str) -> Ports | None:
    """`80` or `8000-8100`; None for anything else, and for a range that ends before it begins."""
    match = _RANGE.fullmatch(text)
    if match is None:
        return None
    first = int(match[1])
    last = first if match[2] is None else int(match[2])
    return (first, last) if first <= last <= HIGHEST_PORT else None


def sorted_ports(texts: Iterable[str]) -> tuple[Ports, ...]:
    """Those of the texts that are ports, by the first one."""
    return tuple(sorted(filter(None, map(parse_ports, texts))))
