"""Two nodes on one wire, without any discovery service: each has the other in its configuration."""

import subprocess
from pathlib import Path

import pytest

from tests.mesh import nodes
from tests.support.agent import AgentProcess
from tests.support.deadlines import PATIENCE
from tests.support.netns import Namespace, connect, namespaces
from tests.support.process import eventually

pytestmark = [pytest.mark.needs_link("veth"), pytest.mark.needs_program("nft", "ping", "unshare")]

PORTS = (4501, 4502)
CONFIG = f"""\
version: v1alpha1
machine:
  type: worker
  network: {{kubespan: {{enabled: true}}}}
cluster:
  id: Ti0xYWQtdGhlLWNsdXN0ZXItb2YtdGhlLXRlc3Qt
  secret: {"QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE="}
---
apiVersion: nodespan.dev/v1alpha1
kind: NodespanConfig
"""


def config(directory: Path, port: int, peers: str, more: str = "") -> str:
    path = directory / "config.yaml"
    path.write_text(f"{CONFIG}kubespan:\n  listenPort: {port}\n  staticPeers: [{peers}]\n{more}")
    return str(path)


def identity(node: AgentProcess) -> dict[str, str]:
    return node.specs("kubespanidentities").get("local", {})


def is_reached(source: Namespace, address: str) -> bool:
    ping = source.inside("ping", "-c1", "-W1", address)
    return subprocess.run(ping, capture_output=True, timeout=PATIENCE).returncode == 0


async def test_nodes_that_name_each_other_need_no_discovery_service(tmp_path: Path) -> None:
    homes = tuple(tmp_path / name for name in ("one", "two"))
    for home in homes:
        home.mkdir()
    with namespaces("one", "two") as (one, two):
        connect(one, "eth0", two, "eth0")
        for number, node in enumerate((one, two), start=1):
            node.run("ip", "address", "add", f"192.0.2.{number}/24", "dev", "eth0")
        async with (
            nodes.node(homes[0], "one", namespace=one) as first,
            nodes.node(homes[1], "two", namespace=two) as second,
        ):
            agents = (first, second)
            for served, home, port in zip(agents, homes, PORTS, strict=True):
                served.run("apply", config(home, port, ""))
            await eventually(lambda: all(identity(served) for served in agents))
            known = [identity(served) for served in agents]
            addresses = [each["address"].partition("/")[0] for each in known]
            # Only the first can call: it has the endpoint of the other.
            for served, home, port, other, endpoints in zip(
                agents, homes, PORTS, (1, 0), (f'"192.0.2.2:{PORTS[1]}"', ""), strict=True
            ):
                peer = f'publicKey: {known[other]["publicKey"]}, name: other, address: "{addresses[other]}"'
                served.run("apply", config(home, port, f"{{{peer}, endpoints: [{endpoints}]}}"))
            await eventually(lambda: is_reached(one, addresses[1]))
            for served in agents:
                (status,) = served.specs("kubespanpeerstatuses").values()
                assert status["label"] == "other"
            assert [served.specs("linkstatuses")["kubespan"]["wireguard"]["listenPort"] for served in agents] == [
                *PORTS
            ]
