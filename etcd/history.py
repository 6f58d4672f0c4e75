"""How far etcd's history was seen, to notice when another one follows."""

import attrs

from nodespan.etcd.errors import HistoryError
from nodespan.etcd.values import Header


@attrs.frozen
class History:
    """The cluster that answered, and the last revision seen."""

    cluster_id: int | None = None
    revision: int = 0

    def of_cluster(self, header: Header) -> "History":
        """After an answer that may be stale. Raises HistoryError if it comes from another cluster."""
        if self.cluster_id not in (None, header.cluster_id):
            raise HistoryError(
                f"etcd is another cluster than before: {header.cluster_id:x} instead of {self.cluster_id:x}"
            )
        return History(header.cluster_id, self.revision)

    def followed_by(self, header: Header) -> "History":
        """After the answer to a linearizable read. Raises HistoryError if it contradicts what was seen before."""
        before = self.of_cluster(header)
        if header.revision < self.revision:
            raise HistoryError(
                f"etcd was restored from an old snapshot: revision {header.revision} follows {self.revision}"
            )
        return attrs.evolve(before, revision=header.revision)

    def reaching(self, revision: int) -> "History":
        """After an event of this revision."""
        return attrs.evolve(self, revision=max(self.revision, revision))
