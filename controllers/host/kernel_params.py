"""runtime.KernelParamSpecController: sets kernel parameters, and puts back what is no longer desired.

runtime.KernelParamConfigController says which parameters the configuration names, and which it implies;
runtime.ForwardingController names it where networks behind this node are advertised, and packets not forwarded.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from nodespan.controllers.common.problems import Problems
from nodespan.controllers.host.host import Host
from nodespan.controllers.host.undo_gate import CONFIG_INPUT, GRACE, UndoGate
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig
from nodespan.resources.kubespan import KUBESPAN_CONFIG_ID, KubeSpanConfig
from nodespan.resources.network import LinkStatus, NetworkProblem
from nodespan.resources.network.problem import Severity
from nodespan.resources.runtime import KernelParamDefaultSpec, KernelParamSpec, KernelParamSpecSpec, KernelParamStatus
from nodespan.runtime.controller import Controller, ControllerContext, exclusive, shared, weak
from nodespan.runtime.loading import load
from nodespan.runtime.ticks import tick

if TYPE_CHECKING:
    from nodespan.controllers.host.kernel_parameters import KernelParameters

RECORD = "kernel.jsonl"
# How often the values are looked at, in seconds: the kernel does not tell of changes.
POLL_INTERVAL = 5.0
_PARAMETERS = "nodespan.controllers.host.kernel_parameters"
_INPUTS = (weak(KernelParamSpec), weak(KernelParamDefaultSpec), CONFIG_INPUT)


class KernelParamConfigController(Controller):
    """A spec for each parameter that is named, and a default for what the mesh needs and nobody names."""

    name = "runtime.KernelParamConfigController"
    only_derives = True
    inputs = (weak(MachineConfig, MACHINE_CONFIG_ID), weak(KubeSpanConfig, KUBESPAN_CONFIG_ID))
    outputs = (exclusive(KernelParamSpec), exclusive(KernelParamDefaultSpec))

    async def run(self, ctx: ControllerContext) -> None:
        """Follow the configuration."""
        warned: dict[str, str] = {}
        async for _ in ctx:
            async with ctx.tracked_outputs(KernelParamSpec, KernelParamDefaultSpec):
                config, mesh = ctx.find(MachineConfig, MACHINE_CONFIG_ID), ctx.find(KubeSpanConfig, KUBESPAN_CONFIG_ID)
                if config is not None:
                    from nodespan.controllers.host.kernel_parameter_rules import (
                        configured_parameters,
                        implied_parameters,
                        weakened,
                    )

                    for id, spec in configured_parameters(config.spec).items():
                        await ctx.put(KernelParamSpec, id, spec)
                    for id, spec in implied_parameters(config.spec, None if mesh is None else mesh.spec).items():
                        await ctx.put(KernelParamDefaultSpec, id, spec)
                    overridden = weakened(config.spec)
                    for key in sorted(overridden.keys() - warned.keys()):
                        ctx.log.warning("a kernel parameter is set that defaults.hardening protects", parameter=key)
                    warned = overridden


class ForwardingController(Controller):
    """Writes problems only. IPv4 is forwarded unless the configuration says otherwise; IPv6 only if it says so."""

    name = "runtime.ForwardingController"
    inputs = (weak(MachineConfig, MACHINE_CONFIG_ID), weak(KubeSpanConfig, KUBESPAN_CONFIG_ID))
    outputs = (shared(NetworkProblem),)

    def __init__(self, *, own: Path = Path("/")) -> None:
        self._own = own

    async def run(self, ctx: ControllerContext) -> None:
        """Follow the configuration."""
        problems = Problems(ctx, KernelParamDefaultSpec)
        async for _ in ctx:
            config, mesh = ctx.find(MachineConfig, MACHINE_CONFIG_ID), ctx.find(KubeSpanConfig, KUBESPAN_CONFIG_ID)
            found: dict[str, str] = {}
            if config is not None and mesh is not None:
                from nodespan.controllers.host.kernel_parameter_rules import (
                    advertised_versions,
                    configured_parameters,
                    forwarding_faults,
                )

                versions = advertised_versions(config.spec, mesh.spec)
                forwards = await trio.to_thread.run_sync(self._forwards_ipv6) if 6 in versions else ""
                found = dict(forwarding_faults(versions, configured_parameters(config.spec), forwards))
            await problems.keep(found)
            for id, text in found.items():
                await problems.set(id, text, severity=Severity.WARNING)

    def _forwards_ipv6(self) -> str:
        try:
            return (self._own / "proc/sys/net/ipv6/conf/all/forwarding").read_text().strip()
        except OSError:
            # A kernel without IPv6: then there is no mesh either, which others report.
            return ""


class KernelParamSpecController(Controller):
    """Writes a status for each parameter that is set. Without any it looks at nothing."""

    name = "runtime.KernelParamSpecController"
    inputs = _INPUTS
    outputs = (exclusive(KernelParamStatus), shared(NetworkProblem))

    def __init__(
        self,
        host: Host,
        state_dir: Path,
        *,
        leaving: trio.Event,
        poll_interval: float = POLL_INTERVAL,
        grace: float = GRACE,
        make: "Callable[[], KernelParameters] | None" = None,
    ) -> None:
        self._host = host
        self._record = state_dir / RECORD
        self._undo_gate = UndoGate(leaving, grace=grace)
        self._poll_interval = poll_interval
        self._make = make or self._make_parameters
        self._parameters: KernelParameters | None = None
        self._follows_links = False

    def _make_parameters(self) -> "KernelParameters":
        from nodespan.controllers.common.journal import Journal
        from nodespan.controllers.host.kernel_parameters import KernelParameters

        return KernelParameters(self._host, Journal(self._record))

    def left_behind(self) -> list[str]:
        """What could not be put back. Blocks. Raises OSError."""
        if self._parameters is None:
            if not self._record.exists():
                return []
            self._parameters = self._make()
        return self._parameters.left_behind()

    async def run(self, ctx: ControllerContext) -> None:
        """Follow the specs and the kernel."""
        problems = Problems(ctx, KernelParamSpec)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._undo_gate.watch, ctx)
            polling: trio.CancelScope | None = None
            async for _ in ctx:
                may_undo = self._undo_gate.may_undo(ctx, nursery)
                desired, defaults = _desired(ctx)
                is_needed = bool(desired) or self._parameters is not None
                if not is_needed and not await trio.to_thread.run_sync(self._record.exists):
                    continue
                has_problems = await self._turn(ctx, problems, desired, defaults, may_undo=may_undo)
                # What cannot be put back is tried again, too.
                is_busy = bool(desired) or has_problems
                if is_busy and polling is None:
                    polling = await nursery.start(self._poll, ctx)
                elif not is_busy and polling is not None:
                    polling.cancel()
                    polling = None

    async def _turn(
        self,
        ctx: ControllerContext,
        problems: Problems,
        desired: dict[str, KernelParamSpecSpec],
        defaults: frozenset[str],
        *,
        may_undo: bool,
    ) -> bool:
        """Returns whether there are problems. `defaults` are the ids of those of the desired that nobody names."""
        from nodespan.controllers.host.kernel_parameter_rules import is_minimum

        self._follow_links(ctx, desired)
        if self._parameters is None:
            await load(_PARAMETERS)
            self._parameters = self._make()
            if damage := await trio.to_thread.run_sync(self._parameters.open):
                ctx.log.error(damage)
        outcome = await trio.to_thread.run_sync(
            lambda parameters: parameters.turn(
                desired, may_undo=may_undo, minimums=frozenset(filter(is_minimum, defaults))
            ),
            self._parameters,
        )
        for text in outcome.news:
            ctx.log.warning(text)
        async with ctx.tracked_outputs(KernelParamStatus):
            for id, status in outcome.statuses.items():
                await ctx.put(KernelParamStatus, id, status)
        await problems.keep({**outcome.problems, **outcome.waiting})
        for id, text in outcome.problems.items():
            await problems.set(id, text)
        for id, text in outcome.waiting.items():
            await problems.set(id, text, severity=Severity.WARNING)
        return bool(outcome.problems)

    def _follow_links(self, ctx: ControllerContext, desired: dict[str, KernelParamSpecSpec]) -> None:
        """A link that appears gets its settings at once; without any such setting, links are not looked at."""
        from nodespan.controllers.host.kernel_parameter_rules import parameter_of

        names_links = any(parameter is not None and parameter.link_name for parameter in map(parameter_of, desired))
        if names_links != self._follows_links:
            self._follows_links = names_links
            ctx.set_inputs((*_INPUTS, weak(LinkStatus)) if names_links else _INPUTS)

    async def _poll(
        self, ctx: ControllerContext, *, task_status: trio.TaskStatus[trio.CancelScope] = trio.TASK_STATUS_IGNORED
    ) -> None:
        with trio.CancelScope() as scope:
            task_status.started(scope)
            while True:
                await tick(self._poll_interval)
                ctx.wake()


def _desired(ctx: ControllerContext) -> tuple[dict[str, KernelParamSpecSpec], frozenset[str]]:
    """What is named and the defaults of what is not, and the ids of these."""
    defaults = [spec for spec in ctx.list(KernelParamDefaultSpec) if not spec.metadata.is_tearing_down]
    named = {spec.id: spec.spec for spec in ctx.list(KernelParamSpec) if not spec.metadata.is_tearing_down}
    if not defaults:
        return named, frozenset()
    from nodespan.controllers.host.kernel_parameter_rules import parameter_of

    known = {parameter_of(id) for id in named}
    unnamed = {spec.id: spec.spec for spec in defaults if parameter_of(spec.id) not in known}
    return unnamed | named, frozenset(unnamed)
