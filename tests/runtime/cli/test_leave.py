"""`nodespan leave` against real agents: it reverts, stops the agent, and says how that went."""

from pathlib import Path

from nodespan.runtime.cli.client import Connection
from tests.support.agent import agent, nodespan


async def test_the_agent_reverts_and_stops(tmp_path: Path) -> None:
    async with agent(tmp_path) as served:
        done = nodespan("leave", directory=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == "reverting all changes of the system\nthe node has left, and the agent stops\n"
        assert not (tmp_path / "agent.sock").exists()
        assert await served.process.wait() == 0


def test_without_an_agent_there_is_nothing_to_leave(tmp_path: Path) -> None:
    done = nodespan("leave", directory=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "no agent answers" in done.stderr


async def test_a_client_that_goes_away_does_not_keep_the_agent(tmp_path: Path) -> None:
    async with agent(tmp_path) as served:
        request = {"call": "action", "name": "agent.leave", "arguments": {}}
        with Connection(str(tmp_path / "agent.sock"), request) as connection:
            next(iter(connection))
        assert await served.process.wait() == 0
