"""cluster.InfoController: says which cluster this node belongs to."""

from nodespan.controllers.cluster.config import cluster_identity
from nodespan.resources.cluster import INFO_ID, Info, InfoSpec
from nodespan.resources.config import MACHINE_CONFIG_ID, KubeClusterConfig, MachineConfig
from nodespan.runtime.controller import Controller, ControllerContext, exclusive, weak


class InfoController(Controller):
    """Writes `current` while the configuration names a cluster."""

    name = "cluster.InfoController"
    inputs = (weak(MachineConfig, MACHINE_CONFIG_ID),)
    outputs = (exclusive(Info),)

    async def run(self, ctx: ControllerContext) -> None:
        """Follow the configuration."""
        async for _ in ctx:
            async with ctx.tracked_outputs(Info):
                config = ctx.find(MachineConfig, MACHINE_CONFIG_ID)
                if config is None:
                    continue
                cluster_id, _secret = cluster_identity(config.spec)
                document = next(iter(config.spec.documents_of(KubeClusterConfig)), None)
                cluster_name = config.spec.cluster.cluster_name if document is None else document.cluster_name
                if cluster_id or cluster_name:
                    await ctx.put(Info, INFO_ID, InfoSpec(cluster_id=cluster_id, cluster_name=cluster_name))
