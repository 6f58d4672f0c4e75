"""NodespanConfig: the settings that only nodespan has."""

import datetime
import enum
from typing import Literal

import attrs

from nodespan.resources.config.notation import Unsigned16
from nodespan.resources.config.vip_condition import VipCondition
from nodespan.resources.kubespan import KUBESPAN_PORT
from nodespan.runtime.resource import wire


@attrs.frozen(kw_only=True)
class EtcdSettings:
    """The etcd that elects the owners of virtual IPs. `ca`, `cert` and `key` are paths of PEM files.

    `username` is the user that this node is at etcd, and `password_file` the path of its password, if etcd has users.
    """

    endpoints: tuple[str, ...] = ()
    ca: str = ""
    cert: str = ""
    key: str = ""
    username: str = ""
    password_file: str = ""


@attrs.frozen(kw_only=True)
class VipSettings:
    """How long an owner that stops renewing keeps a virtual IP, and the conditions that must hold to own one.

    The originals take a minute. Nodes with different leases may share a virtual IP: each is waited for
    as long as its own lease.
    """

    lease_ttl: datetime.timedelta = attrs.field(default=datetime.timedelta(seconds=5), metadata=wire("leaseTTL"))
    conditions: tuple[VipCondition, ...] = ()


@attrs.frozen(kw_only=True)
class DefaultsSettings:
    """What the originals do by default. All of it is off unless it is enabled here.

    `dhcp`: NICs that nothing configures are set up with addresses by DHCPv4, and lo is set up with 127.0.0.1/8.
    `hostname`, `resolvers`, `time_servers`: defaults for what the configuration leaves unset.
    """

    dhcp: bool = False
    hostname: bool = False
    resolvers: bool = False
    time_servers: bool = False


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
    """Predictable names of links. They are always shown; `rename` gives them to the links.

    Without a `scheme`, that of the kernel command line (`net.naming_scheme`) is in force.
    """

    rename: bool = False
    scheme: NamingScheme | None = None


class Synchronous(enum.StrEnum):
    """When a write to a SQLite file is acknowledged: after the disk has it, or after the system has it."""

    FULL = "FULL"
    NORMAL = "NORMAL"


@attrs.frozen(kw_only=True)
class StateSettings:
    """Namespaces that are kept on a state of their own.

    `url` is `memory:`, `sqlite:PATH`, or what an installed package brings, as `etcd:URL,URL`. `synchronous` is for
    SQLite. `key` is the file of the key that seals secrets (SQLite), or of the client's key (TLS). `ca`, `cert`,
    `username` and `password_file` are for states that are reached over the network. `prefix` (the beginning of its
    keys), `seal_key` (the file of the key that seals secrets) and `patience` (how many seconds a write waits) are for
    etcd.
    """

    namespaces: tuple[str, ...] = ()
    url: str = ""
    synchronous: Synchronous = Synchronous.FULL
    key: str = ""
    ca: str = ""
    cert: str = ""
    username: str = ""
    password_file: str = ""
    prefix: str = ""
    seal_key: str = ""
    patience: str = ""


@attrs.frozen(kw_only=True)
class APISettings:
    """The API on the network: `listen` is ADDRESS:PORT; without it nothing listens.

    Its clients show a certificate of `machine.ca`. A control plane that knows the key of that authority and has a
    `machine.token` issues the certificates of other nodes at the port after it.
    """

    listen: str = ""


@attrs.frozen(kw_only=True)
class DashboardSettings:
    """The dashboard for browsers: `listen` is ADDRESS:PORT; without it nothing listens.

    `cert`, `key` and `ca` are paths of PEM files: the server's certificate and key, and the authority whose clients are
    let in. They are needed beyond the loopback; on it, clients need the token in `dashboard.token` of the state
    directory. `hosts` are further names that browsers call it by, as those of a reverse proxy.
    """

    listen: str = ""
    cert: str = ""
    key: str = ""
    ca: str = ""
    hosts: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class StaticPeer:
    """A peer of the mesh that is known without a discovery service.

    `public_key` and `address` are those that `nodespan get kubespanidentities` shows there; `name` is what it is
    called. `endpoints` are tried in their order, before those that it announces; with none it has to begin.
    `allowed_addresses` are the addresses and networks reached through it, beside its address in the mesh.
    """

    public_key: str
    name: str = ""
    address: str = ""
    endpoints: tuple[str, ...] = ()
    allowed_addresses: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class KubeSpanSettings:
    """What the originals do not set of KubeSpan: the UDP port of the tunnel, and peers that need no discovery.

    With an empty list of static peers the mesh needs no discovery service either, and waits for its peers.
    """

    listen_port: Unsigned16 = KUBESPAN_PORT
    static_peers: tuple[StaticPeer, ...] | None = None


@attrs.frozen(kw_only=True)
class NodespanConfig:
    """`pod_networks` is what `advertiseKubernetesNetworks` advertises.

    `accept_networks` may be led into the tunnel by a member's word although they are as good as default routes, or hold
    this node's gateways or resolvers.
    """

    api_version: Literal["nodespan.dev/v1alpha1"] = "nodespan.dev/v1alpha1"
    kind: Literal["NodespanConfig"] = "NodespanConfig"
    etcd: EtcdSettings = EtcdSettings()
    vip: VipSettings = VipSettings()
    pod_networks: tuple[str, ...] = ()
    accept_networks: tuple[str, ...] = ()
    defaults: DefaultsSettings = DefaultsSettings()
    link_names: LinkNameSettings = LinkNameSettings()
    api: APISettings = APISettings()
    dashboard: DashboardSettings = DashboardSettings()
    kubespan: KubeSpanSettings = KubeSpanSettings()
    states: tuple[StateSettings, ...] = ()
