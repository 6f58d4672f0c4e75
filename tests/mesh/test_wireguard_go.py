"""wireguard-go outlives the agent that started it, and keeps the address it sends from only as long as there is one."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nodespan.kernel.wireguard import daemon
from nodespan.kernel.wireguard.uapi import SOCKETS, UserspaceWireguard
from tests.support.netns import Namespace, namespace
from tests.support.process import eventually
from tests.support.tunnels import link_name

pytestmark = [pytest.mark.needs_program("wireguard-go")]

STARTER = """
import sys, time
from nodespan.kernel.wireguard import daemon
daemon.start(*sys.argv[1:])
print("started", flush=True)
time.sleep(60)
"""


@pytest.fixture
def inside() -> Iterator[Namespace]:
    with namespace() as made:
        yield made


async def test_wireguard_go_outlives_a_killed_agent(inside: Namespace) -> None:
    name, netns = link_name("k"), str(inside.path)
    starter = subprocess.Popen(  # noqa: ASYNC220  # read to its first line, then killed
        (sys.executable, "-c", STARTER, name, netns),
        env={**os.environ, "PYTHONPATH": os.getcwd()},
        stdout=subprocess.PIPE,
        text=True,
    )
    with starter:
        assert starter.stdout is not None
        assert starter.stdout.readline() == "started\n"
        starter.send_signal(signal.SIGKILL)
    device = UserspaceWireguard(netns)
    assert device.owns(name)
    (process,) = inside.processes()
    # A session of its own, and nothing of the agent's but what it has to say.
    assert os.getsid(process) == process
    open_files = {os.readlink(f"/proc/{process}/fd/{number}") for number in (0, 1, 2)}
    assert open_files == {"/dev/null", "/memfd:wireguard-go (deleted)"}
    inside.run("ip", "link", "del", name)
    await eventually(lambda: not inside.processes())
    assert not (SOCKETS / f"{name}.sock").exists()
    assert device.read(name) is None


def test_a_device_of_another_namespace_is_not_adopted(inside: Namespace) -> None:
    name = link_name("o")
    with namespace("other") as other:
        daemon.start(name, str(inside.path))
        assert UserspaceWireguard(str(inside.path)).owns(name)
        assert not UserspaceWireguard(str(other.path)).owns(name)
        assert UserspaceWireguard(str(other.path)).read(name) is None
        with pytest.raises(OSError, match=f"wireguard-go does not run {name}.*socket in use"):
            daemon.start(name, str(other.path))


async def test_a_device_of_others_that_went_into_the_background_is_found_in_its_own_namespace(
    inside: Namespace,
) -> None:
    name = link_name("b")
    # As people start it: the process that made the socket has ended when this returns.
    inside.run("wireguard-go", name)
    device = UserspaceWireguard(str(inside.path))
    with namespace("other") as other:
        await eventually(lambda: device.owns(name))
        assert device.read(name) is not None
        # The sockets of all namespaces share a directory.
        assert not UserspaceWireguard(str(other.path)).owns(name)
    inside.run("ip", "link", "del", name)
    await eventually(lambda: not inside.processes())
    assert not device.owns(name)


async def test_a_stale_socket_is_replaced(inside: Namespace) -> None:
    name = link_name("d")
    daemon.start(name, str(inside.path))
    (process,) = inside.processes()
    os.kill(process, signal.SIGKILL)
    device = UserspaceWireguard(str(inside.path))
    try:
        await eventually(lambda: name not in inside.run("ip", "link"))
        assert (SOCKETS / f"{name}.sock").exists()
        assert device.read(name) is None
        daemon.start(name, str(inside.path))
        assert device.owns(name)
        inside.run("ip", "link", "del", name)
        await eventually(lambda: not (SOCKETS / f"{name}.sock").exists())
    finally:
        (SOCKETS / f"{name}.sock").unlink(missing_ok=True)


def test_a_missing_wireguard_go_is_reported(inside: Namespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(Path("/nowhere")))
    with pytest.raises(FileNotFoundError, match="this kernel has no WireGuard and wireguard-go is not installed"):
        daemon.start(link_name("n"), str(inside.path))
