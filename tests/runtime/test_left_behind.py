"""An agent that leaves names what it could not revert."""

import threading
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import pytest
import structlog
import trio

from nodespan.runtime.actions import ActionCall
from nodespan.runtime.agent import Agent, AgentOptions
from tests.support.deadlines import PATIENCE

LEFT = ("/etc/hosts was not restored", "what the log of the agent says", "the table inet x")


def fails() -> Iterable[str]:
    raise OSError(5, "Input/output error")


async def test_what_could_not_be_reverted_is_named_and_the_status_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nodespan.runtime.agent._CLEANUP_START", 0.0)
    agent = Agent(AgentOptions(socket=tmp_path / "s", state_dir=tmp_path), version="0", log=structlog.get_logger())
    said: list[str] = []
    for looks, status, expected in (
        ((), 0, "the node has left, and the agent stops\n"),
        ((list,), 0, "the node has left, and the agent stops\n"),
        (
            (lambda: iter(LEFT[:1]), fails, lambda: LEFT[2:]),
            1,
            f"the agent stops, but could not revert everything: {'; '.join(LEFT)}\n",
        ),
    ):
        agent._settings.left_behind[:] = looks
        agent._leave_request = type(agent._leave_request)()
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                call = ActionCall(arguments={}, state=agent.state, settle=agent._settled)
                said[:] = [f"{answer.get('status')} {answer['text']}" async for answer in agent._leave(call)]

            nursery.start_soon(ask)
            await agent._leave_request.made.wait()
            await agent._leave_request.answer(await agent._clean_up())
        assert said[1:] == [f"{status} {expected}"]


async def test_looks_that_hang_do_not_keep_the_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nodespan.runtime.agent._CLEANUP_START", 0.0)
    monkeypatch.setattr("nodespan.runtime.agent._LOOK_PATIENCE", 0.05)
    agent = Agent(AgentOptions(socket=tmp_path / "s", state_dir=tmp_path), version="0", log=structlog.get_logger())
    over = threading.Event()

    def hangs() -> Iterable[str]:
        over.wait()
        return ()

    agent._settings.left_behind[:] = (hangs, hangs, hangs)
    try:
        assert await agent._clean_up() == ["what the log of the agent says"]
    finally:
        over.set()


async def test_all_looks_run_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nodespan.runtime.agent._CLEANUP_START", 0.0)
    monkeypatch.setattr("nodespan.runtime.agent._LOOK_PATIENCE", PATIENCE)
    agent = Agent(AgentOptions(socket=tmp_path / "s", state_dir=tmp_path), version="0", log=structlog.get_logger())
    # More than trio runs at a time by itself. Each waits until the last one has begun.
    count = 50
    all_begun = threading.Barrier(count)

    def look(number: int) -> Iterable[str]:
        all_begun.wait(PATIENCE)
        return (str(number),)

    agent._settings.left_behind[:] = [partial(look, number) for number in range(count)]
    assert await agent._clean_up() == [str(number) for number in range(count)]
