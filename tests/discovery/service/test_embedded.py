"""The service inside an agent."""

import sys
import time
from pathlib import Path

import grpc
import trio

from nodespan.discovery.wire.server_pb2 import AffiliateUpdateRequest
from tests.support.agent import nodespan
from tests.support.deadlines import PATIENCE
from tests.support.ports import free_port
from tests.support.process import running

COMMAND = (
    sys.executable,
    "-c",
    "import sys; from nodespan.runtime.cli import main; sys.exit(main())",
    "discovery",
    "serve",
)


def join(port: int) -> None:
    """Tell the service of a node, as soon as it answers."""
    request = AffiliateUpdateRequest(cluster_id="cluster", affiliate_id="node", affiliate_data=b"opaque")
    request.ttl.seconds = 60
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary(
            "/sidero.discovery.server.Cluster/AffiliateUpdate", lambda sent: sent.SerializeToString()
        )
        call(request, timeout=PATIENCE, wait_for_ready=True)


def listed(directory: Path, agent: Path) -> str:
    """The affiliates that the agent shows, once there are some."""
    until = time.monotonic() + PATIENCE
    while True:
        text = nodespan("--socket", str(agent), "get", "storedaffiliates", directory=directory).stdout
        if "cluster/node" in text or time.monotonic() > until:
            return text


async def test_an_agent_shows_the_records_of_its_embedded_service(tmp_path: Path) -> None:
    agent, port = tmp_path / "agent.sock", free_port()
    where = ("--listen", f"127.0.0.1:{port}", "--socket", str(agent), "--state-dir", str(tmp_path / "state"))
    async with running(*COMMAND, "--embedded", "--insecure", "--snapshot", "", *where):
        await trio.to_thread.run_sync(join, port)
        text = await trio.to_thread.run_sync(listed, tmp_path, agent)
    assert "cluster/node" in text
    assert "opaque" not in text
