"""The specs of the built-in types as the messages of the originals' typed resources: a Go program reads them.

A type is missing here if the originals have none of the kind, or no message for it; `WITHOUT_MESSAGE` says which of the
originals' types those are. See `nodespan.runtime.codec.messages` for the rules of a mapping.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from nodespan.resources import cluster, config, files, kubespan, network, runtime
from nodespan.resources.addresses import (
    decode_address,
    encode_address,
    join_endpoint,
    join_prefix,
    split_endpoint,
    split_prefix,
)
from nodespan.resources.config.network import ClientIdentifier
from nodespan.resources.wire import (
    cluster_pb2,
    config_pb2,
    files_pb2,
    k8s_pb2,
    kubespan_pb2,
    network_pb2,
    runtime_pb2,
    time_pb2,
)
from nodespan.runtime.codec.messages import At, Choice, MessageType, Part

# Types of the originals that have no message there, or one whose fields we do not know: the secrets of the API.
WITHOUT_MESSAGE = frozenset(
    {
        "ApiCertificates.secrets.talos.dev",
        "CertSANs.secrets.talos.dev",
        "DNSUpstreams.net.talos.dev",
        "DeviceConfigSpecs.net.talos.dev",
        "KernelModuleSpecs.runtime.talos.dev",
        "KernelModuleStatuses.runtime.talos.dev",
        "OSRoots.secrets.talos.dev",
    }
)


class _Address:
    def to_wire(self, value: str, into: Any) -> None:
        into.ip = encode_address(value)

    def from_wire(self, value: Any) -> str:
        return decode_address(value.ip)


class _Prefix:
    def to_wire(self, value: str, into: Any) -> None:
        into.ip, into.prefix_length = split_prefix(value)

    def from_wire(self, value: Any) -> str:
        return join_prefix(value.ip, value.prefix_length) if value.ip else ""


class _Endpoint:
    def to_wire(self, value: str, into: Any) -> None:
        into.ip, into.port = split_endpoint(value)

    def from_wire(self, value: Any) -> str:
        return join_endpoint(value.ip, value.port) if value.ip else ""


class _URL:
    def to_wire(self, value: str, into: Any) -> None:
        into.full_path = value

    def from_wire(self, value: Any) -> str:
        return str(value.full_path)


class _HardwareAddress:
    """The bytes of a lower-case colon form."""

    def to_wire(self, value: str) -> bytes:
        return bytes.fromhex(value.replace(":", ""))

    def from_wire(self, value: bytes) -> str:
        return value.hex(":") if value else ""


_COMMON: Mapping[str, Part] = {
    "common.NetIP": _Address(),
    "common.NetIPPrefix": _Prefix(),
    "common.NetIPPort": _Endpoint(),
    "common.URL": _URL(),
}
_MAC = At(form=_HardwareAddress())

# Choices whose texts carry no numbers.
_SORT_ALGORITHM = Choice({network.AddressSortAlgorithm.V1: 0, network.AddressSortAlgorithm.V2: 1})
_CLIENT_IDENTIFIER = Choice({ClientIdentifier.NONE: 0, ClientIdentifier.MAC: 1, ClientIdentifier.DUID: 2})
_MATCH_OPERATOR = Choice({network.MatchOperator.EQUAL: 0, network.MatchOperator.NOT_EQUAL: 1})
_PROTOCOL = Choice({"icmp": 1, "tcp": 6, "udp": 17, "icmpv6": 58})
_CONNTRACK_STATE = Choice({"invalid": 1, "established": 2, "related": 4, "new": 8})
_MACHINE_TYPE = Choice(
    {
        cluster.MachineType.UNKNOWN: 0,
        cluster.MachineType.INIT: 1,
        cluster.MachineType.CONTROLPLANE: 2,
        cluster.MachineType.WORKER: 3,
    }
)
_PEER_STATE = Choice({kubespan.PeerState.UNKNOWN: 0, kubespan.PeerState.UP: 1, kubespan.PeerState.DOWN: 2})
# The types of ICMP that the originals know by number; others have names only.
_ICMP_NUMBERS = {"timestamp-request": 13, "timestamp-reply": 14, "address-mask-request": 17, "address-mask-reply": 18}
_ICMP_NAMES = {number: name for name, number in _ICMP_NUMBERS.items()}


class _ChainTypeText:
    """The type of a chain is text there too."""

    def to_wire(self, value: network.ChainType) -> str:
        return value.value

    def from_wire(self, value: str) -> network.ChainType:
        return network.ChainType(value)


class _ICMPTypes(MessageType[network.ICMPTypeMatch]):
    """All names, and the numbers of those that the originals know."""

    def to_wire(self, spec: network.ICMPTypeMatch, into: Any) -> None:
        super().to_wire(spec, into)
        into.types.extend(_ICMP_NUMBERS[name] for name in spec.types if name in _ICMP_NUMBERS)

    def from_wire(self, message: Any) -> network.ICMPTypeMatch:
        if message.type_names:
            return super().from_wire(message)
        return network.ICMPTypeMatch(types=tuple(_ICMP_NAMES.get(number, str(number)) for number in message.types))


def _network(
    spec_class: type[Any],
    message: type[Any],
    *nested: MessageType[Any],
    without: Iterable[str] = (),
    **fields: At | str,
) -> MessageType[Any]:
    return MessageType(spec_class, message, fields=fields, parts=_COMMON, nested=nested, without=without)


_VLAN = _network(network.VLAN, network_pb2.VLANSpec, vlan_id="vid", vlan_protocol="protocol")
_BRIDGE = _network(
    network.BridgeMaster,
    network_pb2.BridgeMasterSpec,
    _network(network.STP, network_pb2.STPSpec),
    _network(network.BridgeVLAN, network_pb2.BridgeVLANSpec),
)
_BOND = _network(
    network.BondMaster,
    network_pb2.BondMasterSpec,
    xmit_hash_policy="hash_policy",
    miimon="mii_mon",
    updelay="up_delay",
    downdelay="down_delay",
    tlb_logical_lb="tlb_dynamic_lb",
    arp_ip_targets="arpip_targets",
    ns_ip6_targets="nsip6_targets",
    ad_lacp_active="adlacp_active",
)
_VRF = _network(network.VRFMaster, network_pb2.VRFMasterSpec)
_VETH = _network(network.Veth, network_pb2.VethSpec)
_MACVLAN = _network(network.MacVLAN, network_pb2.MacVLANSpec)
_VXLAN = _network(network.VXLAN, network_pb2.VXLANSpec)
_IPVLAN = _network(network.IPVLAN, network_pb2.IPVLANSpec)
_NEXT_HOP = _network(network.NextHop, network_pb2.RouteNextHop)
_NAME_SERVER = _network(network.NameServer, network_pb2.NameServerSpec)
_CLIENT_ID = _network(
    network.ClientIdentifierSpec,
    network_pb2.ClientIdentifierSpec,
    client_identifier=At(form=_CLIENT_IDENTIFIER),
    duid_raw="duid_raw_hex",
)
_ADDRESSES = _network(network.AddressMatch, network_pb2.NfTablesAddressMatch)
_INTERFACES = _network(network.IfNameMatch, network_pb2.NfTablesIfNameMatch, operator=At(form=_MATCH_OPERATOR))
_MARK = _network(network.Mark, network_pb2.NfTablesMark)
_PORTS = _network(network.PortMatch, network_pb2.NfTablesPortMatch, _network(network.PortRange, network_pb2.PortRange))
_RULE = _network(
    network.NfTablesRule,
    network_pb2.NfTablesRule,
    _ADDRESSES,
    _network(network.AddressTypeMatch, network_pb2.NfTablesAddressTypeMatch),
    _INTERFACES,
    _MARK,
    _network(
        network.Layer4Match,
        network_pb2.NfTablesLayer4Match,
        _PORTS,
        _ICMPTypes(
            network.ICMPTypeMatch,
            network_pb2.NfTablesICMPTypeMatch,
            fields={"types": "type_names"},
            without=["types"],
        ),
        protocol=At(form=_PROTOCOL),
    ),
    _network(
        network.ConntrackStateMatch,
        network_pb2.NfTablesConntrackStateMatch,
        states=At(form=_CONNTRACK_STATE),
    ),
    _network(network.LimitMatch, network_pb2.NfTablesLimitMatch),
    _network(network.ClampMSS, network_pb2.NfTablesClampMSS),
    match_iif_name="match_i_if_name",
    match_oif_name="match_o_if_name",
    anonymous_counter="anon_counter",
)
_CONTROL_PLANE = MessageType(cluster.ControlPlane, cluster_pb2.ControlPlane, fields={"port": "api_server_port"})


class _MachineConfigs(MessageType[config.MachineConfigSpec]):
    """The text: what is read from it is the business of those who can."""

    def __init__(self) -> None:
        self.spec_class = config.MachineConfigSpec
        self.message = config_pb2.MachineConfigSpec
        self.nested, self.fields = {}, []

    def encode(self, spec: config.MachineConfigSpec) -> bytes:
        return config_pb2.MachineConfigSpec(yaml_marshalled=spec.text.encode()).SerializeToString()


NETWORK: tuple[MessageType[Any], ...] = (
    _network(network.AddressSpecSpec, network_pb2.AddressSpecSpec, layer="config_layer"),
    _network(network.AddressStatusSpec, network_pb2.AddressStatusSpec),
    _network(
        network.EthernetSpecSpec,
        network_pb2.EthernetSpecSpec,
        _network(network.EthernetRings, network_pb2.EthernetRingsSpec),
        _network(network.EthernetChannels, network_pb2.EthernetChannelsSpec),
        wake_on_lan=At(given="wake_on_lan_given"),
    ),
    _network(
        network.EthernetStatusSpec,
        network_pb2.EthernetStatusSpec,
        _network(network.EthernetRingsStatus, network_pb2.EthernetRingsStatus),
        _network(network.EthernetChannelsStatus, network_pb2.EthernetChannelsStatus),
        speed_mbit="speed_megabits",
    ),
    _network(network.HardwareAddrSpec, network_pb2.HardwareAddrSpec, hardware_addr=_MAC),
    _network(network.HostnameSpecSpec, network_pb2.HostnameSpecSpec, layer="config_layer"),
    _network(network.HostnameStatusSpec, network_pb2.HostnameStatusSpec),
    _network(network.LinkAliasSpecSpec, network_pb2.LinkAliasSpecSpec),
    _network(network.LinkRefreshSpec, network_pb2.LinkRefreshSpec),
    _network(
        network.LinkSpecSpec,
        network_pb2.LinkSpecSpec,
        _VLAN,
        _BRIDGE,
        _BOND,
        _VRF,
        _VETH,
        _MACVLAN,
        _VXLAN,
        _IPVLAN,
        _network(network.BridgeSlave, network_pb2.BridgeSlave),
        _network(network.VRFSlave, network_pb2.VRFSlave),
        _network(
            network.WireguardSpec,
            network_pb2.WireguardSpec,
            _network(network.WireguardPeer, network_pb2.WireguardPeer),
            without=["public_key"],
        ),
        hardware_addr=At(name="hardware_address", form=_HardwareAddress()),
        master_name="bond_slave.master_name",
        slave_index="bond_slave.slave_index",
        layer="config_layer",
        macvlan="mac_vlan",
    ),
    _network(
        network.LinkStatusSpec,
        network_pb2.LinkStatusSpec,
        _VLAN,
        _BRIDGE,
        _BOND,
        _VRF,
        _VETH,
        _MACVLAN,
        _VXLAN,
        _IPVLAN,
        _network(
            network.WireguardStatus,
            network_pb2.WireguardSpec,
            # Secrets are not read from the device, and have no place in a type that is not sensitive.
            _network(network.WireguardPeerStatus, network_pb2.WireguardPeer, without=["preshared_key"]),
            without=["private_key", "loose_reverse_path"],
        ),
        hardware_addr=_MAC,
        permanent_addr=_MAC,
        broadcast_addr=_MAC,
        pci_id="pciid",
        speed_mbit="speed_megabits",
        macvlan="mac_vlan",
    ),
    _network(network.NetworkStatusSpec, network_pb2.StatusSpec),
    _network(network.NfTablesChainSpec, network_pb2.NfTablesChainSpec, _RULE, type=At(form=_ChainTypeText())),
    _network(network.NodeAddressSpec, network_pb2.NodeAddressSpec, sort_algorithm=At(form=_SORT_ALGORITHM)),
    _network(network.NodeAddressFilterSpec, network_pb2.NodeAddressFilterSpec),
    _network(
        network.NodeAddressSortAlgorithmSpec,
        network_pb2.NodeAddressSortAlgorithmSpec,
        algorithm=At(form=_SORT_ALGORITHM),
    ),
    _network(
        network.OperatorSpecSpec,
        network_pb2.OperatorSpecSpec,
        _network(network.DHCP4OperatorSpec, network_pb2.DHCP4OperatorSpec, _CLIENT_ID),
        _network(network.DHCP6OperatorSpec, network_pb2.DHCP6OperatorSpec, _CLIENT_ID),
        _network(
            network.VIPOperatorSpec,
            network_pb2.VIPOperatorSpec,
            _network(network.VIPEquinixMetalSpec, network_pb2.VIPEquinixMetalSpec),
            _network(network.VIPHCloudSpec, network_pb2.VIPHCloudSpec),
            hcloud="h_cloud",
        ),
        layer="config_layer",
    ),
    _network(
        network.ProbeSpecSpec,
        network_pb2.ProbeSpecSpec,
        _network(network.TCPProbeSpec, network_pb2.TCPProbeSpec),
        _network(network.HTTPProbeSpec, network_pb2.HTTPProbeSpec),
        layer="config_layer",
    ),
    _network(network.ProbeStatusSpec, network_pb2.ProbeStatusSpec),
    _network(network.ResolverSpecSpec, network_pb2.ResolverSpecSpec, _NAME_SERVER, layer="config_layer"),
    _network(network.ResolverStatusSpec, network_pb2.ResolverStatusSpec, _NAME_SERVER),
    _network(
        network.RouteSpecSpec,
        network_pb2.RouteSpecSpec,
        _NEXT_HOP,
        dst="destination",
        src="source",
        layer="config_layer",
    ),
    _network(network.RouteStatusSpec, network_pb2.RouteStatusSpec, _NEXT_HOP, dst="destination", src="source"),
    _network(network.RoutingRuleSpecSpec, network_pb2.RoutingRuleSpecSpec, layer="config_layer"),
    _network(network.RoutingRuleStatusSpec, network_pb2.RoutingRuleStatusSpec),
    _network(network.DNSResolveCacheSpec, network_pb2.DNSResolveCacheSpec),
    _network(network.HostDNSConfigSpec, network_pb2.HostDNSConfigSpec),
    _network(network.StaticHostSpec, network_pb2.StaticHostSpec),
    _network(
        network.TimeServerSpecSpec, network_pb2.TimeServerSpecSpec, time_servers="ntp_servers", layer="config_layer"
    ),
    _network(network.TimeServerStatusSpec, network_pb2.TimeServerStatusSpec, time_servers="ntp_servers"),
)
KUBESPAN: tuple[MessageType[Any], ...] = (
    MessageType(
        kubespan.KubeSpanConfigSpec,
        kubespan_pb2.ConfigSpec,
        fields={
            "endpoint_filters": At(given="endpoint_filters_given"),
            "peer_endpoint_filters": At(given="peer_endpoint_filters_given"),
        },
        parts=_COMMON,
        nested=[MessageType(kubespan.KubeSpanStaticPeer, kubespan_pb2.StaticPeer, parts=_COMMON)],
    ),
    MessageType(kubespan.KubeSpanEndpointSpec, kubespan_pb2.EndpointSpec, parts=_COMMON),
    MessageType(kubespan.KubeSpanIdentitySpec, kubespan_pb2.IdentitySpec, parts=_COMMON),
    MessageType(kubespan.KubeSpanPeerSpecSpec, kubespan_pb2.PeerSpecSpec, parts=_COMMON),
    MessageType(
        kubespan.KubeSpanPeerStatusSpec,
        kubespan_pb2.PeerStatusSpec,
        fields={"state": At(form=_PEER_STATE)},
        parts=_COMMON,
    ),
)
CLUSTER: tuple[MessageType[Any], ...] = (
    MessageType(
        cluster.AffiliateSpec,
        cluster_pb2.AffiliateSpec,
        fields={"machine_type": At(form=_MACHINE_TYPE), "kubespan": "kube_span"},
        parts=_COMMON,
        nested=[
            _CONTROL_PLANE,
            MessageType(cluster.KubeSpanAffiliate, cluster_pb2.KubeSpanAffiliateSpec, parts=_COMMON),
        ],
    ),
    MessageType(
        cluster.DiscoveryConfigSpec,
        cluster_pb2.ConfigSpec,
        nested=[MessageType(cluster.DiscoveryService, cluster_pb2.ServiceEndpoint)],
    ),
    MessageType(cluster.IdentitySpec, cluster_pb2.IdentitySpec),
    MessageType(cluster.InfoSpec, cluster_pb2.InfoSpec),
    MessageType(
        cluster.MemberSpec,
        cluster_pb2.MemberSpec,
        fields={"machine_type": At(form=_MACHINE_TYPE)},
        parts=_COMMON,
        nested=[_CONTROL_PLANE],
    ),
    MessageType(cluster.EndpointSpec, k8s_pb2.EndpointSpec, parts=_COMMON),
)
MACHINE: tuple[MessageType[Any], ...] = (
    MessageType(files.EtcFileSpecSpec, files_pb2.EtcFileSpecSpec),
    MessageType(files.EtcFileStatusSpec, files_pb2.EtcFileStatusSpec),
    MessageType(runtime.EnvironmentSpec, runtime_pb2.EnvironmentSpec),
    MessageType(runtime.KernelCmdlineSpec, runtime_pb2.KernelCmdlineSpec),
    MessageType(runtime.KernelParamSpecSpec, runtime_pb2.KernelParamSpecSpec),
    MessageType(runtime.KernelParamStatusSpec, runtime_pb2.KernelParamStatusSpec),
    MessageType(runtime.LoadedKernelModuleSpec, runtime_pb2.LoadedKernelModuleSpec),
    MessageType(runtime.AdjtimeStatusSpec, time_pb2.AdjtimeStatusSpec),
    MessageType(runtime.TimeStatusSpec, time_pb2.StatusSpec),
    MessageType(cluster.MachineResetSignalSpec, runtime_pb2.MachineResetSignalSpec),
    _MachineConfigs(),
)


def messages() -> tuple[MessageType[Any], ...]:
    """All of them."""
    return (*NETWORK, *KUBESPAN, *CLUSTER, *MACHINE)
