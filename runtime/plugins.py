"""Finds controllers, the built-in ones and those of users in the same way.

Installed ones are found by the entry-point group `nodespan.controllers`, others by `--controllers module:attribute`.
Either refers to a controller, a controller class, an iterable of those, or a function that takes the agent's settings
and returns any of these.
"""

import contextlib
import importlib
import sys
import traceback
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import trio

from nodespan.runtime import installed
from nodespan.runtime.controller import Controller, Logger, QueueController
from nodespan.runtime.errors import RegistrationError
from nodespan.runtime.metrics import MetricSource, Missing

if TYPE_CHECKING:
    from nodespan.runtime.actions import Action
    from nodespan.runtime.api.cosi.roles import Authorizer
    from nodespan.runtime.api.grpc import Method
    from nodespan.runtime.graph import Edge
    from nodespan.runtime.state import State
    from nodespan.runtime.state.opening import Mount

GROUP = "nodespan.controllers"
AnyController = Controller | QueueController


async def at_once(_within: float) -> bool:
    """`settled` where there is no engine: no controller has anything to do."""
    return True


@attrs.frozen(kw_only=True, eq=False)
class AgentAccess:
    """The agent itself, for a controller that shows it to others: the whole state, past every declaration.

    `state_methods` are those of the State service for clients whose roles the given function finds. `edges` are those
    of the dependency graph, `actions` what clients may have done, `settled` as in `Settings`. `socket` is where it
    listens.
    """

    version: str
    socket: Path
    state: "State"
    state_methods: "Callable[[Authorizer], Mapping[str, Method]]"
    edges: "Callable[[], Iterable[Edge]]"
    actions: "Mapping[str, Action]"
    settled: Callable[[float], Awaitable[bool]]


@attrs.frozen(kw_only=True)
class Settings:
    """The options of an agent, as functions behind an entry point get them.

    `config` are the configuration files or directories that the operator named; what they hold is up to the
    controllers. `state_dir` is the agent's own directory; it exists. `root` is the directory below which the files of
    the system are, None for the agent's root directory. `leaving` is set when the agent is about to stop and is to
    revert its changes of the system; functions in `left_behind` say afterwards, each in a worker thread, what could not
    be reverted, in words. `settled` waits, for at most so many seconds, until no controller has anything to
    do, and returns whether that came; it must not be awaited in a turn. `metrics` are added to those of the agent, and
    the agent is not ready while one of `readiness` names what is missing: add to them by `publish`. `agent` is None
    where controllers are made without an agent, to be looked at. `mounts` are the states of namespaces that the agent
    was started with.
    """

    state_dir: Path
    config: tuple[Path, ...] = ()
    root: Path | None = None
    leaving: trio.Event = attrs.field(factory=trio.Event, eq=False)
    left_behind: list[Callable[[], Iterable[str]]] = attrs.field(factory=list, eq=False)
    settled: Callable[[float], Awaitable[bool]] = attrs.field(default=at_once, eq=False)
    metrics: list[MetricSource] = attrs.field(factory=list, eq=False)
    readiness: list[Missing] = attrs.field(factory=list, eq=False)
    agent: AgentAccess | None = attrs.field(default=None, eq=False)
    mounts: "tuple[Mount, ...]" = attrs.field(default=(), eq=False)

    def publish(self, source: MetricSource, missing: Missing | None = None) -> None:
        """Add to the metrics of the agent, and to what it waits for; the same again changes nothing."""
        if source not in self.metrics:
            self.metrics.append(source)
        if missing is not None and missing not in self.readiness:
            self.readiness.append(missing)


def instantiate(found: object, settings: Settings, where: str) -> Iterator[AnyController]:
    """The controllers that a found object stands for. Raises RegistrationError, which names `where`."""
    if isinstance(found, AnyController):
        yield found
    elif isinstance(found, type) and issubclass(found, AnyController):
        try:
            yield found()
        except TypeError as error:
            raise RegistrationError(f"{where}: {error}; name a function from settings to the controller") from error
    elif isinstance(found, Iterable) and not isinstance(found, str | bytes):
        for item in found:
            yield from instantiate(item, settings, where)
    elif callable(found) and not isinstance(found, type):
        yield from instantiate(found(settings), settings, where)
    else:
        raise RegistrationError(
            f"{where} is {found!r}: expected a controller, a controller class, or a function from settings to those"
        )


def load_named(reference: str, settings: Settings) -> list[AnyController]:
    """The controllers at `module:attribute`, looked for in the current directory too.

    Raises RegistrationError that says which part of the reference is wrong.
    """
    module_name, colon, attribute = reference.partition(":")
    if not (module_name and colon and attribute):
        raise RegistrationError(f"--controllers {reference!r}: write it like mypackage.mymodule:MyController")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    where = f"--controllers {reference!r}"
    with named(where, f"cannot import {module_name}"):
        found: Any = importlib.import_module(module_name)
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError as error:
            raise RegistrationError(f"{where}: {error}") from error
    with named(where, "cannot be made"):
        return list(instantiate(found, settings, where))


@contextlib.contextmanager
def named(where: str, failure: str) -> Iterator[None]:
    """Raises any error of the code that a reference names as RegistrationError, with its place in that code."""
    try:
        yield
    except RegistrationError:
        raise
    except (Exception, SystemExit) as error:
        raise RegistrationError(f"{where}: {failure}: {describe(error)}") from error


def describe(error: BaseException) -> str:
    """An error of a plugin's code in one line: its type, its text, and its place."""
    text = f"{type(error).__name__}: {error}" if not isinstance(error, ImportError) else str(error)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not _is_ours(frame.filename)]
    if not frames or isinstance(error, SyntaxError):
        return text  # a SyntaxError says where
    return f"{text} ({frames[-1].filename}:{frames[-1].lineno})"


def _is_ours(path: str) -> bool:
    return path == __file__ or path.startswith("<frozen importlib") or path == importlib.__file__


def load_installed(settings: Settings, log: Logger) -> list[AnyController]:
    """The controllers of all installed distributions.

    An entry point that cannot be loaded is logged and left out: one broken package does not stop a node.
    """
    controllers: list[AnyController] = []
    for entry_point in sorted(installed.entry_points(GROUP), key=lambda point: point.name):
        where = f"entry point {entry_point.name!r} = {entry_point.value!r}"
        try:
            controllers += instantiate(entry_point.load(), settings, where)
        except Exception:
            log.exception("controllers of an installed package cannot be loaded", entry_point=where)
    return controllers


__all__ = [
    "GROUP",
    "AnyController",
    "Settings",
]
