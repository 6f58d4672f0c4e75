"""How long a command waits for an agent: not for one that is stopped, but for an answer that takes long."""

import contextlib
import errno
import socket
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgpack
import pytest

from nodespan.runtime.api import local_client, protocol
from nodespan.runtime.cli import quick_table
from nodespan.runtime.cli.client import AgentGoneError, ask
from nodespan.runtime.cli.get import follow

VERSION = {"call": "version"}
END = {"end": True}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "PATIENCE", 0.05)
    monkeypatch.setattr(quick_table, "_PATIENCE", 0.05)


@pytest.fixture
def some_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as a thread that answers may wait for a processor."""
    monkeypatch.setattr(protocol, "PATIENCE", 0.5)


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket of an agent that does nothing, as one that is stopped."""
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "agent.sock"))
        bound.listen(8)
        yield bound


@contextlib.contextmanager
def serving(listener: socket.socket, serve: Callable[[], None]) -> Iterator[str]:
    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()
    finally:
        thread.join()


def answer(connection: socket.socket, *answers: dict[str, Any]) -> None:
    with connection:
        connection.recv(1000)
        connection.sendall(b"".join(map(msgpack.packb, answers)))


def serve_late(listener: socket.socket) -> None:
    """Answer the first client after two others."""
    slow, _ = listener.accept()
    for _ in range(2):
        answer(listener.accept()[0], END)
    answer(slow, {"text": "late"}, END)


@contextlib.contextmanager
def stopping(listener: socket.socket) -> Iterator[str]:
    """An agent that stops in the middle of its first answer."""
    stopped = threading.Event()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(msgpack.packb({"text": "half"}))
            stopped.wait()

    with serving(listener, serve) as path:
        try:
            yield path
        finally:
            stopped.set()


@pytest.mark.parametrize(
    ("request_", "warns"),
    [(VERSION, False), ({"call": "action", "name": "agent.leave"}, True), ({"call": "write"}, True)],
)
def test_an_agent_that_is_stopped_is_not_waited_for(
    listener: socket.socket, request_: dict[str, Any], warns: bool
) -> None:
    with pytest.raises(AgentGoneError, match="does not answer: it is stopped, hangs, or is busy") as gone:
        ask(listener.getsockname(), request_)
    assert ("may do what this command wanted" in str(gone.value)) == warns


def test_nor_is_one_that_stops_in_the_middle_of_an_answer(listener: socket.socket) -> None:
    with stopping(listener) as path, pytest.raises(AgentGoneError, match="does not answer"):
        ask(path, {"call": "get", "watch": False})


def test_nor_is_one_whose_queue_of_clients_is_full(listener: socket.socket) -> None:
    with contextlib.ExitStack() as waiting:
        full = 0
        while full == 0:
            another = waiting.enter_context(socket.socket(socket.AF_UNIX))
            another.settimeout(0)
            full = another.connect_ex(listener.getsockname())
        assert full == errno.EAGAIN
        with pytest.raises(AgentGoneError, match="does not answer"):
            ask(listener.getsockname(), VERSION)


def test_a_watch_does_not_wait_for_it_to_come_back(listener: socket.socket) -> None:
    with pytest.raises(AgentGoneError, match="does not answer"):
        follow(listener.getsockname(), {"call": "status", "watch": True}, lambda answers: [*answers].clear())


def test_a_table_by_the_short_way_is_left_to_the_long_way(listener: socket.socket) -> None:
    assert quick_table.print_table(["links", "--socket", listener.getsockname()]) is None


async def test_nor_do_servers_that_ask_the_agent_wait_for_it(listener: socket.socket) -> None:
    with pytest.raises(local_client.AgentGoneError, match="does not answer: it is stopped, hangs, or is busy"):
        await local_client.ask(listener.getsockname(), VERSION)


async def test_nor_for_one_that_stops_in_the_middle_of_an_answer(listener: socket.socket) -> None:
    with stopping(listener) as path, pytest.raises(local_client.AgentGoneError, match="does not answer"):
        await local_client.ask(path, {"call": "get", "watch": False})


async def test_nor_for_one_whose_queue_of_clients_is_full(listener: socket.socket) -> None:
    with contextlib.ExitStack() as waiting:
        while True:
            another = waiting.enter_context(socket.socket(socket.AF_UNIX))
            another.settimeout(0)
            if another.connect_ex(listener.getsockname()):
                break
        # There is room for the first connection alone.
        waiting.enter_context(listener.accept()[0])
        with pytest.raises(local_client.AgentGoneError, match="does not answer"):
            await local_client.ask(listener.getsockname(), VERSION)


@pytest.mark.usefixtures("some_patience")
async def test_they_wait_for_an_answer_that_takes_long(listener: socket.socket) -> None:
    with serving(listener, partial(serve_late, listener)) as path:
        assert await local_client.ask(path, {"call": "get"}) == [{"text": "late"}]


@pytest.mark.usefixtures("some_patience")
def test_an_answer_that_takes_long_is_waited_for_while_the_agent_answers_others(listener: socket.socket) -> None:
    with serving(listener, partial(serve_late, listener)) as path:
        assert ask(path, {"call": "get"}) == [{"text": "late"}]


def serve_watch(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.sendall(msgpack.packb({"text": "head"}))
        # Nobody asks whether there is an agent, which takes as long.
        listener.settimeout(2 * protocol.PATIENCE)
        with pytest.raises(TimeoutError):
            listener.accept()
        answer(connection, {"text": "news"}, END)


@pytest.mark.usefixtures("some_patience")
def test_a_watch_that_has_begun_may_be_silent(listener: socket.socket) -> None:
    with serving(listener, partial(serve_watch, listener)) as path:
        assert ask(path, {"call": "get", "watch": True}) == [{"text": "head"}, {"text": "news"}]


@pytest.mark.usefixtures("some_patience")
async def test_so_may_one_of_a_server(listener: socket.socket) -> None:
    with serving(listener, partial(serve_watch, listener)) as path:
        assert await local_client.ask(path, {"call": "get", "watch": True}) == [{"text": "head"}, {"text": "news"}]
