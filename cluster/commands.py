"""The commands that create a cluster, in order: data, nothing is run here."""

from collections.abc import Iterator

from nodespan.cluster.plan import (
    BRIDGE_ADDRESS,
    DISCOVERY_PORT,
    ROUTER_LAN_ADDRESS,
    WIREGUARD_SOCKETS,
    Plan,
    Station,
)
from nodespan.runtime.process.own_command import own_command

Command = tuple[str, ...]

LINK = "eth0"
_LAN_LINK = "lan"
_BRIDGE = "bridge"
# This command once more.
NODESPAN: Command = own_command("nodespan.runtime.cli")

# Below /proc/sys/net.
ROUTER_SETTINGS = {"ipv4/ip_forward": "1"}

# New connections to the router itself are dropped silently. If it answered them, its own conntrack entry for
# them would take the port that a node behind it is about to get by NAT, and the two ends could never connect.
ROUTER_RULES = f"""\
table ip nat {{
    chain input {{
        type filter hook input priority 0; policy accept;
        iifname "{LINK}" ct state new drop
    }}
    chain forward {{
        type filter hook forward priority 0; policy drop;
        ct state established,related accept
        iifname "{_LAN_LINK}" accept
    }}
    chain postrouting {{
        type nat hook postrouting priority 100;
        oifname "{LINK}" masquerade
    }}
}}
"""

# The bridge drops UDP, and lets TCP through: as networks do that only let their users into the web. Nobody is told.
BLOCK_UDP = """\
table bridge no_udp {
    chain forward {
        type filter hook forward priority 0; policy accept;
        meta l4proto udp drop
    }
}
"""
ALLOW_UDP = "delete table bridge no_udp\n"

# Every process of a station, also one that is started later, sees the station's own directory for the sockets of
# wireguard-go, and the station's name as its host name.
# Both directories are created if missing: the bridge and the router have none, and /var/run may have been emptied.
_ENTER = " && ".join(
    (
        f'mkdir -p "$1" {WIREGUARD_SOCKETS}',
        f'mount --bind "$1" {WIREGUARD_SOCKETS}',
        'echo "$2" > /proc/sys/kernel/hostname',
        "shift 2",
        'exec "$@"',
    )
)


def network_commands(plan: Plan) -> Iterator[Command]:
    """Namespaces, links, addresses, routes."""
    for station in plan.stations:
        yield ("ip", "netns", "add", station.namespace)
    for station in plan.stations:
        yield _ip(station, "link", "set", "lo", "up")
    yield _ip(plan.internet, "link", "add", _BRIDGE, "type", "bridge")
    yield _ip(plan.internet, "address", "add", f"{BRIDGE_ADDRESS}/24", "dev", _BRIDGE)
    yield _ip(plan.internet, "link", "set", _BRIDGE, "up")
    hidden = plan.hidden_node
    router = () if hidden is None else (plan.router,)
    for number, station in enumerate((plan.discovery, *router, *plan.public_nodes)):
        port = f"port{number}"
        yield from _cable(station, LINK, plan.internet, port)
        yield _ip(plan.internet, "link", "set", port, "master", _BRIDGE)
        yield from _attach(station)
    if hidden is not None:
        yield from _cable(hidden, LINK, plan.router, _LAN_LINK)
        yield _ip(plan.router, "address", "add", f"{ROUTER_LAN_ADDRESS}/24", "dev", _LAN_LINK)
        yield from _attach(hidden)


def enter(station: Station, command: Command) -> Command:
    """The command line that runs a command at a station."""
    prepared = ("sh", "-c", _ENTER, "sh", str(station.wireguard_sockets), station.name)
    return ("ip", "netns", "exec", station.namespace, "unshare", "--uts", *prepared, *command)


def discovery_command(plan: Plan) -> Command:
    """The discovery service."""
    station = plan.discovery
    serve = ("discovery", "serve", "--listen", f"{station.address}:{DISCOVERY_PORT}", "--insecure")
    relay = ("--relay", "--relay-address", station.address) if plan.relay else ()
    snapshot = ("--snapshot", str(station.state_dir / "state.binpb"), "--log-format", "text")
    return enter(station, (*NODESPAN, *serve, *relay, *snapshot))


def agent_command(node: Station) -> Command:
    """The agent of a node."""
    files = ("--config", str(node.config), "--state-dir", str(node.state_dir), "--socket", str(node.socket))
    return enter(node, (*NODESPAN, "agent", *files, "--log-format", "text"))


def _ip(station: Station, *arguments: str) -> Command:
    return ("ip", "-n", station.namespace, *arguments)


def _cable(one: Station, link: str, other: Station, other_link: str) -> Iterator[Command]:
    """A veth pair between two stations, both ends up."""
    ends = ("netns", one.namespace, "type", "veth", "peer", "name", other_link, "netns", other.namespace)
    yield ("ip", "link", "add", link, *ends)
    yield _ip(one, "link", "set", link, "up")
    yield _ip(other, "link", "set", other_link, "up")


def _attach(station: Station) -> Iterator[Command]:
    yield _ip(station, "address", "add", f"{station.address}/24", "dev", LINK)
    yield _ip(station, "route", "add", "default", "via", station.gateway)
