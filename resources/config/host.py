"""The documents for the whole machine: names, resolvers, time, environment, files below /etc, the kernel."""

import datetime
import enum
from collections.abc import Mapping
from typing import Literal

import attrs

from nodespan.resources.config.main import HostDns
from nodespan.resources.config.notation import FileMode
from nodespan.runtime.resource import FrozenMapping, wire


class DnsProtocol(enum.StrEnum):
    """The protocol of queries to a nameserver: plain, over TLS, over HTTPS."""

    PLAIN = "Do53"
    TLS = "DoT"
    HTTPS = "DoH"


@attrs.frozen(kw_only=True)
class Nameserver:
    """A resolver."""

    address: str = ""
    """Its address."""
    protocol: DnsProtocol = DnsProtocol.PLAIN
    """The protocol of queries to it."""
    tls_server_name: str = ""
    """The name that its certificate must have, for queries over TLS or HTTPS."""


@attrs.frozen(kw_only=True)
class SearchDomains:
    """The domains in which names without a dot are looked up."""

    domains: tuple[str, ...] | None = None
    """The domains; unset inherits them, an empty list clears inherited ones."""
    disable_default: bool = False
    """Whether the domain of the host name is left out."""


@attrs.frozen(kw_only=True)
class ResolverConfig:
    """The document that replaces nameservers and search domains of the main document."""

    api_version: Literal["v1alpha1"] = "v1alpha1"
    kind: Literal["ResolverConfig"] = "ResolverConfig"
    nameservers: tuple[Nameserver, ...] = ()
    """The resolvers, in the order of use."""
    search_domains: SearchDomains = SearchDomains()
    """The domains in which names without a dot are looked up."""
    host_dns: HostDns | None = attrs.field(default=None, metadata=wire("hostDNS"))
    """The caching resolver on the node itself."""


@attrs.frozen(kw_only=True)
class Ntp:
    """Time servers."""

    servers: tuple[str, ...] = ()
    """Their names or addresses."""
    use_nts: bool = attrs.field(default=False, metadata=wire("useNTS"))
    """Whether time must be authenticated by Network Time Security."""


@attrs.frozen(kw_only=True)
class Ptp:
    """PTP clocks, as device paths."""

    devices: tuple[str, ...] = ()
    """The paths of the devices, as `/dev/ptp0`."""


@attrs.frozen(kw_only=True)
class TimeSyncConfig:
    """The document that replaces `machine.time`."""

    api_version: Literal["v1alpha1"] = "v1alpha1"
    kind: Literal["TimeSyncConfig"] = "TimeSyncConfig"
    enabled: bool = True
    """Whether the clock is synchronized."""
    boot_timeout: datetime.timedelta = datetime.timedelta()
    """How long those who need the time wait for it after a boot; 0 for without limit."""
    ntp: Ntp | None = None
    """Time servers."""
    ptp: Ptp | None = None
    """PTP clocks."""


class AutoHostname(enum.StrEnum):
    """Whether the host name is derived from the node's identity."""

    STABLE = "stable"
    OFF = "off"


@attrs.frozen(kw_only=True)
class HostnameConfig:
    """The document that replaces `machine.network.hostname`."""

    api_version: Literal["v1alpha1"] = "v1alpha1"
    kind: Literal["HostnameConfig"] = "HostnameConfig"
    auto: AutoHostname | None = None
    """Whether the name is derived from the node's identity."""
    hostname: str = ""
    """The host name, with or without a domain."""


@attrs.frozen(kw_only=True)
class StaticHostConfig:
    """Names of a host that are resolved locally."""

    api_version: Literal["v1alpha1"] = "v1alpha1"
    kind: Literal["StaticHostConfig"] = "StaticHostConfig"
    name: str = ""
    """The address of the host."""
    hostnames: tuple[str, ...] = ()
    """Its names."""


@attrs.frozen(kw_only=True)
class EnvironmentConfig:
    """More environment variables; they may hold passwords of proxies."""

    api_version: Literal["v1alpha1"] = "v1alpha1"
    kind: Literal["EnvironmentConfig"] = "EnvironmentConfig"
    variables: Mapping[str, str] = attrs.field(factory=FrozenMapping, converter=FrozenMapping, repr=False)
    """The variables, by name. They may hold passwords of proxies."""


@attrs.frozen(kw_only=True)
class TrustedRootsConfig:
    """More certificate authorities to trust."""

    api_version: Literal["v1alpha1"] = "v1alpha1"
    kind: Literal["TrustedRootsConfig"] = "TrustedRootsConfig"
    name: str = ""
    """The name of the document."""
    certificates: str = attrs.field(default="", repr=False)
    """The certificates, as PEM."""


@attrs.frozen(kw_only=True)
class EtcFileConfig:
    """A file below /etc."""

    api_version: Literal["v1alpha1"] = "v1alpha1"
    kind: Literal["EtcFileConfig"] = "EtcFileConfig"
    name: str = ""
    """The path of the file below /etc."""
    mode: FileMode = 0o644
    """The permission bits, in octal."""
    contents: str = attrs.field(default="", repr=False)
    """The complete contents."""


@attrs.frozen(kw_only=True)
class SysctlConfig:
    """Kernel parameters below /proc/sys."""

    api_version: Literal["v1alpha1"] = "v1alpha1"
    kind: Literal["SysctlConfig"] = "SysctlConfig"
    params: Mapping[str, str] = attrs.field(factory=FrozenMapping, converter=FrozenMapping)
    """The values by name. They win over those of `machine.sysctls`."""


@attrs.frozen(kw_only=True)
class SysfsConfig:
    """Kernel parameters below /sys."""

    api_version: Literal["v1alpha1"] = "v1alpha1"
    kind: Literal["SysfsConfig"] = "SysfsConfig"
    params: Mapping[str, str] = attrs.field(factory=FrozenMapping, converter=FrozenMapping)
    """The values by name. They win over those of `machine.sysfs`."""


@attrs.frozen(kw_only=True)
class KernelModuleConfig:
    """A kernel module to load."""

    api_version: Literal["v1alpha1"] = "v1alpha1"
    kind: Literal["KernelModuleConfig"] = "KernelModuleConfig"
    name: str = ""
    """The name of the module."""
    parameters: tuple[str, ...] = ()
    """Its parameters, as `name=value`."""


@attrs.frozen(kw_only=True)
class UdevRulesConfig:
    """Rules for udev. With this document those of `machine.udev` are ignored."""

    api_version: Literal["v1alpha1"] = "v1alpha1"
    kind: Literal["UdevRulesConfig"] = "UdevRulesConfig"
    rules: tuple[str, ...] = ()
    """The rules, one each."""
