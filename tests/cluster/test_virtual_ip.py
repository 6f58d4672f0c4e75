"""Clusters with a virtual IP: who is where, what they are told, and how it is read that they agree."""

from ipaddress import ip_address

import attrs
import pytest

from nodespan.cluster.commands import network_commands
from nodespan.cluster.etcd import etcd_command, etcd_endpoints
from nodespan.cluster.node_configs import node_configs
from nodespan.cluster.pinging import longest_silence
from nodespan.cluster.plan import Plan
from nodespan.cluster.virtual_ip import NO_AGENT, VipView, agreed_holder, vip_changes, would_take_over_at_once
from nodespan.controllers.config.loading import load

VIP = ip_address("198.51.100.100")
PLAN = Plan(control_planes=3, kubespan=False, vip=VIP)
A, B, C = PLAN.nodes
LEADER = VipView(state="leader", leader="b", since="2026-11-21T10:00:00Z")
CANDIDATE = VipView(state="candidate", leader="b", since="2026-11-21T10:00:02Z")
AGREED = {A: CANDIDATE, B: LEADER, C: CANDIDATE}
_CANDIDATES_SINCE = 1795255202.0  # 2026-11-21T10:00:02Z


def test_nodes_sharing_a_virtual_ip_are_all_on_the_bridge() -> None:
    assert [node.address for node in PLAN.nodes] == ["198.51.100.11", "198.51.100.12", "198.51.100.13"]
    assert PLAN.hidden_node is None
    assert "router" not in [station.name for station in PLAN.stations]
    namespaces = {station.namespace for station in PLAN.stations}
    named = {word for line in network_commands(PLAN) for word in line if word.startswith(PLAN.namespace_prefix)}
    assert named == namespaces


def test_a_worker_may_still_be_behind_the_router() -> None:
    plan = attrs.evolve(PLAN, size=4)
    assert plan.hidden_node == plan.nodes[-1]
    assert plan.hidden_node not in plan.control_plane_nodes
    assert plan.router in plan.stations


def test_control_planes_are_configured_with_the_address_and_all_etcd_members() -> None:
    plan = attrs.evolve(PLAN, size=5)
    endpoints = tuple(f"http://198.51.100.{number}:2379" for number in (11, 12, 13))
    assert etcd_endpoints(plan) == endpoints
    for node, text in node_configs(plan).items():
        loaded = load(text)
        assert loaded.errors == ()
        config = loaded.config
        if node in plan.control_plane_nodes:
            assert config.machine.type.value == "controlplane"
            (device,) = config.machine.network.interfaces
            assert (device.interface, device.vip and device.vip.ip) == ("eth0", str(VIP))
            assert config.nodespan.etcd.endpoints == endpoints
            assert config.nodespan.vip.lease_ttl.total_seconds() == 5
        else:
            assert config.machine.network.interfaces == ()
            assert config.nodespan.etcd.endpoints == ()


def test_a_cluster_without_a_virtual_ip_has_no_etcd() -> None:
    assert Plan().etcd_nodes == ()
    assert etcd_endpoints(Plan()) == ()


def test_an_etcd_member_listens_on_its_own_node_only() -> None:
    line = etcd_command(PLAN, B)
    assert line[3] == B.namespace
    assert line[line.index("--data-dir") + 1].startswith(f"{B.directory}/")
    assert line[line.index("--listen-client-urls") + 1] == "http://198.51.100.12:2379"
    assert line[line.index("--initial-cluster") + 1].count("=http://198.51.100.") == 3


@pytest.mark.parametrize(
    ("changed", "holder"),
    [
        ({}, B),
        ({A: attrs.evolve(CANDIDATE, leader="")}, None),
        ({A: attrs.evolve(CANDIDATE, leader="c")}, None),
        ({B: attrs.evolve(LEADER, state="candidate")}, None),
        ({C: VipView(state=NO_AGENT)}, None),
        ({C: VipView()}, None),
    ],
    ids=[
        "agreed",
        "one knows nobody",
        "one knows another",
        "nobody has it",
        "one does not answer",
        "one has no status",
    ],
)
def test_nodes_agree_if_all_name_the_actual_owner(changed: dict[object, VipView], holder: object) -> None:
    assert agreed_holder({**AGREED, **changed}) == holder  # type: ignore[dict-item]


@pytest.mark.parametrize(("waited", "ready"), [(0, False), (5.5, False), (6, True)])
def test_a_candidate_takes_over_at_once_after_waiting_one_lease(waited: float, ready: bool) -> None:
    assert would_take_over_at_once(AGREED, now=_CANDIDATES_SINCE + waited) is ready


def test_a_node_that_is_not_a_candidate_does_not_take_over() -> None:
    waiting = {**AGREED, C: attrs.evolve(CANDIDATE, state="waiting")}
    assert not would_take_over_at_once(waiting, now=_CANDIDATES_SINCE + 60)
    assert not would_take_over_at_once({}, now=_CANDIDATES_SINCE + 60)


def test_changes_are_reported_once() -> None:
    after = {
        A: attrs.evolve(LEADER, leader="a"),
        B: VipView(state=NO_AGENT),
        C: attrs.evolve(CANDIDATE, leader=""),
    }
    lines = ["a: has the address", "b: its agent does not answer", "c: candidate, knows of no leader"]
    assert list(vip_changes(AGREED, after)) == lines
    assert list(vip_changes(after, after)) == []


@pytest.mark.parametrize(
    ("answers", "since", "silence"),
    [
        ((0.0, 1.0, 1.1, 4.0, 4.1), 1.05, (1.1, 4.0)),
        ((0.0, 1.0, 4.0), 2.0, (1.0, 4.0)),
        ((0.0, 9.0, 9.1, 9.3), 9.0, (9.1, 9.3)),
    ],
    ids=["after the moment", "over the moment", "an earlier one does not count"],
)
def test_the_longest_silence_is_found(answers: tuple[float, ...], since: float, silence: tuple[float, float]) -> None:
    assert longest_silence(answers, since) == silence
