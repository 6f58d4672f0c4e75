"""Records of several discovery services, indexed so that a change of one node touches that node only."""

from collections.abc import Hashable, Iterable, Mapping
from typing import Generic, TypeVar

import attrs

from nodespan.resources.cluster import AffiliateSpec

S = TypeVar("S", bound=Hashable)


@attrs.frozen
class _Record:
    order: int
    spec: AffiliateSpec


class RawAffiliates(Generic[S]):
    """The latest record of each affiliate at each service.

    Where services differ about a node, the latest change counts, whichever service reported it: a service that no
    longer answers does not override one that does. A service's ids and the nodes' own may differ.
    """

    def __init__(self) -> None:
        self._clock = 0
        self._node_of: dict[S, dict[str, str]] = {}
        self._records: dict[str, dict[tuple[S, str], _Record]] = {}

    def take(self, source: S, changes: Mapping[str, AffiliateSpec | None]) -> set[str]:
        """A service reports these records by its ids, None for one that is gone.

        Returns the ids of the nodes concerned.
        """
        nodes = self._node_of.setdefault(source, {})
        touched = set()
        for id, spec in changes.items():
            self._clock += 1
            before = nodes.pop(id, None)
            if before is not None:
                touched.add(before)
                self._drop(before, (source, id))
            if spec is not None:
                touched.add(spec.node_id)
                nodes[id] = spec.node_id
                self._records.setdefault(spec.node_id, {})[source, id] = _Record(self._clock, spec)
        return touched

    def forget(self, source: S) -> set[str]:
        """A service is not used any more. Returns the ids of the nodes that it reported."""
        nodes = self._node_of.pop(source, {})
        for id, node_id in nodes.items():
            self._drop(node_id, (source, id))
        return set(nodes.values())

    def latest(self, node_id: str) -> AffiliateSpec | None:
        """The latest record of a node."""
        records = self._records.get(node_id)
        return None if not records else max(records.values(), key=lambda record: record.order).spec

    def unknown(self, node_ids: Iterable[str]) -> set[str]:
        """The ids that no service reports."""
        return {node_id for node_id in node_ids if node_id not in self._records}

    def _drop(self, node_id: str, key: tuple[S, str]) -> None:
        del self._records[node_id][key]
        if not self._records[node_id]:
            del self._records[node_id]
