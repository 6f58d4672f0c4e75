"""The agent's side of `nodespan apply`: the requests of the command, and the answers to them.

Every answer is a map with a "text" to show; one that reports a problem has "problem": true. The last one has the
exit "status" of the command.
"""

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import trio

from nodespan.controllers.config.action_names import (
    APPLIED,
    APPLIED_WITH_PROBLEMS,
    APPLY,
    CANCEL,
    CONFIRM,
    DRY_RUN,
    REFUSED,
)
from nodespan.controllers.config.check import report
from nodespan.controllers.config.dry_run import dry_run, dry_run_texts
from nodespan.controllers.config.loaded import Loaded
from nodespan.controllers.config.loading import load_files, load_sources
from nodespan.controllers.config.lockout import caller_of, lockout_warnings
from nodespan.controllers.config.patching import Patch, PatchError, apply_patches
from nodespan.controllers.config.problem import Problem
from nodespan.controllers.config.reading import decode
from nodespan.controllers.config.sources import SourceText
from nodespan.resources.cluster import DiscoveryServiceStatus, ServiceState
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig
from nodespan.resources.network import NetworkProblem, NetworkProblemSpec, VIPState, VIPStatus
from nodespan.resources.network.problem import Severity
from nodespan.runtime.actions import Action, ActionCall, ActionError
from nodespan.runtime.codec.duration import format_duration, parse_duration
from nodespan.runtime.plugins import AnyController
from nodespan.runtime.state import State

NO_CHANGES = "Apply was skipped: no changes detected.\n"

# In seconds: how long controllers may take to settle, how long they take to start, and how long a problem may last that
# goes away by itself, as that of an address whose link is still being created.
_PATIENCE = 5.0
_START = 0.2
_PASSING = 2.0
_POLL = 0.1
# How long it may take until it is known whether a discovery service and etcd can be used: a lookup without an answer
# takes 15 s.
_CONNECTING = 20.0

_Answers = AsyncGenerator[Mapping[str, Any], None]
_Problems = Mapping[str, NetworkProblemSpec]


class Keeper(Protocol):
    """The owner of the configuration. Each call returns when it has taken effect, and raises ActionError."""

    async def apply(self, loaded: Loaded) -> str: ...
    async def try_out(self, loaded: Loaded, seconds: float) -> str: ...
    async def stage(self, loaded: Loaded) -> str: ...
    async def confirm(self) -> str: ...
    async def cancel(self) -> str: ...


def apply_actions(
    keeper: Keeper, new_controllers: Callable[[], Iterable[AnyController]], prior: Path | None = None
) -> Mapping[str, Action]:
    """The actions by their names. `new_controllers` creates the controllers of an agent again, for dry runs.

    `prior` is the file in which the agent's appliers keep what was there before.
    """

    async def apply(call: ActionCall) -> _Answers:
        timeout = _timeout(call.arguments)
        answers, loaded = await _checked(call, {"text": "nothing was changed\n", "problem": True, "status": REFUSED})
        for answer in answers:
            yield answer
        if loaded is None:
            return
        is_trial = timeout is not None
        async for answer in _lockout(call, loaded, is_trial=is_trial):
            yield answer
        if call.arguments.get("staged"):
            target = await keeper.stage(loaded)
            yield {"text": f"staged: after the next reboot it is kept in {target}, and in effect\n", "status": APPLIED}
            return
        before = _problems(call.state)
        if timeout is None:
            target = await keeper.apply(loaded)
            yield {"text": f"applied, and kept in {target}\n"}
        else:
            await keeper.try_out(loaded, timeout.total_seconds())
            yield {
                "text": f"applied for {format_duration(timeout)}, then everything goes back: "
                "`nodespan apply --confirm` keeps it, `nodespan apply --cancel` goes back at once\n"
            }
        async for answer in _follow_up(call, before):
            yield answer

    async def _lockout(call: ActionCall, loaded: Loaded, *, is_trial: bool) -> _Answers:
        caller = caller_of(call.arguments)
        texts = await lockout_warnings(loaded.config, call.state, new_controllers(), caller, trial=is_trial)
        for text in texts:
            yield {"text": text, "problem": True}

    async def confirm(_call: ActionCall) -> _Answers:
        target = await keeper.confirm()
        yield {"text": f"confirmed, and kept in {target}\n", "status": APPLIED}

    async def cancel(call: ActionCall) -> _Answers:
        before = _problems(call.state)
        await keeper.cancel()
        yield {"text": "the configuration before the trial is in effect again\n"}
        async for answer in _follow_up(call, before):
            yield answer

    async def try_dry(call: ActionCall) -> _Answers:
        answers, loaded = await _checked(call, {"text": "", "status": REFUSED})
        for answer in answers:
            yield answer
        if loaded is None:
            return
        async for answer in _lockout(call, loaded, is_trial=False):
            yield answer
        found = await dry_run(loaded.config, call.state, new_controllers(), prior)
        for text, is_problem in dry_run_texts(found):
            yield {"text": text, "problem": is_problem}
        is_good = not found.problems and not found.failures
        yield {"text": "nothing was changed\n", "status": APPLIED if is_good else APPLIED_WITH_PROBLEMS}

    return {APPLY: apply, DRY_RUN: try_dry, CONFIRM: confirm, CANCEL: cancel}


async def _follow_up(call: ActionCall, before: _Problems) -> _Answers:
    """The problems that the new configuration causes within the next seconds."""
    if not call.arguments.get("wait", True):
        yield {"text": "", "status": APPLIED}
        return
    await trio.sleep(_START)
    is_settled = await call.settle(_PATIENCE)
    with trio.move_on_after(_CONNECTING):
        while _is_connecting(call.state):  # noqa: ASYNC110  # a connection is no controller's turn
            await trio.sleep(_POLL)
    with trio.move_on_after(_PASSING):
        while _new_problems(call.state, before):  # noqa: ASYNC110  # no event says that problems are gone
            await trio.sleep(_POLL)
    new = _new_problems(call.state, before)
    for id, problem in new.items():
        yield {"text": f"{problem.severity}: {id}: {problem.message}\n", "problem": True}
    if not is_settled:
        yield {"text": "controllers are still working: `nodespan get networkproblems` shows the outcome\n"}
    has_errors = any(problem.severity is Severity.ERROR for problem in new.values())
    yield {"text": "", "status": APPLIED_WITH_PROBLEMS if has_errors else APPLIED}


def _is_connecting(state: State) -> bool:
    """Whether a discovery service or etcd of a virtual IP has neither answered nor failed yet."""
    return any(status.spec.state is ServiceState.CONNECTING for status in state.list(DiscoveryServiceStatus)) or any(
        status.spec.state is VIPState.WAITING and not (status.spec.reason or status.spec.trouble)
        for status in state.list(VIPStatus)
    )


def _problems(state: State) -> _Problems:
    return {problem.id: problem.spec for problem in state.list(NetworkProblem)}


def _new_problems(state: State, before: _Problems) -> _Problems:
    return {id: problem for id, problem in _problems(state).items() if before.get(id) != problem}


async def _checked(call: ActionCall, refusal: Mapping[str, Any]) -> tuple[list[Mapping[str, Any]], Loaded | None]:
    """What to answer about the configuration that the client sent, and it; None if there is nothing to do with it."""
    files, loaded = await _load(call)
    if loaded is None:
        return [{"text": NO_CHANGES, "status": APPLIED}], None
    is_refused = bool(loaded.errors)
    texts = report(loaded, files, verbose=bool(call.arguments.get("verbose")))
    answers: list[Mapping[str, Any]] = [{"text": text, "problem": is_refused} for text in texts]
    return ([*answers, refusal], None) if is_refused else (answers, loaded)


async def _load(call: ActionCall) -> tuple[str, Loaded | None]:
    """The names of the files that the client sent, and their configuration with the patches that it sent.

    Without files it is the configuration in effect that is patched; None if the patches change nothing of it.
    """
    files = _pairs(call.arguments, "files")
    patches = [Patch(name=name, text=raw.decode(errors="replace")) for name, raw in _pairs(call.arguments, "patches")]
    if not files and not patches:
        raise ActionError("the request holds no files")
    names = " + ".join(name for name, _ in files) or "the patched configuration"
    if not patches:
        loaded = await trio.to_thread.run_sync(load_files, files)
    elif files:
        loaded = await trio.to_thread.run_sync(_load_patched, files, patches)
    else:
        current = call.state.find(MachineConfig, MACHINE_CONFIG_ID)
        if current is None:
            raise ActionError("no configuration is in effect that could be patched: `nodespan apply FILE` first")
        base = [SourceText(name="the configuration in effect", text=current.spec.text)]
        patched = await trio.to_thread.run_sync(_patched, base, patches)
        if patched == await trio.to_thread.run_sync(_patched, base, []):
            return names, None
        loaded = await trio.to_thread.run_sync(load_files, [(names, patched.encode())])
    return names, loaded.strictly() if call.arguments.get("strict") else loaded


def _load_patched(files: list[tuple[str, bytes]], patches: list[Patch]) -> Loaded:
    sources: list[SourceText] = []
    problems: list[Problem] = []
    for name, raw in files:
        decode(raw, name, sources, problems)
    if problems:
        return load_sources(sources, problems)
    return load_files([("the patched configuration", _patched(sources, patches).encode())])


def _patched(sources: list[SourceText], patches: list[Patch]) -> str:
    try:
        return apply_patches(sources, patches)
    except PatchError as error:
        raise ActionError(str(error)) from error


def _pairs(arguments: Mapping[str, Any], key: str) -> list[tuple[str, bytes]]:
    """The names and contents that a request holds under a key."""
    given = arguments.get(key)
    if given is None:
        return []
    if not isinstance(given, list):
        raise ActionError(f"{key} of the request must be a list")
    pairs = []
    for file in given:
        if not (isinstance(file, list) and len(file) == 2 and isinstance(file[0], str) and isinstance(file[1], bytes)):
            raise ActionError(f"each of the {key} of the request must be a name and bytes")
        pairs.append((file[0], file[1]))
    return pairs


def _timeout(arguments: Mapping[str, Any]) -> Any:
    """The duration of a trial, None without one."""
    given = arguments.get("timeout")
    if given is None:
        return None
    try:
        timeout = parse_duration(str(given))
    except ValueError as error:
        raise ActionError(f"--timeout {given!r} is not a duration: write it like 1m or 90s") from error
    if timeout.total_seconds() <= 0:
        raise ActionError("--timeout must be more than 0")
    return timeout
