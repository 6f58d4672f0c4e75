"""runtime.KernelModuleConfigController and runtime.KernelModuleSpecController: modules that the configuration names.

A module stays loaded when it is no longer named: whoever came to use it since would lose it. New parameters of a module
that is loaded take effect at the next boot.
"""

import contextlib
import os

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
    LoadedKernelModule,
    LoadedKernelModuleSpec,
)
from nodespan.runtime.controller import Controller, ControllerContext, exclusive, shared, weak

# How often statuses are read again, and modules that could not be loaded are tried again, in seconds.
LOOK_INTERVAL = 30.0
# When a module that modprobe has loaded without effect is tried again, in seconds: what is in its way may be gone, or
# its package may have come.
AGAIN_AFTER = 60.0


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
    """Loads each module once, and shows their states, and all that are loaded. Without any it looks at nothing."""

    name = "runtime.KernelModuleSpecController"
    inputs = (weak(KernelModuleSpec),)
    outputs = (exclusive(KernelModuleStatus), exclusive(LoadedKernelModule), shared(NetworkProblem))

    def __init__(self, host: Host, *, look_interval: float = LOOK_INTERVAL, again_after: float = AGAIN_AFTER) -> None:
        self._host = host
        self._look_interval = look_interval
        self._again_after = again_after
        # All that the kernel listed at the last look.
        self._listed: dict[str, LoadedKernelModuleSpec] = {}
        # The kernel's names of modules that specs name otherwise, by an alias, or as modprobe found them.
        self._names: dict[KernelModuleSpecSpec, str] = {}
        # Those that are part of the kernel though it shows nothing of them.
        self._silent: set[KernelModuleSpecSpec] = set()
        # Of which modprobe said that it is done, though there is no such module.
        self._absent: dict[KernelModuleSpecSpec, str] = {}
        # When these are tried again, by trio's clock.
        self._again_at: dict[KernelModuleSpecSpec, float] = {}

    async def run(self, ctx: ControllerContext) -> None:
        """Follow the specs and the kernel."""
        problems = Problems(ctx, KernelModuleSpec)
        async with trio.open_nursery() as nursery:
            is_looking = False
            async for _ in ctx:
                specs = {found.id: found.spec for found in ctx.list(KernelModuleSpec)}
                statuses, faults = await self._loaded(specs)
                async with ctx.tracked_outputs(KernelModuleStatus, LoadedKernelModule):
                    for id, status in statuses.items():
                        await ctx.put(KernelModuleStatus, id, status)
                    for name, module in self._listed.items() if specs else ():
                        await ctx.put(LoadedKernelModule, name, module)
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
            if statuses[id].state:
                self._absent.pop(spec, None)
            if id in faults or statuses[id].state:
                continue
            if spec in self._absent and trio.current_time() < self._again_at[spec]:
                continue
            try:
                await self._load(spec)
            except (CommandFailedError, HostError) as error:
                faults[id] = str(error)
                continue
            if not (await trio.to_thread.run_sync(self._look, {id: spec}))[id].state:
                await self._find_out(id, spec)
        for spec in (self._names.keys() | self._absent.keys() | self._silent) - set(specs.values()):
            self._names.pop(spec, None)
            self._absent.pop(spec, None)
            self._again_at.pop(spec, None)
            self._silent.discard(spec)
        if any(not status.state for status in statuses.values()):
            statuses = await trio.to_thread.run_sync(self._look, specs)
        return statuses, faults | {
            id: self._absent[spec] for id, spec in specs.items() if spec in self._absent and not statuses[id].state
        }

    async def _find_out(self, id: str, spec: KernelModuleSpecSpec) -> None:
        """What modprobe has loaded, if it is there under another name."""
        from nodespan.controllers.host.kernel_module_rules import built_in_modules, resolved_name

        assert self._host.commands is not None
        with contextlib.suppress(CommandFailedError):
            # It fails for a name that modprobe does not know: then it is not an alias either.
            self._names[spec] = resolved_name(await self._host.commands.run("modprobe", "-R", "--", spec.name))
        text = await trio.to_thread.run_sync(_text, self._host, f"/lib/modules/{os.uname().release}/modules.builtin")
        if self._kernel_name(spec) in built_in_modules(text):
            self._silent.add(spec)
        elif not (await trio.to_thread.run_sync(self._look, {id: spec}))[id].state:
            self._again_at[spec] = trio.current_time() + self._again_after
            self._absent[spec] = (
                f"modprobe {spec.name} loads nothing: see whether /etc/modprobe.d disables it (install, blacklist)"
            )

    async def _load(self, spec: KernelModuleSpecSpec) -> None:
        if self._host.commands is None:
            raise HostError(f"{spec.name} is not loaded: with --root, the agent runs no commands of the machine")
        await self._host.commands.run("modprobe", "--", spec.name, *spec.parameters)

    def _look(self, specs: dict[str, KernelModuleSpecSpec]) -> dict[str, KernelModuleStatusSpec]:
        """In a worker thread."""
        from nodespan.controllers.host.kernel_module_rules import BUILT_IN, listed_modules, status_of

        names = {id: self._kernel_name(spec) for id, spec in specs.items()}
        self._listed = listed_modules(_text(self._host, "/proc/modules"))
        return {
            id: status_of(self._listed[name])
            if name in self._listed
            else BUILT_IN
            if specs[id] in self._silent
            else self._built_in(name)
            for id, name in names.items()
        }

    def _kernel_name(self, spec: KernelModuleSpecSpec) -> str:
        from nodespan.controllers.host.kernel_module_rules import kernel_name

        return kernel_name(self._names.get(spec) or spec.name)

    def _built_in(self, name: str) -> KernelModuleStatusSpec:
        """A module that has no line of its own, but is there, is part of the kernel."""
        from nodespan.controllers.common.kernel_names import MODULE_NAME
        from nodespan.controllers.host.kernel_module_rules import BUILT_IN

        is_there = MODULE_NAME.fullmatch(name) is not None and self._host.exists(f"/sys/module/{name}")
        return BUILT_IN if is_there else KernelModuleStatusSpec()


def _text(host: Host, path: str) -> str:
    try:
        return host.resolve(path).read_text(errors="replace")
    except OSError:
        # A kernel without modules has no such file.
        return ""
