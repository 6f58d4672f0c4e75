"""All rules together: those of the main document, those of each further document, and those between documents."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import attrs

from nodespan.controllers.config.device_rules import check_devices
from nodespan.controllers.config.document_rules import (
    DOCUMENT_RULES,
    LOWEST_KUBESPAN_MTU,
    check_filters,
    check_secret,
    check_words,
)
from nodespan.controllers.config.finding import Finding, Path, at, under, warn
from nodespan.controllers.config.machine_files import entry_error
from nodespan.controllers.config.masking import quote
from nodespan.controllers.config.notation import HOSTNAME_HINT, IP_HINT, is_hostname, is_ip, is_url, url_path
from nodespan.resources.config.host import DnsProtocol, ResolverConfig
from nodespan.resources.config.kubespan import (
    Discovery,
    DiscoveryIdentityConfig,
    DiscoveryServiceConfig,
    KubeSpan,
    KubeSpanConfig,
)
from nodespan.resources.config.links import BondConfig, BridgeConfig, VethConfig, VRFConfig
from nodespan.resources.config.main import Cluster, Machine, MainDocument, Network
from nodespan.resources.config.network import HCloudVIPConfig, Layer2VIPConfig

_LINK_KINDS: Final = frozenset(
    {
        "BondConfig",
        "BridgeConfig",
        "DummyLinkConfig",
        "LinkConfig",
        "VLANConfig",
        "VRFConfig",
        "VethConfig",
        "WireguardConfig",
    }
)
_VIP_KINDS: Final = frozenset({"HCloudVIPConfig", "Layer2VIPConfig"})
_SERVICE_URL_HINT = "write it like https://discovery.example.org/"
_NO_VIP = "a virtual IP is not allowed on a worker"
_NO_VIP_HINT = "write machine.type: controlplane, or take the virtual IP away"
_ONE_PLACE_HINT = "keep one of the two"


@attrs.frozen(kw_only=True)
class Entry:
    """One document of the stream. `kind` is "" for the main document; value None stands for one that is not managed."""

    api_version: str = ""
    kind: str = ""
    name: str = ""
    value: Any = None


def validate(entries: Sequence[Entry], *, are_all: bool = True) -> Iterator[tuple[int, Finding]]:
    """What the rules say, with the position of the document in `entries`.

    If these are not all documents, because others could not be read, each is looked at by itself only.
    """
    for index, entry in enumerate(entries):
        if isinstance(entry.value, MainDocument):
            yield from ((index, finding) for finding in check_main(entry.value))
        elif entry.value is not None:
            yield from ((index, finding) for finding in DOCUMENT_RULES[type(entry.value)](entry.value))
    yield from check_repeated(entries)
    if not are_all:
        return
    yield from check_conflicts(entries)
    yield from check_members(entries)
    yield from check_virtual_ips(entries)
    yield from check_replaced(entries)
    yield from check_discovery_needs(entries)


def check_main(main: MainDocument) -> Iterator[Finding]:
    """The main document by itself."""
    if main.version != "v1alpha1":
        yield at("version", message=f"version {quote(main.version)} is not known", hint="write version: v1alpha1")
    if main.machine:
        yield from under(("machine",), _check_machine(main.machine))
    if main.cluster:
        yield from under(("cluster",), _check_cluster(main.cluster))


def _check_machine(machine: Machine) -> Iterator[Finding]:
    if machine.install.extra_kernel_args and machine.install.grub_use_uki_cmdline:
        yield at(
            "install",
            "extraKernelArgs",
            message="install.extraKernelArgs and install.grubUseUKICmdline exclude each other",
            hint="take one of the two away",
        )
    if not machine.type.is_control_plane:
        yield from under(("network", "interfaces"), _check_no_vip(machine.network))
    for index, file in enumerate(machine.files):
        # The originals find out when it is applied, and so it keeps nothing else from being applied here.
        if error := entry_error(file):
            yield warn("files", index, message=error)
    yield from under(("network",), _check_network(machine.network))
    yield from under(("time",), check_words("servers", *machine.time.servers, are_many=True))


def _check_no_vip(network: Network) -> Iterator[Finding]:
    for index, device in enumerate(network.interfaces):
        if device.vip:
            yield at(index, "vip", message=_NO_VIP, hint=_NO_VIP_HINT)
        for position, vlan in enumerate(device.vlans):
            if vlan.vip:
                yield at(index, "vlans", position, "vip", message=_NO_VIP, hint=_NO_VIP_HINT)


def _check_network(network: Network) -> Iterator[Finding]:
    if network.hostname and not is_hostname(network.hostname):
        yield at(
            "hostname",
            message=f"{quote(network.hostname)} is not a host name",
            hint=HOSTNAME_HINT,
        )
    for index, server in enumerate(network.nameservers):
        if not is_ip(server):
            message = f"{quote(server)} is not an IP address and is left out"
            yield warn("nameservers", index, message=message, hint=IP_HINT)
    for index, host in enumerate(network.extra_host_entries):
        if not is_ip(host.ip):
            yield at("extraHostEntries", index, "ip", message=f"{quote(host.ip)} is not an IP address")
        yield from under(("extraHostEntries", index), check_words("aliases", *host.aliases, are_many=True))
    yield from check_words("searchDomains", *(network.search_domains or ()), are_many=True)
    yield from under(("interfaces",), check_devices(network.interfaces))
    if network.kubespan and network.kubespan.enabled:
        yield from under(("kubespan",), _check_kubespan(network.kubespan))


def _check_kubespan(kubespan: KubeSpan) -> Iterator[Finding]:
    if kubespan.mtu and kubespan.mtu < LOWEST_KUBESPAN_MTU:
        yield at("mtu", message=f"mtu {kubespan.mtu} is less than {LOWEST_KUBESPAN_MTU}")
    yield from under(("filters",), check_filters(kubespan.filters))


def _check_cluster(cluster: Cluster) -> Iterator[Finding]:
    if cluster.secret:
        yield from check_secret(cluster.secret, "secret")
    endpoint = cluster.control_plane.endpoint
    if endpoint and not is_url(endpoint, "https", "http"):
        message = f"{quote(endpoint)} is not a URL"
        yield at("controlPlane", "endpoint", message=message, hint="write it like https://10.0.0.1:6443")
    if cluster.discovery and _legacy_service(cluster.discovery):
        endpoint = cluster.discovery.registries.service.endpoint
        path = ("discovery", "registries", "service", "endpoint")
        if endpoint and not is_url(endpoint, "https", "http", "grpc"):
            message = f"{quote(endpoint)} is not a URL of a discovery service"
            yield at(*path, message=message, hint=_SERVICE_URL_HINT)
        elif endpoint and url_path(endpoint) not in {"", "/"}:
            yield at(*path, message=f"{quote(endpoint)} has a path", hint=_SERVICE_URL_HINT)


def _legacy_service(discovery: Discovery | None) -> bool:
    return discovery is not None and discovery.enabled and not discovery.registries.service.disabled


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
    """A link is described once, and so is a virtual IP. One kind and name given twice is `check_repeated`'s matter."""
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
    """A link has one master, whichever documents say so. Within the main document `check_devices` sees to that."""
    first: dict[str, str] = {}
    _, main = _first(entries, MainDocument)
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
    """The documents of virtual IPs are, as `vip` in the main document is, for nodes of the control plane."""
    _, main = _first(entries, MainDocument)
    if main is None or main.machine is None or main.machine.type.is_control_plane:
        return
    for index, entry in enumerate(entries):
        if isinstance(entry.value, HCloudVIPConfig | Layer2VIPConfig):
            yield index, at("name", message=_NO_VIP, hint=_NO_VIP_HINT)


def _first(entries: Sequence[Entry], cls: type) -> tuple[int, Any]:
    """The first document of a class and its position, (-1, None) if there is none."""
    return next(
        ((index, entry.value) for index, entry in enumerate(entries) if isinstance(entry.value, cls)), (-1, None)
    )


def check_replaced(entries: Sequence[Entry]) -> Iterator[tuple[int, Finding]]:
    """Settings that have a document of their own are not given in the main document too."""
    _, main = _first(entries, MainDocument)
    machine = (main.machine if main else None) or Machine()
    cluster = (main.cluster if main else None) or Cluster()
    network = machine.network
    for cls, taken in (
        (KubeSpanConfig, {"machine.network.kubespan": network.kubespan}),
        (DiscoveryServiceConfig, {"cluster.discovery": cluster.discovery}),
        (
            DiscoveryIdentityConfig,
            {"cluster.id": cluster.id, "cluster.secret": cluster.secret},
        ),
    ):
        index, document = _first(entries, cls)
        for key in (key for key, value in taken.items() if document and value):
            yield index, at("kind", message=f"{key} is given in the main document too", hint=_ONE_PLACE_HINT)
    index, resolver = _first(entries, ResolverConfig)
    if resolver:
        yield from ((index, finding) for finding in _check_resolver(resolver, machine))


def _check_resolver(resolver: ResolverConfig, machine: Machine) -> Iterator[Finding]:
    network = machine.network
    taken = {
        "machine.network.nameservers": network.nameservers,
        "machine.network.searchDomains": network.search_domains is not None,
        "machine.network.disableSearchDomain": network.disable_search_domain,
        "machine.features.hostDNS": resolver.host_dns and machine.features.host_dns,
    }
    for key in (key for key, value in taken.items() if value):
        yield at("kind", message=f"{key} is given in the main document too", hint=_ONE_PLACE_HINT)
    host_dns = resolver.host_dns or machine.features.host_dns
    if host_dns and host_dns.enabled:
        return
    for index, server in enumerate(resolver.nameservers):
        if server.protocol is not DnsProtocol.PLAIN:
            yield at(
                "nameservers",
                index,
                "protocol",
                message=f"{server.protocol} needs host DNS",
                hint="write hostDNS: {enabled: true}",
            )


def check_discovery_needs(entries: Sequence[Entry]) -> Iterator[tuple[int, Finding]]:
    """KubeSpan needs a discovery service, and a discovery service needs an identity of the cluster."""
    main_index, main = _first(entries, MainDocument)
    cluster = (main.cluster if main else None) or Cluster()
    legacy = main.machine.network.kubespan if main and main.machine else None
    document_index, document = _first(entries, KubeSpanConfig)
    service_index, service = _first(entries, DiscoveryServiceConfig)
    _, identity = _first(entries, DiscoveryIdentityConfig)
    has_legacy_service = _legacy_service(cluster.discovery)

    if not (service or has_legacy_service):
        message = "KubeSpan needs a discovery service"
        hint = "enable cluster.discovery, or add a DiscoveryServiceConfig document"
        if document and document.enabled:
            yield document_index, at("enabled", message=message, hint=hint)
        if legacy and legacy.enabled:
            yield main_index, at("machine", "network", "kubespan", "enabled", message=message, hint=hint)
        return
    id, secret = cluster.id, cluster.secret
    if identity and not (id or secret):
        id, secret = identity.cluster_id, identity.cluster_secret
    for key, value in (("id", id), ("secret", secret)):
        # A DiscoveryIdentityConfig has already been told what it lacks.
        if not value and not identity:
            message = f"a discovery service needs cluster.{key}"
            hint = f"set cluster.{key}, or add a DiscoveryIdentityConfig document"
            if has_legacy_service:
                yield main_index, at("cluster", key, message=message, hint=hint)
            else:
                yield service_index, at("kind", message=message, hint=hint)
