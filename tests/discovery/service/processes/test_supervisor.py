"""The whole of `discovery serve --processes`: one that dies is replaced, and one command stops all."""

import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen

import pytest
import trio

from nodespan.discovery.service.processes.team import owner_of
from nodespan.discovery.service.snapshot_file import read_records
from nodespan.runtime.api.grpc.client import CallError, Endpoint, open_channel
from nodespan.runtime.cli import main
from tests.discovery.service.rpc import RpcClient
from tests.support.deadlines import PATIENCE
from tests.support.process import eventually, running

NODESPAN = "import sys; from nodespan.runtime.cli import main; sys.exit(main(sys.argv[1:]))"
OF_0, OF_1 = (next(f"c{number}" for number in range(99) if owner_of(f"c{number}", 2) == place) for place in range(2))


def _serve(*words: str) -> tuple[str, ...]:
    return (sys.executable, "-c", NODESPAN, "discovery", "serve", "--processes", "2", *words)


def _ports(pid: int) -> list[int]:
    """Where a process listens, in the order in which it opened the sockets."""
    rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    listening = {f"socket:[{row[9]}]": int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == "0A"}
    files = sorted(Path(f"/proc/{pid}/fd").iterdir(), key=lambda file: int(file.name))
    targets = [os.readlink(file) for file in files if file.is_symlink()]
    return [listening[target] for target in targets if target in listening]


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def _clusters(path: Path) -> list[str]:
    with path.open("rb") as file:
        return [record.id for record in read_records(file)]


async def _listed(endpoint: Endpoint, cluster: str) -> dict[str, bytes]:
    """What a cluster has, as a client that tries again when it loses its connection is told."""
    with trio.fail_after(PATIENCE):
        while True:
            async with open_channel([endpoint]) as channel:
                with suppress(CallError):
                    return await RpcClient(channel).list(cluster=cluster)
            await trio.sleep(0.02)


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder whose name leaves room for those of sockets."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield Path(folder)


async def test_a_process_that_dies_is_replaced_and_one_signal_stops_all(short_path: Path) -> None:
    snapshot = short_path / "state.binpb"
    at = ("--insecure", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0")
    environment = {"TMPDIR": str(short_path)}
    command = _serve(*at, "--snapshot", str(snapshot), "--snapshot-interval", "0.05")
    async with running(*command, environment=environment) as process:
        await eventually(lambda: len(_ports(process.pid)) == 2)
        metrics, port = _ports(process.pid)
        endpoint = Endpoint("127.0.0.1", port, secure=False)
        async with open_channel([endpoint]) as channel, open_channel([endpoint]) as other:
            await channel.connect(wait=True)
            await other.connect(wait=True)
            clients = {OF_0: RpcClient(channel), OF_1: RpcClient(other)}
            for cluster, client in clients.items():
                await client.update("a", b"data of " + cluster.encode(), cluster=cluster)
            parts = [snapshot.with_name(f"state.binpb.{place}-of-2") for place in (1, 2)]
            await eventually(lambda: all(part.exists() and b"data of" in part.read_bytes() for part in parts))
            # One is killed: its cluster comes back with the snapshot, and the other has noticed nothing.
            first, second = _children(process.pid)
            os.kill(second, signal.SIGKILL)
            await eventually(lambda: first in _children(process.pid) and second not in _children(process.pid))
            assert await _listed(endpoint, OF_1) == {"a": b"data of " + OF_1.encode()}
            assert await clients[OF_0].list(cluster=OF_0) == {"a": b"data of " + OF_0.encode()}

            def scrape() -> str:
                with urlopen(f"http://127.0.0.1:{metrics}/metrics", timeout=PATIENCE) as response:
                    text: str = response.read().decode()
                    return text

            # The new process answers clients before it answers the other one, and that one waits for it for 5 s only.
            with trio.fail_after(PATIENCE):
                scraped = await trio.to_thread.run_sync(scrape)
                while "discovery_server_processes 2.0" not in scraped:
                    await trio.sleep(0.02)
                    scraped = await trio.to_thread.run_sync(scrape)
            assert "discovery_state_affiliates 2.0" in scraped
        children = _children(process.pid)
        process.terminate()
        assert await process.wait() == 0
    assert not _alive(children)
    assert {id for part in parts for id in _clusters(part)} == {OF_0, OF_1}
    assert sorted(os.listdir(short_path)) == [*(part.name for part in parts), "state.binpb.lock"]


async def test_the_processes_end_when_the_one_that_started_them_is_killed(short_path: Path) -> None:
    at = ("--insecure", "--listen", "127.0.0.1:0", "--snapshot", "")
    async with running(*_serve(*at), environment={"TMPDIR": str(short_path)}) as process:
        await eventually(lambda: len(list(short_path.glob("*/*.connections"))) == 2)
        children = _children(process.pid)
        assert len(children) == 2
        process.kill()
        await process.wait()
        await eventually(lambda: not _alive(children))
        assert os.listdir(short_path) == []


async def test_a_process_that_cannot_start_ends_the_service(tmp_path: Path) -> None:
    (tmp_path / "bad.pem").write_text("no certificate")
    bad = ("--tls-cert", str(tmp_path / "bad.pem"), "--tls-key", str(tmp_path / "bad.pem"))
    async with running(*_serve(*bad, "--listen", "127.0.0.1:0", "--snapshot", "")) as process:
        assert await process.wait() == 1


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--processes", "0"), "from 1 to 64"),
        (("--processes", "2", "--state", "sqlite:x.db"), "for one process"),
        (("--processes", "2", "--embedded"), "an agent is one process"),
        (("--processes", "2", "--snapshot", "", "--listen", "192.0.2.1:3000"), "Cannot assign requested address"),
    ],
)
def test_what_several_processes_cannot_do_is_refused(
    words: tuple[str, ...], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["discovery", "serve", "--insecure", *words]) != 0
    assert reason in capsys.readouterr().err
