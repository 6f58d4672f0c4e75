"""Prometheus metrics over HTTP, for those who ask for them: counts and times, no names of anything but controllers."""

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from nodespan.runtime.engine import Engine
from nodespan.runtime.engine.queue_runner import QueueRunner
from nodespan.runtime.resource import ResourceDefinition
from nodespan.runtime.state import State, count_by_type

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class _Collector:
    """Reads the engine's counters when a scrape asks for them."""

    def __init__(self, engine: Engine, state: State) -> None:
        self._engine = engine
        self._state = state

    def collect(self) -> Iterator[Metric]:
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
            "Longest time for which a controller kept all others waiting by not awaiting.",
            labels=["controller"],
        )
        for controller, runner in self._engine.runners.items():
            longest.add_metric([controller], runner.longest_step)
        yield longest
        yield from self._queues()
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


async def _live(receive: Receive, send: Send) -> None:
    """The part of ASGI that is about start and end: there is nothing to be done at either."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def serve_metrics(
    engine: Engine,
    state: State,
    address: tuple[str, int],
    *,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve GET /metrics until cancelled; reports the address once it answers. Raises OSError if it cannot."""
    registry = CollectorRegistry()
    registry.register(_Collector(engine, state))

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        known = scope["path"] == "/metrics"
        body = generate_latest(registry) if known else b"metrics are at /metrics\n"
        kind = CONTENT_TYPE_LATEST if known else "text/plain; charset=utf-8"
        headers = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200 if known else 404, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    host, port = address
    config = Config()
    config.bind = [f"[{host}]:{port}" if ":" in host else f"{host}:{port}"]
    config.accesslog = None
    config.errorlog = None
    async with trio.open_nursery() as nursery:
        (bound,) = await nursery.start(
            lambda task_status: serve(app, config, mode="asgi", task_status=task_status)  # type: ignore[arg-type]
        )
        task_status.started(bound)
