"""The dashboard for Grafana: a table of panels, and how they become the JSON that Grafana imports.

Panels stand from left to right in the order of the table, four, three, two or one in a line, by their width.
"""

from collections.abc import Iterator
from typing import Any, Final

import attrs

from nodespan.controllers.overview.monitoring.alerts import AGENT_JOB, DISCOVERY_JOB

# Grafana's own: of its JSON model, and how wide a line is.
_SCHEMA: Final = 38
_COLUMNS: Final = 24
_HEIGHT: Final = {"stat": 4}
_SOURCE: Final = {"type": "prometheus", "uid": "${source}"}
# Which series: those of the nodes, and of the discovery services, that are chosen above the panels.
_NODES: Final = 'job=~"$job",instance=~"$node"'
_SERVICES: Final = 'job=~"$discovery"'
_RATE: Final = "[$__rate_interval]"


@attrs.frozen(kw_only=True)
class Panel:
    """`queries` are expressions with what their series are called. `unit` is one of Grafana's, `steps` its thresholds.

    `width` is in columns, of which there are 24. The text says what an operator sees, and what is good.
    """

    title: str
    text: str
    queries: tuple[tuple[str, str], ...]
    kind: str = "timeseries"
    unit: str = "short"
    width: int = 8
    steps: tuple[tuple[float, str], ...] = ()
    stacks: bool = False


def _count(title: str, text: str, query: str, *, bad: float | None = 1, good: float | None = None) -> Panel:
    """A number at the top: red from `bad` on, or below `good`."""
    steps = ((0.0, "green"), (bad, "red")) if bad is not None else ((0.0, "red"), (good or 0.0, "green"))
    return Panel(title=title, text=text, queries=((query, ""),), kind="stat", width=4, steps=steps)


ROWS: Final[dict[str, tuple[Panel, ...]]] = {
    "At a glance": (
        _count(
            "Agents",
            "Agents that answer.",
            f"sum(up{{{_NODES}}})",
            bad=None,
            good=1,
        ),
        _count("Agents down", "Agents that do not answer.", f"count(up{{{_NODES}}} == 0) or vector(0)"),
        _count(
            "Peers down",
            "Nodes that some other node does not reach.",
            f"count(count by (peer) (nodespan_kubespan_peer_up{{{_NODES}}} == 0)) or vector(0)",
        ),
        _count(
            "Virtual IPs without a holder",
            "Each virtual IP has exactly one holder, except while it moves.",
            f'count(sum by (ip) (nodespan_vip_state{{{_NODES},state="leader"}}) == 0) or vector(0)',
        ),
        _count(
            "Discovery lost",
            "Nodes that do not reach a discovery service: they go on with the nodes that they know.",
            f"count(nodespan_discovery_connected{{{_NODES}}} == 0) or vector(0)",
        ),
        _count(
            "Problems",
            "What could not be applied: `nodespan status` on the node says what to do.",
            f'sum(nodespan_network_problems{{{_NODES},severity="error"}}) or vector(0)',
        ),
    ),
    "Mesh": (
        Panel(
            title="Peers by state",
            text="Summed over the nodes: in a mesh of N nodes N times N - 1 are up.",
            queries=((f"sum by (state) (nodespan_kubespan_peers{{{_NODES}}})", "{{state}}"),),
            stacks=True,
        ),
        Panel(
            title="Peers that are not reached",
            text="By peer: how many nodes do not reach it. By as many as there are nodes: that machine is down.",
            queries=((f"count by (peer) (nodespan_kubespan_peer_up{{{_NODES}}} == 0)", "{{peer}}"),),
        ),
        Panel(
            title="Age of the last handshake",
            text="The ten oldest. A tunnel in use has one every two minutes; above 275 s a peer does not answer.",
            queries=(
                (
                    f"topk(10, time() - (nodespan_kubespan_peer_last_handshake_timestamp_seconds{{{_NODES}}} > 0))",
                    "{{instance}} → {{peer}}",
                ),
            ),
            unit="s",
            steps=((0.0, "green"), (275.0, "red")),
        ),
        Panel(
            title="Peers over a relay",
            text="By node. They have a longer way than those that are reached directly.",
            queries=((f"sum by (instance) (nodespan_kubespan_relayed_peers{{{_NODES}}})", "{{instance}}"),),
        ),
        Panel(
            title="Relays in use",
            text="How many nodes have an address at each relay.",
            queries=((f"sum by (relay) (nodespan_kubespan_relay_connected{{{_NODES}}})", "{{relay}}"),),
        ),
        Panel(
            title="Round trip to relays",
            text="The shortest that a node has measured.",
            queries=((f"min by (relay) (nodespan_kubespan_relay_round_trip_seconds{{{_NODES}}})", "{{relay}}"),),
            unit="s",
        ),
        Panel(
            title="Traffic through the mesh",
            text="By node: what it receives above the line, what it sends below.",
            queries=(
                (
                    f"sum by (instance) (rate(nodespan_kubespan_peer_receive_bytes_total{{{_NODES}}}{_RATE}))",
                    "{{instance}} receives",
                ),
                (
                    f"-sum by (instance) (rate(nodespan_kubespan_peer_transmit_bytes_total{{{_NODES}}}{_RATE}))",
                    "{{instance}} sends",
                ),
            ),
            unit="Bps",
            width=12,
        ),
        Panel(
            title="Endpoints that changed",
            text="By node: peers whose endpoint changed in the last ten minutes. Always some: they cannot be reached.",
            queries=(
                (
                    (
                        "count by (instance) (time() - "
                        f"nodespan_kubespan_peer_last_endpoint_change_timestamp_seconds{{{_NODES}}} < 600)"
                    ),
                    "{{instance}}",
                ),
            ),
            width=12,
        ),
    ),
    "Virtual IPs": (
        Panel(
            title="Holders",
            text="Which node is elected for each virtual IP, as the nodes know it.",
            queries=((f"max by (ip, owner) (nodespan_vip_owner_info{{{_NODES}}})", "{{ip}} {{owner}}"),),
            kind="state-timeline",
            width=24,
        ),
        Panel(
            title="Hand-overs in an hour",
            text="How often each virtual IP moved. `nodespan events -k vip` says why.",
            queries=((f"max by (ip) (increase(nodespan_vip_handovers_total{{{_NODES}}}[1h]))", "{{ip}}"),),
        ),
        Panel(
            title="Margin of leases",
            text="How long the lease of each candidate still holds; at 0 the address is given up.",
            queries=(
                (f"min by (instance, ip) (nodespan_vip_lease_margin_seconds{{{_NODES}}})", "{{instance}} {{ip}}"),
                (f"max by (ip) (nodespan_vip_lease_valid_seconds{{{_NODES}}})", "{{ip}}: renewed"),
            ),
            unit="s",
        ),
        Panel(
            title="Trouble with elections",
            text="1 while a node cannot follow an election: `nodespan doctor --only etcd`.",
            queries=((f"nodespan_vip_trouble{{{_NODES}}} == 1", "{{instance}} {{ip}}"),),
        ),
    ),
    "Discovery": (
        Panel(
            title="Discovery services in use",
            text="How many nodes use each service.",
            queries=((f"sum by (endpoint) (nodespan_discovery_connected{{{_NODES}}})", "{{endpoint}}"),),
        ),
        Panel(
            title="What keeps nodes from a service",
            text="How many nodes fail at each step.",
            queries=(
                (f"sum by (endpoint, stage) (nodespan_discovery_failure{{{_NODES}}})", "{{endpoint}}: {{stage}}"),
            ),
        ),
        Panel(
            title="Members, affiliates, rejected records",
            text="The lowest and highest numbers of the nodes: they agree after some seconds. Rejected ones have "
            "another secret.",
            queries=(
                (f"min(nodespan_cluster_members{{{_NODES}}})", "members, least"),
                (f"max(nodespan_cluster_members{{{_NODES}}})", "members, most"),
                (f"max(nodespan_discovery_affiliates{{{_NODES}}})", "affiliates, most"),
                (f"max(nodespan_discovery_unreadable{{{_NODES}}})", "rejected, most"),
            ),
        ),
    ),
    "Network and configuration": (
        Panel(
            title="Problems",
            text="By node and severity.",
            queries=(
                (
                    f"sum by (instance, severity) (nodespan_network_problems{{{_NODES}}}) > 0",
                    "{{instance}} {{severity}}",
                ),
            ),
        ),
        Panel(
            title="Parts that are not ready",
            text="By part: how many nodes.",
            queries=((f"count by (part) (nodespan_network_ready{{{_NODES}}} == 0)", "{{part}}"),),
        ),
        Panel(
            title="Probes that fail, DHCP clients without a lease",
            text="By node: probes of the configuration, and clients by their link.",
            queries=(
                (f"nodespan_probe_success{{{_NODES}}} == 0", "{{instance}} {{probe}}"),
                (f"nodespan_dhcp_lease_bound{{{_NODES}}} == 0", "{{instance}} {{link}} {{client}}"),
            ),
        ),
        Panel(
            title="Configurations",
            text="How many nodes have each configuration in effect.",
            queries=((f"count by (digest) (nodespan_config_info{{{_NODES}}})", "{{digest}}"),),
            stacks=True,
        ),
        Panel(
            title="Configurations that are not permanent",
            text="Files with a mistake, which are not used, and configurations on trial.",
            queries=(
                (f"nodespan_config_error{{{_NODES}}} == 1", "{{instance}}: mistake"),
                (f"nodespan_config_trial{{{_NODES}}} == 1", "{{instance}}: trial"),
            ),
        ),
        Panel(
            title="The kernel's notifications",
            text="How often all objects of a kind were read again in a minute (one is normal), and how often "
            "notifications were lost.",
            queries=(
                (
                    f"60 * max by (kind) (rate(nodespan_netlink_resyncs_total{{{_NODES}}}{_RATE}))",
                    "{{kind}} read again",
                ),
                (f"60 * max by (kind) (rate(nodespan_netlink_overruns_total{{{_NODES}}}{_RATE}))", "{{kind}} lost"),
            ),
        ),
    ),
    "Agents": (
        Panel(
            title="Lag of the event loop",
            text="99 of 100 rounds are shorter than this. Above 0.1 s everything is late.",
            queries=(
                (
                    (
                        "histogram_quantile(0.99, sum by (instance, le) "
                        f"(rate(nodespan_loop_lag_seconds_bucket{{{_NODES}}}{_RATE})))"
                    ),
                    "{{instance}}",
                ),
            ),
            unit="s",
        ),
        Panel(
            title="Failures of controllers",
            text="In ten minutes. None is normal.",
            queries=(
                (
                    f"increase(nodespan_controller_crashes_total{{{_NODES}}}[10m]) > 0",
                    "{{instance}} {{controller}}",
                ),
            ),
        ),
        Panel(
            title="Busiest controllers",
            text="Turns and jobs a second: the ten with the most.",
            queries=(
                (
                    f"topk(10, sum by (controller) (rate(nodespan_controller_wakeups_total{{{_NODES}}}{_RATE})))",
                    "{{controller}}",
                ),
            ),
        ),
        Panel(
            title="Memory",
            text="Of each agent.",
            queries=((f"process_resident_memory_bytes{{{_NODES}}}", "{{instance}}"),),
            unit="bytes",
        ),
        Panel(
            title="Processor time",
            text="Of each agent, as a part of one processor.",
            queries=((f"rate(process_cpu_seconds_total{{{_NODES}}}{_RATE})", "{{instance}}"),),
            unit="percentunit",
        ),
        Panel(
            title="Versions",
            text="How many nodes run each version.",
            queries=((f"count by (version) (nodespan_build_info{{{_NODES}}})", "{{version}}"),),
            stacks=True,
        ),
    ),
    "Discovery services and relays": (
        Panel(
            title="Clusters, affiliates, watches",
            text="What the services know, and how many nodes listen.",
            queries=(
                (f"sum(discovery_state_clusters{{{_SERVICES}}})", "clusters"),
                (f"sum(discovery_state_affiliates{{{_SERVICES}}})", "affiliates"),
                (f"sum(discovery_state_subscriptions{{{_SERVICES}}})", "watches"),
            ),
        ),
        Panel(
            title="Calls",
            text="By method, a second.",
            queries=(
                (f"sum by (grpc_method) (rate(grpc_server_handled_total{{{_SERVICES}}}{_RATE}))", "{{grpc_method}}"),
            ),
            unit="reqps",
        ),
        Panel(
            title="Calls that fail",
            text="By method and code, a second.",
            queries=(
                (
                    (
                        "sum by (grpc_method, grpc_code) "
                        f'(rate(grpc_server_handled_total{{{_SERVICES},grpc_code!="OK"}}{_RATE})) > 0'
                    ),
                    "{{grpc_method}} {{grpc_code}}",
                ),
            ),
            unit="reqps",
        ),
        Panel(
            title="Duration of calls",
            text="99 of 100 calls that are not streams are answered within this.",
            queries=(
                (
                    (
                        "histogram_quantile(0.99, sum by (grpc_method, le) "
                        f'(rate(grpc_server_handling_seconds_bucket{{{_SERVICES},grpc_type="unary"}}{_RATE})))'
                    ),
                    "{{grpc_method}}",
                ),
            ),
            unit="s",
        ),
        Panel(
            title="Connections",
            text="Open ones, and how many there may be.",
            queries=(
                (f"sum by (instance) (discovery_server_connections{{{_SERVICES}}})", "{{instance}}"),
                (f"sum by (instance) (discovery_server_connections_limit{{{_SERVICES}}})", "{{instance}}: limit"),
            ),
        ),
        Panel(
            title="Turned away",
            text="Connections and requests beyond a limit, a second.",
            queries=(
                (f"sum by (reason) (rate(discovery_server_turned_away_total{{{_SERVICES}}}{_RATE}))", "{{reason}}"),
            ),
            unit="reqps",
        ),
        Panel(
            title="Nodes at relays",
            text="Nodes that have an address there, and how many there may be.",
            queries=(
                (f"sum by (instance) (relay_clients{{{_SERVICES}}})", "{{instance}}"),
                (f"sum by (instance) (relay_clients_limit{{{_SERVICES}}})", "{{instance}}: limit"),
            ),
        ),
        Panel(
            title="Carried by relays",
            text="Bytes a second: from the world (in), to the world (out), between nodes (across).",
            queries=((f"sum by (way) (rate(relay_bytes_total{{{_SERVICES}}}{_RATE}))", "{{way}}"),),
            unit="Bps",
        ),
        Panel(
            title="Not carried by relays",
            text="Packets a second, and nodes that were refused, by reason.",
            queries=(
                (f"sum by (reason) (rate(relay_dropped_total{{{_SERVICES}}}{_RATE}))", "packets: {{reason}}"),
                (f"sum by (reason) (rate(relay_refused_total{{{_SERVICES}}}{_RATE}))", "nodes: {{reason}}"),
            ),
        ),
    ),
}


def dashboard() -> dict[str, Any]:
    """The JSON model of the dashboard."""
    return {
        "uid": "nodespan",
        "title": "nodespan",
        "description": "The mesh, virtual IPs, discovery, and the agents. Made by `nodespan gen dashboard`.",
        "tags": ["nodespan"],
        "schemaVersion": _SCHEMA,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": list(_variables())},
        "annotations": {"list": [_handovers()]},
        "panels": list(_panels()),
    }


def _variables() -> Iterator[dict[str, Any]]:
    yield {"name": "source", "label": "Data source", "type": "datasource", "query": "prometheus"}
    for name, label, query, value in (
        ("job", "Job", "label_values(nodespan_build_info, job)", AGENT_JOB),
        ("node", "Node", 'label_values(nodespan_build_info{job=~"$job"}, instance)', "$__all"),
        ("discovery", "Discovery services", "label_values(discovery_build_info, job)", DISCOVERY_JOB),
    ):
        yield {
            "name": name,
            "label": label,
            "type": "query",
            "datasource": _SOURCE,
            "query": query,
            "refresh": 2,
            "multi": True,
            "includeAll": True,
            "allValue": ".*",
            "current": {"text": "All" if value == "$__all" else value, "value": value},
        }


def _handovers() -> dict[str, Any]:
    """A line in all panels where a virtual IP moves."""
    return {
        "name": "Virtual IPs that move",
        "datasource": _SOURCE,
        "enable": True,
        "iconColor": "orange",
        "expr": f"max by (ip) (changes(nodespan_vip_handovers_total{{{_NODES}}}[1m])) > 0",
    }


def _panels() -> Iterator[dict[str, Any]]:
    id, y = 0, 0
    for title, panels in ROWS.items():
        id += 1
        position = {"h": 1, "w": _COLUMNS, "x": 0, "y": y}
        yield {"id": id, "type": "row", "title": title, "collapsed": False, "panels": [], "gridPos": position}
        y, x, height = y + 1, 0, 0
        for panel in panels:
            if x + panel.width > _COLUMNS:
                y, x, height = y + height, 0, 0
            id += 1
            size = {"h": _HEIGHT.get(panel.kind, 8), "w": panel.width}
            yield _panel(id, panel, {**size, "x": x, "y": y})
            x, height = x + panel.width, max(height, size["h"])
        y += height


def _panel(id: int, panel: Panel, position: dict[str, int]) -> dict[str, Any]:
    defaults: dict[str, Any] = {"unit": panel.unit}
    if panel.steps:
        steps = [
            {"color": color, "value": None if number == 0 else value}
            for number, (value, color) in enumerate(panel.steps)
        ]
        defaults["thresholds"] = {"mode": "absolute", "steps": steps}
    if panel.stacks:
        defaults["custom"] = {"stacking": {"mode": "normal", "group": "A"}, "fillOpacity": 20}
    return {
        "id": id,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.text,
        "datasource": _SOURCE,
        "gridPos": position,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + number), "datasource": _SOURCE, "expr": expression, "legendFormat": legend}
            for number, (expression, legend) in enumerate(panel.queries)
        ],
    }
