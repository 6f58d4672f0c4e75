"""The metrics of the agent, and its answers to probes.

Those of the runtime are counts and times, and name controllers and types only. The families of controllers add theirs.
"""

import platform
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter

from nodespan.runtime.api.exposition import LEFT_OUT, scraped
from nodespan.runtime.api.pages import Page
from nodespan.runtime.engine import Engine
from nodespan.runtime.engine.queue_runner import QueueRunner
from nodespan.runtime.engine.runner import Runner
from nodespan.runtime.engine.status import ControllerState
from nodespan.runtime.metrics import Family, Kind, Metric, MetricSource, Missing, process
from nodespan.runtime.process.loop_lag import BOUNDS, LoopLag
from nodespan.runtime.resource import ResourceDefinition
from nodespan.runtime.state import State, count_by_type

_CONTROLLERS = "one for each controller, fewer than 100"
_QUEUES = "one for each queue controller, fewer than 60"
_APPLIERS = "one for each controller that applies things, fewer than 20"

BUILD = Metric(
    name="nodespan_build_info",
    text="The version that runs.",
    kind=Kind.INFO,
    labels=("version", "python"),
    series="1",
    remedy="`count by (version) (nodespan_build_info)` shows how far an upgrade has come",
)
LOOP_LAG = Metric(
    name="nodespan_loop_lag_seconds",
    text="How long the event loop took for what was ready before it looked for new events: how late it is at most.",
    kind=Kind.HISTOGRAM,
    remedy="rounds of more than 0.1 s delay everything: `nodespan get controllers` names the controller that blocks",
)


def _per_controller(name: str, text: str, *, series: str = _CONTROLLERS, remedy: str = "") -> Metric:
    kind = Kind.COUNTER if name.endswith("_total") else Kind.GAUGE
    return Metric(name=name, text=text, kind=kind, labels=("controller",), series=series, remedy=remedy)


FAILING = _per_controller(
    "nodespan_controller_failing",
    "1 while a controller has failed and waits to be started again.",
    remedy="`nodespan get controllers` has the error, `nodespan logs` the traceback; `nodespan support`, and report it",
)
LONGEST_STEP = _per_controller(
    "nodespan_controller_longest_step_seconds",
    "Longest time for which a controller blocked all others by not awaiting, if it was more than 0.1 s.",
    remedy="a controller of your own: move the work to a thread; one of nodespan: report it",
)
_COUNTERS: dict[Metric, str] = {
    _per_controller(
        "nodespan_controller_wakeups_total",
        "Turns of a controller, and jobs of a queue controller.",
        remedy="hundreds a second without a reason: does it write what it reads? `nodespan graph --live` shows it",
    ): "wakeups",
    _per_controller(
        "nodespan_controller_crashes_total",
        "Failures of the routine or of jobs.",
        remedy="as for `nodespan_controller_failing`",
    ): "crashes",
    _per_controller("nodespan_controller_reads_total", "Reads of the state."): "reads",
    _per_controller("nodespan_controller_writes_total", "Writes to the state, failed ones too."): "writes",
}
QUEUE_LENGTH = _per_controller(
    "nodespan_queue_length",
    "Keys that wait in the queue.",
    series=_QUEUES,
    remedy="if it does not go down: `nodespan get controllers` shows what fails",
)
_QUEUE_COUNTERS: dict[Metric, str] = {
    _per_controller(f"nodespan_queue_{name}_total", text, series=_QUEUES): field
    for name, text, field in (
        ("processed", "Reconcile jobs started.", "processed"),
        ("mapped_in", "Map jobs run.", "mapped_in"),
        ("mapped_out", "Items that map jobs returned.", "mapped_out"),
        ("skips", "Jobs that had nothing to do until the next change.", "skips"),
        ("requeues", "Jobs that asked to be run again.", "requeues"),
        ("reconcile_busy_seconds", "Time spent in reconcile jobs.", "reconcile_busy"),
        ("map_busy_seconds", "Time spent in map jobs.", "map_busy"),
    )
}
_RECONCILER_GAUGES: dict[Metric, str] = {
    _per_controller(
        "nodespan_reconciler_queue_length", "Items that wait to be looked at.", series=_APPLIERS
    ): "queue_length",
    _per_controller(
        "nodespan_reconciler_failing",
        "Items that could not be applied when that was last tried.",
        series=_APPLIERS,
        remedy="`nodespan get networkproblems` says which, and why",
    ): "failing",
}
_RECONCILER_COUNTERS: dict[Metric, str] = {
    _per_controller(f"nodespan_reconciler_{name}_total", text, series=_APPLIERS): name
    for name, text in (
        ("rounds", "Rounds of looking at what changed."),
        ("applied", "Differences that were applied."),
        ("failures", "Differences that could not be applied."),
        ("full_comparisons", "Comparisons of everything."),
    )
}
RESOURCES = Metric(
    name="nodespan_resources",
    text="Resources in all namespaces.",
    labels=("type",),
    series="one for each type of resource, fewer than 200",
    remedy="a type that only grows: `nodespan get TYPE` shows what",
)
METRICS = (
    BUILD,
    LOOP_LAG,
    FAILING,
    LONGEST_STEP,
    *_COUNTERS,
    QUEUE_LENGTH,
    *_QUEUE_COUNTERS,
    *_RECONCILER_GAUGES,
    *_RECONCILER_COUNTERS,
    RESOURCES,
    LEFT_OUT,
)


class EngineMetrics:
    """The metrics of one engine and its state, read when a scrape asks for them."""

    def __init__(
        self,
        engine: Engine,
        state: State,
        *,
        version: str = "",
        sources: Sequence[MetricSource] = (),
        readiness: Sequence[Missing] = (),
        lag: LoopLag | None = None,
    ) -> None:
        self._engine = engine
        self._state = state
        self._version = version
        # Live: more may come as controllers are registered.
        self._sources, self._readiness = sources, readiness
        self._lag = lag

    async def respond(self, target: str, accept: str = "") -> Page:
        """The page for a scrape, in the format that its header prefers, or for a probe."""
        match target.partition("?")[0]:
            case "/metrics":
                return await scraped(self.collect(), accept)
            case "/healthz":
                # What answers is the loop that runs the controllers.
                return Page(body=b"ok\n")
            case "/readyz":
                missing = list(self._missing())
                text = "".join(f"{each}\n" for each in missing or ("ok",))
                return Page(status=503 if missing else 200, body=text.encode())
            case _:
                return Page(status=404, body=b"there are /metrics, /healthz and /readyz\n")

    def _missing(self) -> Iterator[str]:
        """What keeps the node from being ready."""
        for name, runner in self._engine.runners.items():
            if runner.state is ControllerState.BACKOFF:
                yield f"controller {name}: {runner.last_error}"
        for missing in self._readiness:
            yield from missing(self._state)

    def collect(self) -> Iterator[Family]:
        """Every metric with its values at this moment."""
        yield BUILD.by({(self._version, platform.python_version()): 1})
        for source in self._sources:
            yield from source.collect(self._state)
        yield from self._controllers()
        yield from self._queues()
        yield from self._reconcilers()
        counts = count_by_type(self._state)
        kinds = (definition.spec.type for definition in self._state.list(ResourceDefinition))
        yield RESOURCES.by({(kind,): counts[kind] for kind in kinds})
        if self._lag is not None:
            yield LOOP_LAG.histogram(BOUNDS, self._lag.counts, self._lag.seconds)
        yield from process.collect()

    def _controllers(self) -> Iterator[Family]:
        def each(metric: Metric, value: Callable[[Runner], float]) -> Family:
            return metric.by({(name,): value(runner) for name, runner in self._engine.runners.items()})

        yield each(FAILING, lambda runner: runner.state is ControllerState.BACKOFF)
        yield each(LONGEST_STEP, lambda runner: runner.longest_step)
        for metric, field in _COUNTERS.items():
            yield each(metric, attrgetter(f"access.counters.{field}"))

    def _queues(self) -> Iterator[Family]:
        queues = {name: runner for name, runner in self._engine.runners.items() if isinstance(runner, QueueRunner)}
        yield QUEUE_LENGTH.by({(name,): runner.queue_length for name, runner in queues.items()})
        for metric, field in _QUEUE_COUNTERS.items():
            yield metric.by({(name,): getattr(runner.jobs, field) for name, runner in queues.items()})

    def _reconcilers(self) -> Iterator[Family]:
        working = {
            name: runner.access.work for name, runner in self._engine.runners.items() if runner.access.work.rounds
        }
        for metric, field in (*_RECONCILER_GAUGES.items(), *_RECONCILER_COUNTERS.items()):
            yield metric.by({(name,): getattr(work, field) for name, work in working.items()})
