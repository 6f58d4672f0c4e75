"""Real commands."""

from pathlib import Path

import pytest

from nodespan.controllers.host.commands import CommandFailedError, SystemCommands
from nodespan.controllers.host.services import UnitState, restart, unit_state
from tests.controllers.host.machine import ACTIVE, FAILED, RESTS, machine


@pytest.mark.process
async def test_what_a_command_prints_is_returned() -> None:
    assert await SystemCommands().run("sh", "-c", "echo hello; read nothing || true") == "hello\n"


@pytest.mark.process
async def test_a_failed_command_is_reported_with_its_output() -> None:
    with pytest.raises(CommandFailedError, match=r"sh -c .*: exit 3: one two"):
        await SystemCommands().run("sh", "-c", "echo one; echo two >&2; exit 3")
    with pytest.raises(CommandFailedError, match="no-such-command now: No such file or directory"):
        await SystemCommands().run("no-such-command", "now")


@pytest.mark.parametrize(
    ("text", "state"),
    [
        (ACTIVE, UnitState.RUNS),
        ("ActiveState=activating\nJob=1\n", UnitState.RUNS),
        ("ActiveState=deactivating\nJob=1\n", UnitState.RUNS),
        ("ActiveState=inactive\nJob=1\n", UnitState.RUNS),
        (RESTS, UnitState.RESTS),
        (FAILED, UnitState.FAILED),
    ],
)
async def test_an_activating_unit_counts_as_running(tmp_path: Path, text: str, state: UnitState) -> None:
    on = machine(tmp_path)
    on.commands.states["it"] = text
    assert await unit_state(on.host, "it") is UnitState.RESTS
    on.run_systemd()
    assert await unit_state(on.host, "it") is state


@pytest.mark.parametrize(
    ("states", "commands"),
    [
        ({}, ["systemctl reset-failed one", "systemctl restart one"]),
        ({"one": FAILED}, ["systemctl reset-failed one", "systemctl restart one"]),
        ({"one": RESTS}, ["systemctl reset-failed two", "systemctl restart two"]),
        ({"one": RESTS, "two": RESTS}, []),
    ],
)
async def test_only_a_running_service_is_restarted_under_its_actual_name(
    tmp_path: Path, states: dict[str, str], commands: list[str]
) -> None:
    on = machine(tmp_path)
    on.run_systemd()
    on.commands.states = states
    await restart(on.host, "one", "two")
    assert on.commands.changes() == commands
