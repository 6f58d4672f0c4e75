"""What is scraped from an agent, and how it answers probes."""

import datetime
from collections.abc import Iterable
from pathlib import Path

import pytest
import structlog

from nodespan.resources.cluster import (
    DiscoveryServiceStatus,
    DiscoveryServiceStatusSpec,
    Member,
    MemberSpec,
    ServiceState,
)
from nodespan.resources.kubespan import KubeSpanPeerStatus, KubeSpanPeerStatusSpec, PeerState
from nodespan.resources.network import (
    NETWORK_STATUS_ID,
    DHCPLease,
    DHCPLeaseSpec,
    NetworkProblem,
    NetworkProblemSpec,
    NetworkStatus,
    NetworkStatusSpec,
    Severity,
    VIPState,
    VIPStatus,
    VIPStatusSpec,
)
from nodespan.runtime.api.metrics import EngineMetrics
from nodespan.runtime.controller import ControllerContext
from nodespan.runtime.engine import Engine
from nodespan.runtime.plugins import Settings, load_installed
from nodespan.runtime.resource import Resource
from nodespan.runtime.state import MemoryState, State
from nodespan.runtime.testing.kit import running
from tests.runtime.parts import Routine

_READY = NetworkStatusSpec(
    address_ready=True, connectivity_ready=True, hostname_ready=True, etc_files_ready=True, discovery_ready=True
)


def _metrics(state: State, directory: Path, engine: Engine | None = None) -> EngineMetrics:
    settings = Settings(state_dir=directory)
    for _ in range(2):  # as for a dry run
        load_installed(settings, structlog.get_logger())
    return EngineMetrics(
        engine or Engine(state),
        state,
        version="1.2.3",
        collectors=settings.metrics,
        readiness=settings.readiness,
    )


async def _state(*resources: Resource[object]) -> MemoryState:
    state = MemoryState()
    for resource in resources:
        await state.create(resource)
    return state


def _lines(metrics: EngineMetrics, start: Iterable[str]) -> list[str]:
    text = metrics.respond("/metrics?x=1").body.decode()
    return [line for line in text.splitlines() if line.startswith(tuple(start))]


async def test_the_mesh_is_counted(tmp_path: Path) -> None:
    shaken = datetime.datetime.fromtimestamp(1_700_000_000, datetime.UTC)
    state = await _state(
        KubeSpanPeerStatus.new(
            "key=",
            KubeSpanPeerStatusSpec(
                label="web", state=PeerState.UP, receive_bytes=10, transmit_bytes=20, last_handshake_time=shaken
            ),
        ),
        KubeSpanPeerStatus.new("other=", KubeSpanPeerStatusSpec(label='a"b', state=PeerState.DOWN)),
    )
    assert _lines(_metrics(state, tmp_path), ["nodespan_kubespan_"]) == [
        'nodespan_kubespan_peers{state="unknown"} 0.0',
        'nodespan_kubespan_peers{state="up"} 1.0',
        'nodespan_kubespan_peers{state="down"} 1.0',
        'nodespan_kubespan_peer_last_handshake_seconds{peer="web",public_key="key="} 1.7e+09',
        'nodespan_kubespan_peer_last_handshake_seconds{peer="a\\"b",public_key="other="} 0.0',
        'nodespan_kubespan_peer_receive_bytes_total{peer="web",public_key="key="} 10.0',
        'nodespan_kubespan_peer_receive_bytes_total{peer="a\\"b",public_key="other="} 0.0',
        'nodespan_kubespan_peer_transmit_bytes_total{peer="web",public_key="key="} 20.0',
        'nodespan_kubespan_peer_transmit_bytes_total{peer="a\\"b",public_key="other="} 0.0',
    ]


async def test_the_network_is_counted(tmp_path: Path) -> None:
    state = await _state(
        NetworkProblem.new("a", NetworkProblemSpec(type="LinkSpecs.net.talos.dev", id="a", message="x")),
        VIPStatus.new("eth0/192.0.2.1", VIPStatusSpec(ip="192.0.2.1", link_name="eth0", state=VIPState.LEADER)),
        DHCPLease.new("dhcp4/eth0", DHCPLeaseSpec(link_name="eth0", state="bound", addresses=("192.0.2.9/24",))),
        DHCPLease.new("dhcp6/eth0", DHCPLeaseSpec(link_name="eth0", state="selecting")),
    )
    assert _lines(
        _metrics(state, tmp_path), ["nodespan_network_problems", "nodespan_vip", "nodespan_dhcp", "nodespan_build"]
    )[1:] == [
        f'nodespan_network_problems{{severity="{Severity.ERROR}"}} 1.0',
        f'nodespan_network_problems{{severity="{Severity.WARNING}"}} 0.0',
        'nodespan_vip_state{ip="192.0.2.1",link="eth0",state="waiting"} 0.0',
        'nodespan_vip_state{ip="192.0.2.1",link="eth0",state="candidate"} 0.0',
        'nodespan_vip_state{ip="192.0.2.1",link="eth0",state="leader"} 1.0',
        'nodespan_vip_state{ip="192.0.2.1",link="eth0",state="refused"} 0.0',
        'nodespan_vip_trouble{ip="192.0.2.1",link="eth0"} 0.0',
        'nodespan_dhcp_lease_bound{client="dhcp4",link="eth0"} 1.0',
        'nodespan_dhcp_lease_bound{client="dhcp6",link="eth0"} 0.0',
    ]


async def test_discovery_is_counted(tmp_path: Path) -> None:
    failed = DiscoveryServiceStatusSpec(
        endpoint="a:443", state=ServiceState.FAILED, stage="tls", affiliates=3, unreadable=1
    )
    state = await _state(
        DiscoveryServiceStatus.new("one", failed),
        DiscoveryServiceStatus.new("two", DiscoveryServiceStatusSpec(endpoint="b:443", state=ServiceState.CONNECTED)),
        Member.new("web", MemberSpec()),
    )
    assert _lines(_metrics(state, tmp_path), ["nodespan_discovery", "nodespan_cluster"]) == [
        'nodespan_discovery_connected{endpoint="a:443",service="one"} 0.0',
        'nodespan_discovery_connected{endpoint="b:443",service="two"} 1.0',
        'nodespan_discovery_failure{endpoint="a:443",service="one",stage="tls"} 1.0',
        'nodespan_discovery_affiliates{endpoint="a:443",service="one"} 3.0',
        'nodespan_discovery_affiliates{endpoint="b:443",service="two"} 0.0',
        'nodespan_discovery_unreadable{endpoint="a:443",service="one"} 1.0',
        'nodespan_discovery_unreadable{endpoint="b:443",service="two"} 0.0',
        "nodespan_cluster_members 1.0",
    ]


async def test_the_build_and_the_process_are_shown(tmp_path: Path) -> None:
    lines = _lines(_metrics(await _state(), tmp_path), ["nodespan_build_info", "process_"])
    assert 'version="1.2.3"' in lines[-1] + lines[0]
    assert {line.split()[0] for line in lines} >= {"process_resident_memory_bytes", "process_open_fds"}


@pytest.mark.parametrize(
    ("spec", "status", "body"),
    [
        (None, 503, "network: not looked at yet\n"),
        (NetworkStatusSpec(address_ready=True, hostname_ready=True, etc_files_ready=True), 503, None),
        (_READY, 200, "ok\n"),
    ],
    ids=["not yet", "in part", "all"],
)
async def test_a_node_is_ready_when_its_network_is(
    spec: NetworkStatusSpec | None, status: int, body: str | None, tmp_path: Path
) -> None:
    state = await _state(*([] if spec is None else [NetworkStatus.new(NETWORK_STATUS_ID, spec)]))
    metrics = _metrics(state, tmp_path)
    page = metrics.respond("/readyz")
    assert page.status == status
    assert page.body.decode() == (body or "network: connectivity is not ready\n")
    assert (metrics.respond("/healthz").status, metrics.respond("/healthz").body) == (200, b"ok\n")
    assert metrics.respond("/").status == 404


@pytest.mark.virtual_clock
async def test_a_node_with_a_failing_controller_is_not_ready(tmp_path: Path) -> None:
    async def fails(_ctx: ControllerContext) -> None:
        raise ValueError("no")

    state = await _state(NetworkStatus.new(NETWORK_STATUS_ID, _READY))
    async with running(Routine("failing", fails), state=state, allow_crashes=True) as node:
        await node.settled()
        page = _metrics(state, tmp_path, node.engine).respond("/readyz")
    assert (page.status, page.body) == (503, b"controller failing: ValueError: no\n")
