"""cluster.AffiliateCacheController: remembers the other nodes across restarts, for when no discovery service answers.

The last reports of the services are kept in a file. A new agent publishes them as `cache/<node id>` until a service
reports that node, or the records would have expired there too. What the services do not report once they report any
node counts for a while yet (`missing_nodes`). The file holds no secret, but is private all the same.
"""

import json
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import trio

from nodespan.controllers.cluster.missing_nodes import PATIENCE, MissingNodes
from nodespan.controllers.common.boot_clock import BootClock, SystemBootClock
from nodespan.resources.cluster import DISCOVERY_CONFIG_ID, RAW_AFFILIATE, AffiliateSpec, DiscoveryConfig
from nodespan.runtime.codec.plain import spec_from_plain, spec_to_plain
from nodespan.runtime.controller import Controller, ControllerContext, shared, weak
from nodespan.runtime.ticks import tick
from nodespan.runtime.whole_file import replace_file

FILE_NAME = "affiliates.json"
# Seconds after which a discovery service expires what is not refreshed.
TTL = 30 * 60.0
# The file is written at most so often when something changes, and so often anyway, to show that it still holds.
_SAVE_INTERVAL = 5.0
_REFRESH_INTERVAL = 5 * 60.0
_FROM_SERVICE = "service/"
_FROM_CACHE = "cache/"
Affiliates = Mapping[str, AffiliateSpec]


def save(
    path: Path, cluster_id: str, affiliates: Affiliates, now: float, boot: str = "", since_boot: float = 0.0
) -> None:
    """Replace the file atomically. Blocks. Raises OSError."""
    plain = {
        "clusterId": cluster_id,
        "time": now,
        "boot": boot,
        "sinceBoot": since_boot,
        "affiliates": [spec_to_plain(spec) for spec in affiliates.values()],
    }
    replace_file(path, json.dumps(plain))


def load(path: Path, cluster_id: str, now: float, boot: str = "", since_boot: float = 0.0) -> tuple[Affiliates, float]:
    """The affiliates of this cluster in the file, by node id, and until when they count; none where there is no file.

    `now` is wall-clock time, which counts only if the machine was booted since: the wall clock may have been set.
    Blocks. Raises OSError for a file that cannot be read, ValueError for one that is damaged.
    """
    try:
        plain: Any = json.loads(path.read_text())
        is_same_boot = bool(boot) and plain.get("boot") == boot
        age = since_boot - plain["sinceBoot"] if is_same_boot else now - plain["time"]
        if plain["clusterId"] != cluster_id or not 0 <= age < TTL:
            return {}, now
        specs = [spec_from_plain(AffiliateSpec, found) for found in plain["affiliates"]]
        return {spec.node_id: spec for spec in specs}, now - age + TTL
    except FileNotFoundError:
        return {}, now
    except (KeyError, TypeError, AttributeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error


class AffiliateCacheController(Controller):
    """Writes `cache/<node id>` in cluster-raw for nodes that no service reports yet. `now` is wall-clock seconds."""

    name = "cluster.AffiliateCacheController"
    inputs = (weak(RAW_AFFILIATE), weak(DiscoveryConfig, DISCOVERY_CONFIG_ID))
    outputs = (shared(RAW_AFFILIATE),)

    def __init__(
        self,
        state_dir: Path,
        *,
        now: Callable[[], float] = time.time,
        clock: BootClock | None = None,
        save_interval: float = _SAVE_INTERVAL,
        patience: float = PATIENCE,
    ) -> None:
        self._clock = clock or SystemBootClock()
        self._path = state_dir / FILE_NAME
        self._now = now
        self._save_interval = save_interval
        self._cluster_id = ""
        self._reported: Affiliates = {}
        self._saved: Affiliates = {}
        # By the file, and until another cluster is configured.
        self._known: Affiliates = {}
        self._missing = MissingNodes(patience)
        self._wakes_at = math.inf

    async def run(self, ctx: ControllerContext) -> None:
        """Save what the services report, and publish what was saved."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._save_forever, ctx)
            expiry = trio.CancelScope()
            async for _ in ctx:
                config = ctx.find(DiscoveryConfig, DISCOVERY_CONFIG_ID)
                cluster_id = "" if config is None else config.spec.service_cluster_id
                self._reported = {
                    affiliate.spec.node_id: affiliate.spec
                    for affiliate in ctx.list(RAW_AFFILIATE)
                    if affiliate.id.startswith(_FROM_SERVICE)
                }
                if cluster_id != self._cluster_id:
                    expiry.cancel()
                    self._missing.clear()
                    self._known = {}
                    await self._forget(ctx)
                elif self._reported or self._missing:
                    # Also when the last reported node has gone: the time of the others goes on.
                    expiry.cancel()
                    await self._give_way(ctx)
                    if self._missing.due not in (self._wakes_at, math.inf):
                        self._wakes_at = self._missing.due
                        nursery.start_soon(_wake_at, ctx, self._wakes_at)
                if cluster_id != self._cluster_id:
                    self._cluster_id = cluster_id
                    if cluster_id and not self._reported:
                        expiry = trio.CancelScope()
                        nursery.start_soon(self._publish_saved, ctx, expiry)

    async def _publish_saved(self, ctx: ControllerContext, scope: trio.CancelScope) -> None:
        """Publish the saved affiliates until they expire."""
        with scope:
            try:
                now = self._now()
                boot, since_boot = self._clock.boot, self._clock.now()
                known, until = await trio.to_thread.run_sync(load, self._path, self._cluster_id, now, boot, since_boot)
            except (OSError, ValueError) as error:
                ctx.log.warning("the nodes known before the restart are not remembered", error=str(error))
                return
            if not known:
                return
            self._known = known
            ctx.log.info(
                "until a discovery service answers, the nodes known before the restart count", nodes=len(known)
            )
            for node_id, spec in known.items():
                await ctx.put(RAW_AFFILIATE, _FROM_CACHE + node_id, spec)
            await trio.sleep(max(0.0, until - now))
            await self._forget(ctx)

    async def _give_way(self, ctx: ControllerContext) -> None:
        """Forget the nodes that the services report, those that others have replaced, and in time all."""
        now = trio.current_time()
        cached = {raw.spec.node_id: raw for raw in ctx.list(RAW_AFFILIATE) if raw.metadata.owner == self.name}
        if not cached:
            return
        gone = self._missing.expired(now) | (self._reported.keys() & cached.keys())
        for node_id in gone:
            self._missing.drop(node_id)
        for node_id in cached.keys() - gone:
            self._missing.add(node_id, cached[node_id].spec, now)
        for spec in self._reported.values():
            gone |= self._missing.replaced_by(spec, self._known.get(spec.node_id))
        for node_id in gone & cached.keys():
            await ctx.remove(RAW_AFFILIATE, cached[node_id].id)

    async def _forget(self, ctx: ControllerContext) -> None:
        for affiliate in ctx.list(RAW_AFFILIATE):
            if affiliate.metadata.owner == self.name:
                await ctx.remove(RAW_AFFILIATE, affiliate.id)

    async def _save_forever(self, ctx: ControllerContext) -> None:
        saved_at = -_REFRESH_INTERVAL
        while True:
            await tick(self._save_interval)
            reported = self._reported
            if not reported or (reported == self._saved and trio.current_time() < saved_at + _REFRESH_INTERVAL):
                continue
            try:
                times = (self._now(), self._clock.boot, self._clock.now())
                await trio.to_thread.run_sync(save, self._path, self._cluster_id, reported, *times)
            except OSError as error:
                ctx.log.warning("the nodes of the cluster cannot be kept for a restart", error=str(error))
            self._saved, saved_at = reported, trio.current_time()


async def _wake_at(ctx: ControllerContext, moment: float) -> None:
    await trio.sleep_until(moment)
    ctx.wake()
