"""Real commands."""

from pathlib import Path

import pytest
import trio

from controllers.host.commands import CommandFailedError, SystemCommands
from controllers.host.services import restart
from tests.controllers.host.machine import machine


async def test_a_command_that_succeeds_says_nothing() -> None:
    await SystemCommands().run("sh", "-c", "echo hello; read nothing || true")


async def test_a_command_that_fails_is_named_with_what_it_said() -> None:
    with pytest.raises(CommandFailedError, match=r"sh -c .*: exit 3: one two"):
        await SystemCommands().run("sh", "-c", "echo one; echo two >&2; exit 3")
    with pytest.raises(CommandFailedError, match="no-such-command now: No such file or directory"):
        await SystemCommands().run("no-such-command", "now")


async def test_commands_of_one_program_wait_for_each_other(tmp_path: Path) -> None:
    commands, log = SystemCommands(), tmp_path / "log"
    async with trio.open_nursery() as nursery:
        for name in ("one", "two"):
            nursery.start_soon(commands.run, "sh", "-c", f"echo {name} >> {log}; sleep 0.1; echo {name} >> {log}")
    first, again, *others = log.read_text().split()
    assert first == again
    assert len(others) == 2


@pytest.mark.parametrize(
    ("not_so", "commands"),
    [
        ({"systemctl is-failed"}, ["systemctl reset-failed one", "systemctl restart one"]),
        ({"systemctl is-active"}, ["systemctl reset-failed one", "systemctl restart one"]),
        (
            {"systemctl is-active --quiet one", "systemctl is-failed"},
            ["systemctl reset-failed two", "systemctl restart two"],
        ),
        ({"systemctl is-active", "systemctl is-failed"}, []),
    ],
)
async def test_a_service_is_started_anew_by_the_name_it_has_unless_it_was_not_to_run(
    tmp_path: Path, not_so: set[str], commands: list[str]
) -> None:
    on = machine(tmp_path)
    on.run_systemd()
    on.commands.failing = not_so
    await restart(on.host, "one", "two")
    assert on.commands.changes() == commands
