"""The cost of one prefix in a set of the packet filter: by the nft that is kept, against `nft -f`."""

import json
import os
import subprocess
import time
from collections.abc import Callable

from bench.measure import Figure, compare
from nodespan.kernel.packet_filter.owned_table import OwnedTable

CHANGES = 12
_SET = "table inet bench { set s { type ipv4_addr; flags interval; elements = { %s }; }; }"


def _prefix(number: int) -> str:
    return f"10.{number >> 8}.{number & 255}.0/25"


def _document(number: int) -> str:
    prefix = {"prefix": {"addr": f"172.16.{number}.0", "len": 24}}
    element = {"family": "inet", "table": "bench", "name": "s", "elem": [prefix]}
    return json.dumps({"nftables": [{"add": {"element": element}}]})


def _median(change: Callable[[int], object], first: int) -> float:
    seconds: list[float] = []
    for number in range(first, first + CHANGES):
        started = time.perf_counter()
        change(number)
        seconds.append(time.perf_counter() - started)
    return sorted(seconds)[CHANGES // 2] * 1e3


def _measure(elements: int) -> tuple[float, float]:
    name = f"nodespan-bench-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:

        def file(text: str) -> None:
            command = ["ip", "netns", "exec", name, "nft", "-f", "-"]
            subprocess.run(command, input=text, text=True, check=True, capture_output=True)

        file(_SET % ", ".join(map(_prefix, range(elements))))
        kept = OwnedTable.open("guard", f"/run/netns/{name}")
        try:
            return compare(
                lambda: _median(lambda number: kept.apply(_document(number)), 0),
                lambda: _median(lambda number: file(f"add element inet bench s {{ 172.17.{number}.0/24 }}"), 0),
                repeats=3,
            )
        finally:
            kept.close()
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)


def one_in_few() -> Figure:
    """One prefix added to a hundred."""
    return Figure("one prefix added to a set of 100, against nft -f", *_measure(100), 0.5, "ms")


def one_in_many() -> Figure:
    """One prefix added to ten thousand, which nft reads before it changes them."""
    return Figure("one prefix added to a set of 10,000, against nft -f", *_measure(10_000), 3, "ms")


FIGURES = (one_in_few, one_in_many)
