"""Real commands."""

import pytest

from controllers.host.commands import CommandFailedError, SystemCommands


async def test_a_command_that_succeeds_says_nothing() -> None:
    await SystemCommands().run("sh", "-c", "echo hello; read nothing || true")


async def test_a_command_that_fails_is_named_with_what_it_said() -> None:
    with pytest.raises(CommandFailedError, match=r"sh -c .*: exit 3: one two"):
        await SystemCommands().run("sh", "-c", "echo one; echo two >&2; exit 3")
    with pytest.raises(CommandFailedError, match="no-such-command now: No such file or directory"):
        await SystemCommands().run("no-such-command", "now")
