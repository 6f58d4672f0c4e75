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
    """A file to write."""

    content: str = attrs.field(default="", repr=False)
    """The text of the file, or of the part that is appended."""
    permissions: FileMode = 0
    """The permission bits, in octal."""
    path: str = ""
    """The path of the file."""
    op: str = ""
    """`create`, `append` or `overwrite`; checked when it is applied."""


@attrs.frozen(kw_only=True)
class TimeSettings:
    """How the clock is synchronized."""

    disabled: bool = False
    """Whether it is not."""
    servers: tuple[str, ...] = ()
    """Time servers: names, addresses, or `/dev/ptp*`."""
    boot_timeout: datetime.timedelta = datetime.timedelta()
    """How long those who need the time wait for it after a boot; with 0 nothing waits."""


@attrs.frozen(kw_only=True)
class Install:
    """Open. How the original is installed; here only the kernel command line matters."""

    extra_kernel_args: tuple[str, ...] = ()
    """Extra arguments; `-key` removes all values of `key`, `-key=value` that one."""
    grub_use_uki_cmdline: bool = attrs.field(default=False, metadata=wire("grubUseUKICmdline"))
    """Whether the original takes the command line from its boot image."""


@attrs.frozen(kw_only=True)
class HostEntry:
    """A line of /etc/hosts."""

    ip: str = ""
    """The address."""
    aliases: tuple[str, ...] = ()
    """The names of that address."""


@attrs.frozen(kw_only=True)
class Network:
    """`machine.network`."""

    hostname: str = ""
    """The host name, with or without a domain."""
    nameservers: tuple[str, ...] = ()
    """The addresses of resolvers, in the order of use."""
    search_domains: tuple[str, ...] | None = None
    """Domains in which names without a dot are looked up; unset inherits them, an empty list clears inherited ones."""
    disable_search_domain: bool = False
    """Whether the domain of the host name is left out."""
    extra_host_entries: tuple[HostEntry, ...] = ()
    """Names that are resolved locally."""
    kubespan: KubeSpan | None = None
    """The mesh."""
    interfaces: tuple[Device, ...] = ()
    """The links."""


@attrs.frozen(kw_only=True)
class HostDns:
    """The caching resolver on the node itself."""

    enabled: bool = False
    """Whether it runs."""
    forward_kube_dns_to_host: bool = attrs.field(default=False, metadata=wire("forwardKubeDNSToHost"))
    """Whether the resolver of Kubernetes forwards to it."""
    resolve_member_names: bool = False
    """Whether it resolves the names of members of the cluster."""


@attrs.frozen(kw_only=True)
class Features:
    """Open. `machine.features`."""

    node_address_sort_algorithm: SortAlgorithm = SortAlgorithm.V1
    """The order of the node's addresses."""
    stable_hostname: bool = False
    """Whether a host name that is derived comes from the node's identity."""
    host_dns: HostDns | None = attrs.field(default=None, metadata=wire("hostDNS"))
    """The caching resolver on the node itself."""


@attrs.frozen(kw_only=True)
class CertificateAndKey:
    """A certificate and its key. Workers have no key of the authority."""

    crt: str = ""
    """The certificate: base64 of PEM."""
    key: str = attrs.field(default="", repr=False)
    """The key: base64 of PEM."""


@attrs.frozen(kw_only=True)
class KernelModule:
    """A kernel module to load."""

    name: str = ""
    """Its name."""
    parameters: tuple[str, ...] = ()
    """Its parameters, as `name=value`."""


@attrs.frozen(kw_only=True)
class KernelSettings:
    """`machine.kernel`."""

    modules: tuple[KernelModule, ...] = ()
    """Kernel modules to load."""


@attrs.frozen(kw_only=True)
class UdevSettings:
    """`machine.udev`."""

    rules: tuple[str, ...] = ()
    """Rules for udev, one each."""


@attrs.frozen(kw_only=True)
class Machine:
    """Open. `machine`: the machine itself."""

    type: MachineType = MachineType.WORKER
    """What the machine is in its cluster; without it a worker."""
    token: str = attrs.field(default="", repr=False)
    """What a worker shows to get its certificate for the API."""
    ca: CertificateAndKey | None = None
    """The authority of the API."""
    accepted_cas: tuple[CertificateAndKey, ...] = attrs.field(default=(), metadata=wire("acceptedCAs"))
    """Further authorities of clients of the API."""
    cert_sans: tuple[str, ...] = attrs.field(default=(), metadata=wire("certSANs"))
    """Further addresses and names of this machine for its certificate."""
    env: Mapping[str, str] = attrs.field(factory=FrozenMapping, converter=FrozenMapping, repr=False)
    """Environment variables. They may hold passwords of proxies."""
    files: tuple[MachineFile, ...] = ()
    """Files to write."""
    kernel: KernelSettings = attrs.field(factory=KernelSettings)
    """Kernel modules."""
    sysctls: Mapping[str, str] = attrs.field(factory=FrozenMapping, converter=FrozenMapping)
    """Kernel parameters below /proc/sys."""
    sysfs: Mapping[str, str] = attrs.field(factory=FrozenMapping, converter=FrozenMapping)
    """Kernel parameters below /sys."""
    udev: UdevSettings = attrs.field(factory=UdevSettings)
    """Rules for udev."""
    time: TimeSettings = TimeSettings()
    """How the clock is synchronized."""
    install: Install = Install()
    """How the original is installed."""
    network: Network = Network()
    """The network."""
    features: Features = Features()
    """Features that can be switched."""


@attrs.frozen(kw_only=True)
class ControlPlane:
    """Open. `cluster.controlPlane`: the URL of the Kubernetes API."""

    endpoint: str = ""
    """The URL."""


@attrs.frozen(kw_only=True)
class Cluster:
    """Open. `cluster`: the cluster of the machine."""

    id: str = ""
    """The id of the cluster, which is opaque."""
    secret: str = attrs.field(default="", repr=False)
    """The secret of the cluster: base64 of 32 bytes."""
    cluster_name: str = ""
    """The name of the cluster."""
    control_plane: ControlPlane = ControlPlane()
    """The control plane."""
    discovery: Discovery | None = None
    """How members of the cluster find each other."""
    network: ClusterNetwork | None = None
    """The networks of Kubernetes."""


@attrs.frozen(kw_only=True)
class MainDocument:
    """Open. The document without a kind."""

    version: str = "v1alpha1"
    """The version of the format: `v1alpha1`."""
    debug: bool = False
    """Whether the original logs more; without effect here."""
    persist: bool = True
    """Whether the original keeps the configuration; without effect here."""
    machine: Machine | None = None
    """The machine itself."""
    cluster: Cluster | None = None
    """The cluster of the machine."""
