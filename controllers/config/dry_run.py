"""What a configuration would change, computed by the controllers that would apply it, on a copy of the state.

Those that only derive resources from resources say so (`Controller.only_derives`). They are run, all of them, on a
state of their own that holds what they read of the real one, but with the other configuration; where they come to rest
is what the real ones would come to. What DHCP would answer is not known, so what it gave stays unless it is no longer
asked for.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import attrs
import structlog
import trio

from nodespan.controllers.common.prior_state import slots_of_others
from nodespan.controllers.config.differences import Specs, difference_lines
from nodespan.controllers.config.kernel_differences import kernel_lines
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig, MachineConfigSpec
from nodespan.resources.network import CONFIG_NAMESPACE, NetworkProblem, OperatorSpec
from nodespan.runtime.controller import Controller, Logger, QueueController
from nodespan.runtime.engine import Engine
from nodespan.runtime.resource import Kind, Metadata, Resource, ResourceDefinition
from nodespan.runtime.state import MemoryState, State

_PATIENCE = 30.0
# The owner of the configuration, in the copy as well.
_OWNER = "config.FileController"
# The ids of their outputs start with the operator's id.
_OPERATORS = "network.OperatorSpecController"

_AnyController = Controller | QueueController


@attrs.frozen(kw_only=True)
class DryRun:
    """The differences, in lines; the problems that would be new; and the controllers that failed."""

    resources: tuple[str, ...]
    kernel: tuple[str, ...]
    problems: tuple[str, ...]
    failures: tuple[str, ...]


async def dry_run(
    config: MachineConfigSpec, live: State, controllers: Iterable[_AnyController], prior: Path | None = None
) -> DryRun:
    """Run those of the controllers that only derive. They must be new instances that no engine runs.

    `prior` is the record of what was there before the agent.
    """
    deriving = [controller for controller in controllers if controller.only_derives]
    names = frozenset(controller.name for controller in deriving)
    found = await derived(config, live, deriving)
    copy, failures = found.state, found.failures
    types = {output.type_name for controller in deriving for output in controller.outputs}
    before, after = (_specs(state, types, names) for state in (live, copy))
    was_before = frozenset() if prior is None else await trio.to_thread.run_sync(slots_of_others, prior)
    problems, known = _problems(copy, names), _problems(live, names)
    return DryRun(
        resources=tuple(difference_lines(before, after)),
        kernel=tuple(kernel_lines(live, copy, was_before=was_before.__contains__)),
        problems=tuple(text for id, text in sorted(problems.items()) if known.get(id) != text),
        failures=tuple(failures.values()),
    )


@attrs.frozen(kw_only=True)
class Derived:
    """A state with what controllers derive; the failures of these, by their names, "": they did not come to rest."""

    state: State
    failures: Mapping[str, str]


async def derived(config: MachineConfigSpec, live: State, deriving: Sequence[_AnyController]) -> Derived:
    """What these controllers, new instances that only derive, make of the live state with another configuration."""
    names = frozenset(controller.name for controller in deriving)
    failures: dict[str, str] = {}
    copy = MemoryState()

    def note(controller: str, error: BaseException) -> None:
        failures[controller] = f"{controller} failed: {error}"

    engine = Engine(copy, log=_silent(), on_crash=note)
    for controller in deriving:
        await _seed(copy, live, controller, names)
        await engine.register(controller)
    await copy.create(MachineConfig.new(MACHINE_CONFIG_ID, config), owner=_OWNER)
    async with trio.open_nursery() as nursery:
        await nursery.start(engine.run)
        is_settled = await engine.settled(_PATIENCE)
        if await _drop_orphans(copy, live):
            is_settled = await engine.settled(_PATIENCE) and is_settled
        nursery.cancel_scope.cancel()
    if not is_settled:
        failures[""] = "it takes longer than expected: there may be more differences than are shown"
    return Derived(state=copy, failures=failures)


async def _seed(copy: MemoryState, live: State, controller: _AnyController, names: frozenset[str]) -> None:
    """Copy what the controller reads, except for outputs of the controllers of the dry run."""
    for kind in {input.kind for input in controller.inputs}:
        for found in live.view(kind).items.values():
            metadata = found.metadata
            is_derived = metadata.owner in names or kind.type == MachineConfig.kind.type
            if is_derived or metadata.is_tearing_down or copy.find(kind, found.id) is not None:
                continue
            bare = Metadata(
                kind.namespace, kind.type, found.id, labels=metadata.labels, annotations=metadata.annotations
            )
            await copy.create(Resource(bare, found.spec), owner=metadata.owner)


async def _drop_orphans(copy: MemoryState, live: State) -> bool:
    """Remove the outputs of operators that are no longer desired; returns whether there were any."""
    gone = {found.id for found in live.list(OperatorSpec)} - {found.id for found in copy.list(OperatorSpec)}
    orphans = [
        found
        for kind in tuple(copy.kinds())
        if kind.namespace == CONFIG_NAMESPACE
        for found in copy.view(kind).items.values()
        if found.metadata.owner == _OPERATORS and any(found.id.startswith(f"{operator}/") for operator in gone)
    ]
    for orphan in orphans:
        await copy.teardown_and_destroy(orphan.kind, orphan.id, owner=_OPERATORS)
    return bool(orphans)


def _specs(state: State, types: set[str], owners: frozenset[str]) -> Specs:
    return {
        (_display_type(state, kind), found.id): found.spec
        for kind in state.kinds()
        if kind.type in types and kind.namespace != CONFIG_NAMESPACE and kind.type != NetworkProblem.kind.type
        for found in state.view(kind).items.values()
        if found.metadata.owner in owners and not found.metadata.is_tearing_down
    }


def _display_type(state: State, kind: Kind[object]) -> str:
    definition = state.find(ResourceDefinition, kind.type.lower())
    return kind.type if definition is None else definition.spec.display_type


def _problems(state: State, owners: frozenset[str]) -> dict[str, str]:
    return {
        problem.id: f"{problem.spec.severity}: {problem.id}: {problem.spec.message}"
        for problem in state.list(NetworkProblem)
        if problem.metadata.owner in owners and not problem.metadata.is_tearing_down
    }


def _silent() -> Logger:
    """Failures are reported to the client, not to the agent's log."""

    def drop(*_: object) -> dict[str, object]:
        raise structlog.DropEvent

    log: Logger = structlog.wrap_logger(None, processors=[drop])
    return log


def dry_run_texts(found: DryRun) -> Iterator[tuple[str, bool]]:
    """The output in parts, and whether each is about a problem."""
    for heading, lines in (("resources:", found.resources), ("kernel:", found.kernel)):
        if lines:
            yield "\n".join([heading, *(f"  {line}" for line in lines), ""]), False
    if not found.resources and not found.kernel:
        yield "no differences\n", False
    for line in (*found.problems, *found.failures):
        yield f"{line}\n", True
