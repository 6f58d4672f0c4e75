"""The parts of a cluster on one machine: names, addresses, files. All follow from its name and size.

    198.51.100.0/24, the internet           192.0.2.0/24, the network behind NAT

      discovery  .2 ─┐                        ┌─ .11  the last node
      a         .11 ─┤                        │
      b         .12 ─┴─ bridge .1 ─── .3 router .1

Every box is a network namespace, also the bridge: nothing is created in the machine's own namespace, and the addresses
are reserved for documentation. The bridge's address is the default gateway of all and forwards nothing.

Nodes that share a virtual IP must be on one link, so they are all on the bridge; if all nodes are, there is no
router.
"""

import re
import string
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path

import attrs

from nodespan.runtime.paths import node_socket

DEFAULT_NAME = "demo"
FEWEST_NODES, MOST_NODES = 2, 200
# With fewer members, the loss of one is the loss of the quorum.
FEWEST_ETCD_MEMBERS = 3
CLUSTERS = Path("/run/nodespan/clusters")
NODES = Path(node_socket("any")).parent
# The directory of wireguard-go's sockets, for all namespaces.
WIREGUARD_SOCKETS = Path("/var/run/wireguard")

PREFIX = "nodespan-"
BRIDGE_ADDRESS = "198.51.100.1"
ROUTER_WAN_ADDRESS = "198.51.100.3"
ROUTER_LAN_ADDRESS = "192.0.2.1"
DISCOVERY_PORT = 3000
_INTERNET = IPv4Network("198.51.100.0/24")
_NETWORKS = (_INTERNET, ip_network("192.0.2.0/24"))
_FIRST_NODE = 11
# Without a hyphen, so that no cluster's namespace prefix is a prefix of another's.
_NAME = re.compile(r"[a-z][a-z0-9]{0,15}")


class NameRefusedError(ValueError):
    """The text is not a valid cluster name."""


@attrs.frozen(kw_only=True)
class Station:
    """A network namespace with one link to the others. A station with processes has a directory for its files."""

    name: str
    namespace: str
    address: str
    gateway: str = BRIDGE_ADDRESS
    directory: Path

    @property
    def log(self) -> Path:
        """The log of its process."""
        return self.directory / "log"

    @property
    def config(self) -> Path:
        """The machine configuration of a node."""
        return self.directory / "config.yaml"

    @property
    def state_dir(self) -> Path:
        """A node's state directory."""
        return self.directory / "state"

    @property
    def wireguard_sockets(self) -> Path:
        """The station's substitute for WIREGUARD_SOCKETS."""
        return self.directory / "wireguard"

    @property
    def socket(self) -> Path:
        """The socket of a node's agent."""
        return Path(node_socket(self.name))


@attrs.frozen(kw_only=True)
class Plan:
    """A cluster of `size` nodes, the first `control_planes` of which are control planes.

    `kubespan`: whether they form a KubeSpan mesh. `wireguard`: the network of the configured WireGuard devices,
    None for none. `vip`: the virtual IP that the control planes share, None for none. `relay`: the discovery service
    relays, and nodes cannot send each other UDP. Raises NameRefusedError, and ValueError for unsupported values.
    """

    name: str = attrs.field(default=DEFAULT_NAME)
    size: int = attrs.field(default=3)
    control_planes: int = attrs.field(default=1)
    kubespan: bool = True
    wireguard: IPv4Network | IPv6Network | None = attrs.field(default=None)
    vip: IPv4Address | IPv6Address | None = attrs.field(default=None)
    relay: bool = False
    clusters: Path = CLUSTERS

    @name.validator
    def _check_name(self, _attribute: object, name: str) -> None:
        if not _NAME.fullmatch(name):
            raise NameRefusedError(
                f"{name!r} is not a valid cluster name: use up to 16 lower-case letters and digits, a letter first"
            )

    @size.validator
    def _check_size(self, _attribute: object, size: int) -> None:
        if not FEWEST_NODES <= size <= MOST_NODES:
            raise ValueError(f"a cluster has between {FEWEST_NODES} and {MOST_NODES} nodes, not {size}")

    @control_planes.validator
    def _check_control_planes(self, _attribute: object, count: int) -> None:
        if not 1 <= count <= self.size:
            raise ValueError(f"of {self.size} nodes between 1 and {self.size} are control planes, not {count}")

    @wireguard.validator
    def _check_wireguard(self, _attribute: object, network: IPv4Network | IPv6Network | None) -> None:
        if network is None:
            return
        if network.num_addresses < self.size + 2:
            raise ValueError(f"the WireGuard network {network} has too few addresses for {self.size} nodes")
        if taken := [str(other) for other in _NETWORKS if network.version == 4 and network.overlaps(other)]:
            raise ValueError(f"the WireGuard network {network} overlaps with {taken[0]}, which the cluster itself uses")

    @vip.validator
    def _check_vip(self, _attribute: object, address: IPv4Address | IPv6Address | None) -> None:
        if address is None:
            return
        if self.control_planes < FEWEST_ETCD_MEMBERS:
            raise ValueError(
                f"a virtual IP needs at least {FEWEST_ETCD_MEMBERS} control planes, for etcd to outlive one of them, "
                f"not {self.control_planes}"
            )
        if address not in _INTERNET or address in (_INTERNET.network_address, _INTERNET.broadcast_address):
            raise ValueError(f"the virtual IP {address} is not an address of {_INTERNET}, the network of the nodes")
        for station in (*self.stations, self.router):
            if address == ip_address(station.address):
                raise ValueError(f"the virtual IP {address} is the address of {station.name}: choose another one")

    @property
    def directory(self) -> Path:
        """The directory of all files of the cluster, except the sockets of its agents."""
        return self.clusters / self.name

    @property
    def lock(self) -> Path:
        """Locked by the `cluster create` in the foreground; contains its pid."""
        return self.directory / "lock"

    @property
    def record(self) -> Path:
        """The file with the requested plan."""
        return self.directory / "cluster.json"

    @property
    def nodes(self) -> tuple[Station, ...]:
        """In the order of their names; the hidden node, if there is one, is the last."""
        hidden = self.hidden_node
        return self.public_nodes if hidden is None else (*self.public_nodes, hidden)

    @property
    def public_nodes(self) -> tuple[Station, ...]:
        """Those on the bridge."""
        labels = [label_of(number) for number in range(self.size - 1 if self._has_router else self.size)]
        return tuple(self._station(label, f"198.51.100.{_FIRST_NODE + n}") for n, label in enumerate(labels))

    @property
    def control_plane_nodes(self) -> tuple[Station, ...]:
        """The control planes: the first nodes."""
        return self.nodes[: self.control_planes]

    @property
    def etcd_nodes(self) -> tuple[Station, ...]:
        """The nodes with an etcd member: the control planes, if there is a virtual IP."""
        return () if self.vip is None else self.control_plane_nodes

    @property
    def hidden_node(self) -> Station | None:
        """The node behind NAT, which cannot be reached from outside; None if all share a virtual IP."""
        if not self._has_router:
            return None
        return self._station(label_of(self.size - 1), f"192.0.2.{_FIRST_NODE}", ROUTER_LAN_ADDRESS)

    @property
    def discovery(self) -> Station:
        """The station of the discovery service."""
        return self._station("discovery", "198.51.100.2")

    @property
    def router(self) -> Station:
        """The router of the hidden node; one of the stations only if there is a hidden node."""
        return self._station("router", ROUTER_WAN_ADDRESS)

    @property
    def internet(self) -> Station:
        """The bridge."""
        return self._station("internet", BRIDGE_ADDRESS)

    @property
    def stations(self) -> tuple[Station, ...]:
        """All of them."""
        router = (self.router,) if self._has_router else ()
        return (self.internet, self.discovery, *router, *self.nodes)

    @property
    def pairs(self) -> Iterator[tuple[Station, Station]]:
        """Each node with each other node, both ways."""
        return ((node, peer) for node in self.nodes for peer in self.nodes if node != peer)

    @property
    def wireguard_pairs(self) -> Iterator[tuple[Station, Station]]:
        """The pairs of WireGuard peers: one of the two is a control plane."""
        middle = self.control_plane_nodes
        return ((node, peer) for node, peer in self.pairs if node in middle or peer in middle)

    def wireguard_address(self, node: Station) -> str:
        """The node's address in the WireGuard network. Raises ValueError if there is no such network."""
        if self.wireguard is None:
            raise ValueError(f"the cluster {self.name!r} has no WireGuard network")
        return str(self.wireguard[self.nodes.index(node) + 1])

    @property
    def discovery_url(self) -> str:
        """The URL of the discovery service; plain text, because its traffic does not leave the machine."""
        return f"http://{self.discovery.address}:{DISCOVERY_PORT}/"

    @property
    def namespace_prefix(self) -> str:
        """The prefix of the names of this cluster's namespaces, unique to it."""
        return f"{PREFIX}{self.name}-"

    @property
    def _has_router(self) -> bool:
        return self.vip is None or self.control_planes < self.size

    def _station(self, label: str, address: str, gateway: str = BRIDGE_ADDRESS) -> Station:
        # Nodes are named like their sockets, so only one cluster can use the short names.
        name = label if self.name == DEFAULT_NAME else f"{self.name}-{label}"
        return Station(
            name=name,
            namespace=f"{self.namespace_prefix}{label}",
            address=address,
            gateway=gateway,
            directory=self.directory / label,
        )


def label_of(number: int) -> str:
    """a, b ... z, aa, ab ... for 0, 1 ..."""
    label = ""
    number += 1
    while number:
        number, letter = divmod(number - 1, len(string.ascii_lowercase))
        label = string.ascii_lowercase[letter] + label
    return label
