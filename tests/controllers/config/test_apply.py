"""What is applied is in effect and stays; what is on trial goes back, whatever happens to the agent meanwhile."""

import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import structlog.testing
import trio

from nodespan.controllers.config import apply
from nodespan.controllers.config.action_names import APPLIED, APPLIED_WITH_PROBLEMS, APPLY, CANCEL, CONFIRM
from nodespan.controllers.config.files.controller import IN_EFFECT_FILE, TRIAL_FILE, FileController
from nodespan.controllers.config.files.watched import APPLIED_FILE
from nodespan.resources.cluster import DiscoveryServiceStatus, DiscoveryServiceStatusSpec, ServiceState
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig
from nodespan.resources.config.status import CONFIG_STATUS_ID, ConfigStatus, ConfigStatusSpec
from nodespan.resources.network import NetworkProblem, NetworkProblemSpec, VIPState, VIPStatus, VIPStatusSpec
from nodespan.runtime.actions import ActionCall, ActionError
from nodespan.runtime.testing.kit import Node, running
from tests.controllers.config.fake_clock import FakeBootClock
from tests.support.deadlines import PATIENCE

OLD = "machine: {type: worker, env: {A: old}}\n"
NEW = "machine: {type: worker, env: {A: new}}\n"
NEWER = "machine: {type: worker, env: {A: newer}}\n"
BAD = "machine: {type: boss, env: {PASSWORD: hidden}}\n"
POLL = 0.01


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no kernel here that takes its time."""
    monkeypatch.setattr(apply, "_START", 0.0)
    monkeypatch.setattr(apply, "_PASSING", 0.0)


class Operator:
    """Somebody at the command line of a node with nothing but the controller of files."""

    def __init__(self, node: Node, controller: FileController, in_effect: Sequence[str | None] = ()) -> None:
        self.node = node
        # What was in effect at the moments at which nothing else went on.
        self.in_effect = in_effect
        self._actions = controller.actions
        self.says: list[Mapping[str, Any]] = []

    @property
    def text(self) -> str | None:
        """The configuration in effect."""
        found = self.node.state.find(MachineConfig, MACHINE_CONFIG_ID)
        return found.spec.text if found else None

    @property
    def status(self) -> ConfigStatusSpec:
        return self.node.state.get(ConfigStatus, CONFIG_STATUS_ID).spec

    async def asks(self, action: str, *texts: str, **arguments: Any) -> int:
        """Ask the agent for something and return the status; what it says is in `says`."""
        files = [[f"{number}.yaml", text.encode()] for number, text in enumerate(texts, start=1)]
        call = ActionCall(arguments={"files": files, **arguments}, state=self.node.state, settle=self._settle)
        self.says = [answer async for answer in self._actions[action](call)]
        status: int = self.says[-1]["status"]
        return status

    async def tries(self, text: str, duration: str = "1m") -> int:
        return await self.asks(APPLY, text, timeout=duration)

    def said(self) -> str:
        return "".join(answer["text"] for answer in self.says)

    async def _settle(self, within: float) -> bool:
        await self.node.settled(within=within)
        return True


@asynccontextmanager
async def operating(
    state_dir: Path, *files: Path, clock: FakeBootClock | None = None, leaving: trio.Event | None = None
) -> AsyncIterator[Operator]:
    """An agent that is killed at the end of the block."""
    in_effect: list[str | None] = []
    boot_clock = clock or FakeBootClock()

    async def settled(_within: float) -> bool:
        in_effect.append(operator.text)
        return True

    controller = FileController(
        *files,
        state_dir=state_dir,
        clock=boot_clock,
        # Both clocks go at one speed: a wall clock that runs on beside one that stands still is one that is set.
        wall=lambda: boot_clock.now() + 1.7e9,
        poll_interval=POLL,
        settled=settled,
        leaving=leaving,
    )
    with structlog.testing.capture_logs():
        async with running() as node:
            operator = Operator(node, controller, in_effect)
            await node.engine.register(controller)
            await node.eventually(ConfigStatus, CONFIG_STATUS_ID, lambda found: not found.spec.taking_over)
            yield operator


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(PATIENCE):
        while not condition():  # noqa: ASYNC110  # files tell nobody that they changed
            await trio.sleep(POLL)


async def test_an_applied_configuration_takes_effect_and_survives_a_restart(tmp_path: Path) -> None:
    async with operating(tmp_path) as operator:
        assert operator.text is None
        assert await operator.asks(APPLY, OLD) == 0
        assert operator.text == OLD
        assert operator.status.files == (str(tmp_path / APPLIED_FILE),)
        assert "applied" in operator.said()
    async with operating(tmp_path) as operator:
        assert operator.text == OLD
    assert (tmp_path / APPLIED_FILE).stat().st_mode & 0o777 == 0o600


async def test_several_files_are_kept_as_one_equivalent_file(tmp_path: Path) -> None:
    async with operating(tmp_path) as operator:
        assert await operator.asks(APPLY, OLD, "machine: {env: {B: b}}", "machine: {env: {A: last}}") == 0
        config = operator.node.state.get(MachineConfig, MACHINE_CONFIG_ID).spec
        assert config.machine.env == {"A": "last", "B": "b"}
    async with operating(tmp_path) as operator:
        assert operator.node.state.get(MachineConfig, MACHINE_CONFIG_ID).spec == config


async def test_a_configuration_with_mistakes_changes_nothing(tmp_path: Path) -> None:
    async with operating(tmp_path) as operator:
        await operator.asks(APPLY, OLD)
        for arguments in ({}, {"timeout": "1m"}):
            assert await operator.asks(APPLY, BAD, **arguments) == 1
            assert "1.yaml:1:17: error: machine.type" in operator.said()
            assert "^^^^" in operator.said()
            assert "nothing was changed" in operator.said()
            assert "hidden" not in operator.said().replace("env: {PASSWORD: hidden", "")
            assert operator.text == OLD
    assert (tmp_path / APPLIED_FILE).read_text() == OLD
    assert not (tmp_path / TRIAL_FILE).exists()


async def test_a_mistake_in_the_file_that_was_applied_leaves_the_last_good_configuration(tmp_path: Path) -> None:
    async with operating(tmp_path) as operator:
        await operator.asks(APPLY, OLD)
        (tmp_path / APPLIED_FILE).write_text(BAD)
        await until(lambda: operator.status.error != "")
        assert operator.text == OLD
        assert operator.status.error.startswith(f"{tmp_path / APPLIED_FILE}:1:17: error")
        await operator.asks(APPLY, NEW)
        assert (operator.text, operator.status.error) == (NEW, "")


async def test_a_file_that_appears_takes_effect(tmp_path: Path) -> None:
    async with operating(tmp_path) as operator:
        (tmp_path / APPLIED_FILE).write_text(NEW)
        await until(lambda: operator.text == NEW)


async def test_only_new_problems_are_reported(tmp_path: Path) -> None:
    async with operating(tmp_path) as operator:
        for id in ("LinkSpecs/a", "LinkSpecs/b"):
            await operator.node.create(NetworkProblem.new(id, NetworkProblemSpec(type="a", id="b", message="old")))
        settle = operator._settle

        async def settle_with_a_problem(within: float) -> bool:
            spec = NetworkProblemSpec(type="a", id="b", message="no such link")
            await operator.node.put(NetworkProblem, "LinkSpecs/a", spec)
            return await settle(within)

        operator._settle = settle_with_a_problem  # type: ignore[method-assign]
        assert await operator.asks(APPLY, OLD) == 2
        assert [answer["text"] for answer in operator.says if answer.get("problem")] == [
            "error: LinkSpecs/a: no such link\n"
        ]
        assert await operator.asks(APPLY, NEW, wait=False) == 0


async def test_a_discovery_service_is_waited_for_and_its_failure_is_the_status(tmp_path: Path) -> None:
    connecting = DiscoveryServiceStatusSpec(endpoint="a:443", state=ServiceState.CONNECTING)
    for state, status in ((ServiceState.CONNECTED, APPLIED), (ServiceState.FAILED, APPLIED_WITH_PROBLEMS)):
        directory = tmp_path / state
        directory.mkdir()
        async with operating(directory) as operator:
            await operator.node.put(DiscoveryServiceStatus, "one", connecting)
            results: list[int] = []

            async def apply_it(operator: Operator = operator, results: list[int] = results) -> None:
                results.append(await operator.asks(APPLY, NEW))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(apply_it)
                await until(lambda operator=operator: operator.text == NEW)  # type: ignore[misc]
                assert not results
                if state is ServiceState.FAILED:
                    problem = NetworkProblemSpec(type=DiscoveryServiceStatus.name, id="one", message="not trusted")
                    await operator.node.put(NetworkProblem, "DiscoveryServiceStatuses/one", problem)
                await operator.node.put(DiscoveryServiceStatus, "one", attrs.evolve(connecting, state=state))
            assert results == [status]
            assert ("not trusted" in operator.said()) is (state is ServiceState.FAILED)


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        ({"state": VIPState.LEADER}, APPLIED),
        ({"state": VIPState.WAITING, "reason": "the condition gateway does not hold"}, APPLIED),
        ({"state": VIPState.WAITING, "reason": "no answer", "trouble": "no answer"}, APPLIED_WITH_PROBLEMS),
    ],
)
async def test_the_etcd_of_a_virtual_ip_is_waited_for_and_its_failure_is_the_status(
    tmp_path: Path, outcome: dict[str, Any], status: int
) -> None:
    begun = VIPStatusSpec(ip="192.0.2.100", link_name="eth0", state=VIPState.WAITING)
    async with operating(tmp_path) as operator:
        await operator.node.put(VIPStatus, "eth0/192.0.2.100", begun)
        results: list[int] = []

        async def apply_it() -> None:
            results.append(await operator.asks(APPLY, NEW))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(apply_it)
            await until(lambda: operator.text == NEW)
            await operator.node.settled()
            assert not results
            if trouble := outcome.get("trouble"):
                problem = NetworkProblemSpec(type="OperatorSpecs", id="vip/eth0", message=trouble)
                await operator.node.put(NetworkProblem, "OperatorSpecs/vip/eth0", problem)
            await operator.node.put(VIPStatus, "eth0/192.0.2.100", attrs.evolve(begun, **outcome))
        assert results == [status]


async def test_without_waiting_a_discovery_service_is_not_waited_for(tmp_path: Path) -> None:
    async with operating(tmp_path) as operator:
        await operator.node.put(DiscoveryServiceStatus, "one", DiscoveryServiceStatusSpec())
        assert await operator.asks(APPLY, NEW, wait=False) == APPLIED


async def test_a_file_that_the_agent_was_given_is_the_one_that_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "node.yaml"
    path.write_text(OLD)
    path.chmod(0o640)
    async with operating(tmp_path, path) as operator:
        assert await operator.asks(APPLY, NEW) == 0
        assert (operator.text, path.read_text(), path.stat().st_mode & 0o777) == (NEW, NEW, 0o640)
        assert str(path) in operator.said()
    assert not (tmp_path / APPLIED_FILE).exists()


@pytest.mark.parametrize("names", [("a.yaml", "b.yaml"), (".",)])
async def test_several_files_or_a_directory_cannot_be_replaced(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text(OLD)
    async with operating(tmp_path, *(tmp_path / name for name in names)) as operator:
        for arguments in ({}, {"timeout": "1m"}):
            with pytest.raises(ActionError, match="not one file that could be replaced"):
                await operator.asks(APPLY, NEW, **arguments)
        assert operator.text is not None
        assert "old" in operator.text


async def test_a_file_in_a_directory_that_is_new_is_merged(tmp_path: Path) -> None:
    directory = tmp_path / "config"
    directory.mkdir()
    (directory / "10.yaml").write_text(OLD)
    async with operating(tmp_path, directory) as operator:
        (directory / "20.yaml").write_text(NEW)
        await until(lambda: operator.text is not None and "new" in operator.text)
        assert operator.status.files == (str(directory / "10.yaml"), str(directory / "20.yaml"))
        (directory / "20.yaml").unlink()
        await until(lambda: operator.text == OLD)


# Trials.


async def test_a_trial_is_in_effect_at_once_and_goes_back_by_itself(tmp_path: Path) -> None:
    clock = FakeBootClock()
    async with operating(tmp_path, clock=clock) as operator:
        await operator.asks(APPLY, OLD)
        assert await operator.tries(NEW) == 0
        assert operator.text == NEW
        assert operator.status.trial_until is not None
        assert "--confirm" in operator.said()
        assert (tmp_path / APPLIED_FILE).read_text() == OLD
        clock.time += 59
        await trio.sleep(5 * POLL)
        assert operator.text == NEW
        clock.time += 1
        await until(lambda: operator.text == OLD)
        await until(lambda: operator.status.trial_until is None)
        assert not (tmp_path / TRIAL_FILE).exists()


async def test_a_trial_that_is_confirmed_stays(tmp_path: Path) -> None:
    clock = FakeBootClock()
    async with operating(tmp_path, clock=clock) as operator:
        await operator.asks(APPLY, OLD)
        await operator.tries(NEW)
        since = operator.status.since
        assert await operator.asks(CONFIRM) == 0
        assert (operator.text, operator.status.trial_until, operator.status.since) == (NEW, None, since)
        clock.time += 600
        await trio.sleep(5 * POLL)
        assert operator.text == NEW
    async with operating(tmp_path, clock=clock) as operator:
        assert operator.text == NEW


async def test_a_trial_that_is_cancelled_goes_back_at_once(tmp_path: Path) -> None:
    async with operating(tmp_path) as operator:
        await operator.asks(APPLY, OLD)
        await operator.tries(NEW)
        assert await operator.asks(CANCEL) == 0
        assert operator.text == OLD
        with pytest.raises(ActionError, match="no configuration is on trial"):
            await operator.asks(CANCEL)


async def test_a_trial_of_the_first_configuration_goes_back_to_none(tmp_path: Path) -> None:
    clock = FakeBootClock()
    async with operating(tmp_path, clock=clock) as operator:
        await operator.tries(NEW)
        assert operator.text == NEW
        clock.time += 60
        await until(lambda: operator.text is None)
        assert not (tmp_path / APPLIED_FILE).exists()


async def test_requests_during_a_trial_are_refused(tmp_path: Path) -> None:
    clock = FakeBootClock()
    async with operating(tmp_path, clock=clock) as operator:
        await operator.asks(APPLY, OLD)
        await operator.tries(NEW)
        clock.time += 20
        for arguments in ({}, {"timeout": "1m"}):
            with pytest.raises(ActionError, match=r"on trial, for another 40 s: first keep it with .*--confirm"):
                await operator.asks(APPLY, NEWER, **arguments)
        assert operator.text == NEW


async def test_nothing_is_confirmed_when_nothing_is_on_trial(tmp_path: Path) -> None:
    async with operating(tmp_path) as operator:
        with pytest.raises(ActionError, match="no configuration is on trial"):
            await operator.asks(CONFIRM)


@pytest.mark.parametrize("duration", ["soon", "0s", "-5s", "1"])
async def test_an_invalid_duration_is_refused(tmp_path: Path, duration: str) -> None:
    async with operating(tmp_path) as operator:
        with pytest.raises(ActionError, match="--timeout"):
            await operator.tries(NEW, duration)
        assert operator.text is None


async def test_a_killed_agent_resumes_the_trial_for_the_remaining_time(tmp_path: Path) -> None:
    clock = FakeBootClock()
    async with operating(tmp_path, clock=clock) as operator:
        await operator.asks(APPLY, OLD)
        await operator.tries(NEW)
    clock.time += 50
    async with operating(tmp_path, clock=clock) as operator:
        assert operator.text == NEW
        assert operator.status.trial_until is not None
        clock.time += 10
        await until(lambda: operator.text == OLD)


@pytest.mark.parametrize(("later", "boot"), [(60.0, "this"), (-900.0, "another"), (1.0, "another")])
async def test_an_agent_that_starts_too_late_goes_back(tmp_path: Path, later: float, boot: str) -> None:
    clock = FakeBootClock()
    async with operating(tmp_path, clock=clock) as operator:
        await operator.asks(APPLY, OLD)
        await operator.tries(NEW)
    clock.time += later
    clock.boot = boot
    async with operating(tmp_path, clock=clock) as operator:
        assert operator.text == OLD
    assert not (tmp_path / TRIAL_FILE).exists()


async def test_a_trial_can_be_confirmed_after_the_agent_was_killed_and_restarted(tmp_path: Path) -> None:
    clock = FakeBootClock()
    async with operating(tmp_path, clock=clock) as operator:
        await operator.tries(NEW)
    async with operating(tmp_path, clock=clock) as operator:
        assert await operator.asks(CONFIRM) == 0
        assert (tmp_path / APPLIED_FILE).read_text() == NEW


async def test_a_file_that_changes_during_a_trial_waits_for_its_end_and_is_not_overwritten(tmp_path: Path) -> None:
    clock, path = FakeBootClock(), tmp_path / "node.yaml"
    path.write_text(OLD)
    async with operating(tmp_path, path, clock=clock) as operator:
        await operator.tries(NEW)
        path.write_text(NEWER)
        await trio.sleep(5 * POLL)
        assert operator.text == NEW
        with pytest.raises(ActionError, match="was changed since the trial began"):
            await operator.asks(CONFIRM)
        assert path.read_text() == NEWER
        clock.time += 60
        await until(lambda: operator.text == NEWER)


async def test_a_trial_goes_back_to_the_previous_configuration_if_the_file_is_invalid(tmp_path: Path) -> None:
    clock, path = FakeBootClock(), tmp_path / "node.yaml"
    path.write_text(OLD)
    async with operating(tmp_path, path, clock=clock) as operator:
        await operator.tries(NEW)
    path.write_text(BAD)
    clock.time += 60
    async with operating(tmp_path, path, clock=clock) as operator:
        assert operator.text == OLD
        await until(lambda: "boss" in operator.status.error)
        assert operator.text == OLD


async def test_an_invalid_record_of_a_trial_is_dropped(tmp_path: Path) -> None:
    (tmp_path / APPLIED_FILE).write_text(OLD)
    (tmp_path / TRIAL_FILE).write_text("{")
    async with operating(tmp_path) as operator:
        assert operator.text == OLD
    assert not (tmp_path / TRIAL_FILE).exists()


# What an agent that was killed has left.


async def test_the_configuration_before_a_kill_is_taken_over_before_another_takes_effect(tmp_path: Path) -> None:
    async with operating(tmp_path) as operator:
        await operator.asks(APPLY, OLD)
    (tmp_path / APPLIED_FILE).write_text(NEW)
    async with operating(tmp_path) as operator:
        assert operator.in_effect[0] == OLD
        assert operator.text == NEW
        await until(lambda: "old" not in (tmp_path / IN_EFFECT_FILE).read_text())
        assert operator.in_effect[-1] == NEW
    async with operating(tmp_path) as operator:
        assert operator.text == NEW
        assert OLD not in operator.in_effect


async def test_an_expired_trial_is_taken_over_before_the_files_take_effect(tmp_path: Path) -> None:
    clock = FakeBootClock()
    async with operating(tmp_path, clock=clock) as operator:
        await operator.asks(APPLY, OLD)
        await operator.tries(NEW)
    clock.time += 60
    async with operating(tmp_path, clock=clock) as operator:
        assert operator.in_effect[0] == NEW
        assert operator.text == OLD


async def test_a_trial_of_the_first_configuration_leaves_nothing(tmp_path: Path) -> None:
    clock = FakeBootClock()
    async with operating(tmp_path, clock=clock) as operator:
        await operator.tries(NEW)
    clock.time += 60
    async with operating(tmp_path, clock=clock) as operator:
        assert operator.in_effect[0] == NEW
        assert operator.text is None
        await until(lambda: "new" not in (tmp_path / IN_EFFECT_FILE).read_text())
    async with operating(tmp_path, clock=clock) as operator:
        assert NEW not in operator.in_effect


async def test_after_a_reboot_no_configuration_is_taken_over(tmp_path: Path) -> None:
    async with operating(tmp_path) as operator:
        await operator.asks(APPLY, OLD)
    (tmp_path / APPLIED_FILE).write_text(NEW)
    async with operating(tmp_path, clock=FakeBootClock(boot="another")) as operator:
        assert operator.text == NEW
        assert OLD not in operator.in_effect


async def test_an_invalid_file_at_start_leaves_the_inherited_configuration_in_effect(tmp_path: Path) -> None:
    async with operating(tmp_path) as operator:
        await operator.asks(APPLY, OLD)
    (tmp_path / APPLIED_FILE).write_text(BAD)
    async with operating(tmp_path) as operator:
        assert operator.text == OLD
        assert "boss" in operator.status.error


async def test_a_file_missing_at_start_ends_the_inherited_configuration(tmp_path: Path) -> None:
    async with operating(tmp_path) as operator:
        await operator.asks(APPLY, OLD)
    (tmp_path / APPLIED_FILE).unlink()
    async with operating(tmp_path) as operator:
        assert operator.in_effect[0] == OLD
        assert operator.text is None


async def test_a_leaving_node_removes_its_records(tmp_path: Path) -> None:
    leaving = trio.Event()
    async with operating(tmp_path, leaving=leaving) as operator:
        await operator.asks(APPLY, OLD)
        leaving.set()
        await until(lambda: operator.text is None)
        await until(lambda: not (tmp_path / IN_EFFECT_FILE).exists())
        with pytest.raises(ActionError, match="about to stop"):
            await operator.asks(APPLY, NEW)


@pytest.mark.parametrize("record", ["", "[]", '{"boot": "this"}', '{"boot": "this", "texts": [1]}'])
async def test_an_invalid_record_of_the_configuration_in_effect_is_ignored(tmp_path: Path, record: str) -> None:
    (tmp_path / APPLIED_FILE).write_text(OLD)
    (tmp_path / IN_EFFECT_FILE).write_text(record)
    async with operating(tmp_path) as operator:
        assert operator.text == OLD
    assert "old" in (tmp_path / IN_EFFECT_FILE).read_text()


async def test_an_unwritable_directory_is_reported_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with operating(tmp_path) as operator:
        await operator.asks(APPLY, OLD)

        def refuse(*_: object) -> None:
            raise OSError(30, "Read-only file system", str(tmp_path / APPLIED_FILE))

        monkeypatch.setattr(os, "replace", refuse)
        with pytest.raises(ActionError, match="cannot be written: Read-only file system"):
            await operator.asks(APPLY, NEW)
        assert operator.text == OLD


@pytest.mark.parametrize("files", [None, [], [["a"]], [["a", "text"]], [[1, b""]], "a"])
async def test_a_malformed_request_is_refused(tmp_path: Path, files: object) -> None:
    async with operating(tmp_path) as operator:
        with pytest.raises(ActionError, match="request"):
            await operator.asks(APPLY, files=files)
