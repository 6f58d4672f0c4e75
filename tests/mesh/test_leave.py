"""A node of a mesh leaves: nothing of it stays on its machine, and its peers forget it."""

from pathlib import Path

import pytest

from nodespan.cluster.peers import look
from nodespan.cluster.plan import Plan
from nodespan.cluster.station_processes import pids_in
from tests.mesh.test_cluster import nodespan, plan_called
from tests.mesh.waiting import eventually
from tests.support.netns import execute

pytestmark = [pytest.mark.needs_link("veth", "bridge"), pytest.mark.needs_program("nft", "unshare")]

# In seconds.
_FORGOTTEN_WITHIN = 30


def state_of(namespace: str) -> list[str]:
    """What an agent changes in its namespace."""
    inside = ("ip", "netns", "exec", namespace)
    return [
        execute("ip", "-n", namespace, "-brief", "link"),
        execute("ip", "-n", namespace, "-brief", "address"),
        execute("ip", "-n", namespace, "rule"),
        execute("ip", "-n", namespace, "-6", "rule"),
        execute("ip", "-n", namespace, "route", "show", "table", "all"),
        execute(*inside, "nft", "list", "ruleset"),
        execute(*inside, "cat", "/proc/sys/net/ipv4/conf/all/rp_filter"),
    ]


def test_a_node_that_leaves_is_gone_and_forgotten(tmp_path: Path) -> None:
    plan: Plan = plan_called("leave")
    try:
        created = nodespan("cluster", "create", "--name", plan.name, "--keep")
        assert created.returncode == 0, created.stderr
        node, *others = plan.nodes
        during = state_of(node.namespace)
        done = nodespan("leave", "--node", node.name)
        assert done.returncode == 0, f"{done.stderr}\n{node.log.read_text()[-6000:]}"
        after = state_of(node.namespace)
        assert "kubespan" in during[0]
        assert "kubespan" not in "".join(after)
        assert "nodespan" not in after[5]
        assert "180" not in after[2] + after[3]
        assert not pids_in(node.namespace)  # neither the agent nor wireguard-go
        eventually(lambda: not any(look(plan)[other.name, node.name].is_up for other in others), _FORGOTTEN_WITHIN)
        for other in others:
            eventually(lambda at=other: node.name not in peers(at.name), _FORGOTTEN_WITHIN)  # type: ignore[misc]
    finally:
        nodespan("cluster", "destroy", "--name", plan.name)


def peers(node: str) -> str:
    return nodespan("get", "kubespanpeerstatuses", "--node", node).stdout
