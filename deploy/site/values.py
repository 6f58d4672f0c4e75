"""Types, defaults and examples of fields as texts for the reference."""

import datetime
import enum
import typing
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import attrs

from deploy.site.field_docs import FieldDoc, fields, without_none
from deploy.site.markdown import anchor, code
from nodespan.resources.config.notation import Bounds, Octal
from nodespan.resources.network.enums import KernelEnum
from nodespan.runtime.codec.duration import format_duration
from nodespan.runtime.codec.plain import spec_to_plain
from nodespan.runtime.resource import FrozenMapping, FrozenPairs, TextFlag

_CONFIGURATION = "nodespan.resources.config."
_TIME = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
_KEY = "mJ2pWvQk0cZb7dXhYtR3uF9sLaN5eGiO8xKqTnBwC1E="
# Examples of texts, by the outside name of their field: where that is not enough by the class and the name.
_TEXTS = {
    "acceptedCAs": "(a certificate as PEM)",
    "acceptedNetworks": "198.51.100.0/24",
    "arpIPTarget": "192.0.2.1",
    "certSANDNSNames": "edge-1.example.org",
    "certSANIPs": "192.0.2.11",
    "ignored": "option 121: a route has host bits",
    "interfaces": "eth1",
    "ourModes": "1000baseT/Full",
    "peerEndpointFilters": "192.0.2.0/24",
    "peerModes": "1000baseT/Full",
    "addr": "192.0.2.53",
    "address": "192.0.2.11/24",
    "addresses": "192.0.2.11/24",
    "additionalAddresses": "10.244.1.0/24",
    "alias": "uplink",
    "aliases": "example",
    "allAliases": "example",
    "allowedIPs": "198.51.100.12/32",
    "altNames": "enp1s0",
    "arpIpTargets": "192.0.2.1",
    "broadcast": "192.0.2.255",
    "broadcastAddr": "ff:ff:ff:ff:ff:ff",
    "busPath": "0000:01:00.0",
    "clusterId": "9bTiBhHyBOjCG0XjpMQjxkdQ1gzmFmyqJhqv2HfFz1w=",
    "cmdline": "BOOT_IMAGE=/vmlinuz root=/dev/vda1 ip=dhcp",
    "defaultNamespace": "example",
    "digest": "3f2a91c0de77",
    "displayType": "Example",
    "dnsNames": "edge-1.example.org",
    "dnsServers": "192.0.2.53",
    "domainname": "example.org",
    "driver": "virtio_net",
    "dst": "198.51.100.0/24",
    "duidRawHex": "00030001020000000001",
    "endpoint": "192.0.2.12:51820",
    "endpointFilters": "192.0.2.0/24",
    "endpoints": "192.0.2.12:51820",
    "error": "",
    "excludeAdvertisedNetworks": "192.0.2.100/32",
    "excludeSubnets": "10.244.0.0/16",
    "expires": "2026-01-02T15:04:05Z",
    "extraEndpoints": "203.0.113.10:51820",
    "files": "/etc/nodespan/config.yaml",
    "firmwareVersion": "1.2",
    "fqdn": "edge-1.example.org",
    "gateway": "192.0.2.1",
    "hardwareAddr": "02:00:00:00:00:01",
    "hostname": "edge-1",
    "iifName": "eth1",
    "includeSubnets": "192.0.2.0/24",
    "interfaceName": "eth0",
    "ip": "192.0.2.100",
    "ips": "192.0.2.11",
    "jsonPath": "{.spec.text}",
    "kind": "vlan",
    "label": "edge-2",
    "lastError": "",
    "lastUsedEndpoint": "192.0.2.12:51820",
    "leader": "edge-2",
    "lease": "22b8a1fd734b2511",
    "linkName": "eth0",
    "local": "192.0.2.11",
    "mac": "enx020000000001",
    "masterName": "br0",
    "message": "",
    "name": "eth0",
    "namespace": "network",
    "nodeId": "KqH3MSnuGL9JtekzDLqlOEf7yZSore5ziPzmEskaAe6C",
    "nodename": "edge-2",
    "notice": "",
    "nsIp6Targets": "2001:db8::1",
    "obtained": "2026-01-02T03:04:05Z",
    "oifName": "eth0",
    "onboard": "eno1",
    "op": "create",
    "operatingSystem": "Debian GNU/Linux 12 (bookworm)",
    "parentName": "eth0",
    "path": "enp1s0",
    "pciID": "1af4:1041",
    "peerName": "veth1",
    "permanentAddr": "02:00:00:00:00:01",
    "prefixes": "198.51.100.12/32",
    "primary": "eth1",
    "product": "Virtio network device",
    "productID": "0x1041",
    "protocol": "tcp",
    "publicKey": _KEY,
    "queueDisc": "fq_codel",
    "reason": "",
    "renewAt": "2026-01-02T09:04:05Z",
    "routedTo": "192.0.2.0/24",
    "searchDomains": "example.org",
    "sensitivity": "",
    "server": "192.0.2.1",
    "serviceClusterID": "9bTiBhHyBOjCG0XjpMQjxkdQ1gzmFmyqJhqv2HfFz1w=",
    "serviceEndpoint": "discovery.example.org:443",
    "setName": "kubespan_routed",
    "shape": "run",
    "since": "2026-01-02T03:04:05Z",
    "slaveKind": "bond",
    "slot": "ens1",
    "source": "TrustedRootsConfig/example",
    "specVersion": "2",
    "src": "192.0.2.11",
    "stage": "",
    "state": "bound",
    "states": "established",
    "subjects": "CN=Example CA",
    "subnet": "fd8a:4b2c:1d3e:5f02::/64",
    "text": "peer edge-2 is up by 192.0.2.12:51820",
    "timeServers": "ntp.example.org",
    "tlsServerName": "dns.example.org",
    "trouble": "",
    "types": "echo-request",
    "variables": "HTTPS_PROXY=http://proxy.example.org:3128",
    "vendor": "Red Hat, Inc.",
    "vendorID": "0x1af4",
}
_TEXTS_OF = {
    ("AffiliateSpec", "affiliate"): "KqH3MSnuGL9JtekzDLqlOEf7yZSore5ziPzmEskaAe6C",
    ("AffiliateSpec", "cluster"): "9bTiBhHyBOjCG0XjpMQjxkdQ1gzmFmyqJhqv2HfFz1w=",
    ("AgentLifecycleSpec", "text"): "",
    ("DiscoveryService", "endpoint"): "discovery.example.org:443",
    ("DiscoveryServiceStatusSpec", "endpoint"): "discovery.example.org:443",
    ("EndpointSpec", "addresses"): "192.0.2.11",
    ("EventSpec", "id"): _KEY,
    ("EventSpec", "kind"): "peer",
    ("EventSpec", "namespace"): "kubespan",
    ("EventSpec", "type"): "KubeSpanPeerStatuses.kubespan.talos.dev",
    ("KubeSpanAffiliate", "address"): "fd8a:4b2c:1d3e:5f02:a0cd:57ff:fe00:1",
    ("KubeSpanIdentitySpec", "address"): "fd8a:4b2c:1d3e:5f02:a0cd:57ff:fe00:1/128",
    ("KubeSpanPeerSpecSpec", "address"): "fd8a:4b2c:1d3e:5f02:a0cd:57ff:fe00:1",
    ("MachineFileStatusSpec", "path"): "/var/lib/example/motd",
    ("NetworkProblemSpec", "id"): "eth0",
    ("NetworkProblemSpec", "message"): "the kernel refused the MTU of 9000",
    ("NetworkProblemSpec", "type"): "LinkSpecs.net.talos.dev",
    ("PrintColumn", "name"): "Text",
    ("ResourceDefinitionSpec", "type"): "Examples.example.dev",
    ("StaticHostSpec", "addresses"): "192.0.2.20",
    ("TrustBundleSpec", "path"): "/run/nodespan/ca-bundle.crt",
}
# Examples of tables, by what is in them.
_MAPPINGS: dict[Any, Mapping[str, Any]] = {
    str: FrozenMapping({"rx-checksum": "on"}),
    bool: FrozenPairs({"tx-tcp-segmentation": True}),
}
_NUMBERS = {
    "affiliates": 3,
    "fwMark": 0x40,
    "fwMask": 0x60,
    "generation": 7,
    "index": 2,
    "linkIndex": 2,
    "listenPort": 51820,
    "lo": 8000,
    "hi": 8080,
    "mask": 0x60,
    "mode": 0o644,
    "mtu": 1500,
    "outLinkIndex": 2,
    "packetRatePerSecond": 5,
    "pid": 812,
    "port": 6443,
    "priority": 1024,
    "reads": 812,
    "receiveBytes": 372,
    "routeMetric": 1024,
    "speedMbit": 1000,
    "transmitBytes": 464,
    "vlanID": 20,
    "wakeups": 12,
    "writes": 9,
}
_FLAGS_OF_NOTE = {"NfTablesRule": ("match_mark", "verdict"), "OperatorSpecSpec": ("dhcp4",)}


def label(cls: type[Any]) -> str:
    """What a class is called in headings: classes of the configuration may have the names of others."""
    return f"{cls.__name__} (configuration)" if cls.__module__.startswith(_CONFIGURATION) else cls.__name__


def type_text(hint: Any) -> str:
    """What a field holds, as Markdown: `whole number, 0 to 255`, a link to the class of a part."""
    hint, _ = without_none(hint)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _annotated(arguments[0], arguments[1:])
    if origin is Literal:
        return " or ".join(code(str(value)) for value in arguments)
    if origin in (tuple, frozenset, list):
        return f"list of {_plural(type_text(arguments[0]))}"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"table of names and {_plural(type_text(arguments[1]))}"
    if attrs.has(hint):
        return f"[{hint.__name__}](#{anchor(label(hint))})"
    if isinstance(hint, type) and issubclass(hint, TextFlag):
        return f"flags, joined by commas: {', '.join(code(label) for label in hint.labels().values())}"
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        more = ", or a number" if issubclass(hint, KernelEnum) else ""
        return f"{', '.join(code(str(member.value)) for member in hint)}{more}"
    return _SIMPLE[hint]


_SIMPLE: dict[Any, str] = {
    str: "text",
    bool: "`true` or `false`",
    int: "whole number",
    float: "number",
    bytes: "bytes, as base64",
    datetime.timedelta: "duration, as `1m30s`",
    datetime.datetime: "time, as `2026-01-02T03:04:05Z`",
}


def default_text(field: FieldDoc) -> str:
    """The value of a field that is not given, as Markdown."""
    if field.is_required:
        return "required"
    value = field.default
    if value is None:
        return "unset"
    octal = any(isinstance(note, Octal) for note in typing.get_args(without_none(field.hint)[0])[1:])
    if octal:
        return code(f"0{value:o}") if value else ""
    return _value_text(value)


def example(cls: Any) -> Any:
    """An instance of a class with a value in every field, also in those that do not occur together."""
    values: dict[str, Any] = {}
    for field in fields(cls):
        hint, is_optional = without_none(field.hint)
        if is_optional and cls.__name__ in _FLAGS_OF_NOTE and field.attribute not in _FLAGS_OF_NOTE[cls.__name__]:
            values[field.attribute] = None
        else:
            values[field.attribute] = _example_value(cls, field, hint)
    return cls(**values)


def _example_value(cls: type[Any], field: FieldDoc, hint: Any) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        hint, origin = arguments[0], None
    if origin is tuple:
        item = _example_value(cls, field, arguments[0])
        return () if item == "" else (item,)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _MAPPINGS[arguments[1]]
    if attrs.has(hint):
        return example(hint)
    if hint is str:
        return "" if field.is_secret else _example_text(cls, field)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return field.default if isinstance(field.default, hint) else next(iter(hint))
    if hint is int:
        return _NUMBERS.get(field.name, field.default if isinstance(field.default, int) else 1)
    return {
        bool: field.default if isinstance(field.default, bool) else True,
        float: 0.0,
        bytes: b"example\n",
        datetime.timedelta: datetime.timedelta(seconds=25),
        datetime.datetime: _TIME,
    }[hint]


def _example_text(cls: type[Any], field: FieldDoc) -> str:
    own = _TEXTS_OF.get((cls.__name__, field.name))
    if own is not None:
        return own
    return _TEXTS.get(field.name, field.default if isinstance(field.default, str) else "example")


def _annotated(hint: Any, notes: tuple[Any, ...]) -> str:
    is_octal = any(isinstance(note, Octal) for note in notes)
    text = "octal number" if is_octal else type_text(hint)
    for note in notes:
        if isinstance(note, Bounds):
            low, high = (
                (f"0{note.low:o}" if note.low else "0", f"0{note.high:o}") if is_octal else (note.low, note.high)
            )
            text += f", {low} to {high}"
    return text


def _plural(text: str) -> str:
    return {"text": "texts", "whole number": "whole numbers", "number": "numbers"}.get(text, text)


def _value_text(value: Any) -> str:
    match value:
        case bool():
            return code(str(value).lower())
        case datetime.timedelta():
            return code(format_duration(value)) if value else ""
        case TextFlag():
            return code(value.text())
        case enum.Enum():
            return code(str(value.value))
        case datetime.datetime():
            return code(value.isoformat().replace("+00:00", "Z"))
        case int() | float():
            return code(str(value))
        case str():
            return code(value)
        case _ if attrs.has(type(value)):
            return "" if value == type(value)() else code(str(spec_to_plain(value)))
        case _:
            return ", ".join(_value_text(item) for item in value) if value else ""
