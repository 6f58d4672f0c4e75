"""Paths are measured as often as they may be, in virtual time; the mesh is a table of what each path carries."""

import errno
import math
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
import trio

from nodespan.controllers.kubespan.paths.controller import PathController
from nodespan.controllers.kubespan.paths.measuring import SMALL
from nodespan.controllers.kubespan.paths.routes import PathRouteController
from nodespan.controllers.kubespan.paths.rules import BUDGET, BUSY_BYTES, RAISE_INTERVAL, SHORTEST_INTERVAL
from nodespan.kernel.packets.echo import Answer
from nodespan.resources.kubespan import (
    KUBESPAN_CONFIG_ID,
    KubeSpanConfig,
    KubeSpanConfigSpec,
    KubeSpanPathStatus,
    KubeSpanPathStatusSpec,
    KubeSpanPeerSpec,
    KubeSpanPeerSpecSpec,
    KubeSpanPeerStatus,
    KubeSpanPeerStatusSpec,
    PathKind,
    PeerState,
)
from nodespan.resources.network import CONFIG_NAMESPACE, NetworkProblem, RouteSpec, network_problem_id
from nodespan.resources.network.link import IPV6_MINIMUM_MTU
from nodespan.runtime.testing.kit import Node, running

CONFIG = KubeSpanConfigSpec(enabled=True, cluster_id="cluster", mtu=1420, measure_paths=True)
UP = KubeSpanPeerStatusSpec(label="db", state=PeerState.UP, endpoint="192.0.2.1:51820")


class Paths:
    """Answers after a while what a path carries; keeps what was sent, and when.

    As a socket does, it has room for so many answers, and they count from when they are read.
    """

    def __init__(self, room: int = 1000) -> None:
        self.room = room
        self.carries: dict[str, int] = {}
        self.delay = 0.010
        self.sent: list[tuple[float, str, int]] = []
        self._coming: list[tuple[float, Answer]] = []
        self._news = trio.Event()

    def send(self, address: str, sequence: int, size: int) -> None:
        now = trio.current_time()
        self.sent.append((now, address, size))
        if size <= self.carries.get(address, math.inf):
            self._coming.append((now + self.delay, Answer(address, sequence, now + self.delay)))
            self._news.set()

    def received(self) -> Iterator[Answer]:
        now = trio.current_time()
        here = [attrs.evolve(answer, at=now) for at, answer in self._coming if at <= now]
        self._coming = [(at, answer) for at, answer in self._coming if at > now]
        yield from here[: self.room]

    async def wait(self) -> None:
        while not self._coming:
            self._news = trio.Event()
            await self._news.wait()
        await trio.sleep_until(min(at for at, _ in self._coming))

    def close(self) -> None:
        self.sent.clear()


async def add(node: Node, number: int, status: KubeSpanPeerStatusSpec = UP) -> str:
    address = f"fd00::{number:x}"
    spec = KubeSpanPeerSpecSpec(address=address, label=status.label, allowed_ips=(f"10.0.0.{number % 250}/32",))
    await node.put(KubeSpanPeerSpec, f"key-{number}", spec)
    await node.put(KubeSpanPeerStatus, f"key-{number}", status)
    return address


async def path(node: Node, check: Any = lambda _: True) -> KubeSpanPathStatusSpec:
    found = await node.eventually(KubeSpanPathStatus, "key-1", lambda found: check(found.spec), within=300.0)
    return found.spec


@pytest.mark.virtual_clock
async def test_a_path_is_measured_at_once_and_again() -> None:
    paths = Paths()
    async with running(PathController(lambda: paths, wall=lambda: datetime(2026, 11, 29, tzinfo=UTC))) as node:
        await node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, CONFIG)
        await add(node, 1)
        spec = await path(node, lambda spec: spec.path_mtu)
        assert (spec.path, spec.endpoint, spec.path_mtu, spec.loss) == (PathKind.DIRECT, "192.0.2.1:51820", 1420, 0.0)
        assert spec.round_trip == spec.worst_round_trip == timedelta(milliseconds=10)
        assert [size for _, _, size in paths.sent] == [SMALL, 1420]
        # Then rarely, and a path of known size by small packets alone.
        await trio.sleep(10 * SHORTEST_INTERVAL)
        assert len(paths.sent) in (2 + 9, 2 + 10)
        assert {size for _, _, size in paths.sent[2:]} == {SMALL}
        # What is lost shows.
        paths.carries["fd00::1"] = 0
        assert (await path(node, lambda spec: spec.loss == 1.0)).round_trip == timedelta()
        # A peer that is down is not measured.
        await node.put(KubeSpanPeerStatus, "key-1", attrs.evolve(UP, state=PeerState.DOWN))
        assert (await path(node, lambda spec: spec.path is PathKind.NONE)).path_mtu == 0
        paths.sent.clear()
        await trio.sleep(10 * SHORTEST_INTERVAL)
        assert not paths.sent


@pytest.mark.virtual_clock
async def test_a_narrow_path_is_found_within_a_minute_named_and_noticed_when_it_is_wide_again() -> None:
    paths = Paths()
    paths.carries["fd00::1"] = 1376
    async with running(PathController(lambda: paths)) as node:
        await node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, CONFIG)
        began = trio.current_time()
        await add(node, 1)
        assert (await path(node, lambda spec: spec.path_mtu)).path_mtu == 1376
        assert trio.current_time() - began < 60
        id = network_problem_id(KubeSpanPeerSpec.name, "key-1")
        problem = await node.eventually(NetworkProblem, id, lambda _: True)
        assert "carries 1376 bytes, where the tunnel assumes 1420" in problem.spec.message
        assert "Set mtu: 1376" in problem.spec.message
        paths.carries["fd00::1"] = 1500
        await trio.sleep(RAISE_INTERVAL + SHORTEST_INTERVAL)
        assert (await path(node, lambda spec: spec.path_mtu == 1420)).path_mtu == 1420
        await node.gone(NetworkProblem, id, within=300.0)


@pytest.mark.virtual_clock
async def test_a_path_that_becomes_narrow_is_noticed_by_a_pair_that_is_busy() -> None:
    paths = Paths()
    async with running(PathController(lambda: paths)) as node:
        await node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, CONFIG)
        await add(node, 1)
        await path(node, lambda spec: spec.path_mtu)
        paths.carries["fd00::1"] = 1300
        began = trio.current_time()
        await node.put(KubeSpanPeerStatus, "key-1", attrs.evolve(UP, transmit_bytes=2 * BUSY_BYTES))
        # Until its size is found, packets are kept to what each path must carry.
        assert (await path(node, lambda spec: spec.path_mtu != 1420)).path_mtu == IPV6_MINIMUM_MTU
        assert 1284 < (await path(node, lambda spec: spec.path_mtu != IPV6_MINIMUM_MTU)).path_mtu <= 1300
        assert trio.current_time() - began < 60


@pytest.mark.virtual_clock
async def test_many_idle_peers_cost_what_was_promised() -> None:
    paths = Paths()
    async with running(PathController(lambda: paths)) as node:
        await node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, CONFIG)
        for number in range(1, 201):
            await add(node, number)
        await node.settled()
        await trio.sleep(1000.0)
        paths.sent.clear()
        began = trio.current_time()
        await trio.sleep(2000.0)
        # Each request and its answer, with what WireGuard, UDP and IPv6 put in front.
        bits = sum(2 * 8 * (size + 60) for _, _, size in paths.sent)
        assert bits / (trio.current_time() - began) <= BUDGET * 1.05
        assert len({address for _, address, _ in paths.sent}) == 200


@pytest.mark.virtual_clock
async def test_the_answers_of_a_large_mesh_are_read_while_requests_are_sent() -> None:
    paths = Paths(room=150)
    paths.delay = 0.001
    async with running(PathController(lambda: paths)) as node:
        for number in range(1, 401):
            await add(node, number)
        await node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, CONFIG)
        await path(node, lambda spec: spec.path_mtu)
        await trio.sleep(1000.0)
        found = [status.spec for status in node.state.list(KubeSpanPathStatus)]
    assert len(found) == 400
    assert {(spec.loss, spec.worst_round_trip, spec.path_mtu) for spec in found} == {
        (0.0, timedelta(milliseconds=1), 1420)
    }


@pytest.mark.virtual_clock
async def test_a_pair_that_begins_to_carry_traffic_in_a_large_mesh_is_measured_at_once() -> None:
    paths = Paths()
    async with running(PathController(lambda: paths)) as node:
        await node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, CONFIG)
        for number in range(1, 401):
            await add(node, number)
        await path(node, lambda spec: spec.path_mtu)
        paths.carries["fd00::1"] = 1300
        await trio.sleep(100.0)
        began = trio.current_time()
        await node.put(KubeSpanPeerStatus, "key-1", attrs.evolve(UP, transmit_bytes=5 * BUSY_BYTES))
        assert (await path(node, lambda spec: spec.path_mtu != 1420)).path_mtu == IPV6_MINIMUM_MTU
        assert 1284 < (await path(node, lambda spec: spec.path_mtu != IPV6_MINIMUM_MTU)).path_mtu <= 1300
        assert trio.current_time() - began < 60


@pytest.mark.virtual_clock
async def test_a_path_that_replaces_a_narrow_one_counts_as_narrow_until_its_size_is_found() -> None:
    paths = Paths()
    paths.carries["fd00::1"] = 1376
    async with running(PathController(lambda: paths)) as node:
        await node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, CONFIG)
        await add(node, 1)
        await path(node, lambda spec: spec.path_mtu)
        for number in range(2):
            endpoint = f"192.0.2.9:{number + 1}"
            await node.put(KubeSpanPeerStatus, "key-1", attrs.evolve(UP, endpoint=endpoint))
            assert (await path(node, lambda spec, endpoint=endpoint: spec.endpoint == endpoint)).path_mtu == 1376
        paths.carries.clear()
        assert (await path(node, lambda spec: spec.path_mtu != 1376)).path_mtu == 1420


@pytest.mark.virtual_clock
async def test_a_peer_that_answers_nothing_costs_no_more_than_others() -> None:
    paths = Paths()
    paths.carries["fd00::1"] = 0
    async with running(PathController(lambda: paths)) as node:
        await node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, CONFIG)
        await add(node, 1)
        await path(node, lambda spec: spec.loss == 1.0)
        await trio.sleep(SHORTEST_INTERVAL)
        assert 3 <= len(paths.sent) <= 6  # soon again, then ever later
        await trio.sleep(2 * SHORTEST_INTERVAL)
        paths.sent.clear()
        await trio.sleep(10 * SHORTEST_INTERVAL)
        assert 8 <= len(paths.sent) <= 10
        assert {size for _, _, size in paths.sent} == {SMALL}
        # Once it answers, its size is searched.
        paths.carries["fd00::1"] = 1376
        assert (await path(node, lambda spec: spec.path_mtu)).path_mtu == 1376


@pytest.mark.virtual_clock
async def test_an_answer_of_the_path_before_says_nothing_of_the_one_after() -> None:
    paths = Paths()
    paths.delay = 1.0
    async with running(PathController(lambda: paths)) as node:
        await node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, CONFIG)
        address = await add(node, 1)
        await path(node, lambda spec: spec.path is PathKind.DIRECT)
        await trio.sleep(0.5)
        # The peer comes from elsewhere while a round is under way, and is measured at once after it.
        await node.put(KubeSpanPeerStatus, "key-1", attrs.evolve(UP, endpoint="192.0.2.9:51820"))
        await path(node, lambda spec: spec.endpoint == "192.0.2.9:51820")
        paths.delay = 0.010
        spec = await path(node, lambda spec: spec.round_trip)
        assert spec.worst_round_trip == timedelta(milliseconds=10)
        assert trio.current_time() - paths.sent[0][0] < SHORTEST_INTERVAL
        assert {sent for _, sent, _ in paths.sent} == {address}


@pytest.mark.virtual_clock
async def test_a_path_through_a_relay_that_is_down_is_so_since_then() -> None:
    now = [datetime(2026, 11, 29, tzinfo=UTC)]
    async with running(PathController(Paths, wall=lambda: now[0])) as node:
        await node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, CONFIG)
        down = attrs.evolve(UP, state=PeerState.DOWN, relay="relay.example:443")
        await add(node, 1, down)
        began = (await path(node)).since
        now[0] += timedelta(minutes=1)
        await node.put(KubeSpanPeerStatus, "key-1", attrs.evolve(down, label="other"))
        assert (await path(node, lambda spec: spec.label == "other")).since == began


@pytest.mark.virtual_clock
@pytest.mark.parametrize("error", [errno.EPERM, errno.EAFNOSUPPORT])
async def test_without_privileges_or_ipv6_it_is_said_once_and_paths_are_shown_all_the_same(
    capsys: pytest.CaptureFixture[str], error: int
) -> None:
    def refuse() -> Paths:
        raise OSError(error, os.strerror(error))

    async with running(PathController(refuse)) as node:
        await node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, CONFIG)
        await add(node, 1)
        assert (await path(node)).path is PathKind.DIRECT
        await trio.sleep(100.0)
    assert capsys.readouterr().out.count("not measured") == 1


@pytest.mark.virtual_clock
async def test_paths_are_not_measured_where_the_configuration_says_so() -> None:
    paths = Paths()
    async with running(PathController(lambda: paths)) as node:
        await node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, attrs.evolve(CONFIG, measure_paths=False))
        await add(node, 1)
        await path(node)
        await trio.sleep(100.0)
        assert not paths.sent


async def test_a_narrow_path_gets_routes_of_its_own_for_as_long_as_it_is_narrow() -> None:
    routes = RouteSpec.within(CONFIG_NAMESPACE)
    narrow = KubeSpanPathStatusSpec(path=PathKind.DIRECT, path_mtu=1376, tunnel_mtu=1420)
    async with running(PathRouteController()) as node:
        await node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, attrs.evolve(CONFIG, auto_mtu=True))
        await add(node, 1)
        await node.put(KubeSpanPathStatus, "key-1", narrow)
        await node.eventually(routes, "operator/kubespan/inet6//fd00::1/128/1", lambda _: True)
        await node.eventually(routes, "operator/180/inet4//10.0.0.1/32/1", lambda _: True)
        made = {(route.spec.dst, str(route.spec.table), route.spec.mtu) for route in node.state.list(routes)}
        assert made == {("fd00::1/128", "main", 1376), ("10.0.0.1/32", "180", 1376)}
        await node.put(KubeSpanPathStatus, "key-1", attrs.evolve(narrow, path_mtu=1420))
        for route in ("operator/kubespan/inet6//fd00::1/128/1", "operator/180/inet4//10.0.0.1/32/1"):
            await node.gone(routes, route)
        await node.put(KubeSpanPathStatus, "key-1", attrs.evolve(narrow, path_mtu=1300))
        await node.eventually(routes, "operator/180/inet4//10.0.0.1/32/1", lambda route: route.spec.mtu == 1300)
        # Nothing of it is left without the setting.
        await node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, CONFIG)
        await node.gone(routes, "operator/180/inet4//10.0.0.1/32/1")


async def test_a_change_of_one_narrow_path_costs_the_same_however_many_there_are() -> None:
    narrow = KubeSpanPathStatusSpec(path=PathKind.DIRECT, path_mtu=1376, tunnel_mtu=1420)
    controller = PathRouteController()
    async with running(controller) as node:
        await node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, attrs.evolve(CONFIG, auto_mtu=True))
        for number in (1, 2, 3):
            await add(node, number)
            await node.put(KubeSpanPathStatus, f"key-{number}", narrow)
        await node.settled()
        made = {peer: frozenset(routes) for peer, routes in controller._routes.items()}
        assert {peer: len(routes) for peer, routes in made.items()} == {"key-1": 2, "key-2": 2, "key-3": 2}
        await node.put(KubeSpanPathStatus, "key-2", attrs.evolve(narrow, path_mtu=1420))
        await node.settled()
        assert controller._routes == {"key-1": made["key-1"], "key-3": made["key-3"]}
        assert set(controller._peers) == made["key-1"] | made["key-3"]
        await node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, CONFIG)
        await node.settled()
        assert (controller._routes, controller._peers) == ({}, {})
