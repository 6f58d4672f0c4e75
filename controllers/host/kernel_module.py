"""runtime.KernelModuleConfigController and runtime.KernelModuleSpecController: modules that the configuration names.

A module stays loaded when it is no longer named: whoever came to use it since would lose it. New parameters of a module
that is loaded take effect at the next boot.
"""

import trio

from nodespan.controllers.common.problems import Problems
from nodespan.controllers.host.commands import CommandFailedError
from nodespan.controllers.host.host import Host, HostError
from nodespan.controllers.host.polling import wake_every
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig
from nodespan.resources.network import NetworkProblem
from nodespan.resources.runtime import (
    KernelModuleSpec,
    KernelModuleSpecSpec,
    KernelModuleStatus,
    KernelModuleStatusSpec,
)
from nodespan.runtime.controller import Controller, ControllerContext, exclusive, shared, weak

# How often statuses are read again, and modules that could not be loaded are tried again, in seconds.
LOOK_INTERVAL = 30.0


class KernelModuleConfigController(Controller):
    """A spec for each module."""

    name = "runtime.KernelModuleConfigController"
    only_derives = True
    inputs = (weak(MachineConfig, MACHINE_CONFIG_ID),)
    outputs = (exclusive(KernelModuleSpec),)

    async def run(self, ctx: ControllerContext) -> None:
        """Follow the configuration."""
        async for _ in ctx:
            async with ctx.tracked_outputs(KernelModuleSpec):
                config = ctx.find(MachineConfig, MACHINE_CONFIG_ID)
                if config is not None:
                    from nodespan.controllers.host.kernel_module_rules import configured_modules

                    for id, spec in configured_modules(config.spec).items():
                        await ctx.put(KernelModuleSpec, id, spec)


class KernelModuleSpecController(Controller):
    """Loads each module once, and shows the states of those that are named. Without any it looks at nothing."""

    name = "runtime.KernelModuleSpecController"
    inputs = (weak(KernelModuleSpec),)
    outputs = (exclusive(KernelModuleStatus), shared(NetworkProblem))

    def __init__(self, host: Host, *, look_interval: float = LOOK_INTERVAL) -> None:
        self._host = host
        self._look_interval = look_interval

    async def run(self, ctx: ControllerContext) -> None:
        """Follow the specs and the kernel."""
        problems = Problems(ctx, KernelModuleSpec)
        async with trio.open_nursery() as nursery:
            is_looking = False
            async for _ in ctx:
                specs = {found.id: found.spec for found in ctx.list(KernelModuleSpec)}
                statuses, faults = await self._loaded(specs)
                async with ctx.tracked_outputs(KernelModuleStatus):
                    for id, status in statuses.items():
                        await ctx.put(KernelModuleStatus, id, status)
                await problems.show(faults, loud=frozenset(faults))
                if specs and not is_looking:
                    is_looking = True
                    nursery.start_soon(wake_every, self._look_interval, ctx)

    async def _loaded(
        self, specs: dict[str, KernelModuleSpecSpec]
    ) -> tuple[dict[str, KernelModuleStatusSpec], dict[str, str]]:
        """The statuses, and why some are not loaded."""
        if not specs:
            return {}, {}
        from nodespan.controllers.host.kernel_module_rules import module_fault

        faults = {id: text for id, spec in specs.items() if (text := self._host.refusal or module_fault(spec))}
        statuses = await trio.to_thread.run_sync(self._look, specs)
        for id, spec in specs.items():
            if id in faults or statuses[id].state:
                continue
            try:
                await self._load(spec)
            except (CommandFailedError, HostError) as error:
                faults[id] = str(error)
        if any(not status.state for status in statuses.values()):
            statuses = await trio.to_thread.run_sync(self._look, specs)
        return statuses, faults

    async def _load(self, spec: KernelModuleSpecSpec) -> None:
        if self._host.commands is None:
            raise HostError(f"{spec.name} is not loaded: with --root, the agent runs no commands of the machine")
        await self._host.commands.run("modprobe", "--", spec.name, *spec.parameters)

    def _look(self, specs: dict[str, KernelModuleSpecSpec]) -> dict[str, KernelModuleStatusSpec]:
        """In a worker thread."""
        from nodespan.controllers.host.kernel_module_rules import kernel_name, loaded_modules

        loaded = loaded_modules(_text(self._host, "/proc/modules"), (spec.name for spec in specs.values()))
        return {id: loaded.get(kernel_name(spec.name)) or self._built_in(spec) for id, spec in specs.items()}

    def _built_in(self, spec: KernelModuleSpecSpec) -> KernelModuleStatusSpec:
        """A module that has no line of its own, but is there, is part of the kernel."""
        from nodespan.controllers.host.kernel_module_rules import BUILT_IN, kernel_name, module_fault

        is_there = not module_fault(spec) and self._host.exists(f"/sys/module/{kernel_name(spec.name)}")
        return BUILT_IN if is_there else KernelModuleStatusSpec()


def _text(host: Host, path: str) -> str:
    try:
        return host.resolve(path).read_text(errors="replace")
    except OSError:
        # A kernel without modules has no such file.
        return ""
