"""The alert rules, for Prometheus. Each says what is so and what to do about it."""

from typing import Any, Final

import attrs

AGENT_JOB: Final = "nodespan"
DISCOVERY_JOB: Final = "nodespan-discovery"
CRITICAL: Final = "critical"
WARNING: Final = "warning"


@attrs.frozen(kw_only=True)
class Alert:
    """An alert rule. `lasts` is for how long the expression must hold, as Prometheus writes durations.

    `summary` and `remedy` may use labels of the expression, as `{{ $labels.instance }}`, and its `{{ $value }}`.
    """

    name: str
    expression: str
    lasts: str
    severity: str
    summary: str
    remedy: str


AGENT: Final = (
    Alert(
        name="NodespanAgentDown",
        expression=f'up{{job="{AGENT_JOB}"}} == 0',
        lasts="2m",
        severity=CRITICAL,
        summary="The agent of {{ $labels.instance }} does not answer.",
        remedy="On the node: systemctl status nodespan; nodespan logs. What it has configured stays.",
    ),
    Alert(
        name="NodespanControllerFailing",
        expression="increase(nodespan_controller_crashes_total[10m]) > 3",
        lasts="5m",
        severity=WARNING,
        summary="{{ $labels.controller }} on {{ $labels.instance }} fails again and again.",
        remedy="nodespan get controllers has the error, nodespan logs the traceback; nodespan support, and report it.",
    ),
    Alert(
        name="NodespanLoopBlocked",
        expression="increase(nodespan_loop_lag_seconds_count[10m])"
        ' - ignoring (le) increase(nodespan_loop_lag_seconds_bucket{le="0.5"}[10m]) > 5',
        lasts="5m",
        severity=WARNING,
        summary="The agent of {{ $labels.instance }} was blocked for more than half a second several times.",
        remedy="nodespan get controllers names the controller; if none, the machine has too little processor time.",
    ),
    Alert(
        name="NodespanPeerDown",
        expression="count by (peer, public_key) (nodespan_kubespan_peer_up == 0) > 0",
        lasts="5m",
        severity=WARNING,
        summary="{{ $value }} nodes do not reach the peer {{ $labels.peer }}.",
        remedy="If none does: is it up? nodespan doctor there. If some do: nodespan events -k peer on the others.",
    ),
    Alert(
        name="NodespanMeshIsolated",
        expression='sum without (state) (nodespan_kubespan_peers{state="up"}) == 0'
        " and sum without (state) (nodespan_kubespan_peers) > 0",
        lasts="5m",
        severity=CRITICAL,
        summary="{{ $labels.instance }} reaches none of its peers.",
        remedy="nodespan doctor on the node: the port of the mesh, the firewall, the clock.",
    ),
    Alert(
        name="NodespanVIPWithoutHolder",
        expression='sum by (ip) (nodespan_vip_state{state="leader"}) == 0',
        lasts="1m",
        severity=CRITICAL,
        summary="No node holds the virtual IP {{ $labels.ip }}.",
        remedy="nodespan get vips on each of its nodes has the reason; nodespan doctor --only etcd.",
    ),
    Alert(
        name="NodespanVIPHeldTwice",
        expression='sum by (ip) (nodespan_vip_state{state="leader"}) > 1',
        lasts="1m",
        severity=CRITICAL,
        summary="{{ $value }} nodes hold the virtual IP {{ $labels.ip }}.",
        remedy="They do not use the same etcd, or one etcd was restored: compare their configurations.",
    ),
    Alert(
        name="NodespanVIPMoves",
        expression="max by (ip) (increase(nodespan_vip_handovers_total[30m])) > 3",
        lasts="1m",
        severity=WARNING,
        summary="The virtual IP {{ $labels.ip }} moves from node to node.",
        remedy="nodespan events -k vip says why each node gave it up: a condition, or a late lease.",
    ),
    Alert(
        name="NodespanVIPLeaseShort",
        expression="min_over_time(nodespan_vip_lease_margin_seconds[10m]) < 0.5 * nodespan_vip_lease_valid_seconds",
        lasts="5m",
        severity=WARNING,
        summary="The lease of {{ $labels.ip }} on {{ $labels.instance }} is renewed late.",
        remedy="etcd answers slowly: look at its disk and at the network, or choose a longer vip.leaseTTL.",
    ),
    Alert(
        name="NodespanVIPTrouble",
        expression="nodespan_vip_trouble == 1",
        lasts="2m",
        severity=WARNING,
        summary="{{ $labels.instance }} has trouble with the election of {{ $labels.ip }}.",
        remedy="nodespan get vips -o yaml says what; nodespan doctor --only etcd how far the way there goes.",
    ),
    Alert(
        name="NodespanDiscoveryDisconnected",
        expression="nodespan_discovery_connected == 0",
        lasts="10m",
        severity=WARNING,
        summary="{{ $labels.instance }} does not reach the discovery service {{ $labels.endpoint }}.",
        remedy="The mesh goes on with the nodes that are known. nodespan doctor --only discovery.",
    ),
    Alert(
        name="NodespanDiscoveryUnreadable",
        expression="nodespan_discovery_unreadable > 0",
        lasts="10m",
        severity=WARNING,
        summary="{{ $labels.instance }} cannot read {{ $value }} records of other nodes.",
        remedy="A node has another cluster.secret, or someone else writes into this cluster's id.",
    ),
    Alert(
        name="NodespanConfigRejected",
        expression="nodespan_config_error == 1",
        lasts="5m",
        severity=WARNING,
        summary="The configuration of {{ $labels.instance }} has a mistake, and is not used.",
        remedy="nodespan validate FILE has the line. The configuration before it stays in effect.",
    ),
    Alert(
        name="NodespanNetworkProblems",
        expression='nodespan_network_problems{severity="error"} > 0',
        lasts="10m",
        severity=WARNING,
        summary="{{ $value }} settings of the network of {{ $labels.instance }} cannot be applied.",
        remedy="nodespan status: each says what to do.",
    ),
    Alert(
        name="NodespanDHCPWithoutLease",
        expression='nodespan_dhcp_lease_bound{client="dhcp4"} == 0',
        lasts="10m",
        severity=WARNING,
        summary="{{ $labels.link }} of {{ $labels.instance }} gets no lease by DHCP.",
        remedy="nodespan get dhcpleases has the state of the client; is there a server on that network?",
    ),
    Alert(
        name="NodespanProbeFails",
        expression="nodespan_probe_success == 0",
        lasts="5m",
        severity=WARNING,
        summary="The probe {{ $labels.probe }} of {{ $labels.instance }} fails.",
        remedy="nodespan get probestatuses has the error.",
    ),
    Alert(
        name="NodespanNetlinkOverruns",
        expression="increase(nodespan_netlink_overruns_total[15m]) > 3",
        lasts="15m",
        severity=WARNING,
        summary="The agent of {{ $labels.instance }} does not keep up with changes of {{ $labels.kind }}.",
        remedy="Nothing is lost. Another program changes thousands, or the agent gets too little processor time.",
    ),
    Alert(
        name="NodespanFilesShort",
        expression="process_open_fds / process_max_fds > 0.8"
        ' and on (instance, job) {__name__=~"nodespan_build_info|discovery_build_info"}',
        lasts="5m",
        severity=WARNING,
        summary="{{ $labels.instance }} has nearly as many files open as it may have.",
        remedy="Raise LimitNOFILE of the unit: systemctl edit.",
    ),
    Alert(
        name="NodespanMetricsIncomplete",
        expression="nodespan_metrics_left_out_series > 0",
        lasts="15m",
        severity=WARNING,
        summary="{{ $labels.instance }} leaves series of {{ $labels.metric }} out: there are too many.",
        remedy="Sums over this metric are too small.",
    ),
)
DISCOVERY: Final = (
    Alert(
        name="NodespanDiscoveryServiceDown",
        expression=f'up{{job="{DISCOVERY_JOB}"}} == 0',
        lasts="2m",
        severity=CRITICAL,
        summary="The discovery service {{ $labels.instance }} does not answer.",
        remedy="Meshes go on with the nodes that are known. On the machine: systemctl status nodespan-discovery.",
    ),
    Alert(
        name="NodespanDiscoveryServiceFull",
        expression="discovery_server_connections / discovery_server_connections_limit > 0.9",
        lasts="5m",
        severity=WARNING,
        summary="The discovery service {{ $labels.instance }} has nearly as many connections as it may have.",
        remedy="Raise LimitNOFILE of the unit: systemctl edit nodespan-discovery.",
    ),
    Alert(
        name="NodespanDiscoveryTurnsAway",
        expression="sum without (process) (increase(discovery_server_turned_away_total[10m])) > 10",
        lasts="10m",
        severity=WARNING,
        summary="The discovery service {{ $labels.instance }} turns clients away: {{ $labels.reason }}.",
        remedy="Many nodes behind one address need --trust; otherwise someone tries it out.",
    ),
    Alert(
        name="NodespanDiscoverySnapshotFails",
        expression='sum without (process) (increase(discovery_storage_operations_total{status="error"}[30m])) > 0',
        lasts="1m",
        severity=WARNING,
        summary="The discovery service {{ $labels.instance }} cannot {{ $labels.operation }} its snapshot.",
        remedy="Is the disk full, or the file damaged? The log has the reason.",
    ),
    Alert(
        name="NodespanDiscoveryErrors",
        expression="sum without (process, grpc_code)"
        ' (increase(grpc_server_handled_total{grpc_code=~"Internal|Unknown|DataLoss|Unavailable"}[10m])) > 5',
        lasts="5m",
        severity=WARNING,
        summary="Calls of {{ $labels.grpc_method }} fail at the discovery service {{ $labels.instance }}.",
        remedy="The log has the reason. With records at etcd: does it answer?",
    ),
    Alert(
        name="NodespanRelayFull",
        expression="relay_clients / relay_clients_limit > 0.9 or relay_ports_free < 10",
        lasts="5m",
        severity=WARNING,
        summary="The relay {{ $labels.instance }} has room for few more nodes.",
        remedy="Give it more ports and a higher limit, or run another one beside it.",
    ),
)


def rules() -> dict[str, Any]:
    """The file of rules, as plain data."""
    return {"groups": [_group("nodespan", AGENT), _group("nodespan-discovery", DISCOVERY)]}


def _group(name: str, alerts: tuple[Alert, ...]) -> dict[str, Any]:
    return {
        "name": name,
        "rules": [
            {
                "alert": alert.name,
                "expr": alert.expression,
                "for": alert.lasts,
                "labels": {"severity": alert.severity},
                "annotations": {
                    "summary": alert.summary,
                    "description": alert.remedy,
                },
            }
            for alert in alerts
        ],
    }
