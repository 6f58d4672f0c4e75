"""What is scraped from an agent, and how it answers probes."""

import datetime
from collections.abc import Iterable
from pathlib import Path

import pytest
import structlog

from nodespan.controllers.network.vip.tally import HeldLease, Tally, tally_of
from nodespan.kernel.netlink_counts import counts_of
from nodespan.resources.cluster import (
    DiscoveryServiceStatus,
    DiscoveryServiceStatusSpec,
    Member,
    MemberSpec,
    ServiceState,
)
from nodespan.resources.config.status import CONFIG_STATUS_ID, ConfigStatus, ConfigStatusSpec
from nodespan.resources.kubespan import (
    KubeSpanPeerStatus,
    KubeSpanPeerStatusSpec,
    KubeSpanRelayStatus,
    KubeSpanRelayStatusSpec,
    PeerState,
    RelayState,
)
from nodespan.resources.network import (
    NETWORK_STATUS_ID,
    DHCPLease,
    DHCPLeaseSpec,
    NetworkProblem,
    NetworkProblemSpec,
    NetworkStatus,
    NetworkStatusSpec,
    ProbeStatus,
    ProbeStatusSpec,
    Severity,
    VIPState,
    VIPStatus,
    VIPStatusSpec,
)
from nodespan.runtime.api.metrics import METRICS, EngineMetrics
from nodespan.runtime.controller import ControllerContext
from nodespan.runtime.engine import Engine
from nodespan.runtime.metrics import process
from nodespan.runtime.plugins import Settings, load_installed
from nodespan.runtime.process.loop_lag import LoopLag
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
        sources=settings.metrics,
        readiness=settings.readiness,
    )


async def _state(*resources: Resource[object]) -> MemoryState:
    state = MemoryState()
    for resource in resources:
        await state.create(resource)
    return state


async def _lines(metrics: EngineMetrics, start: Iterable[str]) -> list[str]:
    text = (await metrics.respond("/metrics?x=1")).body.decode()
    return [line for line in text.splitlines() if line.startswith(tuple(start))]


async def test_the_mesh_is_counted(tmp_path: Path) -> None:
    shaken = datetime.datetime.fromtimestamp(1_700_000_000, datetime.UTC)
    state = await _state(
        KubeSpanPeerStatus.new(
            "key=",
            KubeSpanPeerStatusSpec(
                label="web",
                state=PeerState.UP,
                receive_bytes=10,
                transmit_bytes=20,
                last_handshake_time=shaken,
                last_endpoint_change=shaken,
            ),
        ),
        KubeSpanPeerStatus.new("other=", KubeSpanPeerStatusSpec(label='a"b', state=PeerState.DOWN)),
    )
    assert await _lines(_metrics(state, tmp_path), ["nodespan_kubespan_"]) == [
        'nodespan_kubespan_peers{state="unknown"} 0.0',
        'nodespan_kubespan_peers{state="up"} 1.0',
        'nodespan_kubespan_peers{state="down"} 1.0',
        'nodespan_kubespan_peer_up{peer="web",public_key="key="} 1.0',
        'nodespan_kubespan_peer_up{peer="a\\"b",public_key="other="} 0.0',
        'nodespan_kubespan_peer_last_handshake_timestamp_seconds{peer="web",public_key="key="} 1700000000.0',
        'nodespan_kubespan_peer_last_handshake_timestamp_seconds{peer="a\\"b",public_key="other="} 0.0',
        'nodespan_kubespan_peer_last_endpoint_change_timestamp_seconds{peer="web",public_key="key="} 1700000000.0',
        'nodespan_kubespan_peer_last_endpoint_change_timestamp_seconds{peer="a\\"b",public_key="other="} 0.0',
        'nodespan_kubespan_peer_receive_bytes_total{peer="web",public_key="key="} 10.0',
        'nodespan_kubespan_peer_receive_bytes_total{peer="a\\"b",public_key="other="} 0.0',
        'nodespan_kubespan_peer_transmit_bytes_total{peer="web",public_key="key="} 20.0',
        'nodespan_kubespan_peer_transmit_bytes_total{peer="a\\"b",public_key="other="} 0.0',
    ]


async def test_the_network_is_counted(tmp_path: Path) -> None:
    state = await _state(
        NetworkProblem.new("a", NetworkProblemSpec(type="LinkSpecs.net.talos.dev", id="a", message="x")),
        VIPStatus.new(
            "eth0/192.0.2.1", VIPStatusSpec(ip="192.0.2.1", link_name="eth0", state=VIPState.LEADER, leader="edge-1")
        ),
        DHCPLease.new("dhcp4/eth0", DHCPLeaseSpec(link_name="eth0", state="bound", addresses=("192.0.2.9/24",))),
        DHCPLease.new("dhcp6/eth0", DHCPLeaseSpec(link_name="eth0", state="selecting")),
    )
    tally = tally_of("eth0", "192.0.2.1")
    tally.handovers, tally.lease = 3, HeldLease(lambda: 2.5, 4.0)
    starts = ["nodespan_network_problems", "nodespan_vip", "nodespan_dhcp"]
    assert await _lines(_metrics(state, tmp_path), starts) == [
        f'nodespan_network_problems{{severity="{Severity.ERROR}"}} 1.0',
        f'nodespan_network_problems{{severity="{Severity.WARNING}"}} 0.0',
        'nodespan_dhcp_lease_bound{client="dhcp4",link="eth0"} 1.0',
        'nodespan_dhcp_lease_bound{client="dhcp6",link="eth0"} 0.0',
        'nodespan_vip_state{ip="192.0.2.1",link="eth0",state="waiting"} 0.0',
        'nodespan_vip_state{ip="192.0.2.1",link="eth0",state="candidate"} 0.0',
        'nodespan_vip_state{ip="192.0.2.1",link="eth0",state="leader"} 1.0',
        'nodespan_vip_state{ip="192.0.2.1",link="eth0",state="refused"} 0.0',
        'nodespan_vip_owner_info{ip="192.0.2.1",link="eth0",owner="edge-1"} 1.0',
        'nodespan_vip_handovers_total{ip="192.0.2.1",link="eth0"} 3.0',
        'nodespan_vip_lease_margin_seconds{ip="192.0.2.1",link="eth0"} 2.5',
        'nodespan_vip_lease_valid_seconds{ip="192.0.2.1",link="eth0"} 4.0',
        'nodespan_vip_trouble{ip="192.0.2.1",link="eth0"} 0.0',
    ]
    tally.lease = None
    assert await _lines(_metrics(state, tmp_path), ["nodespan_vip_lease"]) == []


async def test_probes_are_named_without_what_may_be_a_token(tmp_path: Path) -> None:
    state = await _state(
        ProbeStatus.new("tcp:192.0.2.1:22", ProbeStatusSpec(success=True)),
        ProbeStatus.new("http:https://example.org/a?token=x", ProbeStatusSpec(success=True)),
        ProbeStatus.new("http:https://example.org/a?token=y", ProbeStatusSpec(success=False)),
    )
    assert await _lines(_metrics(state, tmp_path), ["nodespan_probe"]) == [
        'nodespan_probe_success{probe="http:https://example.org/a"} 0.0',
        'nodespan_probe_success{probe="tcp:192.0.2.1:22"} 1.0',
    ]


async def test_relays_are_counted_by_who_is_reached_over_them(tmp_path: Path) -> None:
    near = KubeSpanRelayStatusSpec(state=RelayState.CONNECTED, round_trip=datetime.timedelta(milliseconds=20))
    state = await _state(
        KubeSpanPeerStatus.new("a=", KubeSpanPeerStatusSpec(relay="near:3000")),
        KubeSpanPeerStatus.new("b=", KubeSpanPeerStatusSpec(relay="near:3000")),
        KubeSpanPeerStatus.new("c=", KubeSpanPeerStatusSpec()),
        KubeSpanRelayStatus.new("near:3000", near),
        KubeSpanRelayStatus.new("far:3000", KubeSpanRelayStatusSpec()),
    )
    assert await _lines(_metrics(state, tmp_path), ["nodespan_kubespan_relay"]) == [
        'nodespan_kubespan_relayed_peers{relay="near:3000"} 2.0',
        'nodespan_kubespan_relay_connected{relay="far:3000"} 0.0',
        'nodespan_kubespan_relay_connected{relay="near:3000"} 1.0',
        'nodespan_kubespan_relay_round_trip_seconds{relay="near:3000"} 0.02',
    ]


async def test_a_virtual_ip_is_handed_over_when_another_node_is_elected() -> None:
    tally = Tally()
    for leader in ("", "edge-1", "", "edge-1", "edge-2", "edge-2", "", "edge-3"):
        tally.elected(leader)
    assert tally.handovers == 2


async def test_losses_of_notifications_are_counted_by_kind(tmp_path: Path) -> None:
    counts_of("links").dumps += 2
    counts_of("routes").overruns += 1
    assert await _lines(_metrics(await _state(), tmp_path), ["nodespan_netlink"]) == [
        'nodespan_netlink_resyncs_total{kind="links"} 2.0',
        'nodespan_netlink_resyncs_total{kind="routes"} 0.0',
        'nodespan_netlink_overruns_total{kind="links"} 0.0',
        'nodespan_netlink_overruns_total{kind="routes"} 1.0',
    ]


async def test_the_configuration_is_described(tmp_path: Path) -> None:
    since = datetime.datetime.fromtimestamp(1_700_000_000, datetime.UTC)
    spec = ConfigStatusSpec(files=("a",), digest="0123456789abcdef", since=since, trial_until=since, error="a:1:2: x")
    state = await _state(ConfigStatus.new(CONFIG_STATUS_ID, spec))
    assert await _lines(_metrics(state, tmp_path), ["nodespan_config_"]) == [
        'nodespan_config_info{digest="0123456789ab"} 1.0',
        "nodespan_config_error 1.0",
        "nodespan_config_trial 1.0",
        "nodespan_config_changed_timestamp_seconds 1700000000.0",
    ]
    empty = await _state(ConfigStatus.new(CONFIG_STATUS_ID, ConfigStatusSpec()))
    assert await _lines(_metrics(empty, tmp_path), ["nodespan_config_"]) == [
        "nodespan_config_error 0.0",
        "nodespan_config_trial 0.0",
        "nodespan_config_changed_timestamp_seconds 0.0",
    ]


async def test_every_metric_is_declared_with_its_labels_and_once(tmp_path: Path) -> None:
    """What is collected is what docs/metrics.md, the dashboard and the alerts know."""
    settings = Settings(state_dir=tmp_path)
    load_installed(settings, structlog.get_logger())
    declared = {metric.name: metric for source in settings.metrics for metric in source.metrics}
    declared |= {metric.name: metric for metric in (*METRICS, *process.METRICS)}
    state = await _state()
    engine = EngineMetrics(Engine(state), state, sources=settings.metrics, lag=LoopLag())
    collected = [family.metric for family in engine.collect()]
    assert len({metric.name for metric in collected}) == len(collected)
    assert [metric.name for metric in collected if declared.get(metric.name) != metric] == []
    for family in engine.collect():
        for sample in family.samples:
            assert tuple(name for name, _ in sample.labels if name != "le") == family.metric.labels


async def test_discovery_is_counted(tmp_path: Path) -> None:
    failed = DiscoveryServiceStatusSpec(
        endpoint="a:443", state=ServiceState.FAILED, stage="tls", affiliates=3, unreadable=1
    )
    state = await _state(
        DiscoveryServiceStatus.new("one", failed),
        DiscoveryServiceStatus.new("two", DiscoveryServiceStatusSpec(endpoint="b:443", state=ServiceState.CONNECTED)),
        Member.new("web", MemberSpec()),
    )
    assert await _lines(_metrics(state, tmp_path), ["nodespan_discovery", "nodespan_cluster"]) == [
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
    lines = await _lines(_metrics(await _state(), tmp_path), ["nodespan_build_info", "process_"])
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
    page = await metrics.respond("/readyz")
    assert page.status == status
    assert page.body.decode() == (body or "network: connectivity is not ready\n")
    healthy = await metrics.respond("/healthz")
    assert (healthy.status, healthy.body) == (200, b"ok\n")
    assert (await metrics.respond("/")).status == 404


@pytest.mark.virtual_clock
async def test_a_node_with_a_failing_controller_is_not_ready(tmp_path: Path) -> None:
    async def fails(_ctx: ControllerContext) -> None:
        raise ValueError("no")

    state = await _state(NetworkStatus.new(NETWORK_STATUS_ID, _READY))
    async with running(Routine("failing", fails), state=state, allow_crashes=True) as node:
        await node.settled()
        page = await _metrics(state, tmp_path, node.engine).respond("/readyz")
    assert (page.status, page.body) == (503, b"controller failing: ValueError: no\n")
