"""Rules between documents: names and addresses that two of them claim, and what one of them needs of another."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from nodespan.controllers.common.quoting import quote
from nodespan.controllers.config.finding import Finding, Path, at, warn
from nodespan.controllers.config.rules.entry import Entry
from nodespan.controllers.config.rules.main import uses_legacy_service
from nodespan.controllers.config.rules.virtual_ips import NO_EFFECT, NO_VIP_HINT
from nodespan.resources.config.host import (
    DnsProtocol,
    ResolverConfig,
)
from nodespan.resources.config.kubespan import (
    DiscoveryIdentityConfig,
    DiscoveryServiceConfig,
    KubeSpanConfig,
)
from nodespan.resources.config.links import (
    BondConfig,
    BridgeConfig,
    VethConfig,
    VRFConfig,
)
from nodespan.resources.config.main import Cluster, Machine, MainDocument
from nodespan.resources.config.network import (
    HCloudVIPConfig,
    HTTPProbeConfig,
    Layer2VIPConfig,
    TCPProbeConfig,
)
from nodespan.resources.config.nodespan import NodespanConfig

_LINK_KINDS: Final = frozenset(
    {
        "BondConfig",
        "BridgeConfig",
        "DummyLinkConfig",
        "LinkConfig",
        "MacVLANConfig",
        "VLANConfig",
        "VRFConfig",
        "VXLANConfig",
        "VethConfig",
        "WireguardConfig",
    }
)
_VIP_KINDS: Final = frozenset({"HCloudVIPConfig", "Layer2VIPConfig"})


def check_repeated(entries: Sequence[Entry]) -> Iterator[tuple[int, Finding]]:
    """A document is given once."""
    seen = set()
    for index, entry in enumerate(entries):
        key = (entry.api_version, entry.kind, entry.name)
        if key in seen:
            named = f" named {quote(entry.name)}" if entry.name else ""
            what = f"a {entry.kind}{named}" if entry.kind else "a main document"
            path = ("name",) if entry.name else ("kind",) if entry.kind else ()
            yield index, at(*path, message=f"{what} stands further up already", hint="merge the two documents")
        seen.add(key)


def check_conflicts(entries: Sequence[Entry]) -> Iterator[tuple[int, Finding]]:
    """A link is described once, and so is a virtual IP. A kind and name given twice is left to `check_repeated`."""
    for kinds in (_LINK_KINDS, _VIP_KINDS):
        first: dict[str, tuple[int, str, Path]] = {}
        for index, entry in enumerate(entries):
            if entry.kind not in kinds:
                continue
            for path, name in _names(entry):
                other, kind, place = first.setdefault(name, (index, entry.kind, path))
                is_repeated = kind == entry.kind and path == place == ("name",)
                if other != index and not is_repeated:
                    message = f"{quote(name)} is described by a {kind} already"
                    yield index, at(*path, message=message, hint="keep one of the two documents")


def _names(entry: Entry) -> Iterator[tuple[Path, str]]:
    """The names that a document claims, and where they stand in it."""
    if entry.name:
        yield ("name",), entry.name
    if isinstance(entry.value, VethConfig) and entry.value.peer.name:
        yield ("peer", "name"), entry.value.peer.name


def check_members(entries: Sequence[Entry]) -> Iterator[tuple[int, Finding]]:
    """A link has one master, whichever documents say so. Within the main document `check_devices` checks it."""
    first: dict[str, str] = {}
    _, main = first_of(entries, MainDocument)
    for device in main.machine.network.interfaces if main and main.machine else ():
        for section in filter(None, (device.bond, device.bridge)):
            first.update(dict.fromkeys(section.interfaces, device.interface))
        if device.bridge_port:
            first[device.interface] = device.bridge_port.master
    for index, entry in enumerate(entries):
        if not isinstance(entry.value, BondConfig | BridgeConfig | VRFConfig):
            continue
        for position, member in enumerate(entry.value.links):
            other = first.setdefault(member, entry.name)
            if other != entry.name:
                message = f"{quote(member)} is a member of {quote(other)} already"
                yield index, at("links", position, message=message, hint="a link can have only one master")


def check_virtual_ips(entries: Sequence[Entry]) -> Iterator[tuple[int, Finding]]:
    """The documents of virtual IPs are for nodes of the control plane.

    A warning, while `vip` in the main document is an error: the originals accept the documents anywhere.
    """
    _, main = first_of(entries, MainDocument)
    is_worker = main is not None and main.machine is not None and not main.machine.type.is_control_plane
    for index, entry in enumerate(entries):
        if is_worker and isinstance(entry.value, HCloudVIPConfig | Layer2VIPConfig):
            yield index, warn("name", message=NO_EFFECT, hint=NO_VIP_HINT)


def first_of(entries: Sequence[Entry], cls: type) -> tuple[int, Any]:
    """The first document of a class and its position, (-1, None) if there is none."""
    return next(
        ((index, entry.value) for index, entry in enumerate(entries) if isinstance(entry.value, cls)), (-1, None)
    )


def check_encrypted_dns(entries: Sequence[Entry]) -> Iterator[tuple[int, Finding]]:
    """Servers that are asked over TLS need the resolver on the node."""
    _, main = first_of(entries, MainDocument)
    machine = (main.machine if main else None) or Machine()
    index, resolver = first_of(entries, ResolverConfig)
    host_dns = (resolver.host_dns if resolver else None) or machine.features.host_dns
    if not resolver or (host_dns and host_dns.enabled):
        return
    for position, server in enumerate(resolver.nameservers):
        if server.protocol is not DnsProtocol.PLAIN:
            message, hint = f"{server.protocol} needs host DNS", "write hostDNS: {enabled: true}"
            yield index, at("nameservers", position, "protocol", message=message, hint=hint)


def check_probe_conditions(entries: Sequence[Entry]) -> Iterator[tuple[int, Finding]]:
    """A condition of virtual IPs that names a probe needs the document of that probe."""
    names = {entry.name for entry in entries if isinstance(entry.value, TCPProbeConfig | HTTPProbeConfig)}
    index, nodespan = first_of(entries, NodespanConfig)
    for position, condition in enumerate(nodespan.vip.conditions if nodespan else ()):
        if condition.probe and condition.probe not in names:
            message = f"there is no probe named {quote(condition.probe)}"
            hint = "write the name of a TCPProbeConfig or HTTPProbeConfig"
            yield index, at("vip", "conditions", position, "probe", message=message, hint=hint)


def check_discovery_needs(entries: Sequence[Entry]) -> Iterator[tuple[int, Finding]]:
    """KubeSpan needs a discovery service or static peers, and both need an identity of the cluster."""
    main_index, main = first_of(entries, MainDocument)
    cluster = (main.cluster if main else None) or Cluster()
    legacy = main.machine.network.kubespan if main and main.machine else None
    document_index, document = first_of(entries, KubeSpanConfig)
    service_index, service = first_of(entries, DiscoveryServiceConfig)
    _, identity = first_of(entries, DiscoveryIdentityConfig)
    has_legacy_service = uses_legacy_service(cluster.discovery)

    own_index, own = first_of(entries, NodespanConfig)
    has_static_peers = own is not None and own.kubespan.static_peers is not None
    if not (service or has_legacy_service or has_static_peers):
        message = "KubeSpan needs a discovery service, or static peers"
        hint = "enable cluster.discovery, or add a DiscoveryServiceConfig, or kubespan.staticPeers of a NodespanConfig"
        if document and document.enabled:
            yield document_index, at("enabled", message=message, hint=hint)
        if legacy and legacy.enabled:
            yield main_index, at("machine", "network", "kubespan", "enabled", message=message, hint=hint)
        return
    id, secret = cluster.id, cluster.secret
    if identity and not (id or secret):
        id, secret = identity.cluster_id, identity.cluster_secret
    for key, value in (("id", id), ("secret", secret)):
        # What a DiscoveryIdentityConfig lacks is reported by its own rule.
        if not value and not identity:
            message = f"a discovery service needs cluster.{key}"
            hint = f"set cluster.{key}, or add a DiscoveryIdentityConfig document"
            if has_legacy_service:
                yield main_index, at("cluster", key, message=message, hint=hint)
            elif service:
                yield service_index, at("kind", message=message, hint=hint)
            elif (document and document.enabled) or (legacy and legacy.enabled):
                message = f"peers of KubeSpan need cluster.{key}"
                yield own_index, at("kubespan", "staticPeers", message=message, hint=hint)
                return
