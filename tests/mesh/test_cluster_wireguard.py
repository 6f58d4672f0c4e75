"""`nodespan cluster create --wireguard-cidr` as users run it: the configuration makes the tunnels."""

import contextlib
import subprocess
from collections.abc import Iterator
from functools import partial
from ipaddress import ip_network

import attrs
import pytest

from nodespan.cluster.echo import ping
from nodespan.cluster.plan import Plan, Station
from nodespan.cluster.station_processes import NAMESPACES
from tests.mesh.test_cluster import nodespan, plan_called, traces
from tests.support.process import eventually

pytestmark = [
    pytest.mark.needs_link("veth", "bridge"),
    pytest.mark.needs_program("nft", "unshare", "wg"),
]

_NETWORK = ip_network("10.99.0.0/24")
_UP_WITHIN = "60"


@contextlib.contextmanager
def created(plan: Plan, *options: str) -> Iterator[str]:
    """What is printed when the cluster is made; at the end nothing is left of it."""
    arguments = ("--name", plan.name, "--nodes", str(plan.size), "--control-planes", str(plan.control_planes))
    network = ("--wireguard-cidr", str(plan.wireguard))
    made = nodespan("cluster", "create", *arguments, *network, *options, "--keep", "--timeout", _UP_WITHIN)
    try:
        assert made.returncode == 0, made.stdout + made.stderr
        yield made.stdout
    finally:
        destroyed = nodespan("cluster", "destroy", "--name", plan.name)
    assert destroyed.returncode == 0, destroyed.stderr
    assert traces(plan) == []


def inside(node: Station, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a node."""
    return nodespan("cluster", "exec", node.name, "--", *command)


def device(node: Station, what: str) -> str:
    """A setting of the device, as `wg show wg0` has it."""
    done = inside(node, "wg", "show", "wg0", what)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def peers(node: Station, what: str) -> dict[str, str]:
    """A setting of its peers, by public key."""
    return dict(line.split("\t", 1) for line in device(node, what).splitlines())


@pytest.fixture(scope="module")
def plan() -> Iterator[Plan]:
    plan = attrs.evolve(plan_called("w"), kubespan=False, wireguard=_NETWORK)
    with created(plan) as output:
        assert "no answer" not in output
        yield plan


def has_keepalive(node: Station) -> bool:
    return set(peers(node, "persistent-keepalive").values()) == {"5"}


async def test_workers_have_a_tunnel_to_the_control_plane_only(plan: Plan) -> None:
    keys = {node: device(node, "public-key") for node in plan.nodes}
    middle, *workers = plan.nodes
    assert peers(middle, "allowed-ips") == {keys[node]: f"{plan.wireguard_address(node)}/32" for node in workers}
    for worker in workers:
        assert peers(worker, "allowed-ips") == {keys[middle]: f"{plan.wireguard_address(middle)}/32"}
        assert peers(worker, "endpoints") == {keys[middle]: f"{middle.address}:51111"}
    for node in plan.nodes:
        # A new peer has its keepalive a moment later, so that one of the two ends begins.
        await eventually(partial(has_keepalive, node))
    assert device(middle, "listen-port") == "51111"


def test_packets_go_through_the_tunnels(plan: Plan) -> None:
    for node, peer in plan.wireguard_pairs:
        assert ping(NAMESPACES / node.namespace, plan.wireguard_address(peer)) is not None
        route = inside(node, "ip", "route", "get", plan.wireguard_address(peer)).stdout
        assert "dev wg0" in route


def test_kubespan_is_off_unless_requested(plan: Plan) -> None:
    for node in plan.nodes:
        links = inside(node, "ip", "-brief", "link", "show").stdout
        assert "kubespan" not in links


def test_show_lists_the_tunnel_addresses(plan: Plan) -> None:
    listed = nodespan("cluster", "show").stdout
    assert "WIREGUARD ADDRESS" in listed
    for node in plan.nodes:
        assert plan.wireguard_address(node) in listed


def test_the_first_nodes_are_control_planes(plan: Plan) -> None:
    members = nodespan("--node", plan.nodes[0].name, "get", "members", "-o", "jsonpath={.spec.machineType}").stdout
    assert sorted(members.split()) == ["controlplane", "worker", "worker"]


def test_wireguard_and_kubespan_each_carry_their_own_traffic() -> None:
    plan = attrs.evolve(plan_called("wk", size=2), wireguard=_NETWORK)
    with created(plan, "--with-kubespan") as output:
        assert "all 2 tunnel ends are up" in output
        assert "no answer" not in output
        one, other = plan.nodes
        assert "dev wg0" in inside(one, "ip", "route", "get", plan.wireguard_address(other)).stdout
        allowed = inside(one, "wg", "show", "kubespan", "allowed-ips").stdout
        assert plan.wireguard_address(other) not in allowed
        endpoints = inside(one, "wg", "show", "kubespan", "endpoints").stdout
        assert plan.wireguard_address(other) not in endpoints
