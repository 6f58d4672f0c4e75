"""The specs of the built-in types as the originals' messages: which, with which numbers, there and back."""

import datetime
import enum
import ipaddress
import typing
from collections.abc import Mapping
from types import NoneType
from typing import Any

import attrs
import pytest
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nodespan.resources import cluster, config, kubespan, network
from nodespan.resources.messages import WITHOUT_MESSAGE, messages
from nodespan.resources.wire import network_pb2
from nodespan.runtime.codec.messages import (
    RUNTIME_MESSAGES,
    At,
    MessageError,
    MessageType,
    RawSpec,
    SpecMessages,
)
from nodespan.runtime.resource import ResourceType, TextFlag
from tests.resources.type_names import types
from tests.support.messages import Messages, shown
from tests.support.vectors import each

SPECS = SpecMessages(messages())
THEIRS = Messages("messages.txt")
META = Messages("cosi_messages.txt")
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
# Fields from here on are ours; the originals skip them.
FIRST_OWN = 1000
# Their types, ours, and the messages of their specs.
NAMES = {
    "AddressSpecs.net.talos.dev": "network.AddressSpecSpec",
    "AddressStatuses.net.talos.dev": "network.AddressStatusSpec",
    "AdjtimeStatuses.v1alpha1.talos.dev": "time.AdjtimeStatusSpec",
    "Affiliates.cluster.talos.dev": "cluster.AffiliateSpec",
    "DiscoveryConfigs.cluster.talos.dev": "cluster.ConfigSpec",
    "Endpoints.kubernetes.talos.dev": "k8s.EndpointSpec",
    "Environments.runtime.talos.dev": "runtime.EnvironmentSpec",
    "DNSResolveCaches.net.talos.dev": "network.DNSResolveCacheSpec",
    "EtcFileSpecs.files.talos.dev": "files.EtcFileSpecSpec",
    "EtcFileStatuses.files.talos.dev": "files.EtcFileStatusSpec",
    "EthernetSpecs.net.talos.dev": "network.EthernetSpecSpec",
    "EthernetStatuses.net.talos.dev": "network.EthernetStatusSpec",
    "HardwareAddresses.net.talos.dev": "network.HardwareAddrSpec",
    "HostDNSConfigs.net.talos.dev": "network.HostDNSConfigSpec",
    "HostnameSpecs.net.talos.dev": "network.HostnameSpecSpec",
    "HostnameStatuses.net.talos.dev": "network.HostnameStatusSpec",
    "Identities.cluster.talos.dev": "cluster.IdentitySpec",
    "Infos.cluster.talos.dev": "cluster.InfoSpec",
    "KernelCmdlines.runtime.talos.dev": "runtime.KernelCmdlineSpec",
    "KernelParamDefaultSpecs.runtime.talos.dev": "runtime.KernelParamSpecSpec",
    "KernelParamSpecs.runtime.talos.dev": "runtime.KernelParamSpecSpec",
    "KernelParamStatuses.runtime.talos.dev": "runtime.KernelParamStatusSpec",
    "KubeSpanConfigs.kubespan.talos.dev": "kubespan.ConfigSpec",
    "KubeSpanEndpoints.kubespan.talos.dev": "kubespan.EndpointSpec",
    "KubeSpanIdentities.kubespan.talos.dev": "kubespan.IdentitySpec",
    "KubeSpanPeerSpecs.kubespan.talos.dev": "kubespan.PeerSpecSpec",
    "KubeSpanPeerStatuses.kubespan.talos.dev": "kubespan.PeerStatusSpec",
    "LinkAliasSpecs.net.talos.dev": "network.LinkAliasSpecSpec",
    "LinkRefreshes.net.talos.dev": "network.LinkRefreshSpec",
    "LinkSpecs.net.talos.dev": "network.LinkSpecSpec",
    "LinkStatuses.net.talos.dev": "network.LinkStatusSpec",
    "LoadedKernelModules.runtime.talos.dev": "runtime.LoadedKernelModuleSpec",
    "MachineConfigs.config.talos.dev": "talos.resource.config.MachineConfigSpec",
    "MachineResetSignals.runtime.talos.dev": "runtime.MachineResetSignalSpec",
    "Members.cluster.talos.dev": "cluster.MemberSpec",
    "Namespaces.meta.cosi.dev": "cosi.resource.meta.NamespaceSpec",
    "NetworkStatuses.net.talos.dev": "network.StatusSpec",
    "NfTablesChains.net.talos.dev": "network.NfTablesChainSpec",
    "NodeAddressFilters.net.talos.dev": "network.NodeAddressFilterSpec",
    "NodeAddressSortAlgorithms.net.talos.dev": "network.NodeAddressSortAlgorithmSpec",
    "NodeAddresses.net.talos.dev": "network.NodeAddressSpec",
    "OperatorSpecs.net.talos.dev": "network.OperatorSpecSpec",
    "ProbeSpecs.net.talos.dev": "network.ProbeSpecSpec",
    "ProbeStatuses.net.talos.dev": "network.ProbeStatusSpec",
    "ResolverSpecs.net.talos.dev": "network.ResolverSpecSpec",
    "ResolverStatuses.net.talos.dev": "network.ResolverStatusSpec",
    "ResourceDefinitions.meta.cosi.dev": "cosi.resource.meta.ResourceDefinitionSpec",
    "RouteSpecs.net.talos.dev": "network.RouteSpecSpec",
    "RouteStatuses.net.talos.dev": "network.RouteStatusSpec",
    "RoutingRuleSpecs.net.talos.dev": "network.RoutingRuleSpecSpec",
    "RoutingRuleStatuses.net.talos.dev": "network.RoutingRuleStatusSpec",
    "StaticHosts.net.talos.dev": "network.StaticHostSpec",
    "TimeServerSpecs.net.talos.dev": "network.TimeServerSpecSpec",
    "TimeServerStatuses.net.talos.dev": "network.TimeServerStatusSpec",
    "TimeStatuses.v1alpha1.talos.dev": "time.StatusSpec",
}
ALL = {type.name: type for type in types()}
MAPPED = (*messages(), *RUNTIME_MESSAGES)


def _full(name: str) -> str:
    return name if name.count(".") > 1 else f"talos.resource.definitions.{name}"


def test_every_type_of_the_originals_has_their_message() -> None:
    theirs = {name for name in ALL if name.endswith((".talos.dev", ".cosi.dev"))} - WITHOUT_MESSAGE
    found = {name: SPECS.find(ALL[name].spec_class) for name in theirs}
    assert {name: message.name for name, message in found.items() if message} == {
        name: _full(message) for name, message in NAMES.items()
    }
    assert sorted(name for name, message in found.items() if message is None) == []


def test_no_type_of_ours_goes_by_a_message_of_theirs() -> None:
    ours = [type for name, type in ALL.items() if not name.endswith((".talos.dev", ".cosi.dev"))]
    mapped = [type.name for type in ours if SPECS.find(type.spec_class)]
    # The specs of affiliates have the same class in the discovery service, or none of them is here.
    assert mapped == []


def _described(field: FieldDescriptor) -> tuple[str, int, str, bool]:
    if field.message_type is not None:
        kind = field.message_type.full_name
    elif field.enum_type is not None:
        kind = "int32"
    else:
        kind = str(field.type)
    if kind == str(FieldDescriptor.TYPE_INT32):
        kind = "int32"
    return field.name, field.number, kind.rpartition("_")[2] if "PrintColumn" in kind else kind, field.is_repeated


@pytest.mark.parametrize("message", MAPPED, ids=lambda message: message.name)
def test_fields_have_the_numbers_and_types_of_the_originals(message: MessageType[Any]) -> None:
    seen: set[str] = set()

    def compare(descriptor: Any) -> None:
        if descriptor.full_name in seen or descriptor.full_name.startswith("google."):
            return
        seen.add(descriptor.full_name)
        name = descriptor.full_name.replace("ResourceDefinitionSpec.PrintColumn", "PrintColumn")
        theirs = (META if name.startswith("cosi.") else THEIRS).descriptor(name)
        ours = [field for field in descriptor.fields if field.number < FIRST_OWN]
        known = {_simple(field) for field in theirs.fields}
        assert {_simple(field) for field in ours} <= known
        for field in ours:
            if field.message_type is not None:
                compare(field.message_type)

    compare(message.message.DESCRIPTOR)


def _simple(field: FieldDescriptor) -> tuple[str, int, str, bool]:
    name, number, kind, is_repeated = _described(field)
    return name, number, kind.rpartition(".")[2], is_repeated


# There and back.

_TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=8)
_IP = st.one_of(
    st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(str).filter(lambda ip: not ip.startswith("::ffff:"))
)
_PREFIX = st.builds(
    lambda ip, length: f"{ip}/{length % (ipaddress.ip_address(ip).max_prefixlen + 1)}", _IP, st.integers(0, 128)
)
_ENDPOINT = st.builds(lambda ip, port: f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}", _IP, st.integers(0, 65535))
_MAC = st.binary(min_size=6, max_size=6).map(lambda data: data.hex(":"))
_URL = _TEXT.map(lambda text: f"https://example.org/{text}")
_TEXTS = {"common.NetIP": _IP, "common.NetIPPrefix": _PREFIX, "common.NetIPPort": _ENDPOINT, "common.URL": _URL}
_NEAR = st.integers(0, 10**15).map(lambda us: EPOCH + datetime.timedelta(microseconds=us))
_BY_NAME: dict[str, st.SearchStrategy[Any]] = {
    "protocol": st.sampled_from(["icmp", "tcp", "udp", "icmpv6"]),
    "states": st.sampled_from(["new", "related", "established", "invalid"]),
    "types": st.sampled_from(["echo-request", "timestamp-request", "nd-neighbor-solicit"]),
    "sensitivity": st.sampled_from(["", "sensitive"]),
}


def _specs(cls: type[Any], descriptor: Any, names: dict[str, str]) -> st.SearchStrategy[Any]:
    hints = typing.get_type_hints(cls)
    return st.builds(
        cls,
        **{field.name: _values(cls, field.name, hints[field.name], descriptor, names) for field in attrs.fields(cls)},
    )


def _values(cls: type[Any], name: str, hint: Any, descriptor: Any, names: dict[str, str]) -> st.SearchStrategy[Any]:
    found = descriptor.fields_by_name.get(names.get(f"{cls.__name__}.{name}", name))
    members = typing.get_args(hint)
    if NoneType in members:
        (rest,) = (member for member in members if member is not NoneType)
        return st.none() | _values(cls, name, rest, descriptor, names)
    if typing.get_origin(hint) is Mapping:
        return st.dictionaries(_TEXT, st.booleans() if members[1] is bool else _TEXT, max_size=3)
    if typing.get_origin(hint) is tuple:
        return st.lists(_values(cls, name, members[0], descriptor, names), max_size=3).map(tuple)
    if attrs.has(hint):
        return _specs(hint, found.message_type, names)
    if hint is str:
        if found is not None and found.message_type is not None:
            text = _TEXTS[found.message_type.full_name]
            return text if found.is_repeated else st.just("") | text
        if name in _BY_NAME and (cls.__name__ not in ("NameServer",)):
            return _BY_NAME[name]
        return st.just("") | _MAC if found is not None and found.type == FieldDescriptor.TYPE_BYTES else _TEXT
    if issubclass(hint, TextFlag):
        return st.sets(st.sampled_from(list(hint))).map(sum).map(hint)
    if issubclass(hint, enum.Enum):
        return st.sampled_from(list(hint))
    simple: dict[Any, st.SearchStrategy[Any]] = {
        bool: st.booleans(),
        int: st.integers(0, 2**31 - 1),
        float: st.floats(0, 1e9),
        bytes: st.binary(max_size=8),
        datetime.timedelta: st.integers(-(10**9), 10**9).map(lambda ms: datetime.timedelta(milliseconds=ms)),
        datetime.datetime: st.just(kubespan.NEVER) | _NEAR,
    }
    return simple[hint]


def _names(message: MessageType[Any]) -> dict[str, str]:
    """Where the fields of a spec, and those of the specs in it, stand in their messages."""
    found = {f"{message.spec_class.__name__}.{name}": getattr(field, "name", name) for name, field in message.fields}
    for inner in message.nested.values():
        found |= _names(inner)
    return found


@pytest.mark.parametrize("message", [message for message in MAPPED if message.fields], ids=lambda message: message.name)
def test_a_spec_survives_the_way_there_and_back(message: MessageType[Any]) -> None:
    @settings(max_examples=8, suppress_health_check=list(HealthCheck))
    @given(_specs(message.spec_class, message.message.DESCRIPTOR, _names(message)))
    def check(spec: Any) -> None:
        data = message.encode(spec)
        assert message.decode(data) == spec
        # What the originals keep of it is what they would have written.
        if not message.name.startswith("cosi."):
            THEIRS[message.name].FromString(data)

    check()


# Known answers.


def test_a_route_as_a_go_program_reads_it() -> None:
    spec = network.RouteStatusSpec(
        dst="10.5.0.0/16",
        gateway="fe80::1",
        out_link_name="eth0",
        table=network.RoutingTable("7"),
        priority=1024,
        scope=network.Scope.LINK,
        protocol=network.RouteProtocol.DHCP,
        flags=network.RouteFlags.OFFLOAD,
        next_hops=(network.NextHop(gateway="10.0.0.1", weight=2),),
    )
    read = THEIRS["talos.resource.definitions.network.RouteStatusSpec"].FromString(SPECS.encode(spec))
    assert (read.destination.ip, read.destination.prefix_length) == (bytes((10, 5, 0, 0)), 16)
    assert read.gateway.ip == bytes.fromhex("fe80000000000000" + "0000000000000001")
    assert not read.HasField("source")
    assert shown("NethelpersScope", read, "scope") == "SCOPE_LINK"
    assert shown("NethelpersRouteProtocol", read, "protocol") == "PROTOCOL_DHCP"
    assert (read.table, read.priority, read.flags) == (7, 1024, 16384)
    assert [(hop.gateway.ip, hop.weight) for hop in read.next_hops] == [(bytes((10, 0, 0, 1)), 2)]


def test_the_bytes_of_some_specs() -> None:
    known: list[tuple[Any, str]] = [
        (network.LinkAliasSpecSpec(alias="lan"), "0a036c616e"),
        (network.HostnameSpecSpec(hostname="a", layer=network.ConfigLayer.OPERATOR), "0a01611803"),
        (network.HardwareAddrSpec(name="eth0", hardware_addr="02:00:00:00:00:01"), "0a04657468301206020000000001"),
        (network.StaticHostSpec(addresses=("192.0.2.1",)), "0a060a04c0000201"),
        (network.NodeAddressSpec(addresses=("10.0.0.1/8",)), "0a080a040a0000011008"),
        (kubespan.KubeSpanEndpointSpec(affiliate_id="x", endpoint="10.0.0.2:51820"), "0a0178120a0a040a00000210ec9403"),
        (cluster.MemberSpec(machine_type=cluster.MachineType.CONTROLPLANE), "2002"),
        (cluster.MachineResetSignalSpec(), ""),
    ]
    assert [SPECS.encode(spec).hex() for spec, _ in known] == [expected for _, expected in known]


@each("ip_binary")
def test_addresses_are_the_bytes_that_go_makes_of_them(vector: dict[str, str]) -> None:
    if not vector.get("address") or "hex" not in vector:
        return  # what is not an address has no place in a spec
    data = SPECS.encode(network.StaticHostSpec(addresses=(vector["address"],)))
    (read,) = THEIRS["talos.resource.definitions.network.StaticHostSpec"].FromString(data).addresses
    assert read.ip.hex() == vector["hex"]
    assert SPECS.decode(network.StaticHostSpec, data, "").addresses == (vector["address"],)


def test_a_time_that_never_was_is_year_one() -> None:
    data = SPECS.encode(kubespan.KubeSpanPeerStatusSpec())
    read = THEIRS["talos.resource.definitions.kubespan.PeerStatusSpec"].FromString(data)
    assert read.last_handshake_time.seconds == -62135596800


def test_a_bond_s_member_stands_in_a_message_of_its_own() -> None:
    spec = network.LinkSpecSpec(name="eth1", master_name="bond0", slave_index=1, multicast=False)
    read = THEIRS["talos.resource.definitions.network.LinkSpecSpec"].FromString(SPECS.encode(spec))
    assert (read.bond_slave.master_name, read.bond_slave.slave_index) == ("bond0", 1)
    assert (
        not THEIRS["talos.resource.definitions.network.LinkSpecSpec"]
        .FromString(SPECS.encode(network.LinkSpecSpec(name="eth1")))
        .HasField("bond_slave")
    )


def test_icmp_types_have_numbers_where_the_originals_have_them() -> None:
    match = network.ICMPTypeMatch(types=("timestamp-request", "echo-request"))
    rule = network.NfTablesRule(match_layer4=network.Layer4Match(protocol="icmp", match_icmp_type=match))
    data = SPECS.encode(network.NfTablesChainSpec(rules=(rule,)))
    read = THEIRS["talos.resource.definitions.network.NfTablesChainSpec"].FromString(data)
    assert list(read.rules[0].match_layer4.match_icmp_type.types) == [13]
    read.rules[0].match_layer4.match_icmp_type.DiscardUnknownFields()
    (back,) = SPECS.decode(network.NfTablesChainSpec, read.SerializeToString(), "").rules
    assert back.match_layer4.match_icmp_type.types == ("timestamp-request",)


def test_a_configuration_goes_as_its_text_and_stays_raw_for_its_reader() -> None:
    data = SPECS.encode(config.MachineConfigSpec(text="machine: {}\n"))
    assert data == b"\x0a\x0cmachine: {}\n"
    assert SPECS.decode(config.MachineConfigSpec, data, "y") == RawSpec(data, "y")


def test_a_spec_that_its_message_cannot_express_names_the_field() -> None:
    with pytest.raises(MessageError, match="addresses"):
        SPECS.encode(network.StaticHostSpec(addresses=("no address",)))
    with pytest.raises(MessageError, match="not a talos"):
        SPECS.decode(network.StaticHostSpec, b"\xff", "")


def test_a_field_without_a_counterpart_is_an_error_when_the_mapping_is_made() -> None:
    with pytest.raises(TypeError, match="layer has no counterpart"):
        MessageType(network.HostnameSpecSpec, network_pb2.HostnameSpecSpec)
    with pytest.raises(TypeError, match="nothing for config_layer"):
        MessageType(network.HostnameStatusSpec, network_pb2.HostnameSpecSpec)
    with pytest.raises(TypeError, match="say how"):
        MessageType(
            network.NodeAddressSortAlgorithmSpec,
            network_pb2.NodeAddressSortAlgorithmSpec,
            fields={"algorithm": At(name="algorithm")},
        )


# Types without a message.


@attrs.frozen
class Inner:
    size: int = 0
    share: float = 0.5


@attrs.frozen
class Own:
    name: str = ""
    many: tuple[Inner, ...] = ()
    big: int = 0
    data: bytes = b""
    on: bool = False
    none: Inner | None = None


OWN = ResourceType("Owns.test.nodespan.dev", Own, namespace="test")


def test_a_type_without_a_message_goes_as_a_struct() -> None:
    spec = Own("x", (Inner(3), Inner(1 << 40, 2.0)), (1 << 60) + 1, b"\0\1", on=True)
    data = SPECS.encode(spec)
    assert SPECS.decode(Own, data, "ignored") == spec
    assert SPECS.decode(None, data, "yaml: 1\n") == RawSpec(data, "yaml: 1\n")
    assert SPECS.encode(RawSpec(data, "")) == data
    assert RawSpec(data, "yaml: 1\n").to_plain() == {"yaml": 1}
    with pytest.raises(MessageError, match="Own"):
        SPECS.decode(Own, SPECS.encode(Inner()), "")
