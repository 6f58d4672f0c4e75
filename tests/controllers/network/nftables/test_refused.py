"""What the kernel refuses: one problem that stays, tries that grow apart, and nothing else that waits for it."""

import errno
import functools
import itertools
import json
from collections.abc import Callable, Collection
from typing import Any, TypeVar

import attrs
import pytest
import trio
from structlog.testing import capture_logs

from nodespan.controllers.network.nftables import chain as chain_controller
from nodespan.controllers.network.nftables.chain import NfTablesChainController
from nodespan.kernel.packet_filter import nft
from nodespan.resources.network import (
    ConntrackStateMatch,
    NetworkProblem,
    NfTablesChain,
    NfTablesChainSpec,
    NfTablesRule,
    NfTablesSetElements,
    NfTablesSetElementsSpec,
    Verdict,
)
from nodespan.runtime.testing.kit import Node, running

pytestmark = pytest.mark.virtual_clock
T = TypeVar("T")
REASON = "Operation not supported"
PLAIN = NfTablesChainSpec(rules=(NfTablesRule(verdict=Verdict.ACCEPT),))
TRACKING = NfTablesChainSpec(
    rules=(NfTablesRule(match_conntrack_state=ConntrackStateMatch(states=("established",)), verdict=Verdict.ACCEPT),)
)
OTHER_TRACKING = attrs.evolve(TRACKING, rules=(*TRACKING.rules, NfTablesRule(verdict=Verdict.DROP)))


@attrs.define
class Filter:
    """A packet filter that holds no table when it is listed, and refuses documents with some chains."""

    refused: Collection[str] = ()
    # The times of documents that were refused, of those that were not with their chains, and of trackings.
    failures: list[float] = attrs.field(factory=list)
    documents: list[tuple[float, set[str]]] = attrs.field(factory=list)
    trackings: list[float] = attrs.field(factory=list)

    def apply(self, document: str, netns: str | None, started: Callable[[int], object]) -> None:
        adds = [command["add"] for command in json.loads(document)["nftables"] if "add" in command]
        chains = {each["chain"]["name"] for each in adds if "chain" in each}
        if chains & set(self.refused):
            self.failures.append(trio.current_time())
            raise OSError(errno.EOPNOTSUPP, REASON)
        self.documents.append((trio.current_time(), chains))

    def has_more_than(self, count: int) -> bool:
        return len(self.documents) > count

    def track(self, netns: str | None) -> str:
        self.trackings.append(trio.current_time())
        return ""


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Filter:
    kernel = Filter(refused={"c"})

    async def at_once(job: Callable[..., T], *arguments: Any, **settings: Any) -> T:
        # Virtual time does not wait for threads.
        await trio.lowlevel.checkpoint()
        return job(*arguments)

    def deaf(netns: str | None) -> Any:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(trio.to_thread, "run_sync", at_once)
    monkeypatch.setattr(nft, "apply", kernel.apply)
    monkeypatch.setattr(nft, "list_table", lambda *_: None)
    monkeypatch.setattr(chain_controller, "open_filter_events", deaf)
    monkeypatch.setattr(chain_controller, "_track", kernel.track)
    return kernel


def problems(node: Node) -> list[str]:
    return [problem.spec.message for problem in node.state.list(NetworkProblem)]


async def until(holds: Callable[[], bool], *, within: float = 30.0) -> None:
    """Wait in virtual time."""
    with trio.fail_after(within):
        while not holds():  # noqa: ASYNC110 - nothing announces it
            await trio.sleep(0.01)


def gaps(times: list[float]) -> list[float]:
    return [round(after - before, 1) for before, after in itertools.pairwise(times)]


@pytest.mark.parametrize("spec", [PLAIN, TRACKING])
async def test_a_refused_chain_is_one_problem_that_stays_and_is_tried_less_and_less_often(
    kernel: Filter, spec: NfTablesChainSpec
) -> None:
    shown: list[list[str]] = []
    with capture_logs() as logs:
        async with running(NfTablesChainController(full_interval=1e9)) as node:
            await node.put(NfTablesChain, "c", spec)
            await until(lambda: bool(problems(node)))
            for _ in range(1200):
                await trio.sleep(0.1)
                shown.append(problems(node))
    assert all(each == [REASON] for each in shown)
    assert gaps(kernel.failures) == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0]
    # Connections are made known once for each try, not more often.
    assert len(kernel.trackings) == (len(kernel.failures) if spec is TRACKING else 0)
    assert [each["reason"] for each in logs if each["event"] == "cannot apply"] == [REASON]


async def test_nothing_else_waits_for_a_refused_chain_nor_has_it_tried_more_often(kernel: Filter) -> None:
    async with running(NfTablesChainController(full_interval=1e9)) as node:
        await node.put(NfTablesChain, "c", TRACKING)
        await node.put(NfTablesChain, "plain", PLAIN)
        for number in range(200):
            seen = len(kernel.documents)
            spec = NfTablesSetElementsSpec(set_name="routed", prefixes=(f"10.0.{number % 2}.0/24",))
            await node.put(NfTablesSetElements, "routed/a", spec)
            await until(functools.partial(kernel.has_more_than, seen))
            await trio.sleep(0.1)
        # Most of the time it has only just been tried, and is shown all the same.
        assert problems(node) == [REASON]
        assert all("c" not in chains for _, chains in kernel.documents)
        assert any("plain" in chains for _, chains in kernel.documents)
        assert len(kernel.trackings) == len(kernel.failures)
        assert gaps(kernel.failures) == [0.5, 1.0, 2.0, 4.0, 8.0]


async def test_a_refused_chain_that_changes_is_tried_at_once_and_its_problem_goes_when_it_is_there(
    kernel: Filter,
) -> None:
    async with running(NfTablesChainController(full_interval=1e9)) as node:
        await node.put(NfTablesChain, "c", TRACKING)
        await trio.sleep(100.0)
        failures = len(kernel.failures)
        changed_at = trio.current_time()
        await node.put(NfTablesChain, "c", OTHER_TRACKING)
        await until(lambda: len(kernel.failures) > failures)
        assert kernel.failures[-1] - changed_at < 0.5
        kernel.refused = ()
        await until(lambda: not problems(node), within=100.0)
        assert kernel.documents[-1][1] == {"c"}
        # What fails later begins with a short wait again.
        kernel.refused = {"c"}
        before = len(kernel.failures)
        await node.put(NfTablesChain, "c", PLAIN)
        await until(lambda: len(kernel.failures) > before + 1)
        assert gaps(kernel.failures[before:])[0] == 0.5
