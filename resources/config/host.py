"""The documents for the whole machine: names, resolvers, time, environment, files below /etc."""

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
    """A resolver, and the name its certificate must have for queries over TLS or HTTPS."""

    address: str = ""
    protocol: DnsProtocol = DnsProtocol.PLAIN
    tls_server_name: str = ""


@attrs.frozen(kw_only=True)
class SearchDomains:
    """Domains None inherits them, an empty list clears inherited ones."""

    domains: tuple[str, ...] | None = None
    disable_default: bool = False


@attrs.frozen(kw_only=True)
class ResolverConfig:
    """The document that replaces nameservers and search domains of the main document."""

    api_version: Literal["v1alpha1"] = "v1alpha1"
    kind: Literal["ResolverConfig"] = "ResolverConfig"
    nameservers: tuple[Nameserver, ...] = ()
    search_domains: SearchDomains = SearchDomains()
    host_dns: HostDns | None = attrs.field(default=None, metadata=wire("hostDNS"))


@attrs.frozen(kw_only=True)
class Ntp:
    """Time servers; `use_nts` uses Network Time Security."""

    servers: tuple[str, ...] = ()
    use_nts: bool = attrs.field(default=False, metadata=wire("useNTS"))


@attrs.frozen(kw_only=True)
class Ptp:
    """PTP clocks, as device paths."""

    devices: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class TimeSyncConfig:
    """The document that replaces `machine.time`. Boot timeout 0 waits for the time without limit."""

    api_version: Literal["v1alpha1"] = "v1alpha1"
    kind: Literal["TimeSyncConfig"] = "TimeSyncConfig"
    enabled: bool = True
    boot_timeout: datetime.timedelta = datetime.timedelta()
    ntp: Ntp | None = None
    ptp: Ptp | None = None


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
    hostname: str = ""


@attrs.frozen(kw_only=True)
class StaticHostConfig:
    """Host names for the address of this name."""

    api_version: Literal["v1alpha1"] = "v1alpha1"
    kind: Literal["StaticHostConfig"] = "StaticHostConfig"
    name: str = ""
    hostnames: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class EnvironmentConfig:
    """More environment variables; they may hold passwords of proxies."""

    api_version: Literal["v1alpha1"] = "v1alpha1"
    kind: Literal["EnvironmentConfig"] = "EnvironmentConfig"
    variables: Mapping[str, str] = attrs.field(factory=FrozenMapping, converter=FrozenMapping, repr=False)


@attrs.frozen(kw_only=True)
class TrustedRootsConfig:
    """More certificate authorities to trust, as PEM text."""

    api_version: Literal["v1alpha1"] = "v1alpha1"
    kind: Literal["TrustedRootsConfig"] = "TrustedRootsConfig"
    name: str = ""
    certificates: str = attrs.field(default="", repr=False)


@attrs.frozen(kw_only=True)
class EtcFileConfig:
    """A file below /etc; its path is the name."""

    api_version: Literal["v1alpha1"] = "v1alpha1"
    kind: Literal["EtcFileConfig"] = "EtcFileConfig"
    name: str = ""
    mode: FileMode = 0o644
    contents: str = attrs.field(default="", repr=False)
