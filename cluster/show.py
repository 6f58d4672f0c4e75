"""Lists the clusters of this machine, and finds a node by name."""

from nodespan.cluster.ownership import owner_of
from nodespan.cluster.peers import kubespan_address
from nodespan.cluster.plan import CLUSTERS, Plan, Station
from nodespan.cluster.record import recorded
from nodespan.cluster.station_processes import pids_in
from nodespan.cluster.terminal import Terminal
from nodespan.cluster.virtual_ip import vip_view
from nodespan.runtime.cli.client import AgentGoneError
from nodespan.runtime.cli.errors import CommandError
from nodespan.runtime.text.table import Table


def clusters() -> list[Plan]:
    """The existing clusters. Raises PermissionError without root."""
    if not CLUSTERS.is_dir():
        return []
    return [recorded(path.name) for path in sorted(CLUSTERS.iterdir())]


def show(terminal: Terminal) -> None:
    """Print all clusters. Raises PermissionError without root."""
    plans = clusters()
    if not plans:
        terminal.line("there is no cluster; create one with: nodespan cluster create")
    for plan in plans:
        owner = owner_of(plan)
        kept = "kept running" if owner is None else f"in the foreground of process {owner}"
        terminal.line(f"{plan.name}: {plan.size} nodes, {kept}")
        for line in _table(plan):
            terminal.line(line)


def station_of(name: str) -> Station:
    """The station of this name in any cluster. Raises CommandError, PermissionError without root."""
    stations = {station.name: station for plan in clusters() for station in plan.stations}
    if name not in stations:
        known = f"there are: {', '.join(stations)}" if stations else "create a cluster with: nodespan cluster create"
        raise CommandError(f"no node of a cluster is called {name!r}; {known}")
    return stations[name]


def _table(plan: Plan) -> list[str]:
    headings = ["NODE", "NAMESPACE", "PIDS", "ADDRESS"]
    headings += ["KUBESPAN ADDRESS"] if plan.kubespan else []
    headings += ["WIREGUARD ADDRESS"] if plan.wireguard is not None else []
    headings += [str(plan.vip)] if plan.vip is not None else []
    rows = Table(headings)
    for station in plan.stations:
        pids = ",".join(map(str, pids_in(station.namespace)))
        cells = [station.name, station.namespace, pids, station.address]
        is_node = station in plan.nodes
        cells += [_address(station) if is_node else ""] if plan.kubespan else []
        cells += [plan.wireguard_address(station) if is_node else ""] if plan.wireguard is not None else []
        cells += [vip_view(plan, station).state if station in plan.etcd_nodes else ""] if plan.vip is not None else []
        rows.add(cells)
    return rows.flush().splitlines()


def _address(station: Station) -> str:
    try:
        return kubespan_address(station)
    except AgentGoneError:
        return ""
