"""The configuration in the state follows the file, and stays as it was while the file has mistakes."""

import datetime
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import structlog.testing
import trio
from structlog.typing import EventDict

from nodespan.controllers.config.files.controller import FileController
from nodespan.controllers.config.loading import load
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig, MachineConfigSpec
from nodespan.resources.config.status import CONFIG_STATUS_ID, ConfigStatus, ConfigStatusSpec
from nodespan.runtime.engine import Engine
from nodespan.runtime.state import MemoryState
from tests.controllers.config.fake_clock import FakeBootClock
from tests.support.deadlines import PATIENCE

GOOD = "machine: {type: controlplane, kubelet: {}}\n"
BETTER = "machine: {type: worker}\n"
BAD = "cluster: {secret: HIDDEN}\n"
POLL = 0.01


class Node:
    """An engine that runs nothing but the controller."""

    def __init__(self, path: Path) -> None:
        self.state = MemoryState()
        self.engine = Engine(self.state, seed=1)
        self.path = path

    @property
    def config(self) -> MachineConfigSpec | None:
        found = self.state.find(MachineConfig, MACHINE_CONFIG_ID)
        return found.spec if found else None

    @property
    def text(self) -> str | None:
        return self.config.text if self.config else None

    def replace(self, text: str) -> None:
        """Write the file as careful programs do."""
        new = self.path.with_suffix(".new")
        new.write_text(text)
        os.replace(new, self.path)


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(PATIENCE):
        while not condition():  # noqa: ASYNC110  # files tell nobody that they changed
            await trio.sleep(POLL)


@asynccontextmanager
async def running(path: Path) -> AsyncIterator[tuple[Node, list[EventDict]]]:
    node = Node(path)
    with structlog.testing.capture_logs() as logs:
        await node.engine.register(FileController(path, state_dir=path.parent, poll_interval=POLL))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(node.engine.run)
            yield node, logs
            nursery.cancel_scope.cancel()


async def test_a_pipe_is_refused_and_the_last_good_configuration_stays(tmp_path: Path) -> None:
    path = tmp_path / "node.yaml"
    os.mkfifo(path)
    async with running(path) as (node, logs):
        await until(lambda: said(logs, "none is in effect") == 1)
        assert said(logs, "this is a pipe, from which no configuration can be read again") == 1
        node.replace(GOOD)
        await until(lambda: node.text == GOOD)
        path.unlink()
        os.mkfifo(path)
        await until(lambda: said(logs, "the last good one stays in effect") == 1)
        assert node.text == GOOD


def said(logs: list[EventDict], words: str) -> int:
    return sum(words in log["event"] for log in logs)


async def test_the_configuration_follows_the_file(tmp_path: Path) -> None:
    path = tmp_path / "node.yaml"
    path.write_text(GOOD)
    async with running(path) as (node, logs):
        await until(lambda: node.text == GOOD)
        assert node.config is not None
        assert node.config.machine.type.is_control_plane
        node.replace(BETTER)
        await until(lambda: node.text == BETTER)
        assert said(logs, "ignored") == 1


async def test_a_file_with_mistakes_leaves_the_last_good_configuration(tmp_path: Path) -> None:
    path = tmp_path / "node.yaml"
    path.write_text(GOOD)
    async with running(path) as (node, logs):
        await until(lambda: node.text == GOOD)
        node.replace(BAD)
        await until(lambda: said(logs, "the last good one stays in effect") == 1)
        assert node.text == GOOD
        os.utime(path)
        await trio.sleep(10 * POLL)
        assert said(logs, "is not base64 of 32 bytes") == 1
        assert said(logs, "is in effect") == 0
        node.replace(BETTER)
        await until(lambda: said(logs, "the configuration has no errors any more, and is in effect") == 1)
        assert node.text == BETTER
        node.replace(GOOD)
        await until(lambda: node.text == GOOD)
        await trio.sleep(10 * POLL)
        assert said(logs, "has no errors any more") == 1
        assert "HIDDEN" not in str(logs)


async def test_a_file_that_is_missing_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "node.yaml"
    async with running(path) as (node, logs):
        await until(lambda: said(logs, "none is in effect") == 1)
        assert said(logs, "cannot read the configuration") == 1
        node.replace(GOOD)
        await until(lambda: node.text == GOOD)
        path.unlink()
        await until(lambda: said(logs, "the last good one stays in effect") == 1)
        assert node.text == GOOD


async def test_a_file_that_is_written_again_unchanged_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "node.yaml"
    path.write_text(GOOD)
    async with running(path) as (node, _):
        await until(lambda: node.text == GOOD)
        before = node.state.find(MachineConfig, MACHINE_CONFIG_ID)
        node.replace(GOOD)
        await trio.sleep(10 * POLL)
        assert node.state.find(MachineConfig, MACHINE_CONFIG_ID) is before


@pytest.mark.parametrize("step", [3600, -3600])
async def test_a_step_of_the_wall_clock_corrects_the_times_shown_and_no_deadline(tmp_path: Path, step: int) -> None:
    path = tmp_path / "node.yaml"
    path.write_text(GOOD)
    clock, ahead = FakeBootClock(), 1_000_000.0
    controller = FileController(
        path, state_dir=tmp_path, clock=clock, wall=lambda: clock.time + ahead, poll_interval=POLL
    )
    node = Node(path)
    await node.engine.register(controller)

    def status() -> ConfigStatusSpec:
        found = node.state.find(ConfigStatus, CONFIG_STATUS_ID)
        return ConfigStatusSpec() if found is None else found.spec

    async with trio.open_nursery() as nursery:
        nursery.start_soon(node.engine.run)
        await until(lambda: node.text == GOOD)
        clock.time += 10
        await controller.try_out(load(BETTER), 60.0)
        await until(lambda: status().trial_until is not None)
        before = status()
        assert before.since == datetime.datetime.fromtimestamp(clock.time + ahead, datetime.UTC)
        assert before.trial_until == before.since + datetime.timedelta(seconds=60)
        ahead += step
        await until(lambda: status() != before)
        moved = datetime.timedelta(seconds=step)
        assert (status().since, status().trial_until) == (before.since + moved, before.trial_until + moved)
        clock.time += 59.0
        await trio.sleep(5 * POLL)
        assert node.text == BETTER
        clock.time += 1.5
        await until(lambda: node.text == GOOD and status().trial_until is None)
        nursery.cancel_scope.cancel()


STATES = """\
apiVersion: nodespan.dev/v1alpha1
kind: NodespanConfig
states: [{namespaces: [notes], url: "memory:"}]
"""


async def test_states_that_change_need_a_restart_which_is_said_once(tmp_path: Path) -> None:
    path = tmp_path / "node.yaml"
    path.write_text(GOOD)
    restart = "the states of namespaces changed: restart the agent"
    async with running(path) as (node, logs):
        await until(lambda: node.text == GOOD)
        assert said(logs, restart) == 0
        node.replace(STATES)
        await until(lambda: node.text == STATES)
        node.replace(f"{STATES}podNetworks: [10.0.0.0/8]\n")
        await until(lambda: node.text != STATES)
        assert said(logs, restart) == 1
        node.replace(GOOD)
        await until(lambda: node.text == GOOD)
        assert said(logs, restart) == 1


async def test_what_is_staged_takes_effect_after_a_reboot(tmp_path: Path) -> None:
    path = tmp_path / "node.yaml"
    path.write_text(GOOD)
    clock = FakeBootClock(boot="one")

    @asynccontextmanager
    async def started() -> AsyncIterator[tuple[Node, FileController]]:
        controller = FileController(path, state_dir=tmp_path, clock=clock, poll_interval=POLL)
        node = Node(path)
        await node.engine.register(controller)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(node.engine.run)
            await until(lambda: node.text is not None)
            yield node, controller
            nursery.cancel_scope.cancel()

    async with started() as (node, controller):
        assert await controller.stage(load(BETTER)) == str(path)
        assert node.text == GOOD
        assert (tmp_path / "config.staged").stat().st_mode & 0o777 == 0o600
    # The agent starts again, and then the machine does.
    async with started() as (node, _):
        assert node.text == GOOD
    clock.boot = "two"
    async with started() as (node, controller):
        assert (node.text, path.read_text()) == (BETTER, BETTER)
        assert not (tmp_path / "config.staged").exists()
        # What is applied takes the place of what was staged.
        await controller.stage(load(GOOD))
        await controller.apply(load(BETTER))
    clock.boot = "three"
    async with started() as (node, _):
        assert node.text == BETTER
    (tmp_path / "config.staged").write_text("{}")
    clock.boot = "four"
    async with started() as (node, _):
        assert node.text == BETTER
