"""Nodes that a discovery service no longer reports without having deleted them, and for how long they still count.

Theory of operation. A service that was started again without its records, or that replaces another one, knows only
those nodes that have found it so far. The first snapshot from it lacks the others, although they are alive, and their
tunnels work: to drop them would tear the mesh down, and send what is for them in clear text until they are back. So a
node that a snapshot lacks counts for as long as a client takes to come back at most; by then it has announced itself
again.

    the node is reported again                              it counts by that
    another node takes its place                             it is gone: the machine was installed again, or replaced
    a service deletes it                                     it is gone: it has left, or its record has expired
    the time is over                                         it is gone

Another node takes the place of one with its node name or mesh address, or if it has all of its addresses. A single
address does not tell: a virtual IP goes from a node that lives to another one. Nor does what the other node had while
both were known: living nodes may share a name (clones of one machine), or an address (each behind its own router).
"""

import attrs

from nodespan.resources.cluster import AffiliateSpec
from nodespan.runtime.backoff import RESTARTS

# What the transport gives a connection, and a client the hello. Not imported: an agent without discovery does not pay.
CONNECT_LIMIT, HELLO_LIMIT = 8.0, 10.0
# The longest way back of a client: the attempt under way fails, it waits, the next one takes as long, and a moment for
# its announcement.
PATIENCE = 2 * (CONNECT_LIMIT + HELLO_LIMIT) + RESTARTS.cap * (1 + RESTARTS.jitter) + 5.0


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

    def __len__(self) -> int:
        return len(self._missing)

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

    def replaced_by(self, spec: AffiliateSpec, before: AffiliateSpec | None) -> set[str]:
        """The missing nodes whose place another one has taken; they are dropped.

        `before` is the record by which the other one was known together with them, if it was.
        """
        if not self._missing or spec == before:
            return set()
        candidates = {id for mark in _marks(spec) for id in self._holders.get(mark, ())} - {spec.node_id}
        found = set()
        for node_id in candidates:
            gone = self._missing[node_id].spec
            if _is_in_place_of(gone, spec) and (before is None or not _is_in_place_of(gone, before)):
                found.add(node_id)
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
    """What finds the nodes whose place another one may have taken."""
    return _names(spec) | frozenset(spec.addresses)


def _names(spec: AffiliateSpec) -> frozenset[str]:
    mesh = "" if spec.kubespan is None else spec.kubespan.address
    return frozenset({f"name {spec.nodename}" if spec.nodename else "", f"mesh {mesh}" if mesh else ""} - {""})


def _is_in_place_of(gone: AffiliateSpec, spec: AffiliateSpec) -> bool:
    if _names(gone) & _names(spec):
        return True
    return bool(gone.addresses) and set(gone.addresses) <= set(spec.addresses)
