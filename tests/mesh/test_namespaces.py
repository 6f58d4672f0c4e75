"""The namespaces that the mesh tier is built from."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support import run
from tests.support.agent import daemon
from tests.support.nested import run_pytest
from tests.support.netns import connect, entered, namespace, namespaces
from tests.support.process import eventually, running


def test_a_namespace_is_gone_after_its_block() -> None:
    with namespace() as made:
        assert made.path.exists()
    assert not made.path.exists()


def test_a_namespace_is_removed_with_the_processes_in_it() -> None:
    with namespace() as made:
        daemon = subprocess.Popen(made.inside("sleep", "1000"))
        while made.processes() != (daemon.pid,):
            os.sched_yield()
    assert daemon.wait() == -signal.SIGTERM
    assert not made.path.exists()


def test_a_namespace_is_removed_when_its_block_fails() -> None:
    kept = contextlib.ExitStack()
    with contextlib.suppress(RuntimeError), kept:
        made = kept.enter_context(namespace())
        raise RuntimeError
    assert not made.path.exists()


@pytest.mark.needs_link("veth")
def test_connected_namespaces_reach_each_other() -> None:
    with namespaces("left", "right") as (left, right):
        connect(left, "uplink", right, "uplink")
        left.run("ip", "address", "add", "192.0.2.1/24", "dev", "uplink")
        right.run("ip", "address", "add", "192.0.2.2/24", "dev", "uplink")
        with entered(right):
            listener = socket.create_server(("192.0.2.2", 0))
        with entered(left):
            client = socket.socket()
        with listener, client:
            client.settimeout(5)
            client.connect(listener.getsockname())


@pytest.mark.needs_link("veth")
def test_what_ip_reports_of_a_namespace_is_current_in_every_answer() -> None:
    with namespace() as made:
        made.ip("link add a0 type veth peer name a1", "address add 192.0.2.1/24 dev a0", "link set a0 up")
        assert {link["ifname"] for link in made.reported("link")} == {"lo", "a0", "a1"}
        made.ip("link set a0 down", "link set a0 name b0", "link set a1 name b1", "link set b1 up", "link set b0 up")
        assert {link["ifname"]: link.get("link") for link in made.reported("link")} == {
            "lo": None,
            "b0": "b1",
            "b1": "b0",
        }
        assert [route["dev"] for route in made.reported("-4", "route")] == ["b0"]
        for name, new in (("b0", "c0"), ("c0", "d0")):
            made.ip(f"link set {name} down", f"link set {name} name {new}", f"link set {new} up")
            assert [route["dev"] for route in made.reported("-4", "route")] == [new]
            assert {link["ifname"]: link.get("link") for link in made.reported("link")} == {
                "lo": None,
                new: "b1",
                "b1": new,
            }
        assert made.processes() == ()
        with pytest.raises(AssertionError, match=r"ip link show a0: exit 1: .*a0"):
            made.reported("link", "show", "a0")
        assert len(made.reported("link")) == 3
        made.ip("link del d0")
        assert made.reported("-4", "route") == []


@pytest.mark.needs_link("veth")
def test_what_ip_reports_of_a_link_that_is_gone_is_an_error_until_there_is_another_of_its_name() -> None:
    with namespace() as made:
        for address in ("192.0.2.1", "192.0.2.2"):
            made.ip("link add a0 type veth peer name a1", f"address add {address}/24 dev a0", "link set a0 up")
            assert [route["prefsrc"] for route in made.reported("route", "show", "dev", "a0")] == [address]
            made.ip("link del a0")
            with pytest.raises(AssertionError, match=r"ip route show dev a0: exit 1: .*a0"):
                made.reported("route", "show", "dev", "a0")


async def test_a_daemon_that_ends_by_itself_fails_with_the_end_of_its_log(tmp_path: Path) -> None:
    with namespace() as inside:
        with pytest.raises(AssertionError, match="nodespan relay ended by itself with 2") as caught:
            async with daemon(tmp_path, "relay", "serve", "--no-such-option", namespace=inside) as started:
                await started.wait()
        assert ["--no-such-option" in note for note in caught.value.__notes__] == [True]


async def test_a_block_that_fails_has_a_note_of_the_end_of_its_daemons_log(tmp_path: Path) -> None:
    with namespace() as inside:
        with pytest.raises(AssertionError, match="the command line") as caught:
            async with daemon(tmp_path, "relay", "serve", "--no-such-option", namespace=inside) as started:
                assert await started.wait() == 0, "the command line"
        assert ["--no-such-option" in note for note in caught.value.__notes__] == [True]


def test_only_the_entering_thread_moves() -> None:
    def here() -> str:
        return os.readlink("/proc/thread-self/ns/net")

    home = here()
    with namespace() as made, ThreadPoolExecutor(1) as other:
        assert (
            other.submit(here).result() == home
        )  # from now on the pool has its thread; a new one would start where we are
        with entered(made):
            assert here() != home
            assert other.submit(here).result() == home
        assert here() == home


async def test_a_daemon_runs_inside() -> None:
    with namespace() as inside:
        async with running("sleep", "1000", namespace=inside) as daemon:
            assert await eventually(inside.processes) == (daemon.pid,)


def test_namespace_names_carry_the_run_name() -> None:
    with namespace("router") as made:
        assert made.name.startswith(f"{run.NAME}-router")
        assert json.loads(made.run("ip", "-json", "link", "show", "lo"))[0]["ifname"] == "lo"


def test_a_run_that_leaves_a_namespace_behind_fails_and_removes_it(tmp_path: Path) -> None:
    outcome = run_pytest(
        tmp_path,
        """
from tests.support import netns, run

def test_it():
    netns.execute("ip", "netns", "add", f"{run.NAME}-lost-0")
""",
    )
    assert outcome.code == pytest.ExitCode.TESTS_FAILED
    (lost,) = set(re.findall(r"network namespace (\S+-lost-\d+)", outcome.output))
    assert not (run.NETNS_DIRECTORY / lost).exists()
