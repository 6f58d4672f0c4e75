"""Prometheus metrics of the agent, and its answers to probes.

Those of the runtime are counts and times, and name controllers and types only. The families of controllers add theirs.
"""

import platform
from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from nodespan.runtime.api.pages import Page
from nodespan.runtime.engine import Engine
from nodespan.runtime.engine.queue_runner import QueueRunner
from nodespan.runtime.engine.status import ControllerState
from nodespan.runtime.resource import ResourceDefinition
from nodespan.runtime.samples import Collect, Missing, Samples
from nodespan.runtime.state import State, count_by_type
from nodespan.runtime.text.escaping import escaped


class EngineMetrics:
    """The metrics of one engine and its state, read when a scrape asks for them."""

    def __init__(
        self,
        engine: Engine,
        state: State,
        *,
        version: str = "",
        collectors: Sequence[Collect] = (),
        readiness: Sequence[Missing] = (),
    ) -> None:
        self._engine = engine
        self._state = state
        self._version = version
        # Live: more may come as controllers are registered.
        self._collectors, self._readiness = collectors, readiness
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._registry.register(self)

    def respond(self, target: str) -> Page:
        """The page for a scrape, or for a probe."""
        match target.partition("?")[0]:
            case "/metrics":
                return Page(content_type=CONTENT_TYPE_LATEST, body=generate_latest(self._registry))
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

    def collect(self) -> Iterator[Metric]:
        """Every metric with its current values, as prometheus_client asks for them."""
        build = GaugeMetricFamily("nodespan_build_info", "The version that runs.", labels=["version", "python"])
        build.add_metric([self._version, platform.python_version()], 1)
        yield build
        for collect in self._collectors:
            yield from map(_family, collect(self._state))
        per_controller = {
            "wakeups": "Turns of a controller and jobs of a queue controller.",
            "crashes": "Failures of the routine or of jobs.",
            "reads": "Reads of the state.",
            "writes": "Writes to the state, failed ones too.",
        }
        for name, text in per_controller.items():
            family = CounterMetricFamily(f"nodespan_controller_{name}", text, labels=["controller"])
            for controller, runner in self._engine.runners.items():
                family.add_metric([controller], getattr(runner.access.counters, name))
            yield family
        longest = GaugeMetricFamily(
            "nodespan_controller_longest_step_seconds",
            "Longest time for which a controller blocked all others by not awaiting.",
            labels=["controller"],
        )
        for controller, runner in self._engine.runners.items():
            longest.add_metric([controller], runner.longest_step)
        yield longest
        yield from self._queues()
        yield from self._reconcilers()
        resources = GaugeMetricFamily("nodespan_resources", "Resources in all namespaces.", labels=["type"])
        counts = count_by_type(self._state)
        for definition in self._state.list(ResourceDefinition):
            kind = definition.spec.type
            resources.add_metric([kind], counts[kind])
        yield resources

    def _queues(self) -> Iterator[Metric]:
        queues = {name: runner for name, runner in self._engine.runners.items() if isinstance(runner, QueueRunner)}
        length = GaugeMetricFamily("nodespan_queue_length", "Keys that wait in the queue.", labels=["controller"])
        for controller, runner in queues.items():
            length.add_metric([controller], runner.queue_length)
        yield length
        counters = {
            "processed": "Reconcile jobs started.",
            "mapped_in": "Map jobs run.",
            "mapped_out": "Items that map jobs returned.",
            "skips": "Jobs that had nothing to do until the next change.",
            "requeues": "Jobs that asked to be run again.",
            "reconcile_busy": "Seconds spent in reconcile jobs.",
            "map_busy": "Seconds spent in map jobs.",
        }
        for name, text in counters.items():
            family = CounterMetricFamily(f"nodespan_queue_{name}", text, labels=["controller"])
            for controller, runner in queues.items():
                family.add_metric([controller], getattr(runner.jobs, name))
            yield family

    def _reconcilers(self) -> Iterator[Metric]:
        working = {
            name: runner.access.work for name, runner in self._engine.runners.items() if runner.access.work.rounds
        }
        for name, text in {
            "queue_length": "Items that wait to be looked at.",
            "failing": "Items that could not be applied when that was last tried.",
        }.items():
            gauge = GaugeMetricFamily(f"nodespan_reconciler_{name}", text, labels=["controller"])
            for controller, work in working.items():
                gauge.add_metric([controller], getattr(work, name))
            yield gauge
        for name, text in {
            "rounds": "Rounds of looking at what changed.",
            "applied": "Differences that were applied.",
            "failures": "Differences that could not be applied.",
            "full_comparisons": "Comparisons of everything.",
        }.items():
            counter = CounterMetricFamily(f"nodespan_reconciler_{name}", text, labels=["controller"])
            for controller, work in working.items():
                counter.add_metric([controller], getattr(work, name))
            yield counter


def _family(samples: Samples) -> Metric:
    kind = CounterMetricFamily if samples.is_counter else GaugeMetricFamily
    family = kind(samples.name.removesuffix("_total"), samples.text, labels=samples.labels)
    for labels, value in samples.values.items():
        # The format escapes line breaks only, and labels are names that others chose.
        family.add_metric(tuple(map(escaped, labels)), value)
    return family
