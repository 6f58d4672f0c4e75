"""network.NfTablesChainConfigController: the chains of the ingress firewall."""

from nodespan.resources.config import (
    MACHINE_CONFIG_ID,
    MachineConfig,
    NetworkDefaultActionConfig,
    NetworkRuleConfig,
)
from nodespan.resources.network import (
    INGRESS_CHAIN_ID,
    PREROUTING_CHAIN_ID,
    ROUTED_ADDRESSES_ID,
    ROUTED_NO_K8S_ID,
    NfTablesChain,
    NfTablesChainSpec,
    NodeAddress,
)
from nodespan.runtime.controller import Controller, ControllerContext, destroy_ready, shared, weak
from nodespan.runtime.errors import PhaseConflictError
from nodespan.runtime.loading import load
from nodespan.runtime.slices import Slices

_CHAINS = NfTablesChain.kind
_RULES = "nodespan.controllers.network.config.ingress_chains"


class NfTablesChainConfigController(Controller):
    """Writes its chains while the configuration has rules for incoming packets, or blocks them."""

    name = "network.NfTablesChainConfigController"
    only_derives = True
    inputs = (
        weak(MachineConfig, MACHINE_CONFIG_ID),
        weak(NodeAddress, ROUTED_NO_K8S_ID),
        weak(NodeAddress, ROUTED_ADDRESSES_ID),
        destroy_ready(NfTablesChain),
    )
    outputs = (shared(NfTablesChain),)

    async def run(self, ctx: ControllerContext) -> None:
        """Follow the configuration and the node's addresses."""
        async for _ in ctx:
            chains = await self._chains(ctx)
            for name in (INGRESS_CHAIN_ID, PREROUTING_CHAIN_ID):
                if name not in chains:
                    await ctx.remove(_CHAINS, name)
                    continue
                try:
                    await ctx.put(_CHAINS, name, chains[name])
                except PhaseConflictError:
                    # It is still being torn down: it is created again when that is done.
                    if await ctx.remove(_CHAINS, name):
                        await ctx.put(_CHAINS, name, chains[name])

    async def _chains(self, ctx: ControllerContext) -> dict[str, NfTablesChainSpec]:
        config = ctx.find(MachineConfig, MACHINE_CONFIG_ID)
        documents = () if config is None else config.spec.documents
        if config is None or not any(map(_is_about_it, documents)):
            return {}
        await load(_RULES)
        from nodespan.controllers.network.config.ingress_chains import deriving, ingress_chains

        slices = Slices()
        for _ in deriving(config.spec):
            await slices.rest()
        own = ctx.find(NodeAddress, ROUTED_NO_K8S_ID)
        if own is None or not own.spec.addresses:
            # Networks of pods may hold them all.
            own = ctx.find(NodeAddress, ROUTED_ADDRESSES_ID) or own
        return ingress_chains(config.spec, () if own is None else own.spec.addresses)


def _is_about_it(document: object) -> bool:
    return isinstance(document, NetworkDefaultActionConfig | NetworkRuleConfig)
