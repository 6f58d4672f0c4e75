"""Creates a cluster, shows how its nodes find each other, and supervises it until interrupted."""

import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import attrs

from nodespan.cluster.commands import (
    BLOCK_UDP,
    LINK,
    ROUTER_RULES,
    ROUTER_SETTINGS,
    network_commands,
)
from nodespan.cluster.failover import demonstrate
from nodespan.cluster.going_direct import demonstrate_relay
from nodespan.cluster.interruption import ignore_signals, interruptible
from nodespan.cluster.node_configs import node_configs
from nodespan.cluster.ownership import owned
from nodespan.cluster.peers import NO_AGENT, NOT_FOUND, MeshView, PeerView, changes, kubespan_address, look, table
from nodespan.cluster.pings import ping_all
from nodespan.cluster.plan import DEFAULT_NAME, DISCOVERY_PORT, NODES, WIREGUARD_SOCKETS, Plan, Station
from nodespan.cluster.record import write_record
from nodespan.cluster.removal import namespaces_of, remove
from nodespan.cluster.service import Service, agent_service, discovery_service, etcd_service
from nodespan.cluster.station_processes import NAMESPACES, CommandFailedError, run, start
from nodespan.cluster.terminal import Terminal
from nodespan.cluster.virtual_ip import VipViews, agreed_holder, look_at_vip, vip_changes, vip_table
from nodespan.cluster.wireguard import LINK as WIREGUARD_LINK
from nodespan.controllers.common.secret_file import write_secret
from nodespan.kernel.netns import in_netns
from nodespan.runtime.cli.errors import CommandError

_START_PATIENCE = 20.0
_LOOK_INTERVAL = 0.2
_SETTLED_INTERVAL = 1.0
# WireGuard begins anew when sent data stayed without any answer for 15 s.
_PING_PATIENCE = 30.0
_LAST_LINES = 8
_Process = subprocess.Popen[bytes]
_Processes = dict[Service, _Process]


@attrs.frozen(kw_only=True)
class CreateOptions:
    """`keep` leaves the cluster running; `timeout` is the limit, in seconds, until all nodes are up.

    `demonstrate` shows how the virtual IP moves, or how a pair leaves its relay, then removes the cluster.
    """

    plan: Plan
    keep: bool = False
    timeout: float = 60.0
    demonstrate: bool = False


def create(options: CreateOptions, terminal: Terminal) -> int:
    """Create the cluster; returns the exit status. Unless `keep`, supervises it until interrupted and removes it.

    Raises CommandError if it cannot be created or not all nodes come up, KeyboardInterrupt if interrupted before that.
    """
    plan = options.plan
    _reserve(plan)
    keep = False
    with interruptible(), owned(plan):
        try:
            processes = _build(plan, terminal)
            keep = options.keep  # now the cluster can be inspected, even if not all nodes come up
            if plan.kubespan:
                _wait_until_up(options, processes, terminal)
            if plan.vip is not None:
                _wait_for_vip(options, processes, terminal)
            _ping_all(options, terminal)
            if options.demonstrate and plan.vip is not None:
                demonstrate(plan, processes, terminal)
            if options.demonstrate and plan.relay:
                demonstrate_relay(plan, terminal)
            if keep or not options.demonstrate:
                _tell_what_to_try(options, terminal)
            if not keep and not options.demonstrate:
                _look_after(plan, processes, terminal)
        except CommandFailedError as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            keep = False
            raise
        finally:
            ignore_signals()
            if not keep:
                _remove(plan, terminal)
    return 0


def _reserve(plan: Plan) -> None:
    """Create the cluster's directory, which reserves its name. Raises CommandError."""
    how = f"remove it with: nodespan cluster destroy{name_option(plan)}"
    if namespaces_of(plan):
        raise CommandError(f"there is a cluster {plan.name!r} already: {how}, or choose another --name")
    while True:
        NODES.mkdir(mode=0o755, parents=True, exist_ok=True)
        plan.clusters.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            plan.directory.mkdir(mode=0o700)
        except FileExistsError:
            raise CommandError(f"there is a cluster {plan.name!r} already: {how}, or choose another --name") from None
        except FileNotFoundError:
            # The last other cluster was removed at this moment, and the directory of all with it.
            continue
        break
    write_record(plan)


def name_option(plan: Plan) -> str:
    """The option that names the cluster, "" if it is the default."""
    return "" if plan.name == DEFAULT_NAME else f" --name {plan.name}"


def _build(plan: Plan, terminal: Terminal) -> _Processes:
    hidden = plan.hidden_node
    terminal.line(f"creating the cluster {plan.name!r} of {plan.size} nodes, in network namespaces of this machine")
    for station in (plan.discovery, *plan.nodes):
        for directory in (station.directory, station.state_dir, station.wireguard_sockets):
            directory.mkdir(mode=0o700)
    WIREGUARD_SOCKETS.mkdir(mode=0o755, parents=True, exist_ok=True)
    for command in network_commands(plan):
        run(command)
    terminal.line(f"  the internet is a bridge with {', '.join(node.name for node in plan.public_nodes)} on it")
    if hidden is not None:
        _set(plan.router, ROUTER_SETTINGS)
        run(("ip", "netns", "exec", plan.router.namespace, "nft", "-f", "-"), stdin=ROUTER_RULES)
        terminal.line(f"  {hidden.name} is behind a router with NAT that accepts no connections from outside")

    if plan.relay:
        run(("ip", "netns", "exec", plan.internet.namespace, "nft", "-f", "-"), stdin=BLOCK_UDP)
        terminal.line("  the internet drops UDP; the discovery service relays")

    for node, text in node_configs(plan).items():
        write_secret(node.config, text)
    discovery = discovery_service(plan)
    processes = {discovery: _start(discovery)}
    etcd = [etcd_service(plan, node) for node in plan.etcd_nodes]
    processes |= {member: _start(member) for member in etcd}
    _wait_for_discovery(plan, processes[discovery])
    terminal.line(f"  the discovery service answers at {plan.discovery.address}:{DISCOVERY_PORT}")
    if etcd:
        terminal.line(f"  etcd has {len(etcd)} members, at {', '.join(member.station.name for member in etcd)}")
    processes |= {agent: _start(agent) for agent in map(agent_service, plan.nodes)}
    terminal.line(f"  {plan.size} agents are starting")
    return processes


def _start(service: Service) -> _Process:
    return start(service.station, service.command, log=service.log)


def _set(station: Station, settings: dict[str, str]) -> None:
    # /proc/sys/net shows the settings of the reader's own namespace.
    with in_netns(str(NAMESPACES / station.namespace)):
        for name, value in settings.items():
            with open(f"/proc/sys/net/{name}", "w") as file:
                file.write(value)


def _wait_for_discovery(plan: Plan, process: _Process) -> None:
    deadline = time.monotonic() + _START_PATIENCE
    while not _listens(plan.discovery, DISCOVERY_PORT):
        if process.poll() is not None or time.monotonic() > deadline:
            raise CommandError(f"the discovery service does not start:\n{_end_of_log(plan.discovery.log)}")
        time.sleep(_LOOK_INTERVAL)


def _listens(station: Station, port: int) -> bool:
    with in_netns(str(NAMESPACES / station.namespace)):
        connection = socket.socket()
    with connection:
        return connection.connect_ex((station.address, port)) == 0


def _wait_for_vip(options: CreateOptions, processes: _Processes, terminal: Terminal) -> None:
    """Show the state of the virtual IP until the control planes agree on its holder, then ping it.

    Raises CommandError.
    """
    began = time.monotonic()
    terminal.line(f"\nthe virtual IP {options.plan.vip}")
    views: VipViews = {}
    while True:
        before, views = views, look_at_vip(options.plan)
        for line in vip_changes(before, views):
            terminal.line(f"  {line}")
        took = time.monotonic() - began
        holder = agreed_holder(views)
        if holder is not None:
            break
        dead = _dead(processes)
        if dead or took > options.timeout:
            problem = f"{_titles(dead)} ended" if dead else f"no agreement on its holder after {options.timeout:g} s"
            logs = dead or [service for service in processes if service.station in options.plan.etcd_nodes]
            shown = [*vip_table(views), *(_end_of_log(service.log) for service in logs)]
            raise CommandError("\n".join([f"the virtual IP {options.plan.vip}: {problem}", *shown]))
        time.sleep(_LOOK_INTERVAL)
    terminal.line(f"all nodes agree that {holder.name} has it, {took:.1f} s after the agents were started")
    terminal.line("\npings of the virtual IP")
    plan = options.plan
    others = [(station, holder) for station in (plan.discovery, *plan.nodes) if station != holder]
    ping_all(others, {"VIRTUAL IP": lambda _: str(plan.vip)}, terminal, patience=_PING_PATIENCE)


def _dead(processes: _Processes) -> list[Service]:
    return [service for service, process in processes.items() if process.poll() is not None]


def _titles(services: list[Service]) -> str:
    return " and ".join(service.title for service in services)


def _wait_until_up(options: CreateOptions, processes: _Processes, terminal: Terminal) -> None:
    """Show the peers of all nodes until all are up. Raises CommandError after the timeout."""
    began = time.monotonic()
    view: MeshView = {}
    terminal.line()
    while True:
        before, view = view, look(options.plan)
        if not terminal.live(table(view)):
            for line in changes(before, view):
                terminal.line(f"  {line}")
        took = time.monotonic() - began
        if all(seen.is_up for seen in view.values()):
            break
        dead = _dead(processes)
        if dead or took > options.timeout:
            terminal.settle()
            raise CommandError(_report(options, view, dead))
        time.sleep(_LOOK_INTERVAL)
    terminal.settle()
    terminal.line(f"\nall {len(view)} tunnel ends are up, {took:.1f} s after the agents were started")


def _report(options: CreateOptions, view: MeshView, dead: list[Service]) -> str:
    """The nodes that are not up, the known reasons, and the ends of their logs."""
    lines = [f"{_titles(dead)} ended" if dead else f"not all nodes are up after {options.timeout:g} s"]
    lines += [f"  {_reason(node, peer, seen)}" for (node, peer), seen in view.items() if not seen.is_up]
    concerned = {node for (node, _), seen in view.items() if not seen.is_up}
    silent = [node.log for node in options.plan.nodes if node.name in concerned]
    lines += map(_end_of_log, [service.log for service in dead] or silent)
    if not options.keep:
        lines.append("to inspect it while it runs, create it with --keep")
    return "\n".join(lines)


def _reason(node: str, peer: str, seen: PeerView) -> str:
    if seen.state == NO_AGENT:
        return f"{node}, {peer}: the agent of {node} does not answer"
    if seen.state == NOT_FOUND:
        return f"{node}, {peer}: {node} did not receive {peer} by the discovery service"
    tried = f"last tried endpoint: {seen.endpoint}" if seen.endpoint else "no known endpoint"
    return f"{node}, {peer}: {seen.state}, no handshake, {tried}"


def _end_of_log(log: Path) -> str:
    text = log.read_text(errors="replace") if log.exists() else ""
    last = text.splitlines()[-_LAST_LINES:] or ["(nothing)"]
    return "\n".join([f"the end of {log}:", *(f"    {line}" for line in last)])


def _ping_all(options: CreateOptions, terminal: Terminal) -> None:
    """Ping each node over each of its tunnels. Raises CommandError if one does not answer."""
    plan = options.plan
    if plan.kubespan:
        terminal.line("\npings through the tunnels")
        addresses = {node: kubespan_address(node) for node in plan.nodes}
        columns = {"KUBESPAN ADDRESS": addresses.__getitem__, "NODE ADDRESS": lambda node: node.address}
        ping_all(plan.pairs, columns, terminal, patience=_PING_PATIENCE)
    if plan.wireguard is not None:
        terminal.line(f"\npings through {WIREGUARD_LINK}, which the configuration names")
        # Only pings show that these tunnels are up.
        patience = max(options.timeout, _PING_PATIENCE)
        ping_all(plan.wireguard_pairs, {"WIREGUARD ADDRESS": plan.wireguard_address}, terminal, patience=patience)


def _tell_what_to_try(options: CreateOptions, terminal: Terminal) -> None:
    plan = options.plan
    first, last = plan.nodes[0].name, plan.nodes[-1].name
    terminal.line("\nin another terminal, as root:\n")
    command = _command()
    if plan.kubespan:
        terminal.line(f"    {command} --node {first} get kubespanpeerstatuses -w")
    if plan.wireguard is not None:
        terminal.line(f"    {command} --node {first} get links {WIREGUARD_LINK} -o yaml")
    if plan.vip is not None:
        terminal.line(f"    {command} --node {first} get vipstatuses -w")
        terminal.line(f"    {command} cluster exec {plan.discovery.name} -- ping {plan.vip}")
        terminal.line(f"    {command} cluster exec {first} -- ip address show dev {LINK}")
    terminal.line(f"    {command} --node {last} get affiliates")
    if (plan.kubespan or plan.wireguard is not None) and shutil.which("wg"):
        terminal.line(f"    {command} cluster exec {first} -- wg show")
    terminal.line(f"    {command} cluster exec {last} -- ping {_address_to_try(plan)}")
    if options.keep:
        terminal.line(f"\nthe cluster goes on running until: {command} cluster destroy{name_option(plan)}")
    else:
        terminal.line("\nCtrl-C ends it and removes everything")


def _address_to_try(plan: Plan) -> str:
    first = plan.nodes[0]
    return plan.wireguard_address(first) if plan.wireguard is not None else first.address


def _command() -> str:
    """The command line to type: in a checkout the command is not in PATH."""
    called = Path(sys.argv[0])
    is_called_by_path = called.name == "nodespan" and shutil.which("nodespan") is None
    return str(called) if is_called_by_path else "nodespan"


def _look_after(plan: Plan, processes: _Processes, terminal: Terminal) -> None:
    """Report changes and restart processes that have ended, until interrupted or the cluster is gone."""
    view: MeshView = look(plan) if plan.kubespan else {}
    vip_views: VipViews = look_at_vip(plan) if plan.vip is not None else {}
    try:
        while plan.record.exists():
            time.sleep(_SETTLED_INTERVAL)
            for service in _dead(processes):
                terminal.line(f"{service.title} ended ({_how(processes[service].returncode)}); restarting it")
                processes[service] = _start(service)
            if plan.kubespan:
                before, view = view, look(plan)
                for line in changes(before, view):
                    terminal.line(line)
            vip_before, vip_views = vip_views, look_at_vip(plan) if plan.vip is not None else {}
            for line in vip_changes(vip_before, vip_views):
                terminal.line(line)
    except KeyboardInterrupt:
        return


def _how(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"exit status {status}"


def _remove(plan: Plan, terminal: Terminal) -> None:
    try:
        terminal.settle()
        terminal.line(f"\nremoving the cluster {plan.name!r}")
    finally:
        # Also if the reader of the output is gone.
        remove(plan)
