"""The cost of applying a network configuration, and of a small change in a large one."""

import contextlib
import functools
import gc
import json
import os
import subprocess
import time
from collections.abc import AsyncIterator
from typing import Any

import attrs
import trio
import trio.testing

from bench.fake_kernel import FakeKernel
from bench.measure import Figure, compare_runs
from nodespan.controllers.network.apply.address_spec import AddressSpecController
from nodespan.controllers.network.apply.link_spec import LinkSpecController
from nodespan.controllers.network.apply.route_spec import RouteSpecController
from nodespan.controllers.network.merge.controllers import (
    AddressMergeController,
    LinkMergeController,
    RouteMergeController,
)
from nodespan.controllers.network.status.address_status import AddressStatusController
from nodespan.controllers.network.status.link_status import LinkStatusController
from nodespan.controllers.network.status.route_status import RouteStatusController
from nodespan.kernel.addresses import Addresses
from nodespan.kernel.routes import Routes
from nodespan.resources.network import (
    CONFIG_NAMESPACE,
    AddressSpec,
    AddressSpecSpec,
    ConfigLayer,
    LinkFlags,
    LinkSpec,
    LinkSpecSpec,
    LinkStatus,
    LinkType,
    RouteSpec,
    RouteSpecSpec,
    Veth,
    layered_id,
)
from nodespan.resources.network.enums import Scope
from nodespan.runtime.engine import Engine
from nodespan.runtime.resource import Resource, ResourceType
from nodespan.runtime.state import MemoryState

LAYER = ConfigLayer.CONFIGURATION
MANY, FEW = 2000, 20
# The number of addresses per link, with a route through each.
EACH = 2.5
CHANGES = 200
LINKS = 1000


def unmerged(type: ResourceType[Any], id: str, spec: Any) -> Resource[Any]:
    """An unmerged spec of a layer."""
    return type.new(layered_id(LAYER, id), spec, namespace=CONFIG_NAMESPACE)


def address(number: int, link: str, **changes: Any) -> Resource[AddressSpecSpec]:
    """An address of its own network."""
    spec = AddressSpecSpec(address=f"10.{number >> 8}.{number & 255}.1/24", link_name=link, layer=LAYER)
    return unmerged(AddressSpec, f"a{number}", attrs.evolve(spec, **changes))


def route(number: int, link: str) -> Resource[RouteSpecSpec]:
    """A route out of a link."""
    dst = f"172.{16 + (number >> 8)}.{number & 255}.0/24"
    return unmerged(RouteSpec, f"r{number}", RouteSpecSpec(dst=dst, out_link_name=link, scope=Scope.LINK, layer=LAYER))


def configuration(links: int) -> list[Resource[Any]]:
    """This many cards, with addresses and routes."""
    found: list[Resource[Any]] = []
    for number in range(links):
        spec = LinkSpecSpec(name=f"card{number}", up=True, mtu=1400, layer=LAYER)
        found.append(unmerged(LinkSpec, spec.name, spec))
    for number in range(int(links * EACH)):
        link = f"card{number % links}"
        found += [address(number, link), route(number, link)]
    return found


@contextlib.asynccontextmanager
async def at_work(kernel: FakeKernel | None, *, netns: str | None = None) -> AsyncIterator[tuple[MemoryState, Engine]]:
    """The controllers between the layers and the kernel."""
    state = MemoryState()
    engine = Engine(state)
    access: Any = kernel
    appliers: list[Any] = [
        LinkSpecController(netns=netns, kernel=access),
        AddressSpecController(netns=netns, kernel=access),
        RouteSpecController(netns=netns, kernel=access),
    ]
    for controller in (LinkMergeController(), AddressMergeController(), RouteMergeController(), *appliers):
        await engine.register(controller)
    async with trio.open_nursery() as nursery:
        await nursery.start(engine.run)
        yield state, engine
        nursery.cancel_scope.cancel()


async def settled(engine: Engine) -> None:
    """Wait until no controller is at work on a spec."""
    while True:
        await trio.testing.wait_all_tasks_blocked()
        if not any(runner.is_at_work for runner in engine.runners.values()):
            return
        await trio.sleep(0.0005)


async def _apply(kernel: FakeKernel, state: MemoryState, engine: Engine, links: int) -> None:
    """Apply a configuration completely."""
    for resource in configuration(links):
        await state.create(resource)
    while True:
        await settled(engine)
        writes = kernel.writes
        # The changes of one applier wake the others.
        await trio.sleep(0.1)
        if kernel.writes == writes and kernel.count(Addresses) == kernel.count(Routes) == int(links * EACH):
            return


async def _one_change(links: int) -> float:
    """Microseconds from a changed spec to the changed kernel, of one address among many."""
    kernel = FakeKernel(f"card{number}" for number in range(links))
    seconds: list[float] = []
    async with at_work(kernel) as (state, engine):
        await _apply(kernel, state, engine, links)
        gc.collect()
        for turn in range(CHANGES):
            changed = address(7, f"card{7 % links}", priority=turn + 1)
            current = state.get(changed.kind, changed.id)
            writes = kernel.writes
            started = time.perf_counter()
            await state.update(current.with_spec(changed.spec))
            await settled(engine)
            seconds.append(time.perf_counter() - started)
            assert kernel.writes == writes + 2  # the old one goes, the new one comes
    # Worker threads take part, and the time to wake them varies by a factor of two.
    return sorted(seconds)[len(seconds) // 10] * 1e6


def one_change() -> Figure:
    """One address changed in a large configuration, against one in a small one."""
    measured = compare_runs(lambda: _one_change(MANY), lambda: _one_change(FEW), repeats=3)
    return Figure("one address changed: 2,000 links with 10,000 addresses and routes, against 20", *measured, 2)


def same_again() -> Figure:
    """The writes of a new process that finds the desired state applied, against those of the first process."""

    async def writes() -> tuple[int, int]:
        kernel = FakeKernel(f"card{number}" for number in range(MANY))
        written: list[int] = []
        for _ in range(2):
            async with at_work(kernel) as (state, engine):
                await _apply(kernel, state, engine, MANY)
            written.append(kernel.writes)
        first, both = written
        return both - first, first

    again, first = trio.run(writes)
    return Figure("the same configuration again: writes, against the first time", again, first, 0, "msgs")


def first_application() -> Figure:
    """1,000 veth links with an address and a route each, against `ip -batch` doing the same."""
    measured = compare_runs(_ours, _batch, repeats=3)
    return Figure("1,000 veth links, each with an address and a route, against ip -batch", *measured, 3, "ms", goal=1.5)


@contextlib.contextmanager
def _namespace() -> Any:
    name = f"nodespan-bench-{os.getpid()}"
    _run("ip", "netns", "add", name)
    try:
        yield name
    finally:
        _run("ip", "netns", "delete", name)


def _run(*command: str, stdin: str | None = None) -> str:
    return subprocess.run(command, input=stdin, check=True, capture_output=True, text=True).stdout


async def _ours() -> float:
    with _namespace() as name:
        async with at_work(None, netns=f"/run/netns/{name}") as (state, engine):
            specs: list[Resource[Any]] = []
            for number in range(LINKS):
                link = LinkSpecSpec(
                    name=f"v{number}",
                    logical=True,
                    up=True,
                    kind="veth",
                    type=LinkType.ETHER,
                    veth=Veth(peer_name=f"p{number}"),
                    layer=LAYER,
                )
                specs += [unmerged(LinkSpec, link.name, link), address(number, link.name), route(number, link.name)]
            await settled(engine)
            gc.collect()
            started = time.perf_counter()
            for spec in specs:
                await state.create(spec)
            while True:
                await settled(engine)
                seconds = time.perf_counter() - started
                if await trio.to_thread.run_sync(functools.partial(_made, name)) == (LINKS, LINKS):
                    return seconds * 1e3


async def _batch() -> float:
    with _namespace() as name:
        lines: list[str] = []
        for number in range(LINKS):
            one, two = address(number, "").spec.address, route(number, "").spec.dst
            lines += [
                f"link add v{number} type veth peer name p{number}",
                f"link set v{number} up",
                f"addr add {one} dev v{number}",
                f"route add {two} dev v{number} proto static",
            ]
        started = time.perf_counter()
        _run("ip", "-n", name, "-batch", "-", stdin="\n".join(lines))
        seconds = time.perf_counter() - started
        assert _made(name) == (LINKS, LINKS)
        return seconds * 1e3


def _made(name: str) -> tuple[int, int]:
    """The number of desired addresses and routes that exist."""
    links = json.loads(_run("ip", "-n", name, "-json", "-4", "address"))
    routes = json.loads(_run("ip", "-n", name, "-json", "-4", "route", "show", "proto", "static") or "[]")
    return sum(len(link["addr_info"]) for link in links if link["ifname"] != "lo"), len(routes)


class _Steps(trio.abc.Instrument):
    """The longest step and round of the loop, in processor time of its thread: other programs do not count.

    Nor do the steps of the task that measures.
    """

    def __init__(self) -> None:
        self.longest = self.longest_round = 0.0
        self._own = trio.lowlevel.current_task()
        self._began = self._since = time.thread_time()

    def after_io_wait(self, timeout: float) -> None:  # noqa: ARG002  # trio's signature
        self._began = time.thread_time()

    def before_io_wait(self, timeout: float) -> None:  # noqa: ARG002
        self.longest_round = max(self.longest_round, time.thread_time() - self._began)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002
        self._since = time.thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        seconds = time.thread_time() - self._since
        if task is self._own:
            self._began += seconds
        else:
            self.longest = max(self.longest, seconds)


@functools.cache
def _storms() -> tuple[float, float]:
    """Milliseconds, the best of some storms: the longest step of the loop, and its longest round."""
    steps, rounds = zip(*(trio.run(_storm) for _ in range(3)), strict=True)
    return min(steps), min(rounds)


async def _storm() -> tuple[float, float]:
    """The same of one round: many links come up and go down as fast as the kernel does it."""
    with _namespace() as name:
        made = [f"link add v{number} type veth peer name p{number}" for number in range(LINKS)]
        _run("ip", "-n", name, "-batch", "-", stdin="\n".join(made))
        netns = f"/run/netns/{name}"
        state = MemoryState()
        engine = Engine(state)
        for controller in (
            LinkStatusController(netns=netns),
            AddressStatusController(netns=netns),
            RouteStatusController(netns=netns),
            LinkSpecController(netns=netns),
            AddressSpecController(netns=netns),
            RouteSpecController(netns=netns),
        ):
            await engine.register(controller)

        async def shown(*, is_up: bool) -> None:
            """Wait until the statuses of all links say this."""
            up = int(LinkFlags.UP)
            while True:
                # As numbers: this must not be what the others wait for.
                shown_up = sum(int(link.spec.flags) & up for link in state.list(LinkStatus) if link.id != "lo")
                if len(state.list(LinkStatus)) > 2 * LINKS and shown_up == (2 * LINKS if is_up else 0):
                    return
                await trio.sleep(0.05)

        async with trio.open_nursery() as nursery:
            await nursery.start(engine.run)
            await shown(is_up=False)
            gc.collect()
            steps = _Steps()
            trio.lowlevel.add_instrument(steps)
            for up in ("up", "down"):
                turned = "\n".join(f"link set {end}{number} {up}" for number in range(LINKS) for end in "vp")
                await trio.to_thread.run_sync(functools.partial(_run, "ip", "-n", name, "-batch", "-", stdin=turned))
                await shown(is_up=up == "up")
            trio.lowlevel.remove_instrument(steps)
            nursery.cancel_scope.cancel()
        return steps.longest * 1e3, steps.longest_round * 1e3


def storm() -> Figure:
    """A storm on 1,000 pairs of links: how long it holds up everything else at most."""
    longest, _ = _storms()
    return Figure("1,000 veth pairs up and down: the loop's longest step, against 20 ms", longest, 20, 2, "ms", goal=1)


def storm_round() -> Figure:
    """The same storm: for how long the agent has work before the answer to a request, of all tasks together."""
    _, longest = _storms()
    return Figure("1,000 veth pairs up and down: the loop's longest round, against 40 ms", longest, 40, 2, "ms", goal=1)


FIGURES = (one_change, first_application, same_again, storm, storm_round)
