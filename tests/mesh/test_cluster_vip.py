"""`nodespan cluster create --vip` as users run it: one address, which moves, and nothing left of all that."""

import os
import signal
from collections.abc import Iterator
from ipaddress import ip_address

import attrs
import pytest

from nodespan.cluster.commands import LINK
from nodespan.cluster.echo import ping
from nodespan.cluster.plan import Plan, Station
from nodespan.cluster.station_processes import NAMESPACES, pids_in
from nodespan.cluster.virtual_ip import agreed_holder, look_at_vip, would_take_over_at_once
from tests.mesh.test_cluster import agent_pid, nodespan, plan_called, traces
from tests.mesh.waiting import eventually
from tests.support.netns import execute

pytestmark = [
    pytest.mark.needs_link("veth", "bridge"),
    pytest.mark.needs_program("nft", "unshare", "etcd"),
]

_VIP = ip_address("198.51.100.100")
_UP_WITHIN = "60"


@pytest.fixture(scope="module")
def plan() -> Iterator[Plan]:
    """A cluster with KubeSpan beside the virtual IP, which is gone at the end."""
    plan = attrs.evolve(plan_called("v"), control_planes=3, vip=_VIP)
    arguments = ("--name", plan.name, "--vip", str(_VIP), "--with-kubespan", "--timeout", _UP_WITHIN)
    made = nodespan("cluster", "create", *arguments, "--keep")
    try:
        assert made.returncode == 0, made.stdout + made.stderr
        assert f"all nodes agree that {plan.name}-" in made.stdout
        assert "no answer" not in made.stdout
        yield plan
    finally:
        destroyed = nodespan("cluster", "destroy", "--name", plan.name)
    assert destroyed.returncode == 0, destroyed.stderr
    assert traces(plan) == []


def client_reaches_it(plan: Plan) -> bool:
    """Whether a machine that is none of the nodes gets an answer."""
    return ping(NAMESPACES / plan.discovery.namespace, str(_VIP)) is not None


def test_all_nodes_agree_on_the_owner_and_the_client_reaches_it(plan: Plan) -> None:
    holder = agreed_holder(look_at_vip(plan))
    assert holder is not None
    assert client_reaches_it(plan)
    has_it = [node for node in plan.nodes if f" {_VIP}/32" in addresses_of(node)]
    assert has_it == [holder]


def addresses_of(node: Station) -> str:
    """What the kernel says of the node's addresses."""
    return execute("ip", "-n", node.namespace, "address", "show", "dev", LINK)


def test_show_lists_the_virtual_ip_and_etcd(plan: Plan) -> None:
    listed = nodespan("cluster", "show").stdout
    assert str(_VIP) in listed
    assert "leader" in listed
    for node in plan.nodes:
        etcd = [pid for pid in pids_in(node.namespace) if pid != agent_pid(node)]
        assert any(str(pid) in listed for pid in etcd)


def test_the_virtual_ip_is_not_used_as_a_peer_endpoint(plan: Plan) -> None:
    path = "jsonpath={.spec.kubespan.endpoints}"
    endpoints = nodespan("--node", plan.nodes[0].name, "get", "affiliates", "-o", path).stdout
    assert f"{plan.nodes[1].address}:51820" in endpoints
    assert str(_VIP) not in endpoints


def test_the_virtual_ip_is_handed_over_when_its_owner_stops(plan: Plan) -> None:
    eventually(lambda: would_take_over_at_once(look_at_vip(plan)), 20)
    before = agreed_holder(look_at_vip(plan))
    assert before is not None
    os.kill(agent_pid(before), signal.SIGTERM)

    def is_taken_over() -> bool:
        views = look_at_vip(plan)
        return agreed_holder({node: view for node, view in views.items() if node != before}) is not None

    eventually(is_taken_over, 5)
    eventually(lambda: client_reaches_it(plan), 2)
    assert f" {_VIP}/32" not in addresses_of(before)
