"""The rules for the documents beside the main one, each looked at by itself."""

import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any, Final

from nodespan.controllers.common.cel import ExpressionError
from nodespan.controllers.common.cel import parse as parse_expression
from nodespan.controllers.config.device_rules import (
    MODES_WITH_PRIMARY,
    check_monitoring,
    check_peer,
    check_private_key,
)
from nodespan.controllers.config.finding import Finding, at, under, warn
from nodespan.controllers.config.masking import quote
from nodespan.controllers.config.notation import (
    CIDR_HINT,
    ENDPOINT_HINT,
    HOSTNAME_HINT,
    IP_HINT,
    is_cidr,
    is_hex_bytes,
    is_host_port,
    is_hostname,
    is_ip,
    is_ip_or_cidr,
    is_ip_port,
    is_key,
    is_mac,
    is_url,
    is_word,
    parse_cidr,
    parse_ip,
)
from nodespan.resources.config.bond import BondMode
from nodespan.resources.config.host import (
    AutoHostname,
    DnsProtocol,
    EnvironmentConfig,
    EtcFileConfig,
    HostnameConfig,
    ResolverConfig,
    StaticHostConfig,
    TimeSyncConfig,
    TrustedRootsConfig,
)
from nodespan.resources.config.kubespan import (
    DiscoveryIdentityConfig,
    DiscoveryServiceConfig,
    KubeSpanConfig,
    KubeSpanEndpointsConfig,
    KubeSpanFilters,
)
from nodespan.resources.config.links import (
    BondConfig,
    BridgeConfig,
    CommonLink,
    DummyLinkConfig,
    LinkAliasConfig,
    LinkConfig,
    LinkRoute,
    LinkSettings,
    VethConfig,
    VLANConfig,
    VRFConfig,
    WireguardConfig,
    WireguardPeer,
)
from nodespan.resources.config.network import (
    BlackholeRouteConfig,
    ClientIdentifier,
    DHCPv4Config,
    DHCPv6Config,
    HCloudVIPConfig,
    Layer2VIPConfig,
    RoutingRuleConfig,
    RuleAction,
)
from nodespan.resources.config.nodespan import EtcdSettings, NodespanConfig
from nodespan.resources.config.vip_condition import VipCondition
from nodespan.runtime import jsonpath

LOWEST_KUBESPAN_MTU: Final = 1280
_RESERVED_PRIORITIES = (0, 32500, 32766, 32767)
_HIGHEST_VLAN = 4094
_TABLES = ("local", "main", "default")
_SYSTEM_TABLES = (253, 254, 255)
_HIGHEST_TABLE = 2**32 - 1
# Below that, no whole second is left of a lease for which the kernel could be given the address.
_SHORTEST_LEASE: Final = timedelta(seconds=3)
_EXPRESSION_HINT = 'write it like link.driver == "virtio_net" && glob("00:1a:2b:*", mac(link.permanent_addr))'
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FOREIGN_ETC_FILES = frozenset(
    {"resolv.conf", "hosts", "machine-id", "os-release", "localtime", "extensions.yaml", "xattr.conf"}
)
_FOREIGN_ETC_DIRECTORIES = frozenset(
    [
        "ssl",
        "ca-certificates",
        "pki",
        "cni",
        "cri",
        "kubernetes",
        "apparmor",
        "apparmor.d",
        "iscsi",
        "lvm",
        "nvme",
        "selinux",
    ]
)


def check_filters(filters: KubeSpanFilters | None) -> Iterator[Finding]:
    """The filters of KubeSpan, in the main document or in a document of their own."""
    if filters is None:
        return
    for index, entry in enumerate(filters.endpoints or ()):
        if not is_ip_or_cidr(entry.removeprefix("!")):
            yield at(
                "endpoints",
                index,
                message=f"{quote(entry)} is neither an IP address nor a CIDR, with or without a ! in front",
                hint='write it like 10.0.0.0/8 or "!192.168.0.0/16"',
            )
    for index, network in enumerate(filters.exclude_advertised_networks):
        if not is_cidr(network):
            yield at("excludeAdvertisedNetworks", index, message=f"{quote(network)} is not a CIDR", hint=CIDR_HINT)


def check_secret(secret: str, key: str) -> Iterator[Finding]:
    """A cluster secret, which is never shown."""
    if not is_key(secret):
        yield at(key, message=f"{key} is not base64 of 32 bytes", hint="copy it from another node of the cluster")


def _required(document: Any, *keys: tuple[str, object]) -> Iterator[Finding]:
    for key, value in keys:
        if not value:
            yield at(key, message=f"{document.kind} needs {key}")


def _check_ip_name(document: Any) -> Iterator[Finding]:
    if not is_ip(document.name):
        yield at("name", message=f"the name {quote(document.name)} must be an IP address", hint=IP_HINT)


def _check_common(link: CommonLink) -> Iterator[Finding]:
    yield from _required(link, ("name", link.name))
    yield from _check_settings(link)


def _check_settings(link: LinkSettings) -> Iterator[Finding]:
    for index, address in enumerate(link.addresses):
        if not is_cidr(address.address):
            message = f"{quote(address.address)} is not an address with a prefix length"
            yield at("addresses", index, "address", message=message, hint="write it like 10.0.0.5/24 or fd00::5/64")
    for index, route in enumerate(link.routes):
        yield from under(("routes", index), _check_link_route(route))


def _check_link_route(route: LinkRoute) -> Iterator[Finding]:
    if not route.destination and not route.gateway:
        yield at("destination", message="neither destination nor gateway is given", hint="a route needs one of them")
    network = parse_cidr(route.destination)
    if route.destination and network is None:
        yield at("destination", message=f"{quote(route.destination)} is not a CIDR", hint=CIDR_HINT)
    elif network is not None and network.network.prefixlen == 0:
        message = f"{quote(route.destination)} is not allowed as a destination"
        yield at("destination", message=message, hint="leave the destination out for a default route")
    for key, text in (("gateway", route.gateway), ("source", route.source)):
        ip = parse_ip(text)
        if text and ip is None:
            yield at(key, message=f"{quote(text)} is not an IP address", hint=IP_HINT)
        elif ip is not None and ip.is_unspecified:
            yield at(key, message=f"{quote(text)} is not allowed here", hint=f"leave {key} out")
    yield from _check_table(route.table)


def _check_table(table: str) -> Iterator[Finding]:
    if table and table not in _TABLES and not _is_number(table, 1, _HIGHEST_TABLE):
        message = f"{quote(table)} is not a routing table"
        yield at("table", message=message, hint=f"write its number, or one of {', '.join(_TABLES)}")


def _is_number(text: str, low: int, high: int) -> bool:
    return text.isascii() and text.isdecimal() and low <= int(text[:12]) <= high


def _check_mac(text: str) -> Iterator[Finding]:
    if text and not is_mac(text):
        message = f"{quote(text)} is not a hardware address"
        yield at("hardwareAddr", message=message, hint="write it like 02:00:5e:10:00:01")


def check_link(link: LinkConfig) -> Iterator[Finding]:
    """LinkConfig."""
    yield from _check_common(link)


def check_bond_config(bond: BondConfig) -> Iterator[Finding]:
    """BondConfig."""
    yield from _check_common(bond)
    yield from _check_mac(bond.hardware_addr)
    yield from _required(bond, ("links", bond.links), ("bondMode", bond.bond_mode))
    if bond.primary and bond.primary not in bond.links:
        yield at("primary", message=f"primary {quote(bond.primary)} is not one of links")
    if bond.primary and bond.bond_mode is not None and bond.bond_mode not in MODES_WITH_PRIMARY:
        yield at(
            "primary",
            message=f"primary is not available in mode {bond.bond_mode}",
            hint=f"only in {', '.join(MODES_WITH_PRIMARY)}",
        )
    for key, targets in (("arpIpTargets", bond.arp_ip_targets), ("nsIp6Targets", bond.ns_ip6_targets)):
        for index, target in enumerate(targets):
            ip = parse_ip(target)
            wanted = 4 if key == "arpIpTargets" else 6
            if ip is None or ip.version != wanted:
                yield at(key, index, message=f"{quote(target)} is not an IPv{wanted} address")
    if bond.bond_mode is not None:
        yield from check_monitoring("bondMode", bond.name, bond.bond_mode, bond)
    if bond.bond_mode is BondMode.LACP:
        for key, value in (("miimon", bond.miimon), ("updelay", bond.updelay), ("downdelay", bond.downdelay)):
            if value is None:
                yield warn(
                    key,
                    message=f"a bond in mode 802.3ad should set {key}",
                    hint="without link monitoring a dead link stays in use",
                )


def check_vlan_config(vlan: VLANConfig) -> Iterator[Finding]:
    """VLANConfig."""
    yield from _check_common(vlan)
    yield from _required(vlan, ("parent", vlan.parent))
    if not 1 <= vlan.vlan_id <= _HIGHEST_VLAN:
        yield at("vlanID", message=f"vlanID {vlan.vlan_id} is not between 1 and {_HIGHEST_VLAN}")


def check_wireguard_config(wireguard: WireguardConfig) -> Iterator[Finding]:
    """WireguardConfig."""
    yield from _check_common(wireguard)
    yield from check_private_key(wireguard.private_key)
    for index, peer in enumerate(wireguard.peers):
        yield from under(("peers", index), _check_wireguard_peer(peer))


def _check_wireguard_peer(peer: WireguardPeer) -> Iterator[Finding]:
    yield from check_peer(peer.public_key, peer.allowed_ips)
    if peer.preshared_key and not is_key(peer.preshared_key):
        yield at("presharedKey", message="the preshared key is not base64 of 32 bytes", hint="make one: `wg genpsk`")
    if peer.endpoint and not is_ip_port(peer.endpoint):
        message = f"{quote(peer.endpoint)} is not ip:port"
        yield at("endpoint", message=message, hint=f"{ENDPOINT_HINT}; names are not looked up here")
    if peer.persistent_keepalive_interval < timedelta():
        yield at("persistentKeepaliveInterval", message="the interval is negative", hint="write 0s for none")


def check_bridge_config(bridge: BridgeConfig) -> Iterator[Finding]:
    """BridgeConfig."""
    yield from _check_common(bridge)
    yield from _check_mac(bridge.hardware_addr)


def check_dummy(dummy: DummyLinkConfig) -> Iterator[Finding]:
    """DummyLinkConfig."""
    yield from _check_common(dummy)
    yield from _check_mac(dummy.hardware_addr)


def check_vrf_config(vrf: VRFConfig) -> Iterator[Finding]:
    """VRFConfig. Its table is its own, so it cannot be one that the system uses."""
    yield from _check_common(vrf)
    yield from _check_mac(vrf.hardware_addr)
    yield from _required(vrf, ("table", vrf.table))
    if vrf.table and not (_is_number(vrf.table, 1, _HIGHEST_TABLE) and int(vrf.table) not in _SYSTEM_TABLES):
        message = f"{quote(vrf.table)} is not the number of a routing table that is free"
        yield at("table", message=message, hint="write a number other than 253, 254 and 255, like 100")


def check_veth_config(veth: VethConfig) -> Iterator[Finding]:
    """VethConfig: both ends."""
    yield from _check_common(veth)
    if not veth.peer.name:
        yield at("peer", "name", message="VethConfig needs peer.name")
    elif veth.peer.name == veth.name:
        yield at("peer", "name", message=f"both ends are named {quote(veth.name)}", hint="choose another name")
    yield from under(("peer",), _check_settings(veth.peer))


def check_link_alias(alias: LinkAliasConfig) -> Iterator[Finding]:
    """LinkAliasConfig, its expression included."""
    yield from _required(alias, ("name", alias.name))
    if "%" in alias.name.removesuffix("%d"):
        message = f"the name {quote(alias.name)} may contain % only in a %d at its end"
        yield at("name", message=message, hint="write it like net%d")
    if not alias.selector.match:
        yield at(
            "selector",
            "match",
            message="LinkAliasConfig needs selector.match",
            hint=_EXPRESSION_HINT,
        )
        return
    try:
        parse_expression(alias.selector.match)
    except ExpressionError as error:
        message = f"{error.message} (at character {error.position + 1} of the expression)"
        yield at("selector", "match", message=message, hint=_EXPRESSION_HINT)


def check_layer2_vip(vip: Layer2VIPConfig) -> Iterator[Finding]:
    """Layer2VIPConfig."""
    yield from _check_ip_name(vip)
    yield from _required(vip, ("link", vip.link))


def check_hcloud_vip(vip: HCloudVIPConfig) -> Iterator[Finding]:
    """HCloudVIPConfig."""
    yield from _check_ip_name(vip)
    yield from _required(vip, ("link", vip.link), ("apiToken", vip.api_token))


def check_dhcp(dhcp: DHCPv4Config | DHCPv6Config) -> Iterator[Finding]:
    """DHCPv4Config and DHCPv6Config."""
    yield from _required(dhcp, ("name", dhcp.name))
    is_duid = dhcp.client_identifier is ClientIdentifier.DUID
    if is_duid and not dhcp.duid_raw:
        yield at("duidRaw", message="clientIdentifier duid needs duidRaw", hint="write the DUID in hexadecimal")
    if dhcp.duid_raw and not is_duid:
        yield at("duidRaw", message="duidRaw is used only with clientIdentifier: duid")
    if dhcp.duid_raw and not is_hex_bytes(dhcp.duid_raw):
        yield at("duidRaw", message=f"{quote(dhcp.duid_raw)} is not a hexadecimal text")


def check_resolver(resolver: ResolverConfig) -> Iterator[Finding]:
    """ResolverConfig, by itself; whether host DNS is enabled is known only with the main document."""
    for index, server in enumerate(resolver.nameservers):
        if not is_ip(server.address):
            message = f"{quote(server.address)} is not an IP address"
            yield at("nameservers", index, "address", message=message, hint=IP_HINT)
        is_encrypted = server.protocol is not DnsProtocol.PLAIN
        if is_encrypted and not server.tls_server_name:
            yield at("nameservers", index, "tlsServerName", message=f"{server.protocol} needs tlsServerName")
        if server.tls_server_name and not is_encrypted:
            yield at(
                "nameservers",
                index,
                "tlsServerName",
                message="tlsServerName is used only with DoT and DoH",
                hint="set protocol to DoT or DoH",
            )
        elif server.tls_server_name:
            yield from under(("nameservers", index), check_words("tlsServerName", server.tls_server_name))
    yield from under(
        ("searchDomains",), check_words("domains", *(resolver.search_domains.domains or ()), are_many=True)
    )
    host_dns = resolver.host_dns
    if host_dns and not host_dns.enabled:
        flags = {
            "forwardKubeDNSToHost": host_dns.forward_kube_dns_to_host,
            "resolveMemberNames": host_dns.resolve_member_names,
        }
        for key in (key for key, value in flags.items() if value):
            yield at("hostDNS", key, message=f"hostDNS.{key} needs hostDNS.enabled: true")


def check_words(key: str, *texts: str, are_many: bool = False) -> Iterator[Finding]:
    """The text at a key, or those of the list there, come to stand in files in which other things stand too."""
    for index, text in enumerate(texts):
        if not is_word(text):
            place = (key, index) if are_many else (key,)
            yield at(*place, message=f"{quote(text)} is not a name", hint="a name has no blanks, and no #")


def check_time_sync(time: TimeSyncConfig) -> Iterator[Finding]:
    """TimeSyncConfig."""
    if time.ntp is not None and time.ptp is not None:
        yield at("ptp", message="ntp and ptp exclude each other", hint="take one of the two away")
    if time.ntp is not None and time.ntp.use_nts:
        for index, server in enumerate(time.ntp.servers):
            if is_ip(server):
                message = f"{quote(server)} is an address, and NTS needs names"
                yield at("ntp", "servers", index, message=message, hint="a certificate proves a name")
    if time.ntp is not None:
        yield from under(("ntp",), check_words("servers", *time.ntp.servers, are_many=True))
    if time.ptp is not None:
        yield from under(("ptp",), check_words("devices", *time.ptp.devices, are_many=True))
    if time.boot_timeout < timedelta():
        yield at("bootTimeout", message="the timeout is negative", hint="write 0s to wait without limit")


def check_hostname_config(hostname: HostnameConfig) -> Iterator[Finding]:
    """HostnameConfig."""
    if hostname.auto is None and not hostname.hostname:
        yield at("hostname", message="HostnameConfig needs auto or hostname")
    if hostname.auto is AutoHostname.STABLE and hostname.hostname:
        yield at("auto", message="auto and hostname exclude each other", hint="take one of the two away")
    if hostname.hostname and not is_hostname(hostname.hostname):
        yield at(
            "hostname",
            message=f"{quote(hostname.hostname)} is not a host name",
            hint=HOSTNAME_HINT,
        )


def check_static_host(host: StaticHostConfig) -> Iterator[Finding]:
    """StaticHostConfig."""
    yield from _check_ip_name(host)
    yield from _required(host, ("hostnames", host.hostnames))
    yield from check_words("hostnames", *host.hostnames, are_many=True)


def check_routing_rule(rule: RoutingRuleConfig) -> Iterator[Finding]:
    """RoutingRuleConfig."""
    if not _is_number(rule.name, 0, _RESERVED_PRIORITIES[-1]):
        yield at("name", message=f"the name {quote(rule.name)} must be a priority", hint="write it like 1000")
    elif int(rule.name) in _RESERVED_PRIORITIES:
        reserved = ", ".join(map(str, _RESERVED_PRIORITIES))
        yield at("name", message=f"priority {rule.name} is taken", hint=f"choose another than {reserved}")
    for key, network in (("src", rule.src), ("dst", rule.dst)):
        if network and not is_cidr(network):
            yield at(key, message=f"{quote(network)} is not a CIDR", hint=CIDR_HINT)
    if not rule.table and rule.action is RuleAction.UNICAST:
        yield at("table", message="neither a table nor an action other than unicast is given")
    yield from _check_table(rule.table)
    if rule.fw_mask and not rule.fw_mark:
        yield at("fwMask", message="fwMask needs fwMark")


def check_blackhole(route: BlackholeRouteConfig) -> Iterator[Finding]:
    """BlackholeRouteConfig."""
    if not is_cidr(route.name):
        yield at("name", message=f"the name {quote(route.name)} must be a CIDR", hint=CIDR_HINT)


def check_environment(environment: EnvironmentConfig) -> Iterator[Finding]:
    """EnvironmentConfig."""
    for name in environment.variables:
        if not _VARIABLE.fullmatch(name):
            message = f"{quote(name)} is not the name of a variable"
            yield _on_key("variables", name, message=message, hint="letters, digits and _, not starting with a digit")


def _on_key(*path: str, message: str, hint: str) -> Finding:
    return Finding(path=path, message=message, hint=hint, on_key=True)


def check_trusted_roots(roots: TrustedRootsConfig) -> Iterator[Finding]:
    """TrustedRootsConfig."""
    yield from _required(roots, ("name", roots.name), ("certificates", roots.certificates))


def check_etc_file(file: EtcFileConfig) -> Iterator[Finding]:
    """EtcFileConfig: which files below /etc it may be."""
    path = posixpath.normpath(file.name) if file.name else ""
    first = path.partition("/")[0]
    if not path or path != file.name or path.startswith((".", "/")):
        yield at(
            "name",
            message=f"the name {quote(file.name)} must be a path below /etc",
            hint="write it relative to /etc, like apt/apt.conf, and not starting with a dot",
        )
    elif path in _FOREIGN_ETC_FILES or first in _FOREIGN_ETC_DIRECTORIES:
        yield at("name", message=f"/etc/{path} cannot be set here", hint="it belongs to another part of the system")


def check_kubespan_config(kubespan: KubeSpanConfig) -> Iterator[Finding]:
    """KubeSpanConfig, which is checked even while KubeSpan is disabled."""
    if kubespan.mtu is not None and kubespan.mtu < LOWEST_KUBESPAN_MTU:
        yield at("mtu", message=f"mtu {kubespan.mtu} is less than {LOWEST_KUBESPAN_MTU}")
    yield from under(("filters",), check_filters(kubespan.filters))


def check_kubespan_endpoints(endpoints: KubeSpanEndpointsConfig) -> Iterator[Finding]:
    """KubeSpanEndpointsConfig."""
    for index, endpoint in enumerate(endpoints.extra_announced_endpoints):
        if not is_ip_port(endpoint):
            message = f"{quote(endpoint)} is not ip:port"
            yield at("extraAnnouncedEndpoints", index, message=message, hint=ENDPOINT_HINT)


def check_discovery_identity(identity: DiscoveryIdentityConfig) -> Iterator[Finding]:
    """DiscoveryIdentityConfig."""
    yield from _required(identity, ("clusterID", identity.cluster_id))
    yield from check_secret(identity.cluster_secret, "clusterSecret")


def check_discovery_service(service: DiscoveryServiceConfig) -> Iterator[Finding]:
    """DiscoveryServiceConfig."""
    yield from _required(service, ("name", service.name))
    if not is_url(service.endpoint, "http", "https", "grpc"):
        message = f"{quote(service.endpoint)} is not a URL of a discovery service"
        yield at("endpoint", message=message, hint="write it like https://discovery.example.org:3000/")


def check_nodespan(settings: NodespanConfig) -> Iterator[Finding]:
    """NodespanConfig."""
    yield from under(("etcd",), _check_etcd(settings.etcd))
    ttl = settings.vip.lease_ttl
    if ttl < _SHORTEST_LEASE or ttl.microseconds:
        message = f"leaseTTL must be whole seconds, at least {_SHORTEST_LEASE.seconds}"
        yield at("vip", "leaseTTL", message=message, hint="write it like 5s")
    for index, condition in enumerate(settings.vip.conditions):
        yield from under(("vip", "conditions", index), _check_condition(condition))
    for index, network in enumerate(settings.pod_networks):
        if not is_cidr(network):
            yield at("podNetworks", index, message=f"{quote(network)} is not a CIDR", hint=CIDR_HINT)


def _check_condition(condition: VipCondition) -> Iterator[Finding]:
    kinds = {"tcp": condition.tcp, "http": condition.http, "unit": condition.unit, "resource": condition.resource}
    given = [kind for kind, target in kinds.items() if target]
    if len(given) != 1:
        message = f"{' and '.join(given)} exclude each other" if given else "none of tcp, http, unit, resource is given"
        yield at(given[1] if given else "tcp", message=message, hint="a condition checks one thing")
    if condition.tcp and not is_host_port(condition.tcp):
        yield at("tcp", message=f"{quote(condition.tcp)} is not host:port", hint="write it like 127.0.0.1:6443")
    if condition.http and not is_url(condition.http, "http", "https"):
        message = f"{quote(condition.http)} is not a URL"
        yield at("http", message=message, hint="write it like https://127.0.0.1:6443/readyz")
    if condition.ca and not condition.http.startswith("https:"):
        yield at("ca", message="ca is used only with an http that is a URL of https")
    if condition.resource and not all(condition.resource.partition("/")):
        message = f"{quote(condition.resource)} is not TYPE/ID"
        yield at("resource", message=message, hint="write it like linkstatus/eth0")
    yield from _check_json_path(condition)
    for key, duration in (("interval", condition.interval), ("timeout", condition.timeout)):
        if duration <= timedelta():
            yield at(key, message=f"{key} must be more than 0", hint="write it like 500ms")
    if condition.failures < 1:
        yield at("failures", message="failures must be at least 1")


def _check_json_path(condition: VipCondition) -> Iterator[Finding]:
    if condition.json_path and not condition.resource:
        yield at("jsonPath", message="jsonPath is used only with resource")
    if condition.equals and not condition.json_path:
        yield at("equals", message="equals is used only with jsonPath", hint="say what is to be compared")
    if condition.json_path:
        try:
            jsonpath.compile(condition.json_path)
        except jsonpath.JSONPathError as error:
            yield at("jsonPath", message=f"{quote(condition.json_path)} is not a JSONPath expression: {error}")


def _check_etcd(etcd: EtcdSettings) -> Iterator[Finding]:
    for index, endpoint in enumerate(etcd.endpoints):
        if not is_url(endpoint, "http", "https"):
            message = f"{quote(endpoint)} is not a URL of etcd"
            yield at("endpoints", index, message=message, hint="write it like https://10.0.0.1:2379")
    files = {"ca": etcd.ca, "cert": etcd.cert, "key": etcd.key}
    given = [key for key, path in files.items() if path]
    for key in given:
        if not files[key].startswith("/"):
            yield at(key, message=f"{quote(files[key])} is not an absolute path", hint="write it like /etc/etcd/ca.crt")
    if bool(etcd.cert) != bool(etcd.key):
        missing = "key" if etcd.cert else "cert"
        yield at(missing, message="etcd.cert and etcd.key go together", hint=f"give etcd.{missing} too")
    if given and not etcd.endpoints:
        yield at("endpoints", message=f"etcd.{given[0]} needs etcd.endpoints", hint="say where etcd is")
    elif given and not any(endpoint.startswith("https:") for endpoint in etcd.endpoints):
        message = f"etcd.{given[0]} is for https, and no endpoint is a URL of https"
        yield at(given[0], message=message, hint="write the endpoints like https://10.0.0.1:2379")


DOCUMENT_RULES: Final[Mapping[type, Callable[[Any], Iterator[Finding]]]] = {
    BlackholeRouteConfig: check_blackhole,
    BondConfig: check_bond_config,
    BridgeConfig: check_bridge_config,
    DHCPv4Config: check_dhcp,
    DHCPv6Config: check_dhcp,
    DiscoveryIdentityConfig: check_discovery_identity,
    DiscoveryServiceConfig: check_discovery_service,
    DummyLinkConfig: check_dummy,
    EnvironmentConfig: check_environment,
    EtcFileConfig: check_etc_file,
    HCloudVIPConfig: check_hcloud_vip,
    HostnameConfig: check_hostname_config,
    KubeSpanConfig: check_kubespan_config,
    KubeSpanEndpointsConfig: check_kubespan_endpoints,
    Layer2VIPConfig: check_layer2_vip,
    LinkAliasConfig: check_link_alias,
    LinkConfig: check_link,
    NodespanConfig: check_nodespan,
    ResolverConfig: check_resolver,
    RoutingRuleConfig: check_routing_rule,
    StaticHostConfig: check_static_host,
    TimeSyncConfig: check_time_sync,
    TrustedRootsConfig: check_trusted_roots,
    VLANConfig: check_vlan_config,
    VRFConfig: check_vrf_config,
    VethConfig: check_veth_config,
    WireguardConfig: check_wireguard_config,
}
