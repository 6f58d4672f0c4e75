"""The sections of `nodespan status`, from states of resources to what is shown and found."""

import datetime
from collections.abc import Iterable
from typing import Any

import attrs
import pytest
import structlog

from nodespan.controllers.overview.status import SECTIONS
from nodespan.resources.cluster import (
    LOCAL,
    DiscoveryServiceStatus,
    DiscoveryServiceStatusSpec,
    Identity,
    IdentitySpec,
    Member,
    MemberName,
    MemberNameSpec,
    MemberSpec,
    NameServiceStatus,
    NameServiceStatusSpec,
    ServiceState,
)
from nodespan.resources.config.status import CONFIG_STATUS_ID, ConfigStatus, ConfigStatusSpec
from nodespan.resources.kubespan import (
    KubeSpanIdentity,
    KubeSpanIdentitySpec,
    KubeSpanPeerStatus,
    KubeSpanPeerStatusSpec,
    PeerState,
)
from nodespan.resources.network import (
    HostnameStatus,
    HostnameStatusSpec,
    NetworkProblem,
    NetworkProblemSpec,
    NetworkStatus,
    NetworkStatusSpec,
    NodeAddress,
    NodeAddressSpec,
    VIPState,
    VIPStatus,
    VIPStatusSpec,
)
from nodespan.resources.network import Severity as ProblemSeverity
from nodespan.runtime.engine import ControllerState, ControllerStatus, ControllerStatusSpec
from nodespan.runtime.errors import AccessError
from nodespan.runtime.events import Event, EventSpec
from nodespan.runtime.overview import Fact, Finding, Glance, Section, SectionView, Severity
from nodespan.runtime.overview.report import ago, make_report, size
from nodespan.runtime.resource import Pointer, Resource
from nodespan.runtime.state import MemoryState
from nodespan.runtime.state.filtered import FilteredState, Verb
from nodespan.runtime.state.meta import register_types

NOW = datetime.datetime(2026, 1, 2, 12, tzinfo=datetime.UTC)
TYPES = {type.name: type for section in SECTIONS for type in section.inputs} | {
    KubeSpanIdentity.name: KubeSpanIdentity,
    ControllerStatus.name: ControllerStatus,
}
PEER = KubeSpanPeerStatusSpec(
    label="two",
    state=PeerState.UP,
    endpoint="192.0.2.2:51820",
    receive_bytes=2048,
    transmit_bytes=5,
    last_handshake_time=NOW - datetime.timedelta(seconds=30),
)
DOWN = attrs.evolve(PEER, label="three", state=PeerState.DOWN)
VIP = VIPStatusSpec(ip="192.0.2.9", link_name="eth0", state=VIPState.LEADER, leader="one", since="2026-01-02T11:00:00Z")
SERVICE = DiscoveryServiceStatusSpec(endpoint="d.example.org:443", state=ServiceState.CONNECTED, affiliates=2)
FAILED = attrs.evolve(SERVICE, state=ServiceState.FAILED, stage="tls", message="expired", affiliates=0)
CONFIG = ConfigStatusSpec(files=("a.yaml",), digest="0123456789abcdef", since=NOW - datetime.timedelta(hours=5))


async def report_of(resources: Iterable[Resource[Any]], sections: Iterable[Section] = SECTIONS) -> dict[str, Any]:
    state = MemoryState()
    await register_types(state, TYPES.values())
    for resource in resources:
        await state.create(resource)
    return make_report(sections, state, NOW, version="1.2.3", log=structlog.get_logger())


def section(report: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = (each for each in report["sections"] if each["name"] == name)
    return dict(found)


def findings(report: dict[str, Any]) -> list[str]:
    return [f"{found['severity']} {found['text']}" for each in report["sections"] for found in each["findings"]]


async def test_a_node_without_anything_is_healthy_and_says_who_it_is() -> None:
    report = await report_of([])
    assert (report["healthy"], report["warnings"], findings(report)) == (True, 0, [])
    assert section(report, "node")["facts"] == [["name", "(none), nodespan 1.2.3"], ["addresses", "none"]]
    assert [each["name"] for each in report["sections"] if each["facts"] or each["table"]] == ["node"]


async def test_the_node_with_its_addresses_and_configuration() -> None:
    report = await report_of(
        [
            HostnameStatus.new("hostname", HostnameStatusSpec(hostname="one", domainname="example.org")),
            NodeAddress.new("current", NodeAddressSpec(addresses=("192.0.2.1/24", "2001:db8::1/64"))),
            Identity.new(LOCAL, IdentitySpec(node_id="abc")),
            KubeSpanIdentity.new(LOCAL, KubeSpanIdentitySpec(address="fd00::1/128", private_key="hush")),
            Member.new("one", MemberSpec()),
            Member.new("two", MemberSpec()),
            ConfigStatus.new(CONFIG_STATUS_ID, CONFIG),
        ]
    )
    assert section(report, "node")["facts"] == [
        ["name", "one.example.org, nodespan 1.2.3"],
        ["node id", "abc"],
        ["addresses", "192.0.2.1/24, 2001:db8::1/64"],
        ["in the mesh", "fd00::1/128"],
        ["configuration", "0123456789ab of a.yaml, for 5 h"],
    ]
    assert "hush" not in str(report)


async def test_peers_with_path_handshake_bytes_and_since_when() -> None:
    def event(id: str, minutes: int, text: str) -> Resource[Any]:
        moment = NOW - datetime.timedelta(minutes=minutes)
        spec = EventSpec(time=moment, kind="peer", text=text, type=KubeSpanPeerStatus.name, id="k2")
        return Event.new(id, spec)

    report = await report_of(
        [
            KubeSpanPeerStatus.new("k2", PEER),
            event("1", 90, "peer two is down"),
            event("2", 60, "peer two is up by 192.0.2.7:51820"),
            event("3", 10, "peer two is up by 192.0.2.2:51820"),
        ]
    )
    mesh = section(report, "mesh")
    (row,) = mesh["table"]["rows"]
    assert row["cells"] == ["two", "up", "192.0.2.2:51820", "30 s ago", "60 min", "2.0 KiB", "5 B"]
    assert mesh["facts"] == [["peers", "1 of 1 up"]]
    (data,) = mesh["data"]["peers"]
    assert (data["receiveBytes"], data["lastHandshakeTime"]) == (2048, "2026-01-02T11:59:30Z")
    assert data["since"] == "2026-01-02T11:00:00Z"


FOUND: list[tuple[str, list[Resource[Any]], list[str], bool]] = [
    ("all peers up", [KubeSpanPeerStatus.new("k2", PEER)], [], True),
    (
        "one peer down",
        [KubeSpanPeerStatus.new("k2", PEER), KubeSpanPeerStatus.new("k3", DOWN)],
        ["warning 1 of 2 peers are down: three"],
        True,
    ),
    ("all peers down", [KubeSpanPeerStatus.new("k3", DOWN)], ["error none of 1 peers is up"], False),
    (
        "no other node",
        [KubeSpanIdentity.new(LOCAL, KubeSpanIdentitySpec()), Member.new("one", MemberSpec())],
        ["warning this node takes part in a mesh, and knows no other node of it"],
        True,
    ),
    ("a virtual IP", [VIPStatus.new("v", VIP)], [], True),
    (
        "etcd is away",
        [VIPStatus.new("v", attrs.evolve(VIP, trouble="no answer"))],
        ["error virtual IP 192.0.2.9 on eth0: the election cannot be followed: no answer"],
        False,
    ),
    (
        "no candidate",
        [VIPStatus.new("v", attrs.evolve(VIP, state=VIPState.WAITING, reason="web"))],
        ["warning virtual IP 192.0.2.9 on eth0 is waiting: web"],
        True,
    ),
    (
        "refused",
        [VIPStatus.new("v", attrs.evolve(VIP, state=VIPState.REFUSED))],
        ["error virtual IP 192.0.2.9 on eth0 is refused"],
        False,
    ),
    (
        "no discovery service",
        [DiscoveryServiceStatus.new("a", FAILED)],
        ["error discovery service d.example.org:443 cannot be used: tls: expired"],
        False,
    ),
    (
        "one of two discovery services",
        [DiscoveryServiceStatus.new("a", FAILED), DiscoveryServiceStatus.new("b", SERVICE)],
        ["warning discovery service d.example.org:443 cannot be used: tls: expired"],
        True,
    ),
    (
        "another secret",
        [DiscoveryServiceStatus.new("b", attrs.evolve(SERVICE, unreadable=2))],
        ["warning discovery service d.example.org:443: 2 records of affiliates cannot be read"],
        True,
    ),
    (
        "problems",
        [
            NetworkProblem.new("a", NetworkProblemSpec(type="LinkSpecs.net.talos.dev", id="eth0", message="no")),
            NetworkProblem.new(
                "b",
                NetworkProblemSpec(
                    type="LinkSpecs.net.talos.dev", id="eth1", message="hm", severity=ProblemSeverity.WARNING
                ),
            ),
        ],
        ["error LinkSpecs eth0: no", "warning LinkSpecs eth1: hm"],
        False,
    ),
    (
        "no address",
        [NetworkStatus.new("status", NetworkStatusSpec())],
        ["warning the network is not ready: this node has no address yet"],
        True,
    ),
    (
        "a controller that fails",
        [
            ControllerStatus.new(
                "x.XController", ControllerStatusSpec(shape="queue", state=ControllerState.BACKOFF, last_error="boom")
            )
        ],
        ["error controller x.XController fails: boom"],
        False,
    ),
    (
        "a file that is not used",
        [ConfigStatus.new(CONFIG_STATUS_ID, attrs.evolve(CONFIG, error="a.yaml:1:2: no"))],
        ["error configuration files are not used: a.yaml:1:2: no"],
        False,
    ),
    (
        "a trial",
        [ConfigStatus.new(CONFIG_STATUS_ID, attrs.evolve(CONFIG, trial_until=NOW))],
        ["warning the configuration is on trial until 2026-01-02T12:00:00Z"],
        True,
    ),
]


@pytest.mark.parametrize(
    ("resources", "expected", "is_healthy"), [case[1:] for case in FOUND], ids=[c[0] for c in FOUND]
)
async def test_what_is_found_and_whether_that_is_healthy(
    resources: list[Resource[Any]], expected: list[str], is_healthy: bool
) -> None:
    report = await report_of(resources)
    assert (findings(report), report["healthy"]) == (expected, is_healthy)
    assert report["warnings"] == sum(text.startswith("warning") for text in expected)
    remedies = [found["remedy"] for each in report["sections"] for found in each["findings"]]
    assert all(remedies)


async def test_what_the_client_may_not_see_is_not_shown_and_the_rest_is() -> None:
    def rule(pointer: Pointer[Any], _verb: Verb) -> None:
        if pointer.type in (KubeSpanIdentity.name, VIPStatus.name):
            raise AccessError(f"{pointer.type} is not for you", namespace=pointer.namespace, type=pointer.type)

    state = MemoryState()
    await register_types(state, TYPES.values())
    await state.create(KubeSpanIdentity.new(LOCAL, KubeSpanIdentitySpec(address="fd00::1/128")))
    report = make_report(SECTIONS, FilteredState(state, rule), NOW, version="1", log=structlog.get_logger())
    assert "fd00" not in str(report)
    assert section(report, "vips")["facts"] == [["not shown", f"{VIPStatus.name} is not for you"]]
    assert section(report, "node")["facts"]


async def test_a_section_that_fails_is_a_finding_and_the_others_are_shown() -> None:
    def fail(_glance: Glance) -> SectionView:
        raise ZeroDivisionError

    def good(_glance: Glance) -> SectionView:
        finding = Finding(Severity.WARNING, "w", "r")
        return SectionView(facts=(Fact("a", "b"),), findings=(finding,), data={"a": 1})

    sections = [Section(name="bad", title="Bad", view=fail), Section(name="good", title="Good", view=good)]
    with structlog.testing.capture_logs() as logs:
        report = await report_of([], sections)
    assert [log["section"] for log in logs] == ["bad"]
    assert findings(report) == ["error the section bad of the status failed", "warning w"]
    assert section(report, "good")["data"] == {"a": 1}


async def test_how_programs_get_to_know_the_names_of_members() -> None:
    status = NameServiceStatusSpec(
        mode="stub", domain="mesh.internal", ready=True, servers=("127.0.0.153:53",), message="forward it"
    )
    names = (
        MemberName.new(name, MemberNameSpec(canonical_name="b.mesh.internal")) for name in ("b", "b.mesh.internal")
    )
    report = await report_of([NameServiceStatus.new(LOCAL, status), *names])
    assert section(report, "names")["facts"] == [
        ["members", "1 have names under mesh.internal"],
        ["programs", "stub: forward it"],
        ["asked at", "127.0.0.153:53"],
    ]
    assert section(report, "names")["data"]["members"] == 1


def test_ages_and_sizes_in_few_characters() -> None:
    ages = {0: "0 s", 119: "119 s", 120: "2 min", 7199: "119 min", 7200: "2 h", 172_800: "2 d", -5: "0 s"}
    assert {seconds: ago(NOW - datetime.timedelta(seconds=seconds), NOW) for seconds in ages} == ages
    sizes = {0: "0 B", 999: "999 B", 1000: "1.0 KiB", 15_000: "15 KiB", 5 * 2**20: "5.0 MiB", 2**62: "4096 PiB"}
    assert {count: size(count) for count in sizes} == sizes
