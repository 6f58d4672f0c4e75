"""What a service manager is told, over its datagram socket."""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from nodespan.runtime.process.service_manager import ServiceManager
from tests.support.agent import COMMAND, environment
from tests.support.deadlines import PATIENCE
from tests.support.process import running


@contextlib.contextmanager
def manager(address: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address)
        listener.settimeout(0)
        yield listener


def reports(listener: socket.socket) -> list[bytes]:
    found = []
    with contextlib.suppress(BlockingIOError):
        while True:
            found.append(listener.recv(100))
    return found


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_reports_reach_the_socket(tmp_path: Path, kind: str) -> None:
    path = str(tmp_path / "notify")
    bound, named = (path, path) if kind == "path" else (f"\0{path}", f"@{path}")
    with manager(bound) as listener:
        environment = {"NOTIFY_SOCKET": named}
        service = ServiceManager.of(environment)
        service.ready()
        service.stopping()
        assert reports(listener) == [b"READY=1", b"STOPPING=1"]
        assert environment == {}


@pytest.mark.virtual_clock
async def test_signs_of_life_come_twice_per_interval(tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    with manager(path) as listener:
        service = ServiceManager.of(
            {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "10000000", "WATCHDOG_PID": str(os.getpid())}
        )
        with trio.move_on_after(21):
            await service.keep_alive()
        assert reports(listener) == [b"WATCHDOG=1"] * 5


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"WATCHDOG_USEC": "1000"},
        {"NOTIFY_SOCKET": "/nosuch"},
        {"NOTIFY_SOCKET": "/nosuch", "WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"},
        {"NOTIFY_SOCKET": "/nosuch", "WATCHDOG_USEC": "soon"},
    ],
)
async def test_without_anybody_who_listens_reports_are_lost(variables: dict[str, str]) -> None:
    service = ServiceManager.of(dict(variables))
    service.ready()
    service.stopping()
    await service.keep_alive()


AGENT = ("agent",)
DISCOVERY = ("discovery", "serve", "--listen", "127.0.0.1:0", "--insecure", "--snapshot", "")


@pytest.mark.parametrize("arguments", [AGENT, DISCOVERY], ids=lambda arguments: arguments[0])
async def test_a_daemon_reports_when_it_serves_and_when_it_stops(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    path = str(tmp_path / "notify")
    with manager(path) as listener:
        variables = environment(tmp_path) | {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "3600000000"}
        async with running(*COMMAND, *arguments, environment=variables):
            with trio.fail_after(PATIENCE):
                await trio.lowlevel.wait_readable(listener)
                first = listener.recv(100)
                await trio.lowlevel.wait_readable(listener)
                assert (first, listener.recv(100)) == (b"READY=1", b"WATCHDOG=1")
                if arguments == AGENT:
                    assert (tmp_path / "agent.sock").exists()
        assert reports(listener) == [b"STOPPING=1"]
