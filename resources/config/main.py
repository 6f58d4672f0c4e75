"""The main document of a machine configuration: the part that nodespan acts on.

Classes marked open may have further fields, which belong to other systems.
"""

import datetime
import enum
from collections.abc import Mapping

import attrs

from nodespan.resources.config.device import Device
from nodespan.resources.config.kubernetes import ClusterNetwork
from nodespan.resources.config.kubespan import Discovery, KubeSpan
from nodespan.resources.config.notation import FileMode
from nodespan.runtime.resource import FrozenMapping, wire


class MachineType(enum.StrEnum):
    """What a machine is in its cluster. `init` is an older name for a control-plane node, `join` one for a worker."""

    INIT = "init"
    CONTROLPLANE = "controlplane"
    WORKER = "worker"

    @classmethod
    def _missing_(cls, value: object) -> "MachineType | None":
        return cls.WORKER if value == "join" else None

    @property
    def is_control_plane(self) -> bool:
        """Whether the machine takes part in the control plane, and so in the election of virtual IPs."""
        return self is not MachineType.WORKER


class SortAlgorithm(enum.StrEnum):
    """The order of the node's addresses."""

    V1 = "v1"
    V2 = "v2"


@attrs.frozen(kw_only=True)
class MachineFile:
    """A file to write. `op` is create, append or overwrite, and checked when it is applied."""

    content: str = attrs.field(default="", repr=False)
    permissions: FileMode = 0
    path: str = ""
    op: str = ""


@attrs.frozen(kw_only=True)
class TimeSettings:
    """Time servers: names, addresses or `/dev/ptp*`. Boot timeout 0 waits for the time without limit."""

    disabled: bool = False
    servers: tuple[str, ...] = ()
    boot_timeout: datetime.timedelta = datetime.timedelta()


@attrs.frozen(kw_only=True)
class Install:
    """Open. Extra arguments of the kernel command line; `-key` removes all values of `key`, `-key=value` that one."""

    extra_kernel_args: tuple[str, ...] = ()
    grub_use_uki_cmdline: bool = attrs.field(default=False, metadata=wire("grubUseUKICmdline"))


@attrs.frozen(kw_only=True)
class HostEntry:
    """A line of /etc/hosts."""

    ip: str = ""
    aliases: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class Network:
    """`machine.network`. Search domains None inherits them, an empty list clears inherited ones."""

    hostname: str = ""
    nameservers: tuple[str, ...] = ()
    search_domains: tuple[str, ...] | None = None
    disable_search_domain: bool = False
    extra_host_entries: tuple[HostEntry, ...] = ()
    kubespan: KubeSpan | None = None
    interfaces: tuple[Device, ...] = ()


@attrs.frozen(kw_only=True)
class HostDns:
    """The caching resolver on the node itself."""

    enabled: bool = False
    forward_kube_dns_to_host: bool = attrs.field(default=False, metadata=wire("forwardKubeDNSToHost"))
    resolve_member_names: bool = False


@attrs.frozen(kw_only=True)
class Features:
    """Open. `machine.features`."""

    node_address_sort_algorithm: SortAlgorithm = SortAlgorithm.V1
    stable_hostname: bool = False
    host_dns: HostDns | None = attrs.field(default=None, metadata=wire("hostDNS"))


@attrs.frozen(kw_only=True)
class CertificateAndKey:
    """A certificate and its key, both base64 of PEM. Workers have no key of the authority."""

    crt: str = ""
    key: str = attrs.field(default="", repr=False)


@attrs.frozen(kw_only=True)
class Machine:
    """Open. `machine`. A machine without a type is a worker. The environment may hold passwords of proxies.

    `ca` is the authority of the API, `token` what a worker shows to get its certificate. `accepted_cas` are further
    authorities of clients, `cert_sans` further addresses and names of this machine.
    """

    type: MachineType = MachineType.WORKER
    token: str = attrs.field(default="", repr=False)
    ca: CertificateAndKey | None = None
    accepted_cas: tuple[CertificateAndKey, ...] = attrs.field(default=(), metadata=wire("acceptedCAs"))
    cert_sans: tuple[str, ...] = attrs.field(default=(), metadata=wire("certSANs"))
    env: Mapping[str, str] = attrs.field(factory=FrozenMapping, converter=FrozenMapping, repr=False)
    files: tuple[MachineFile, ...] = ()
    time: TimeSettings = TimeSettings()
    install: Install = Install()
    network: Network = Network()
    features: Features = Features()


@attrs.frozen(kw_only=True)
class ControlPlane:
    """Open. `cluster.controlPlane`: the URL of the Kubernetes API."""

    endpoint: str = ""


@attrs.frozen(kw_only=True)
class Cluster:
    """Open. `cluster`. The id is opaque, the secret is base64 of 32 bytes."""

    id: str = ""
    secret: str = attrs.field(default="", repr=False)
    cluster_name: str = ""
    control_plane: ControlPlane = ControlPlane()
    discovery: Discovery | None = None
    network: ClusterNetwork | None = None


@attrs.frozen(kw_only=True)
class MainDocument:
    """Open. The document without kind. None for a missing section."""

    version: str = "v1alpha1"
    debug: bool = False
    persist: bool = True
    machine: Machine | None = None
    cluster: Cluster | None = None
