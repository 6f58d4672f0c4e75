"""The alert rules and the dashboard: every query is PromQL over metrics that exist, every alert fires and resolves."""

import enum
import inspect
import json
import re
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import structlog
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard
from ruamel.yaml import YAML

from nodespan.controllers.overview.monitoring.alerts import AGENT, CRITICAL, DISCOVERY, WARNING, rules
from nodespan.controllers.overview.monitoring.dashboard import dashboard
from nodespan.discovery.service import metrics as discovery
from nodespan.discovery.service import relaying
from nodespan.runtime.api.exposition import render
from nodespan.runtime.api.metrics import METRICS
from nodespan.runtime.cli import main
from nodespan.runtime.codec.yamltext import dump
from nodespan.runtime.metrics import Family, Kind, Metric, Sample, process
from nodespan.runtime.plugins import Settings, load_installed
from tests.docs import metrics_page
from tests.support.prometheus import promtool

OF_SERVICES = (*discovery.METRICS, *relaying.METRICS)
ALERTS = {alert.name: alert for alert in (*AGENT, *DISCOVERY)}
_WORD = re.compile(r"\b(?:nodespan|discovery|grpc_server|process|relay)_\w+")
_QUOTED = re.compile(r'"[^"]*"')
_BY = re.compile(r"\b(?:by|without|on|ignoring) \(([^)]*)\)")
# Labels that Prometheus adds to what it scrapes.
_OF_PROMETHEUS = {"instance", "job", "le"}


@pytest.fixture(scope="module")
def declared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Metric]:
    """All metrics by the names in queries."""
    settings = Settings(state_dir=tmp_path_factory.mktemp("state"))
    load_installed(settings, structlog.get_logger())
    metrics = [metric for source in settings.metrics for metric in source.metrics]
    return {metric.name: metric for metric in (*metrics, *METRICS, *process.METRICS, *OF_SERVICES)}


def _of_dashboard() -> Iterator[tuple[str, str]]:
    """The queries of the dashboard, with the titles of their panels."""
    model = dashboard()
    for panel in model["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]
    for annotation in model["annotations"]["list"]:
        yield annotation["name"], annotation["expr"]
    for variable in model["templating"]["list"]:
        if found := re.fullmatch(r"label_values\((.*), \w+\)", variable["query"]):
            yield variable["name"], found[1]


def _queries() -> list[tuple[str, str]]:
    return [*((alert.name, alert.expression) for alert in ALERTS.values()), *_of_dashboard()]


@pytest.mark.parametrize(("where", "query"), _queries())
def test_a_query_names_metrics_and_labels_that_exist(where: str, query: str, declared: dict[str, Metric]) -> None:
    bare = _QUOTED.sub('""', query)
    names = set(_WORD.findall(bare))
    found = {name: declared.get(re.sub("_(bucket|count|sum)$", "", name)) or declared.get(name) for name in names}
    assert [name for name, metric in found.items() if metric is None] == [], where
    labels = {label for metric in found.values() if metric for label in metric.labels} | _OF_PROMETHEUS | {"process"}
    asked = set(re.findall(r'(\w+)(?:=~|!~|!=|=)""', bare)) | {
        label.strip() for group in _BY.findall(bare) for label in group.split(",")
    }
    assert asked <= labels | {"__name__"}, where
    for name, metric in found.items():
        if metric is not None and metric.kind is Kind.COUNTER:
            assert re.search(rf"(rate|increase|changes)\({name}\b", bare), f"{where}: {name} is a counter"


@pytest.mark.process
def test_every_query_is_promql(tmp_path: Path) -> None:
    records = [
        {"record": f"panel:number:{number}", "expr": _without_variables(query)}
        for number, (_, query) in enumerate(_of_dashboard())
    ]
    (tmp_path / "dashboard.json").write_text(json.dumps({"groups": [{"name": "dashboard", "rules": records}]}))
    (tmp_path / "alerts.yaml").write_text(dump(rules()))
    output = promtool("check", "rules", "--lint-fatal", "alerts.yaml", "dashboard.json", cwd=tmp_path)
    assert f"{len(ALERTS)} rules found" in output
    assert f"{len(records)} rules found" in output


def _without_variables(query: str) -> str:
    return (
        query.replace("$__rate_interval", "5m").replace("$job", ".*").replace("$node", ".*").replace("$discovery", ".*")
    )


@pytest.mark.process
@pytest.mark.parametrize("of", ["agent", "discovery"])
def test_names_are_by_the_conventions_of_prometheus(of: str, declared: dict[str, Metric]) -> None:
    is_agents = of == "agent"
    metrics = [metric for metric in declared.values() if (metric not in OF_SERVICES) == is_agents]
    assert len(metrics) > 20
    assert promtool("check", "metrics", text=render(map(_example, metrics))) == ""


def _example(metric: Metric) -> Family:
    labels = tuple((name, "x") for name in metric.labels)
    if metric.kind is Kind.HISTOGRAM:
        return metric.histogram((1.0,), (1, 1), 1, labels)
    return Family(metric, (Sample(1, labels),))


# The alerts, in time: a minute is a step, and what fires is over at the end.


@attrs.frozen(kw_only=True)
class Case:
    """Series, by their values from minute to minute, of which an alert fires at minute `at` and has resolved at 90.

    `labels` are those of the alert beside its severity, `value` is what its text shows. At minute `quiet` it does not
    fire yet.
    """

    series: dict[str, str]
    labels: dict[str, str] = attrs.field(factory=dict)
    value: str = "1"
    at: int = 20
    quiet: int = 0


_NODE = {"instance": "a:9600", "job": "nodespan"}
_SERVICE = {"instance": "d:2122", "job": "nodespan-discovery"}


def _series(name: str, labels: dict[str, str], values: str) -> dict[str, str]:
    return {f"{name}{{{','.join(f'{key}={json.dumps(value)}' for key, value in labels.items())}}}": values}


def _gauge(name: str, labels: dict[str, str], *, bad: float, good: float) -> dict[str, str]:
    """Good at first, bad from minute 1 to 30, good again."""
    return _series(name, labels, f"{good} {bad}x29 {good}x90")


def _counter(name: str, labels: dict[str, str], *, step: int = 1) -> dict[str, str]:
    """Grows for half an hour, and then no more."""
    return _series(name, labels, f"0+{step}x30 {30 * step}x90")


_PEER = {"peer": "edge-2", "public_key": "k="}
_VIP = {"ip": "192.0.2.9", "link": "eth0"}
_OTHER = {"instance": "b:9600", "job": "nodespan"}
CASES = {
    "NodespanAgentDown": Case(series=_gauge("up", _NODE, bad=0, good=1), labels=_NODE, value="0"),
    "NodespanControllerFailing": Case(
        series=_counter("nodespan_controller_crashes_total", _NODE | {"controller": "x.Y"}),
        labels=_NODE | {"controller": "x.Y"},
    ),
    "NodespanLoopBlocked": Case(
        series=_counter("nodespan_loop_lag_seconds_count", _NODE, step=3)
        | _counter("nodespan_loop_lag_seconds_bucket", _NODE | {"le": "0.5"}, step=1),
        labels=_NODE,
    ),
    "NodespanPeerDown": Case(
        series=_gauge("nodespan_kubespan_peer_up", _NODE | _PEER, bad=0, good=1)
        | _gauge("nodespan_kubespan_peer_up", _OTHER | _PEER, bad=0, good=1)
        | _series("nodespan_kubespan_peer_up", _NODE | {"peer": "edge-3", "public_key": "l="}, "1x120"),
        labels=_PEER,
        value="2",
    ),
    "NodespanMeshIsolated": Case(
        series=_gauge("nodespan_kubespan_peers", _NODE | {"state": "up"}, bad=0, good=2)
        | _gauge("nodespan_kubespan_peers", _NODE | {"state": "down"}, bad=2, good=0)
        # A node without peers is not isolated.
        | _series("nodespan_kubespan_peers", _OTHER | {"state": "up"}, "0x120"),
        labels=_NODE,
    ),
    "NodespanVIPWithoutHolder": Case(
        series=_gauge("nodespan_vip_state", _NODE | _VIP | {"state": "leader"}, bad=0, good=1)
        | _series("nodespan_vip_state", _OTHER | _VIP | {"state": "leader"}, "0x120"),
        labels={"ip": "192.0.2.9"},
    ),
    "NodespanVIPHeldTwice": Case(
        series=_gauge("nodespan_vip_state", _NODE | _VIP | {"state": "leader"}, bad=1, good=0)
        | _series("nodespan_vip_state", _OTHER | _VIP | {"state": "leader"}, "1x120"),
        labels={"ip": "192.0.2.9"},
        value="2",
    ),
    "NodespanVIPMoves": Case(series=_counter("nodespan_vip_handovers_total", _NODE | _VIP), labels={"ip": "192.0.2.9"}),
    "NodespanVIPLeaseShort": Case(
        series=_gauge("nodespan_vip_lease_margin_seconds", _NODE | _VIP, bad=0.5, good=3.8)
        | _series("nodespan_vip_lease_valid_seconds", _NODE | _VIP, "4x120"),
        labels=_NODE | _VIP,
    ),
    "NodespanVIPTrouble": Case(series=_gauge("nodespan_vip_trouble", _NODE | _VIP, bad=1, good=0), labels=_NODE | _VIP),
    "NodespanDiscoveryDisconnected": Case(
        series=_gauge("nodespan_discovery_connected", _NODE | {"service": "s", "endpoint": "d:443"}, bad=0, good=1),
        labels=_NODE | {"service": "s", "endpoint": "d:443"},
        quiet=9,
    ),
    "NodespanDiscoveryUnreadable": Case(
        series=_gauge("nodespan_discovery_unreadable", _NODE | {"service": "s", "endpoint": "d:443"}, bad=3, good=0),
        labels=_NODE | {"service": "s", "endpoint": "d:443"},
        value="3",
        quiet=9,
    ),
    "NodespanConfigRejected": Case(series=_gauge("nodespan_config_error", _NODE, bad=1, good=0), labels=_NODE),
    "NodespanNetworkProblems": Case(
        series=_gauge("nodespan_network_problems", _NODE | {"severity": "error"}, bad=2, good=0)
        | _series("nodespan_network_problems", _NODE | {"severity": "warning"}, "1x120"),
        labels=_NODE,
        value="2",
    ),
    "NodespanDHCPWithoutLease": Case(
        series=_gauge("nodespan_dhcp_lease_bound", _NODE | {"client": "dhcp4", "link": "eth0"}, bad=0, good=1)
        | _series("nodespan_dhcp_lease_bound", _NODE | {"client": "dhcp6", "link": "eth0"}, "0x120"),
        labels=_NODE | {"client": "dhcp4", "link": "eth0"},
    ),
    "NodespanProbeFails": Case(
        series=_gauge("nodespan_probe_success", _NODE | {"probe": "tcp:192.0.2.1:22"}, bad=0, good=1),
        labels=_NODE | {"probe": "tcp:192.0.2.1:22"},
    ),
    "NodespanNetlinkOverruns": Case(
        series=_counter("nodespan_netlink_overruns_total", _NODE | {"kind": "routes"}),
        labels=_NODE | {"kind": "routes"},
        at=28,
    ),
    "NodespanFilesShort": Case(
        series=_gauge("process_open_fds", _NODE, bad=900, good=10)
        | _series("process_max_fds", _NODE, "1000x120")
        | _series("nodespan_build_info", _NODE | {"version": "1", "python": "3"}, "1x120")
        # Of some other program.
        | _series("process_open_fds", {"instance": "c:1", "job": "x"}, "900x120")
        | _series("process_max_fds", {"instance": "c:1", "job": "x"}, "1000x120"),
        labels=_NODE,
    ),
    "NodespanMetricsIncomplete": Case(
        series=_gauge("nodespan_metrics_left_out_series", _NODE | {"metric": "m"}, bad=7, good=0),
        labels=_NODE | {"metric": "m"},
    ),
    "NodespanDiscoveryServiceDown": Case(series=_gauge("up", _SERVICE, bad=0, good=1), labels=_SERVICE, value="0"),
    "NodespanDiscoveryServiceFull": Case(
        series=_gauge("discovery_server_connections", _SERVICE, bad=95, good=10)
        | _series("discovery_server_connections_limit", _SERVICE, "100x120"),
        labels=_SERVICE,
    ),
    "NodespanDiscoveryTurnsAway": Case(
        series=_counter("discovery_server_turned_away_total", _SERVICE | {"reason": "source", "process": "0"})
        | _counter("discovery_server_turned_away_total", _SERVICE | {"reason": "source", "process": "1"}),
        labels=_SERVICE | {"reason": "source"},
        at=28,
    ),
    "NodespanDiscoverySnapshotFails": Case(
        series=_counter(
            "discovery_storage_operations_total", _SERVICE | {"operation": "save", "status": "error", "process": "0"}
        ),
        labels=_SERVICE | {"operation": "save", "status": "error"},
    ),
    "NodespanDiscoveryErrors": Case(
        series=_counter(
            "grpc_server_handled_total",
            _SERVICE | {"grpc_code": "Internal", "grpc_method": "Hello", "grpc_service": "S", "grpc_type": "unary"},
        ),
        labels=_SERVICE | {"grpc_method": "Hello", "grpc_service": "S", "grpc_type": "unary"},
    ),
    "NodespanRelayFull": Case(
        series=_gauge("relay_clients", _SERVICE, bad=95, good=10)
        | _series("relay_clients_limit", _SERVICE, "100x120")
        | _series("relay_ports_free", _SERVICE, "100x120"),
        labels=_SERVICE,
    ),
}


@pytest.mark.process
def test_every_alert_fires_and_resolves(tmp_path: Path) -> None:
    assert CASES.keys() == ALERTS.keys()
    (tmp_path / "alerts.yaml").write_text(dump(rules()))
    tests = [
        {
            "name": name,
            "interval": "1m",
            "input_series": [{"series": series, "values": values} for series, values in case.series.items()],
            "alert_rule_test": [
                {"eval_time": f"{case.quiet}m", "alertname": name, "exp_alerts": []},
                {"eval_time": f"{case.at}m", "alertname": name, "exp_alerts": [_expected(name, case)]},
                {"eval_time": "90m", "alertname": name, "exp_alerts": []},
            ],
        }
        for name, case in CASES.items()
    ]
    document = {"rule_files": ["alerts.yaml"], "evaluation_interval": "1m", "tests": tests}
    (tmp_path / "tests.json").write_text(json.dumps(document))
    promtool("test", "rules", "tests.json", cwd=tmp_path)


def _expected(name: str, case: Case) -> dict[str, Any]:
    alert = ALERTS[name]

    def shown(text: str) -> str:
        text = text.replace("{{ $value }}", case.value)
        return re.sub(r"{{ \$labels\.(\w+) }}", lambda found: case.labels[found[1]], text)

    labels = dict(case.labels)
    if name == "NodespanNetworkProblems":
        labels["severity"] = "error"
    return {
        "exp_labels": labels | {"severity": alert.severity},
        "exp_annotations": {"summary": shown(alert.summary), "description": shown(alert.remedy)},
    }


def test_every_alert_says_what_to_do_and_its_labels_are_there() -> None:
    for name, alert in ALERTS.items():
        assert alert.severity in (CRITICAL, WARNING)
        assert re.fullmatch(r"\d+m", alert.lasts), name
        assert alert.summary.endswith("."), name
        assert alert.remedy.endswith((".", "?")), name
        assert name.startswith("Nodespan")


# The dashboard.


def test_the_dashboard_is_what_grafana_calls_one() -> None:
    """Nothing in it is unknown to Grafana's own model, and every value has the type of the model."""
    plugins.register_default_plugins()
    model = dashboard()
    read = Dashboard.from_json(json.loads(json.dumps(model)))
    _check_types(read, "dashboard")
    _check_kept(model, json.loads(JSONEncoder().encode(read)), "dashboard")


def _check_kept(given: Any, read: Any, where: str) -> None:
    if isinstance(given, dict):
        assert given.keys() <= read.keys(), where
        for key, value in given.items():
            _check_kept(value, read[key], f"{where}.{key}")
    elif isinstance(given, list):
        assert len(given) == len(read), where
        for number, (mine, theirs) in enumerate(zip(given, read, strict=True)):
            _check_kept(mine, theirs, f"{where}[{number}]")
    else:
        assert given == read, where


def _check_types(value: Any, where: str) -> None:
    module = inspect.getmodule(type(value))
    assert module is not None
    for name, hint in typing.get_type_hints(type(value)).items():
        found = getattr(value, name)
        assert _has_type(found, hint), f"{where}.{name}: {found!r} is no {hint}"
        for number, item in enumerate(found if isinstance(found, list) else [found]):
            if type(item).__module__.startswith("grafana_foundation_sdk") and not isinstance(item, enum.Enum):
                _check_types(item, f"{where}.{name}[{number}]")


def _has_type(value: Any, hint: Any) -> bool:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint in (typing.Any, object):
        return True
    if origin in (typing.Union, types.UnionType):
        return any(_has_type(value, each) for each in arguments)
    if origin is typing.Literal:
        return value in arguments
    if origin is list:
        return isinstance(value, list) and all(_has_type(item, arguments[0]) for item in value)
    if origin is dict:
        return isinstance(value, dict) and all(_has_type(item, arguments[1]) for item in value.values())
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return value in [member.value for member in hint]
    return isinstance(value, hint or types.NoneType)


def test_panels_do_not_overlap_and_each_says_what_is_good() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
        if panel["type"] != "row":
            assert panel["description"].endswith("."), panel["title"]
            assert [target["refId"] for target in panel["targets"]] == list("ABCD"[: len(panel["targets"])])


def test_the_command_prints_both(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gen", "dashboard"]) == 0
    assert json.loads(capsys.readouterr().out) == dashboard()
    assert main(["gen", "alerts"]) == 0
    assert YAML(typ="safe").load(capsys.readouterr().out) == rules()


def test_the_page_of_metrics_agrees_with_the_code() -> None:
    """`make docs` renews it."""
    assert metrics_page.PAGE.read_text() == metrics_page.page()
