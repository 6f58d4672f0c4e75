"""NodespanConfig: etcd, the conditions of virtual IPs, pod networks."""

from collections.abc import Iterator
from datetime import timedelta
from ipaddress import ip_address
from typing import Final

from nodespan.controllers.common.ip.notation import parse_ip
from nodespan.controllers.common.quoting import quote
from nodespan.controllers.config.finding import Finding, at, under
from nodespan.controllers.config.notation import (
    CIDR_HINT,
    ENDPOINT_HINT,
    is_cidr,
    is_host_port,
    is_hostname,
    is_ip_or_cidr,
    is_ip_port,
    is_key,
    is_url,
)
from nodespan.controllers.config.rules.base import RuleSet
from nodespan.resources.config.nodespan import (
    DashboardSettings,
    EtcdSettings,
    HostDnsSettings,
    KubeSpanSettings,
    NameMode,
    NameSettings,
    NodespanConfig,
    StaticPeer,
)
from nodespan.resources.config.vip_condition import VipCondition
from nodespan.runtime.state.opening import check_url

# A shorter lease leaves no whole second for the lifetime of the address in the kernel.
_SHORTEST_LEASE: Final = timedelta(seconds=3)

# The definitions of types, and what tells that this agent runs.
_OWN_NAMESPACES: Final = ("meta", "runtime")

# The trust service listens at the port after that of the API.
_LAST_PORT: Final = 65535

RULES = RuleSet()


@RULES.document(NodespanConfig)
def check_nodespan(settings: NodespanConfig) -> Iterator[Finding]:
    """NodespanConfig."""
    yield from under(("etcd",), _check_etcd(settings.etcd))
    ttl = settings.vip.lease_ttl
    if ttl < _SHORTEST_LEASE or ttl.microseconds:
        message = f"leaseTTL must be whole seconds, at least {_SHORTEST_LEASE.seconds}"
        yield at("vip", "leaseTTL", message=message, hint="write it like 5s")
    for index, condition in enumerate(settings.vip.conditions):
        yield from under(("vip", "conditions", index), _check_condition(condition))
    yield from _check_states(settings)
    for index, relay in enumerate(settings.kubespan.relays):
        if not is_url(relay, "http", "https"):
            message = f"{quote(relay)} is not the URL of a relay"
            yield at("kubespan", "relays", index, message=message, hint="write it like https://relay.example.org:3443")
    listen = settings.api.listen
    if listen and not (is_ip_port(listen) and int(listen.rpartition(":")[2]) < _LAST_PORT):
        message = f"{quote(listen)} is not an address and a port"
        yield at("api", "listen", message=message, hint="write it like 10.0.0.1:50000, or [::]:50000 for all addresses")
    yield from under(("dashboard",), _check_dashboard(settings.dashboard))
    yield from under(("kubespan",), _check_kubespan(settings.kubespan))
    yield from under(("hostDNS",), _check_host_dns(settings.host_dns))
    yield from under(("names",), _check_names(settings.names))
    for key, networks in (("podNetworks", settings.pod_networks), ("acceptNetworks", settings.accept_networks)):
        for index, network in enumerate(networks):
            if not is_cidr(network):
                yield at(key, index, message=f"{quote(network)} is not a CIDR", hint=CIDR_HINT)


def _check_host_dns(settings: HostDnsSettings) -> Iterator[Finding]:
    if not settings.listen:
        yield at("listen", message="the DNS server would listen nowhere", hint="leave it out for 127.0.0.153:53")
    for index, address in enumerate(settings.listen):
        if not is_ip_port(address):
            message = f"{quote(address)} is not an address and a port"
            yield at("listen", index, message=message, hint="write it like 127.0.0.153:53")
        elif not ip_address(address.rpartition(":")[0].strip("[]")).is_loopback:
            message = f"{quote(address)} can be reached from other machines: this would be an open resolver"
            yield at("listen", index, message=message, hint="use an address of the loopback; mesh: true adds the mesh")
        elif address in settings.listen[:index]:
            yield at("listen", index, message="this address is there already", hint="write it once")
    for index, domain in enumerate(settings.rebinding_allowed):
        if not is_hostname(domain):
            message = f"{quote(domain)} is not a domain"
            yield at("rebindingAllowed", index, message=message, hint="write it like corp.example.org")


def _check_names(names: NameSettings) -> Iterator[Finding]:
    if names.domain:
        from nodespan.controllers.common.special_names import domain_fault

        if fault := domain_fault(names.domain):
            hint = "write one of your own, or one for the inside, like mesh.internal"
            yield at("domain", message=f"{quote(names.domain)} {fault}", hint=hint)
    if names.mode is NameMode.RESOLVED and not names.domain:
        message = "systemd-resolved is told of a domain, and none is given"
        yield at("domain", message=message, hint="write domain: mesh.internal")


def _check_kubespan(settings: KubeSpanSettings) -> Iterator[Finding]:
    if not settings.listen_port:
        message = "port 0 would be another one after each start"
        yield at("listenPort", message=message, hint="leave it out for 51820")
    seen: set[str] = set()
    for index, peer in enumerate(settings.static_peers or ()):
        yield from under(("staticPeers", index), _check_static_peer(peer))
        if peer.public_key in seen:
            yield at("staticPeers", index, "publicKey", message="this peer is there already", hint="write it once")
        seen.add(peer.public_key)


def _check_static_peer(peer: StaticPeer) -> Iterator[Finding]:
    if not is_key(peer.public_key):
        message = f"{quote(peer.public_key)} is not base64 of 32 bytes"
        yield at("publicKey", message=message, hint="see there: nodespan get kubespanidentities")
    of_mesh = parse_ip(peer.address) if peer.address else None
    if peer.address and of_mesh is None:
        message = f"{quote(peer.address)} is not an IP address"
        yield at("address", message=message, hint="see there: nodespan get kubespanidentities")
    if of_mesh is not None and (of_mesh.version == 4 or of_mesh.ipv4_mapped is not None):
        message = f"{quote(peer.address)} is not an IPv6 address, as those of the mesh are"
        yield at("address", message=message, hint="what else is reached through the peer belongs in allowedAddresses")
    if not (peer.address or peer.allowed_addresses):
        message = "nothing is reached through this peer"
        yield at("publicKey", message=message, hint="give its address, or allowedAddresses")
    for index, endpoint in enumerate(peer.endpoints):
        if not is_ip_port(endpoint):
            yield at("endpoints", index, message=f"{quote(endpoint)} is not ip:port", hint=ENDPOINT_HINT)
    for index, address in enumerate(peer.allowed_addresses):
        if not is_ip_or_cidr(address):
            message = f"{quote(address)} is neither an IP address nor a CIDR"
            yield at("allowedAddresses", index, message=message, hint=CIDR_HINT)


def _check_states(settings: NodespanConfig) -> Iterator[Finding]:
    seen: set[str] = set()
    for index, state in enumerate(settings.states):
        if not state.namespaces:
            yield at(
                "states", index, "namespaces", message="namespaces are missing", hint="say what is to be kept there"
            )
        for number, namespace in enumerate(state.namespaces):
            place = ("states", index, "namespaces", number)
            if namespace in _OWN_NAMESPACES:
                yield at(*place, message=f"{quote(namespace)} is of the running agent, it cannot be kept elsewhere")
            elif not namespace or namespace in seen:
                message = f"{quote(namespace)} is on another state already" if namespace else "a namespace has a name"
                yield at(*place, message=message, hint="a namespace is on one state")
            seen.add(namespace)
        if wrong := check_url(state.url):
            message = f"{quote(state.url)} is not the URL of a state: {wrong}"
            yield at("states", index, "url", message=message, hint="write it like sqlite:notes.db")


def _check_condition(condition: VipCondition) -> Iterator[Finding]:
    kinds = {"tcp": condition.tcp, "http": condition.http, "unit": condition.unit, "resource": condition.resource}
    kinds["probe"] = condition.probe
    given = [kind for kind, target in kinds.items() if target]
    if len(given) != 1:
        message = (
            f"{' and '.join(given)} exclude each other"
            if given
            else "none of tcp, http, unit, resource, probe is given"
        )
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
        from nodespan.runtime.text import jsonpath

        try:
            jsonpath.compile(condition.json_path)
        except jsonpath.JSONPathError as error:
            yield at("jsonPath", message=f"{quote(condition.json_path)} is not a JSONPath expression: {error}")


def _check_dashboard(dashboard: DashboardSettings) -> Iterator[Finding]:
    files = {"cert": dashboard.cert, "key": dashboard.key, "ca": dashboard.ca}
    for key, path in files.items():
        if path and not path.startswith("/"):
            message = f"{quote(path)} is not an absolute path"
            yield at(key, message=message, hint="write it like /etc/nodespan/dashboard.crt")
    missing = [key for key, path in files.items() if not path]
    if 0 < len(missing) < len(files):
        message = "dashboard.cert, dashboard.key and dashboard.ca go together"
        yield at(missing[0], message=message, hint=f"give dashboard.{missing[0]} too")
    if not dashboard.listen:
        return
    if not is_ip_port(dashboard.listen):
        message = f"{quote(dashboard.listen)} is not an address and a port"
        yield at("listen", message=message, hint="write it like 127.0.0.1:9080")
    elif missing and not ip_address(dashboard.listen.rpartition(":")[0].strip("[]")).is_loopback:
        message = f"{quote(dashboard.listen)} can be reached from other machines, and there it takes mutual TLS"
        hint = "give cert, key and ca, or listen at 127.0.0.1 and put a reverse proxy before it"
        yield at("listen", message=message, hint=hint)


_LIKE_ETCD = "write it like https://10.0.0.1:2379"


def _check_etcd(etcd: EtcdSettings) -> Iterator[Finding]:
    for index, endpoint in enumerate(etcd.endpoints):
        if not is_url(endpoint, "http", "https"):
            message = f"{quote(endpoint)} is not a URL of etcd"
            yield at("endpoints", index, message=message, hint=_LIKE_ETCD)
    files = {"ca": etcd.ca, "cert": etcd.cert, "key": etcd.key}
    given = [key for key, path in files.items() if path]
    for key, path in {**files, "passwordFile": etcd.password_file}.items():
        if path and not path.startswith("/"):
            yield at(key, message=f"{quote(path)} is not an absolute path", hint="write it like /etc/etcd/ca.crt")
    if bool(etcd.username) != bool(etcd.password_file):
        missing = "passwordFile" if etcd.username else "username"
        message = "etcd.username and etcd.passwordFile go together"
        yield at(missing, message=message, hint=f"give etcd.{missing} too")
    if bool(etcd.cert) != bool(etcd.key):
        missing = "key" if etcd.cert else "cert"
        yield at(missing, message="etcd.cert and etcd.key go together", hint=f"give etcd.{missing} too")
    if given and not etcd.endpoints:
        yield at("endpoints", message=f"etcd.{given[0]} needs etcd.endpoints", hint="say where etcd is")
    elif given and not any(endpoint.startswith("https:") for endpoint in etcd.endpoints):
        message = f"etcd.{given[0]} is for https, and no endpoint is a URL of https"
        yield at(given[0], message=message, hint=_LIKE_ETCD)
