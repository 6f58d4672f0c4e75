"""Nodes that a discovery service no longer reports without having deleted them, and for how long they still count.

Theory of operation. A service that was started again without its records, or that replaces another one, knows only
those nodes that have found it so far. The first snapshot from it lacks the others, although they are alive, and their
tunnels work: to drop them would tear the mesh down, and send what is for them in clear text until they are back. So a
node that a snapshot lacks counts for as long as a client waits between two attempts at most; by then it has announced
itself again.

    the node is reported again                              it counts by that
    another node takes its name, or an address of it         it is gone: the machine was installed again, or replaced
    a service deletes it                                     it is gone: it has left, or its record has expired
    the time is over                                         it is gone
"""

import attrs

from nodespan.resources.cluster import AffiliateSpec
from nodespan.runtime.backoff import RESTARTS

# The longest wait of a client between two attempts, and a moment for its announcement.
PATIENCE = RESTARTS.cap * (1 + RESTARTS.jitter) + 5.0


@attrs.frozen
class _Missing:
    spec: AffiliateSpec
    until: float


class MissingNodes:
    """By node id. Times are of one clock."""

    def __init__(self, patience: float = PATIENCE) -> None:
        self._patience = patience
        self._missing: dict[str, _Missing] = {}
        # Who has a name or an address among the missing ones.
        self._holders: dict[str, set[str]] = {}

    def __contains__(self, node_id: str) -> bool:
        return node_id in self._missing

    @property
    def due(self) -> float:
        """When the first of them counts no longer; infinite if there are none."""
        # They are added in the order of their times.
        return next((missing.until for missing in self._missing.values()), float("inf"))

    def add(self, node_id: str, spec: AffiliateSpec, now: float) -> None:
        """A snapshot lacks a node that was known by this record.

        One that is missing already is not missed for longer.
        """
        if node_id not in self._missing:
            self._missing[node_id] = _Missing(spec, now + self._patience)
            for mark in _marks(spec):
                self._holders.setdefault(mark, set()).add(node_id)

    def drop(self, node_id: str) -> None:
        """A node is reported again, or is gone."""
        missing = self._missing.pop(node_id, None)
        for mark in () if missing is None else _marks(missing.spec):
            holders = self._holders[mark]
            holders.discard(node_id)
            if not holders:
                del self._holders[mark]

    def replaced_by(self, spec: AffiliateSpec) -> set[str]:
        """The missing nodes whose name or address another one has now; they are dropped."""
        found = {id for mark in _marks(spec) for id in self._holders.get(mark, ())} - {spec.node_id}
        for node_id in found:
            self.drop(node_id)
        return found

    def expired(self, now: float) -> set[str]:
        """The nodes that count no longer; they are dropped."""
        found = {node_id for node_id, missing in self._missing.items() if missing.until <= now}
        for node_id in found:
            self.drop(node_id)
        return found

    def clear(self) -> set[str]:
        """All of them; they are dropped."""
        found = set(self._missing)
        self._missing.clear()
        self._holders.clear()
        return found


def _marks(spec: AffiliateSpec) -> frozenset[str]:
    """What no two living nodes have both: a name, an address."""
    mesh = () if spec.kubespan is None else (spec.kubespan.address,)
    return frozenset((f"name {spec.nodename}" if spec.nodename else "", *spec.addresses, *mesh)) - {""}
