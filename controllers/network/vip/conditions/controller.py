"""network.VIPConditionController: checks whether this node meets the conditions for owning virtual IPs."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import trio

from nodespan.controllers.common.wall_offset import WallOffset
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig
from nodespan.resources.config.vip_condition import VipCondition
from nodespan.resources.network import ProbeStatus
from nodespan.resources.network.vip_condition import VIPCondition, VIPConditionSpec
from nodespan.runtime.controller import Controller, ControllerContext, exclusive, weak
from nodespan.runtime.loading import load
from nodespan.runtime.resource import Kind, ResourceDefinition

if TYPE_CHECKING:
    from nodespan.controllers.network.vip.conditions.health import Health

_CHECKS = "nodespan.controllers.network.vip.conditions.checks"
_NAMED_RESOURCE = "nodespan.controllers.network.vip.conditions.named_resource"
_INPUTS = (weak(MachineConfig, MACHINE_CONFIG_ID), weak(ResourceDefinition))


class _Watch:
    """One condition, checked by a task of its own."""

    def __init__(self, condition: VipCondition) -> None:
        self.condition = condition
        self.scope = trio.CancelScope()
        self.woken = trio.Event()

    def wake(self) -> None:
        self.woken.set()
        self.woken = trio.Event()


class VIPConditionController(Controller):
    """One resource per condition that is configured. `clock` is for what is shown only."""

    name = "network.VIPConditionController"
    inputs = _INPUTS
    outputs = (exclusive(VIPCondition),)

    def __init__(self, *, clock: WallOffset | None = None) -> None:
        self._clock = WallOffset() if clock is None else clock
        self._watches: dict[str, _Watch] = {}
        # Kept across restarts of the controller: a damped condition stays damped.
        self._health: dict[str, Health] = {}
        # When each began to hold, or to fail, by the boot clock.
        self._since: dict[str, float] = {}

    async def run(self, ctx: ControllerContext) -> None:
        """Follow the configuration."""
        self._watches.clear()
        async with trio.open_nursery() as nursery:
            async for _ in ctx:
                config = ctx.find(MachineConfig, MACHINE_CONFIG_ID)
                conditions = () if config is None else config.spec.nodespan.vip.conditions
                configured = {condition.name: condition for condition in conditions}
                if conditions:
                    await load(_CHECKS, _NAMED_RESOURCE)
                self._set_named_inputs(ctx, configured)
                await self._stop_others(ctx, configured)
                for name, condition in configured.items():
                    if name in self._watches:
                        self._watches[name].wake()
                    else:
                        watch = self._watches[name] = _Watch(condition)
                        nursery.start_soon(self._follow, ctx, watch)

    def _set_named_inputs(self, ctx: ControllerContext, configured: Mapping[str, VipCondition]) -> None:
        """Add the resources that conditions name to the inputs."""
        resources = [condition.resource for condition in configured.values() if condition.resource]
        kinds: set[Kind[Any]] = set()
        if resources:
            from nodespan.controllers.network.vip.conditions.named_resource import NamedResource

            definitions = ctx.list(ResourceDefinition)
            named = [NamedResource.of(resource) for resource in resources]
            kinds = {kind for one in named if (kind := one.kind_among(definitions)) is not None}
        if any(condition.probe for condition in configured.values()):
            kinds.add(ProbeStatus.kind)
        ctx.set_inputs((*_INPUTS, *(weak(kind) for kind in sorted(kinds, key=str) if kind != MachineConfig.kind)))

    async def _stop_others(self, ctx: ControllerContext, configured: Mapping[str, VipCondition]) -> None:
        for name, watch in tuple(self._watches.items()):
            if configured.get(name) != watch.condition:
                watch.scope.cancel()
                del self._watches[name]
        for resource in ctx.list(VIPCondition):
            if resource.id not in configured:
                self._health.pop(resource.id, None)
                self._since.pop(resource.id, None)
                await ctx.destroy(VIPCondition, resource.id)

    async def _follow(self, ctx: ControllerContext, watch: _Watch) -> None:
        condition = watch.condition
        with watch.scope:
            while True:
                reason = await self._look(ctx, condition)
                await self._note(ctx, condition, reason)
                with trio.move_on_after(condition.interval.total_seconds()):
                    if condition.resource or condition.probe:
                        await watch.woken.wait()
                    else:
                        await trio.sleep_forever()

    async def _look(self, ctx: ControllerContext, condition: VipCondition) -> str:
        """Why the condition does not hold now, "" if it does."""
        if condition.resource:
            return self._look_at_resource(ctx, condition)
        if condition.probe:
            return self._look_at_probe(ctx, condition.probe)
        from nodespan.controllers.network.vip.conditions.checks import CheckFailedError, check

        try:
            await check(condition)
        except CheckFailedError as error:
            return str(error)
        return ""

    def _look_at_probe(self, ctx: ControllerContext, name: str) -> str:
        from nodespan.controllers.network.probes.probe_rules import id_of_document, probe_documents

        config = ctx.find(MachineConfig, MACHINE_CONFIG_ID)
        documents = () if config is None else probe_documents(config.spec)
        id = next((id_of_document(document) for document in documents if document.name == name), None)
        if id is None:
            return "there is no probe of this name"
        status = ctx.find(ProbeStatus, id)
        if status is None:
            return "the probe has no result yet"
        return "" if status.spec.success else status.spec.last_error

    def _look_at_resource(self, ctx: ControllerContext, condition: VipCondition) -> str:
        from nodespan.controllers.network.vip.conditions.named_resource import NamedResource, NoSuchTypeError

        named = NamedResource.of(condition.resource)
        try:
            kind = named.require_kind(ctx.list(ResourceDefinition))
        except NoSuchTypeError as error:
            return str(error)
        resource: Any = ctx.find(kind, named.id)
        return named.fault(resource, condition.json_path, condition.equals)

    async def _note(self, ctx: ControllerContext, condition: VipCondition, reason: str) -> None:
        from nodespan.controllers.network.vip.conditions.health import Health, step

        name = condition.name
        before = self._health.get(name)
        now = trio.current_time()
        after = step(before or Health(since=now), succeeded=not reason, now=now, failures=condition.failures)
        self._health[name] = after
        if not reason and not after.ok:
            reason = f"it holds again, and counts after {after.hold:g} s"
        elif after.ok:
            reason = ""
        current = ctx.find(VIPCondition, name)
        is_same = current is not None and current.spec.ok == after.ok
        if not is_same or name not in self._since:
            self._since[name] = self._clock.now()
        if not is_same:
            log = ctx.log.info if after.ok else ctx.log.warning
            log("a condition for owning virtual IPs", condition=name, holds=after.ok, reason=reason)
        await ctx.put(
            VIPCondition, name, VIPConditionSpec(ok=after.ok, since=self._clock.text(self._since[name]), reason=reason)
        )
