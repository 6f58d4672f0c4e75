"""NodespanConfig: the settings that only nodespan has."""

import datetime
import enum
from typing import Literal

import attrs

from nodespan.resources.config.notation import Unsigned16
from nodespan.resources.config.vip_condition import VipCondition
from nodespan.resources.kubespan import KUBESPAN_PORT
from nodespan.runtime.resource import wire

# Not the 127.0.0.53 of the originals: on an ordinary machine that is the stub of systemd-resolved.
DEFAULT_HOST_DNS_ADDRESS = "127.0.0.153:53"


@attrs.frozen(kw_only=True)
class EtcdSettings:
    """The etcd that elects the holders of virtual IPs."""

    endpoints: tuple[str, ...] = ()
    """The URLs of its members, at their ports for clients."""
    ca: str = ""
    """The PEM file of the authority of its members, "" for the system's."""
    cert: str = ""
    """The PEM file of this node's certificate, "" for none."""
    key: str = ""
    """The PEM file of the key to that certificate."""
    username: str = ""
    """The user that this node is at etcd, if etcd has users."""
    password_file: str = ""
    """The file with the password of that user, read at each login."""


@attrs.frozen(kw_only=True)
class VipSettings:
    """Virtual IPs. Nodes with different leases may share one: each is waited for as long as its own lease."""

    lease_ttl: datetime.timedelta = attrs.field(default=datetime.timedelta(seconds=5), metadata=wire("leaseTTL"))
    """How long a holder that stops renewing keeps its virtual IP: whole seconds, at least 3. The originals take a
    minute.
    """
    conditions: tuple[VipCondition, ...] = ()
    """The checks that a node must pass to hold a virtual IP."""


@attrs.frozen(kw_only=True)
class DefaultsSettings:
    """What the originals do by default. All of it is off unless it is enabled here.

    `dhcp`: NICs that nothing configures are set up with addresses by DHCPv4, and lo is set up with 127.0.0.1/8.
    `hostname`, `resolvers`, `time_servers`: defaults for what the configuration leaves unset.
    """

    dhcp: bool = False
    """Set network cards that nothing configures up with addresses by DHCPv4, and lo with 127.0.0.1/8."""
    hostname: bool = False
    """Set a host name where the configuration leaves it unset."""
    resolvers: bool = False
    """Set resolvers where the configuration leaves them unset."""
    time_servers: bool = False
    """Set time servers where the configuration leaves them unset."""
    kernel_parameters: bool = False
    """Set the kernel parameters for networks and containers that the originals set."""
    hardening: bool = False
    """Set the kernel parameters by which the originals protect the kernel. Among others, no user namespaces."""


class NamingScheme(enum.StrEnum):
    """The edition of the rules for predictable names, by the version of systemd that it came with."""

    V255 = "v255"
    V257 = "v257"
    V258 = "v258"
    V259 = "v259"
    V260 = "v260"

    def includes(self, earlier: "NamingScheme") -> bool:
        """Whether the rules that came with this or an earlier edition are in force: each adds to those before it."""
        editions = tuple(NamingScheme)
        return editions.index(earlier) <= editions.index(self)


@attrs.frozen(kw_only=True)
class LinkNameSettings:
    """Predictable names of links. They are shown in any case."""

    rename: bool = False
    """Whether links get these names."""
    scheme: NamingScheme | None = None
    """The edition of the rules; unset stands for that of the kernel command line (`net.naming_scheme`)."""


class Synchronous(enum.StrEnum):
    """When a write to a SQLite file is acknowledged: after the disk has it, or after the system has it."""

    FULL = "FULL"
    NORMAL = "NORMAL"


@attrs.frozen(kw_only=True)
class StateSettings:
    """Namespaces that are kept on a state of their own."""

    namespaces: tuple[str, ...] = ()
    """The names of the namespaces."""
    url: str = ""
    """Where they are kept: `memory:`, `sqlite:PATH`, or what an installed package brings, as `etcd:URL,URL`."""
    synchronous: Synchronous = Synchronous.FULL
    """When a write to a SQLite file is acknowledged."""
    key: str = ""
    """The file of the key that seals secrets (SQLite), or of the client's key (TLS)."""
    ca: str = ""
    """The PEM file of the authority of a state that is reached over the network."""
    cert: str = ""
    """The PEM file of this node's certificate for such a state."""
    username: str = ""
    """The user that this node is there."""
    password_file: str = ""
    """The file with the password of that user."""
    prefix: str = ""
    """The beginning of the keys at etcd, `/nodespan` by default."""
    seal_key: str = ""
    """The file of the key that seals secrets at etcd."""
    patience: str = ""
    """How many seconds a write waits through an outage of etcd."""


@attrs.frozen(kw_only=True)
class APISettings:
    """The API on the network.

    Clients show a certificate of `machine.ca`. A control plane with the key of that authority and a `machine.token`
    issues the certificates of other nodes at the next port.
    """

    listen: str = ""
    """`ADDRESS:PORT`; without it nothing listens."""


@attrs.frozen(kw_only=True)
class DashboardSettings:
    """The dashboard for browsers.

    Beyond the loopback it needs `cert`, `key` and `ca`; on it clients need the token in `dashboard.token` of the state
    directory.
    """

    listen: str = ""
    """`ADDRESS:PORT`; without it nothing listens."""
    cert: str = ""
    """The PEM file of the server's certificate."""
    key: str = ""
    """The PEM file of the key to that certificate."""
    ca: str = ""
    """The PEM file of the authority whose clients are let in."""
    hosts: tuple[str, ...] = ()
    """Further names that browsers call it by, as those of a reverse proxy."""


@attrs.frozen(kw_only=True)
class StaticPeer:
    """A peer of the mesh that is known without a discovery service."""

    public_key: str
    """The public key of its tunnel, in base64, as `nodespan get kubespanidentities` shows it there."""
    name: str = ""
    """What it is called."""
    address: str = ""
    """Its address in the mesh, as the same command shows it."""
    endpoints: tuple[str, ...] = ()
    """Where it is, as `address:port`, tried in this order before those that it announces; with none it has to begin."""
    allowed_addresses: tuple[str, ...] = ()
    """Addresses and networks that are reached through it, beside its address in the mesh."""


@attrs.frozen(kw_only=True)
class KubeSpanSettings:
    """What the originals do not set of KubeSpan."""

    listen_port: Unsigned16 = KUBESPAN_PORT
    """The UDP port of the tunnel."""
    static_peers: tuple[StaticPeer, ...] | None = None
    """Peers that need no discovery; with an empty list the mesh needs no discovery service either, and waits for its
    peers.
    """
    measure_paths: bool = False
    """Whether the round trip to each peer, its losses and the size that its path carries are measured in the tunnel."""
    auto_mtu: bool = attrs.field(default=False, metadata=wire("autoMTU"))
    """Whether packets to a peer are kept as small as its path needs."""
    port_mapping: bool = False
    """Whether this node's router is asked, by PCP, NAT-PMP or UPnP, to let the tunnel in."""
    relays: tuple[str, ...] = ()
    """The URLs of relays, of which the nearest gives this node an address that others reach."""


class NameMode(enum.StrEnum):
    """How the programs of the machine get to know the names of members."""

    OFF = "off"
    HOSTS = "hosts"
    RESOLVED = "resolved"
    STUB = "stub"


class NameAddresses(enum.StrEnum):
    """Which addresses the names of members stand for."""

    ALL = "all"
    MESH = "mesh"


@attrs.frozen(kw_only=True)
class NameSettings:
    """Names of the members of the cluster on this machine."""

    mode: NameMode = NameMode.OFF
    """How programs get to know them: `hosts` keeps lines in /etc/hosts, `resolved` registers the domain with
    systemd-resolved, `stub` only offers a resolver.
    """
    domain: str = ""
    """The domain under which members have a name too, as `mesh.internal`; "" for none."""
    addresses: NameAddresses = NameAddresses.ALL
    """Whether a name stands for all addresses of a member or for the one in the mesh only."""


@attrs.frozen(kw_only=True)
class HostDnsSettings:
    """What the originals do not set of the node's own DNS server, which `hostDNS.enabled` starts."""

    listen: tuple[str, ...] = (DEFAULT_HOST_DNS_ADDRESS,)
    """Where it listens for the machine itself, as `ADDRESS:PORT` with addresses of the loopback."""
    mesh: bool = False
    """Whether it also answers the other nodes, at this node's address in the mesh, with the names of members only."""
    rebinding_allowed: tuple[str, ...] = ()
    """Domains whose names may have private addresses although a public server says so."""


@attrs.frozen(kw_only=True)
class NodespanConfig:
    """The settings that only nodespan has."""

    api_version: Literal["nodespan.dev/v1alpha1"] = "nodespan.dev/v1alpha1"
    kind: Literal["NodespanConfig"] = "NodespanConfig"
    etcd: EtcdSettings = EtcdSettings()
    """The etcd that elects the holders of virtual IPs."""
    vip: VipSettings = VipSettings()
    """Virtual IPs."""
    pod_networks: tuple[str, ...] = ()
    """The networks that `advertiseKubernetesNetworks` advertises."""
    accept_networks: tuple[str, ...] = ()
    """Networks that may be led into the tunnel by a member's word although they are as good as default routes, or hold
    this node's gateways or resolvers.
    """
    defaults: DefaultsSettings = DefaultsSettings()
    """What the originals do by default, and nodespan only where it is enabled here."""
    link_names: LinkNameSettings = LinkNameSettings()
    """Predictable names of links."""
    api: APISettings = APISettings()
    """The API on the network."""
    dashboard: DashboardSettings = DashboardSettings()
    """The dashboard for browsers."""
    kubespan: KubeSpanSettings = KubeSpanSettings()
    """What the originals do not set of KubeSpan."""
    host_dns: HostDnsSettings = attrs.field(default=HostDnsSettings(), metadata=wire("hostDNS"))
    """The node's own DNS server."""
    names: NameSettings = NameSettings()
    """Names of the members of the cluster."""
    states: tuple[StateSettings, ...] = ()
    """Namespaces that are kept on other states."""
