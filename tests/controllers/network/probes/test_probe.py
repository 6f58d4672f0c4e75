"""Probes in virtual time: which there are, when they are tried, and when a failure counts."""

import datetime
import random
from collections.abc import Callable, Iterator

import attrs
import pytest
import trio

from nodespan.controllers.config.loading import load
from nodespan.controllers.network.merge.controllers import ProbeMergeController
from nodespan.controllers.network.probes.probe import CONCURRENCY, ProbeConfigController, ProbeController
from nodespan.controllers.network.probes.probe_rules import Tally, Target, configured_probes
from nodespan.controllers.network.status.network_status import NetworkStatusController
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig
from nodespan.resources.network import (
    CONFIG_NAMESPACE,
    NETWORK_STATUS_ID,
    NetworkStatus,
    ProbeSpec,
    ProbeStatus,
    ProbeStatusSpec,
    RouteStatus,
    RouteStatusSpec,
)
from nodespan.runtime.testing.kit import Node, running

pytestmark = pytest.mark.virtual_clock


def tcp(name: str, endpoint: str, more: str = "") -> str:
    return f"---\napiVersion: v1alpha1\nkind: TCPProbeConfig\nname: {name}\nendpoint: {endpoint}\n{more}\n"


def page(name: str, url: str, more: str = "") -> str:
    return f"---\napiVersion: v1alpha1\nkind: HTTPProbeConfig\nname: {name}\nurl: {url}\n{more}\n"


GATEWAY = tcp("gw", "10.0.0.1:22", "failureThreshold: 3")


@attrs.define
class Attempts:
    """Tries that take no time unless they are told to, and when they were made."""

    answer: Callable[[Target], str] = attrs.field(default=lambda _: "")
    times: list[float] = attrs.field(factory=list)
    targets: list[Target] = attrs.field(factory=list)
    takes: float = 0.0
    running: int = 0
    most: int = 0

    async def __call__(self, target: Target) -> str:
        self.times.append(trio.current_time())
        self.targets.append(target)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await trio.sleep(self.takes)
            return self.answer(target)
        finally:
            self.running -= 1


async def configure(node: Node, text: str) -> None:
    loaded = load(text)
    assert loaded.errors == ()
    await node.put(MachineConfig, MACHINE_CONFIG_ID, loaded.config)


def controllers(attempts: Attempts) -> Iterator[object]:
    yield from (
        ProbeConfigController(),
        ProbeMergeController(),
        ProbeController(attempt=attempts, random=random.Random(1)),
    )


@pytest.mark.parametrize(
    ("threshold", "errors", "published"),
    [
        (0, ["", "a", "b", ""], [True, False, False, True]),
        (1, ["a", ""], [False, True]),
        (3, ["a", "b", "c", "d"], [None, None, False, False]),
        (3, ["a", "b", "", "c", "d", "e"], [None, None, True, None, None, False]),
    ],
)
async def test_a_failure_counts_at_the_threshold_and_a_success_at_once(
    threshold: int, errors: list[str], published: list[bool | None]
) -> None:
    tally, found = Tally(), []
    for error in errors:
        tally, status = tally.after(error, threshold)
        found.append(None if status is None else status.success)
        assert status is None or status.last_error == error
    assert found == published


async def test_documents_become_specs_by_their_target_and_passwords_stay_out() -> None:
    text = (
        GATEWAY
        + tcp("again", "10.0.0.1:22", "interval: 5s\ntimeout: 2s")
        + page("site", "https://u:p@example.com/health?a=b", "interval: 30s")
    )
    loaded = load(text)
    assert loaded.problems == ()
    specs = configured_probes(loaded.config)
    assert list(specs) == ["tcp:10.0.0.1:22", "http:https://example.com/health?a=b"]
    gateway, site = specs.values()
    assert gateway.tcp is not None
    assert (gateway.interval, gateway.failure_threshold, gateway.tcp.timeout) == (
        datetime.timedelta(seconds=5),
        0,
        datetime.timedelta(seconds=2),
    )
    assert site.http is not None
    assert (site.http.url, site.http.timeout) == (
        "https://u:xxxxx@example.com/health?a=b",
        datetime.timedelta(seconds=10),
    )
    assert ":p@" not in repr(loaded.config)


async def test_a_probe_is_tried_at_once_and_then_around_every_interval() -> None:
    attempts = Attempts()
    async with running(*controllers(attempts)) as node:  # type: ignore[arg-type]
        began = trio.current_time()
        await configure(node, tcp("gw", "10.0.0.1:22", "interval: 10s"))
        await node.eventually(ProbeStatus, "tcp:10.0.0.1:22", spec=ProbeStatusSpec(success=True))
        unmerged = node.state.find(ProbeSpec.within(CONFIG_NAMESPACE), "configuration/tcp:10.0.0.1:22")
        assert unmerged is not None
        await trio.sleep(1000)
        gaps = [after - before for before, after in zip(attempts.times, attempts.times[1:], strict=False)]
        assert attempts.times[0] - began < 0.1
        assert 90 <= len(gaps) <= 112
        assert all(9 <= gap <= 11 for gap in gaps)
        assert len({round(gap, 3) for gap in gaps}) > 50
        await node.destroy(MachineConfig, MACHINE_CONFIG_ID)
        await node.gone(ProbeStatus, "tcp:10.0.0.1:22")
        count = len(attempts.times)
        await trio.sleep(100)
        assert len(attempts.times) == count


async def test_readiness_follows_the_probes_and_without_a_result_the_routes() -> None:
    attempts = Attempts(answer=lambda _: "dial tcp 10.0.0.1:22: connection refused")
    async with running(*controllers(attempts), NetworkStatusController()) as node:  # type: ignore[arg-type]

        async def ready(*, is_so: bool) -> None:
            await node.eventually(
                NetworkStatus, NETWORK_STATUS_ID, lambda found: found.spec.connectivity_ready is is_so
            )

        await ready(is_so=False)
        await node.create(RouteStatus.new("default", RouteStatusSpec(gateway="10.0.0.1")))
        await ready(is_so=True)
        await configure(node, GATEWAY)
        await trio.sleep(1.5)
        assert len(attempts.times) == 2
        assert not node.state.list(ProbeStatus)
        await ready(is_so=True)
        await ready(is_so=False)
        status = node.state.find(ProbeStatus, "tcp:10.0.0.1:22")
        assert status is not None
        assert status.spec.last_error == "dial tcp 10.0.0.1:22: connection refused"
        attempts.answer = lambda target: "" if target.spec.tcp else "received non-success status code: 404 Not Found"
        await ready(is_so=True)
        await configure(node, GATEWAY + page("site", "http://example.com/"))
        await ready(is_so=False)
        await node.destroy(RouteStatus, "default")
        await configure(node, GATEWAY)
        await ready(is_so=True)


async def test_a_changed_password_begins_anew_and_another_change_of_the_configuration_does_not() -> None:
    attempts = Attempts()
    async with running(*controllers(attempts)) as node:  # type: ignore[arg-type]
        slow = "interval: 1h"
        await configure(node, page("site", "https://u:one@example.com/", slow))
        await node.eventually(ProbeStatus, "http:https://example.com/")
        await configure(node, page("site", "https://u:one@example.com/", slow) + tcp("gw", "10.0.0.1:22", slow))
        await node.eventually(ProbeStatus, "tcp:10.0.0.1:22")
        assert len(attempts.times) == 2
        await configure(node, page("site", "https://u:two@example.com/", slow))
        await node.gone(ProbeStatus, "tcp:10.0.0.1:22")
        await trio.sleep(1)
        assert [target.url for target in attempts.targets if target.url] == [
            "https://u:one@example.com/",
            "https://u:two@example.com/",
        ]
        assert "two" not in repr(attempts.targets)


async def test_only_so_many_are_tried_at_a_time() -> None:
    attempts = Attempts(takes=5.0)
    async with running(*controllers(attempts)) as node:  # type: ignore[arg-type]
        await configure(node, "".join(tcp(f"p{number}", f"10.0.0.1:{number}") for number in range(1, 3 * CONCURRENCY)))
        await node.eventually(ProbeStatus, f"tcp:10.0.0.1:{3 * CONCURRENCY - 1}")
        assert attempts.most == CONCURRENCY
