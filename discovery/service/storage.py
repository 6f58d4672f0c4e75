"""Saves the clusters to the snapshot file, periodically and at the end, and loads them at the start."""

import time
from collections.abc import Callable
from pathlib import Path

import attrs
import trio

from nodespan.discovery.service import snapshot_file
from nodespan.discovery.service.cluster import Clusters
from nodespan.discovery.service.cluster_service import ClusterService
from nodespan.discovery.service.metrics import Metrics
from nodespan.runtime.process.logger import Logger


@attrs.define
class _Tally:
    clusters: int = 0
    affiliates: int = 0
    endpoints: int = 0
    size: int = 0


class Storage:
    """Keeps one file. `now` is the service's clock, in nanoseconds."""

    def __init__(
        self,
        path: Path,
        clusters: Clusters,
        service: ClusterService,
        metrics: Metrics,
        log: Logger,
        now: Callable[[], int],
    ) -> None:
        self._path = path
        self._clusters = clusters
        self._service = service
        self._metrics = metrics
        self._log = log
        self._now = now

    async def load(self) -> None:
        """Load the file, up to the first damage, if there is any."""
        started = time.perf_counter()
        tally = _Tally()
        now = self._now()
        try:
            with self._path.open("rb") as file:
                for record in snapshot_file.read_records(file):
                    self._clusters.mention(record.id)
                    tally.clusters += 1
                    for spec in snapshot_file.decode_cluster(record, now):
                        await self._service.restore(spec)
                        tally.affiliates += 1
                        tally.endpoints += len(spec.endpoints)
                    tally.size = file.tell()
                    await trio.lowlevel.checkpoint()
        except FileNotFoundError:
            self._metrics.not_stored("load")
            self._log.warning("no snapshot yet, starting without records", path=str(self._path))
        except (OSError, snapshot_file.SnapshotError) as error:
            self._metrics.not_stored("load")
            self._log.warning(
                "snapshot read only in part", path=str(self._path), error=str(error), affiliates=tally.affiliates
            )
            await trio.to_thread.run_sync(self._keep_damaged)
        else:
            self._metrics.stored("load", tally, time.perf_counter() - started)
            self._log.info("snapshot read", path=str(self._path), affiliates=tally.affiliates)

    def _keep_damaged(self) -> None:
        # The next save replaces the file, with what could be read of it.
        try:
            copy = snapshot_file.keep_damaged(self._path)
        except OSError as error:
            self._log.error("damaged snapshot not kept", path=str(self._path), error=str(error))
        else:
            self._log.info("the damaged snapshot is kept", path=str(copy))

    async def migrate(self) -> None:
        """Take over the records of the file into a state that lasts, and rename it: they must not come back later."""
        if not self._path.exists():
            return
        await self.load()
        done = self._path.with_name(f"{self._path.name}.migrated")
        try:
            self._path.replace(done)
        except OSError as error:
            self._log.error("snapshot not renamed", path=str(self._path), error=str(error))
        else:
            self._log.info("the records of the snapshot are in the state now", renamed=str(done))

    async def save(self) -> None:
        """Replace the file; a failure is logged. After a cancellation, the write may continue in the background."""
        started = time.perf_counter()
        tally = _Tally()
        now = self._now()
        records = []
        for id, cluster in self._clusters.items():
            records.append(snapshot_file.encode_cluster(id, cluster.affiliates.values(), now))
            tally.clusters += 1
            tally.affiliates += len(cluster.affiliates)
            tally.endpoints += sum(len(affiliate.endpoints) for affiliate in cluster.affiliates.values())
            await trio.lowlevel.checkpoint()
        try:
            tally.size = await trio.to_thread.run_sync(snapshot_file.write, self._path, records, abandon_on_cancel=True)
        except OSError as error:
            self._metrics.not_stored("save")
            self._log.error("snapshot not saved", path=str(self._path), error=str(error))
        else:
            self._metrics.stored("save", tally, time.perf_counter() - started)
            self._log.debug("snapshot saved", path=str(self._path), affiliates=tally.affiliates)
