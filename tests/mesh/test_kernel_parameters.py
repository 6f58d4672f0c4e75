"""Kernel parameters and probes of a real namespace: set, shown, put back after a kill, and nothing else touched."""

import os
import signal
from pathlib import Path

import pytest

from nodespan.kernel.hardware import large_receive
from nodespan.kernel.hardware.ethernet_settings import EthernetChange
from nodespan.kernel.hardware.ethtool_netlink import open_ethtool_netlink
from nodespan.kernel.hardware.large_receive import KernelLargeReceive
from tests.support.agent import AgentProcess, agent
from tests.support.netns import Namespace, entered, namespace
from tests.support.process import eventually

CONFIG = """\
version: v1alpha1
machine:
  type: worker
  sysctls:
    net.ipv4.ip_forward: "1"
    net.ipv4.conf.d1.rp_filter: "2"
    net.ipv4.tcp_rmem: 4096 87380 6291456
    net.ipv4.conf.d9.rp_filter: "1"
    kernel.panic: "5"
    net.ipv4.route.flush: "1"
---
apiVersion: v1alpha1
kind: TCPProbeConfig
name: nobody
endpoint: 127.0.0.1:9
---
apiVersion: nodespan.dev/v1alpha1
kind: NodespanConfig
"""
EMPTY = "version: v1alpha1\nmachine: {type: worker}\n"
pytestmark = pytest.mark.needs_link("veth")

LINKS = ("all", "default", "lo", "d1", "d2")


def values(inside: Namespace) -> str:
    """All that the configuration may touch, directly or by what it sets."""
    files = ["net/ipv4/ip_forward", "net/ipv4/tcp_rmem", "net/ipv4/conf/all/accept_redirects", "kernel/panic"]
    files += [f"net/ipv4/conf/{link}/{setting}" for link in LINKS for setting in ("forwarding", "rp_filter")]
    return inside.run("grep", "-H", "", *(f"/proc/sys/{file}" for file in files))


def value(inside: Namespace, path: str) -> str:
    return inside.run("cat", f"/proc/sys/{path}").strip()


async def configure(served: AgentProcess, text: str) -> None:
    (served.directory / "state" / "config.yaml").write_text(text)


async def test_parameters_are_set_and_come_back_link_by_link_also_after_a_kill(tmp_path: Path) -> None:
    with namespace("params") as inside:
        inside.run("ip", "link", "add", "d1", "type", "veth", "peer", "name", "d2")
        # A link that forwards although the node does not.
        inside.run("sh", "-ec", "echo 1 > /proc/sys/net/ipv4/conf/d2/forwarding")
        before = values(inside)
        async with agent(tmp_path, namespace=inside) as served:
            await configure(served, CONFIG)
            await eventually(lambda: value(inside, "net/ipv4/conf/d1/rp_filter") == "2")
            await eventually(lambda: value(inside, "net/ipv4/conf/lo/forwarding") == "1")
            shown = await eventually(lambda: served.specs("KernelParamStatus")["proc.sys.net.ipv4.tcp_rmem"])
            assert shown["current"] == "4096 87380 6291456"
            # The machine around the namespace keeps what it has, and what cannot be read is not written.
            problems = {id: spec["message"] for id, spec in served.specs("NetworkProblem").items()}
            assert "where --root has it looked for" in problems["KernelParamSpecs/proc.sys.kernel.panic"]
            assert "is left as it is" in problems["KernelParamSpecs/proc.sys.net.ipv4.route.flush"]
            await eventually(lambda: not served.specs("ProbeStatus")["tcp:127.0.0.1:9"]["success"])
            # A link that comes later.
            inside.run("ip", "link", "add", "d9", "type", "veth", "peer", "name", "d8")
            await eventually(lambda: value(inside, "net/ipv4/conf/d9/rp_filter") == "1")
            inside.run("ip", "link", "del", "d9")
            # Another program.
            inside.run("sh", "-ec", "echo 0 > /proc/sys/net/ipv4/ip_forward")
            await eventually(lambda: value(inside, "net/ipv4/ip_forward") == "1")
            os.kill(served.pid, signal.SIGKILL)
        assert value(inside, "net/ipv4/conf/d1/rp_filter") == "2"
        async with agent(tmp_path, namespace=inside) as served:
            await configure(served, EMPTY)
            await eventually(lambda: values(inside) == before)
            assert not served.specs("KernelParamStatus")
            assert not served.specs("ProbeStatus")


def test_an_offload_of_a_link_is_seen_and_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few kernels have a link without hardware that can do `rx-lro`; every one has `tx-generic-segmentation`."""
    monkeypatch.setattr(large_receive, "FEATURE", "tx-generic-segmentation")
    with namespace("offload") as inside:
        inside.ip("link add d1 type veth peer name d2")
        with entered(inside), open_ethtool_netlink(None) as ethtool:
            offload = KernelLargeReceive()
            before = offload.links()
            indexes = {name: index for index, name in before.items()}
            assert ethtool.change(indexes["d1"], EthernetChange(features={"tx-generic-segmentation": False})) == {}
            assert offload.links() == {index: name for index, name in before.items() if name != "d1"}
            offload.turn_on(indexes["d1"])
            assert offload.links() == before
            inside.ip("link del d1")
            # Of one that is gone nothing is left to be turned on.
            offload.turn_on(indexes["d1"])
