"""network.ProbeController: tries what probes name, each in a task of its own, and publishes the results.

network.ProbeConfigController makes the probes of the configuration unmerged specs.
"""

import functools
import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import attrs
import trio

from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig
from nodespan.resources.network import CONFIG_NAMESPACE, ProbeSpec, ProbeSpecSpec, ProbeStatus, layered_id
from nodespan.resources.runtime import ENVIRONMENT_ID, Environment
from nodespan.resources.trust import TRUST_BUNDLE_ID, TrustBundle
from nodespan.runtime.controller import Controller, ControllerContext, exclusive, shared, weak
from nodespan.runtime.loading import load
from nodespan.runtime.text.escaping import bounded

if TYPE_CHECKING:
    from nodespan.controllers.network.probes.probe_rules import Target

_ATTEMPTS = "nodespan.controllers.network.probes.attempts"
# How many probes are tried at a time; the others wait for their turn.
CONCURRENCY = 32
# By what part of the interval a wait is longer or shorter: probes of one interval do not stay in step.
JITTER = 0.1
_LONGEST_ERROR = 300
_UNMERGED = ProbeSpec.within(CONFIG_NAMESPACE)
_INPUTS = (weak(ProbeSpec), weak(MachineConfig, MACHINE_CONFIG_ID))
_WHILE_PROBING = (weak(Environment, ENVIRONMENT_ID), weak(TrustBundle, TRUST_BUNDLE_ID))


# Tries a target once; returns why it failed, "" for a success.
Attempt = Callable[["Target"], Awaitable[str]]


async def attempt(target: "Target") -> str:
    """Over the network."""
    from nodespan.controllers.network.probes.attempts import try_target

    return await try_target(target)


class ProbeConfigController(Controller):
    """A spec for each target that a document names."""

    name = "network.ProbeConfigController"
    only_derives = True
    inputs = (weak(MachineConfig, MACHINE_CONFIG_ID),)
    outputs = (shared(ProbeSpec),)

    async def run(self, ctx: ControllerContext) -> None:
        """Follow the configuration."""
        async for _ in ctx:
            async with ctx.tracked_outputs(_UNMERGED):
                config = ctx.find(MachineConfig, MACHINE_CONFIG_ID)
                if config is not None:
                    from nodespan.controllers.network.probes.probe_rules import configured_probes

                    for id, spec in configured_probes(config.spec).items():
                        await ctx.put(_UNMERGED, layered_id(spec.layer, id), spec)


@attrs.frozen
class _Runner:
    target: "Target"
    scope: trio.CancelScope


class ProbeController(Controller):
    """One status per probe, from its first result that counts. A changed probe begins anew; its status stays."""

    name = "network.ProbeController"
    inputs = _INPUTS
    outputs = (exclusive(ProbeStatus),)

    def __init__(self, *, attempt: Attempt = attempt, random: random.Random | None = None) -> None:
        self._attempt = attempt
        self._random = random or _new_random()
        self._limit = trio.CapacityLimiter(CONCURRENCY)
        self._runners: dict[str, _Runner] = {}
        self._is_probing = False

    async def run(self, ctx: ControllerContext) -> None:
        """Follow the specs."""
        self._runners.clear()
        async with trio.open_nursery() as nursery:
            async for _ in ctx:
                specs = {found.id: found.spec for found in ctx.list(ProbeSpec) if not found.metadata.is_tearing_down}
                await self._begin(ctx, bool(specs))
                targets = self._targets(ctx, specs) if specs else {}
                for id, runner in tuple(self._runners.items()):
                    if targets.get(id) != runner.target:
                        runner.scope.cancel()
                        del self._runners[id]
                for status in ctx.list(ProbeStatus):
                    if status.id not in targets:
                        await ctx.destroy(ProbeStatus, status.id)
                for id, target in targets.items():
                    if id not in self._runners:
                        runner = self._runners[id] = _Runner(target, trio.CancelScope())
                        nursery.start_soon(functools.partial(self._follow, ctx, id, runner))

    async def _begin(self, ctx: ControllerContext, is_probing: bool) -> None:
        """Only a node with probes looks at proxies and authorities, and loads what tries them."""
        if is_probing:
            await load(_ATTEMPTS)
        if is_probing != self._is_probing:
            self._is_probing = is_probing
            ctx.set_inputs((*_INPUTS, *_WHILE_PROBING) if is_probing else _INPUTS)

    def _targets(self, ctx: ControllerContext, specs: dict[str, ProbeSpecSpec]) -> dict[str, "Target"]:
        from nodespan.controllers.network.probes.probe_rules import Target, urls

        config = ctx.find(MachineConfig, MACHINE_CONFIG_ID)
        environment, bundle = ctx.find(Environment, ENVIRONMENT_ID), ctx.find(TrustBundle, TRUST_BUNDLE_ID)
        whole = urls(None if config is None else config.spec)
        variables = () if environment is None else environment.spec.variables
        trust, digest = ("", "") if bundle is None else (bundle.spec.path, bundle.spec.digest)
        return {
            id: Target(spec=spec)
            if spec.http is None
            else Target(spec=spec, url=whole.get(id, spec.http.url), variables=variables, trust=trust, digest=digest)
            for id, spec in specs.items()
        }

    async def _follow(self, ctx: ControllerContext, id: str, runner: _Runner) -> None:
        from nodespan.controllers.network.probes.probe_rules import Tally

        spec, tally = runner.target.spec, Tally()
        with runner.scope:
            while True:
                async with self._limit:
                    error = await self._attempt(runner.target)
                tally, status = tally.after(bounded(error, _LONGEST_ERROR), spec.failure_threshold)
                before = ctx.find(ProbeStatus, id)
                if status is not None and (before is None or before.spec != status):
                    if before is None or before.spec.success != status.success:
                        log = ctx.log.info if status.success else ctx.log.warning
                        log("a probe of the network", probe=id, success=status.success, reason=status.last_error)
                    await ctx.put(ProbeStatus, id, status)
                interval = spec.interval.total_seconds()
                await trio.sleep(interval * self._random.uniform(1 - JITTER, 1 + JITTER))


def _new_random() -> random.Random:
    return random.Random()  # noqa: S311
