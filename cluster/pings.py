"""Pings between the nodes of a cluster, shown as a table."""

import time
from collections.abc import Callable, Iterable, Mapping

from nodespan.cluster.echo import ping
from nodespan.cluster.plan import Station
from nodespan.cluster.station_processes import NAMESPACES
from nodespan.cluster.terminal import Terminal
from nodespan.runtime.cli.errors import CommandError
from nodespan.runtime.text.table import Table

_INTERVAL = 0.2

# A column about the pinged node: its heading, and the address.
Columns = Mapping[str, Callable[[Station], str]]


def ping_all(
    pairs: Iterable[tuple[Station, Station]], columns: Columns, terminal: Terminal, *, patience: float
) -> None:
    """Ping the second node of each pair from the first, at each address; blocks up to `patience` seconds for the first
    one that does not answer, and tries the others behind it once. Raises CommandError if one does not answer."""
    rows = Table(["FROM", "TO", *(word for heading in columns for word in (heading, "TIME"))])
    silent: list[str] = []
    for node, peer in pairs:
        cells = [node.name, peer.name]
        for address_of in columns.values():
            address = address_of(peer)
            took = _ping(node, address, 0.0 if silent else patience)
            cells += [address, "no answer" if took is None else f"{took * 1000:.1f} ms"]
            if took is None:
                silent.append(f"{peer.name} does not answer {node.name} at {address}")
        rows.add(cells)
    for line in rows.flush().splitlines():
        terminal.line(line)
    if silent:
        raise CommandError("; ".join(silent))


def _ping(node: Station, address: str, patience: float) -> float | None:
    deadline = time.monotonic() + patience
    sequence = 0
    while True:
        sequence += 1
        took = ping(NAMESPACES / node.namespace, address, sequence=sequence)
        if took is not None or time.monotonic() >= deadline:
            return took
        time.sleep(_INTERVAL)
