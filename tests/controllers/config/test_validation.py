"""Every rule is a row: the shortest configuration that breaks it, with a mark where the problem is shown."""

import base64

import pytest

from nodespan.controllers.config.finding import Severity
from nodespan.controllers.config.loading import load
from tests.controllers.config.marked import unmark
from tests.controllers.config.samples import KEY_A, KEY_B, SECRET

ADDRESS = "neither an IP address nor a CIDR"


def device(body: str) -> str:
    """A main document with one more device."""
    return f"machine:\n  type: controlplane\n  network:\n    interfaces:\n      - {body}\n"


def bond(body: str) -> str:
    return device(f"{{interface: bond0, bond: {{{body}}}}}")


def document(kind: str, body: str) -> str:
    return f"apiVersion: v1alpha1\nkind: {kind}\n{body}\n"


def nodespan(body: str) -> str:
    return f"apiVersion: nodespan.dev/v1alpha1\nkind: NodespanConfig\n{body}\n"


PEER_KEY = base64.b64encode(bytes(32)).decode()


def static_peer(body: str, *, key: str = PEER_KEY) -> str:
    return nodespan(f"kubespan: {{staticPeers: [{{publicKey: {key}, {body}}}]}}")


def condition(body: str) -> str:
    return nodespan(f"vip: {{conditions: [{body}]}}")


MAIN_DOCUMENT = [
    (device("‸{dhcp: true}"), "[networking.os.device.interface"),
    (device("{interface: a, ‸deviceSelector: {driver: b}}"), "exclude each other [networking.os.device.interface"),
    (device("{‸deviceSelector: {}}"), "[networking.os.device.deviceSelector]"),
    (device("{interface: a, addresses: [10.0.0.1, ‸10.0.0.300/24]}"), f"{ADDRESS} [networking.os.device.addresses]"),
    (device("{interface: a, addresses: [‸10.0.0.1/255.0.0.0]}"), ADDRESS),
    (device("{interface: a, addresses: [‸fe80::1%eth0]}"), ADDRESS),
    (device("{interface: a, addresses: [‸10.0.0.1/33]}"), ADDRESS),
    (device("{interface: a, routes: [{network: ‸10.0.0.0}]}"), "[networking.os.device.route[0].network]"),
    (
        device("{interface: a, routes: [{gateway: 10.0.0.1}, {gateway: ‸10.0.0.0/8}]}"),
        "[networking.os.device.route[1].gateway]",
    ),
    (
        device("{interface: a, routes: [{gateway: 10.0.0.1, source: ‸here}]}"),
        "[networking.os.device.route[0].source]",
    ),
    (device("{interface: a, routes: [‸{metric: 5}]}"), "neither network nor gateway is given"),
    (device("{interface: a, vip: {ip: ‸10.0.0.1/24}}"), "[networking.os.device.vip]"),
    (device("{interface: a, ‸vip: {}}"), "[networking.os.device.vip]"),
    (
        device("{interface: a, vlans: [{vlanId: 5, addresses: [‸x]}]}"),
        f"{ADDRESS} [networking.os.device.vlan.addresses]",
    ),
    (device("{interface: a, vlans: [{vlanId: 5, cidr: ‸x}]}"), f"{ADDRESS} [networking.os.device.vlan.CIDR]"),
    (
        device("{interface: a, vlans: [{cidr: ‸10.0.0.1/8, addresses: [10.0.0.2/8]}]}"),
        "exclude each other [networking.os.device.vlan]",
    ),
    (device("{interface: a, bond: {interfaces: [b]}, ‸bridge: {interfaces: [c]}}"), "either a bond or a bridge"),
    (
        bond("interfaces: [b], deviceSelectors: ‸[{driver: c}]"),
        "bond.interfaces and bond.deviceSelectors exclude each other",
    ),
    (
        device("{interface: a, bond: {interfaces: [x]}}\n      - {interface: b, bridge: {interfaces: [y, ‸x]}}"),
        '"x" is a member of "a" already',
    ),
    (
        device("{interface: a, bridge: {interfaces: [x]}}\n      - {interface: x, bridgePort: {master: ‸b}}"),
        '"x" is a member of "a" already',
    ),
    (bond("mode: ‸fast"), "none of balance-rr, active-backup"),
    (bond("mode: ‸lacp, lacpRate: fast, primary: b"), "none of balance-rr, active-backup"),
    (bond("miimon: ‸often, updelay: 200"), "is not a whole number"),
    (bond("xmitHashPolicy: ‸layer3"), "none of layer2, layer3+4"),
    (bond("updelay: ‸200"), "bond.updelay needs bond.miimon"),
    (bond("miimon: 0, downdelay: ‸200"), "bond.downdelay needs bond.miimon"),
    (bond("miimon: 100, updelay: ‸250"), "not a multiple of bond.miimon (100)"),
    (bond("miimon: 100, downdelay: ‸250"), "not a multiple of bond.miimon (100)"),
    (bond("arpIPTarget: ‸[10.0.0.1]"), "bond.arpIPTarget is not supported"),
    (bond("adActorSystem: ‸02:00:00:00:00:01"), "bond.adActorSystem is not supported"),
    (bond("lacpRate: ‸slow"), "bond.lacpRate is not available in mode balance-rr"),
    (bond("mode: active-backup, adActorSysPrio: ‸5"), "bond.adActorSysPrio is not available in mode active-backup"),
    (bond("adUserPortKey: ‸5"), "bond.adUserPortKey is not available"),
    (bond("mode: 802.3ad, arpValidate: ‸none"), "bond.arpValidate is not available in mode 802.3ad"),
    (bond("mode: balance-tlb, arpInterval: ‸100"), "bond.arpInterval is not available in mode balance-tlb"),
    (bond("mode: balance-alb, arpInterval: ‸100"), "bond.arpInterval is not available in mode balance-alb"),
    (bond("primary: ‸eth0"), "bond.primary is not available in mode balance-rr"),
    (bond("mode: broadcast, packetsPerSlave: ‸2"), "bond.packetsPerSlave is not available in mode broadcast"),
    (bond("tlbDynamicLb: ‸1"), "bond.tlbDynamicLb is not available in mode balance-rr"),
    (bond("miimon: ‸fast"), "is not a whole number"),
    (device(f"{{interface: a, wireguard: {{privateKey: ‸{KEY_A[:-4]}}}}}"), "private key is not base64 of 32 bytes"),
    (device("{interface: a, ‸wireguard: {}}"), "private key is not base64 of 32 bytes"),
    (
        device(f"{{interface: a, wireguard: {{privateKey: {KEY_A}, peers: [{{publicKey: ‸abc}}]}}}}"),
        '"abc" is not base64 of 32 bytes',
    ),
    (
        device(
            f"{{interface: a, wireguard: {{privateKey: {KEY_A}, peers: [{{publicKey: {KEY_B}, endpoint: ‸host}}]}}}}"
        ),
        '"host" is not host:port',
    ),
    (
        device(
            f"{{interface: a, wireguard: {{privateKey: {KEY_A}, peers: [{{publicKey: {KEY_B}, "
            "allowedIPs: [‸10.0.0.1]}]}}"
        ),
        '"10.0.0.1" is not a CIDR',
    ),
    (
        device(
            f"{{interface: a, wireguard: {{privateKey: {KEY_A}, peers: [{{publicKey: {KEY_B}, "
            "persistentKeepaliveInterval: ‸soon}]}}"
        ),
        '"soon" is not a duration',
    ),
    (
        "machine: {type: worker, network: {interfaces: [{interface: a, ‸vip: {ip: 10.0.0.1}}]}}",
        "not allowed on a worker",
    ),
    (
        "machine: {network: {interfaces: [{interface: a, vlans: [{vlanId: 1, ‸vip: {ip: 10.0.0.1}}]}]}}",
        "not allowed on a worker",
    ),
    (
        "machine: {install: {extraKernelArgs: ‸[a], grubUseUKICmdline: true}}",
        "install.extraKernelArgs and install.grubUseUKICmdline exclude each other",
    ),
    ("machine: {features: {nodeAddressSortAlgorithm: ‸v3}}", "none of v1, v2"),
    (f"machine: {{network: {{hostname: ‸{'a' * 64}}}}}", "is not a host name"),
    ("machine: {network: {hostname: ‸a b}}", "is not a host name"),
    ("machine: {network: {searchDomains: [a.example, ‸a b]}}", "is not a name"),
    ("machine: {network: {extraHostEntries: [{ip: 10.0.0.1, aliases: [a, ‸'b#c']}]}}", "is not a name"),
    ('machine: {time: {servers: [‸"a\\nmakestep 1 1"]}}', "is not a name"),
    ("machine: {network: {extraHostEntries: [{ip: ‸localhost}]}}", "is not an IP address"),
    ("machine: {time: {bootTimeout: ‸5 minutes}}", "is not a duration"),
    (device("{interface: ‸br%d, bridge: {interfaces: [a]}}"), 'the name "br%d" contains %'),
    (device("{interface: ‸a/b, dummy: true}"), 'the name "a/b" contains /'),
    (device(f"{{interface: ‸{'b' * 16}, bond: {{interfaces: [a], mode: active-backup}}}}"), "is longer than 15 bytes"),
    (device("{interface: a:1, vlans: [{vlanId: ‸7}]}"), "the name of this VLAN"),
    (document("DummyLinkConfig", "name: ‸d%d"), 'the name "d%d" contains %'),
    (document("BridgeConfig", "name: ‸'a b'"), "contains a blank"),
    (document("VLANConfig", "name: ‸..\nparent: a\nvlanID: 7"), "is not allowed"),
    (document("VRFConfig", "name: ‸à\ntable: 100"), 'the name "à" contains'),
    (document("VethConfig", "name: ‸a234567890123456\npeer: {name: b}"), "is longer than 15 bytes"),
    (document("VethConfig", "name: a\npeer: {name: ‸b/c}"), 'the name "b/c" contains /'),
]

ENSLAVED = "\n      - {interface: bond0, bond: {interfaces: [a]}}"
ENSLAVED_ROWS = [
    (device("{interface: a, dhcp: ‸true}" + ENSLAVED), "[networking.os.device]"),
    (device("{interface: a, addresses: ‸[10.0.0.1/24]}" + ENSLAVED), "[networking.os.device]"),
    (device("{interface: a, cidr: ‸10.0.0.1/24}" + ENSLAVED), "[networking.os.device]"),
    (device("{interface: a, ‸vip: {ip: 10.0.0.1}}" + ENSLAVED), "[networking.os.device]"),
    (device("{interface: a, dhcp: ‸true, bridgePort: {master: br0}}"), "[networking.os.device]"),
]

SERVICE = document("DiscoveryServiceConfig", "name: a\nendpoint: https://discovery.example.org")
IDENTITY = document("DiscoveryIdentityConfig", f"clusterID: a\nclusterSecret: {SECRET}")
DISCOVERY = f"cluster:\n  id: a\n  secret: {SECRET}\n  discovery: {{enabled: true}}\n"

KUBESPAN = [
    (f"machine: {{network: {{kubespan: {{enabled: true, mtu: ‸576}}}}}}\n{DISCOVERY}", "mtu 576 is less than 1280"),
    (
        f"machine: {{network: {{kubespan: {{enabled: true, filters: {{endpoints: [‸'!!10.0.0.0']}}}}}}}}\n{DISCOVERY}",
        "with or without a ! in front",
    ),
    (
        "machine: {network: {kubespan: {enabled: true, filters: {excludeAdvertisedNetworks: [‸10.0.0.1]}}}}\n"
        + DISCOVERY,
        "is not a CIDR",
    ),
    ("machine: {network: {kubespan: {enabled: ‸true}}}", "KubeSpan needs a discovery service"),
    (document("KubeSpanConfig", "enabled: ‸true"), "KubeSpan needs a discovery service, or static peers"),
    (
        document("KubeSpanConfig", "enabled: true") + "---\n" + nodespan("kubespan: {staticPeers: ‸[]}"),
        "peers of KubeSpan need cluster.id",
    ),
    (document("KubeSpanConfig", "enabled: false\nmtu: ‸576"), "mtu 576 is less than 1280"),
    (document("KubeSpanConfig", "mtu: ‸0"), "mtu 0 is less than 1280"),
    (document("KubeSpanConfig", "filters: {endpoints: [0.0.0.0/0, ‸'!/8']}"), "neither an IP address nor a CIDR"),
    (document("KubeSpanEndpointsConfig", "extraAnnouncedEndpoints: [‸host:51820]"), "is not ip:port"),
    (document("KubeSpanEndpointsConfig", "extraAnnouncedEndpoints: [‸10.0.0.1]"), "is not ip:port"),
    (f"‸cluster:\n  discovery: {{enabled: true}}\n  secret: {SECRET}", "needs cluster.id"),
    ("‸cluster: {id: a, discovery: {enabled: true}}", "needs cluster.secret"),
    ("cluster: {id: a, secret: ‸AAAAAAAAAAAAAAAAAAAAAA==}", "secret is not base64 of 32 bytes"),
    (
        DISCOVERY.replace(
            "{enabled: true}", "{enabled: true, registries: {service: {endpoint: ‸https://a.example/b}}}"
        ),
        "has a path",
    ),
    (
        DISCOVERY.replace("{enabled: true}", "{enabled: true, registries: {service: {endpoint: ‸a.example}}}"),
        "is not a URL of a discovery service",
    ),
    ("cluster: {controlPlane: {endpoint: ‸10.0.0.1}}", "is not a URL"),
    (document("DiscoveryIdentityConfig", f"clusterID: ‸''\nclusterSecret: {SECRET}"), "needs clusterID"),
    (document("DiscoveryIdentityConfig", "clusterID: a\nclusterSecret: ‸AAAA"), "clusterSecret is not base64 of 32"),
    (IDENTITY + "---\n" + document("DiscoveryServiceConfig", "name: ‸''\nendpoint: https://a"), "needs name"),
    (IDENTITY + "---\n" + document("DiscoveryServiceConfig", "name: a\nendpoint: ‸ftp://a"), "is not a URL"),
    (
        f"machine: {{network: {{kubespan: {{enabled: true}}}}}}\n{DISCOVERY}---\n"
        + document("‸KubeSpanConfig", "enabled: true"),
        "machine.network.kubespan is given in the main document too",
    ),
    (
        f"cluster: {{discovery: {{enabled: false}}}}\n---\n{IDENTITY}---\n"
        + document("‸DiscoveryServiceConfig", "name: a\nendpoint: https://a"),
        "cluster.discovery is given in the main document too",
    ),
    (
        "cluster: {id: a}\n---\n" + document("‸DiscoveryIdentityConfig", f"clusterID: a\nclusterSecret: {SECRET}"),
        "cluster.id is given in the main document too",
    ),
]

LINK = "name: a\n"
VXLAN = LINK + "id: 5\nparent: b\n"
PEERS = f"name: a\nprivateKey: {KEY_A}\npeers:\n  - publicKey: {KEY_B}\n    "


def kube_network(
    pods: str = "10.244.0.0/16", services: str = "10.96.0.0/12", mask4: str = "24", mask6: str = "64"
) -> str:
    masks = f"nodeCIDRMaskSizeIPv4: {mask4}\nnodeCIDRMaskSizeIPv6: {mask6}"
    return document("KubeNetworkConfig", f"podSubnets: [{pods}]\nserviceSubnets: [{services}]\n{masks}")


DOCUMENTS = [
    ("‸apiVersion: v1alpha1\nkind: LinkConfig", "LinkConfig needs name"),
    (document("LinkConfig", LINK + "addresses: [{address: ‸10.0.0.1}]"), "is not an address with a prefix length"),
    (document("LinkConfig", LINK + "routes: [{destination: ‸10.0.0.0}]"), "is not a CIDR"),
    (document("LinkConfig", LINK + "routes: [{destination: ‸0.0.0.0/0, gateway: 10.0.0.1}]"), "not allowed"),
    (document("LinkConfig", LINK + "routes: [{gateway: ‸0.0.0.0}]"), "not allowed here"),
    (document("LinkConfig", LINK + "routes: [{gateway: 10.0.0.1, source: ‸'::'}]"), "not allowed here"),
    (document("LinkConfig", LINK + "routes: [{gateway: 10.0.0.1, table: ‸mine}]"), "is not a routing table"),
    (document("LinkConfig", LINK + "routes: [‸{metric: 1}]"), "neither destination nor gateway"),
    (document("BondConfig", LINK + "bondMode: balance-rr\nlinks: ‸[]"), "BondConfig needs links"),
    (document("BondConfig", LINK + "links: [b]\nbondMode: ‸''"), "BondConfig needs bondMode"),
    (document("BondConfig", LINK + "links: [b]\nbondMode: active-backup\nprimary: ‸c"), "is not one of links"),
    (document("BondConfig", LINK + "links: [b]\nbondMode: balance-rr\nprimary: ‸b"), "not available in mode"),
    (document("BondConfig", LINK + "links: [b]\nbondMode: balance-rr\narpIpTargets: [‸'::1']"), "IPv4"),
    (document("BondConfig", LINK + "links: [b]\nbondMode: balance-rr\nhardwareAddr: ‸02:00"), "hardware address"),
    (document("BondConfig", LINK + "links: [b]\nbondMode: balance-rr\nadLACPActive: ‸maybe"), "none of off, on"),
    (document("VLANConfig", LINK + "parent: b\nvlanID: ‸0"), "vlanID 0 is not between 1 and 4094"),
    (document("VLANConfig", LINK + "parent: b\nvlanID: ‸4095"), "vlanID 4095 is not between 1 and 4094"),
    (document("VLANConfig", LINK + "vlanID: 5\nparent: ‸''"), "VLANConfig needs parent"),
    (document("VLANConfig", LINK + "parent: b\nvlanID: 5\nvlanMode: ‸802.1x"), "none of 802.1q, 802.1ad"),
    ("‸apiVersion: v1alpha1\nkind: MacVLANConfig\nparent: b", "MacVLANConfig needs name"),
    (document("MacVLANConfig", LINK + "parent: ‸''"), "MacVLANConfig needs parent"),
    (document("MacVLANConfig", LINK + "parent: ‸a"), "cannot be its own parent"),
    (document("MacVLANConfig", LINK + "parent: b\nmode: ‸routed"), "none of private, vepa, bridge, passthru, source"),
    (document("MacVLANConfig", LINK + "parent: b\nmode: ‸source"), "needs a list of hardware addresses"),
    (document("MacVLANConfig", LINK + "parent: b\nhardwareAddr: ‸x"), "hardware address"),
    (document("MacVLANConfig", LINK + "parent: b\naddresses: [{address: ‸10.0.0.1}]"), "not an address with a prefix"),
    (document("MacVLANConfig", "name: ‸a/b\nparent: b"), "the name"),
    ("‸apiVersion: v1alpha1\nkind: VXLANConfig\nid: 5\nparent: b", "VXLANConfig needs name"),
    (document("VXLANConfig", LINK + "parent: b\nid: ‸0"), "VXLANConfig needs id"),
    (document("VXLANConfig", LINK + "id: 5\nparent: ‸''"), "VXLANConfig needs parent"),
    (document("VXLANConfig", LINK + "id: 5\nparent: ‸a"), "cannot be its own parent"),
    (document("VXLANConfig", LINK + "parent: b\nid: ‸16777216"), "id 16777216 is more than 16777215"),
    (document("VXLANConfig", VXLAN + "local: 10.0.0.1\ngroup: ‸239.1.1.1"), "not both"),
    (document("VXLANConfig", VXLAN + "local: ‸0.0.0.0"), "stands for no address"),
    (document("VXLANConfig", VXLAN + "group: ‸'::'"), "stands for no address"),
    (document("VXLANConfig", VXLAN + "local: ‸here"), "is not an IP address"),
    (document("VXLANConfig", VXLAN + "port: ‸0"), "port 0 is not a port"),
    (document("VXLANConfig", VXLAN + "port: ‸65536"), "not between 0 and 65535"),
    (document("VXLANConfig", VXLAN + "hardwareAddr: ‸x"), "hardware address"),
    (
        document("VXLANConfig", VXLAN) + "---\n" + document("MacVLANConfig", "name: ‸a\nparent: b"),
        '"a" is described by a VXLANConfig already',
    ),
    ("‸apiVersion: v1alpha1\nkind: EthernetConfig\nrings: {rx: 5}", "EthernetConfig needs name"),
    (document("EthernetConfig", "name: ‸''"), "EthernetConfig needs name"),
    (document("EthernetConfig", LINK + "rings: {rx: ‸-1}"), "not between 0 and 4294967295"),
    (document("EthernetConfig", LINK + "rings: {rx: ‸'5'}"), "is not a whole number"),
    (document("EthernetConfig", LINK + "rings: {tx-push: ‸1}"), "neither true nor false"),
    (document("EthernetConfig", LINK + "rings: {‸rx_mini: 1}"), 'unknown key "rx_mini"'),
    (document("EthernetConfig", LINK + "channels: {combined: ‸x}"), "is not a whole number"),
    (document("EthernetConfig", LINK + "features: {rx-gro: ‸maybe}"), "neither true nor false"),
    (document("EthernetConfig", LINK + "features: ‸[rx-gro]"), "must be a table of names and values"),
    (document("EthernetConfig", LINK + f"features: {{{'x' * 32}: ‸true}}"), "is not the name of a feature"),
    (document("EthernetConfig", LINK + "‸wakeOnLan: {enabled: true}"), "must be a list"),
    (document("EthernetConfig", LINK + "wakeOnLan: [magic, ‸arp]"), "none of phy, unicast, multicast, broadcast"),
    (
        document("EthernetConfig", "name: a") + "---\n" + document("EthernetConfig", "name: ‸a"),
        'a EthernetConfig named "a" stands further up already',
    ),
    (document("WireguardConfig", LINK + "privateKey: ‸short"), "private key is not base64"),
    (document("WireguardConfig", PEERS + "presharedKey: ‸short"), "preshared key is not base64"),
    (document("WireguardConfig", PEERS + "endpoint: ‸host.example"), "is not host:port"),
    (document("WireguardConfig", PEERS + "endpoint: ‸host.example:0"), "is not host:port"),
    (document("WireguardConfig", PEERS + "endpoint: ‸2001:db8::1"), "is not host:port"),
    (document("WireguardConfig", PEERS + "persistentKeepaliveInterval: ‸-5s"), "the interval is negative"),
    (document("WireguardConfig", PEERS + "allowedIPs: [10.0.0.0/8, ‸10.0.0.1]"), "is not a CIDR"),
    (document("WireguardConfig", f"name: a\nprivateKey: {KEY_A}\nlistenPort: ‸65536"), "not between 0 and 65535"),
    (document("DummyLinkConfig", LINK + "hardwareAddr: ‸x"), "hardware address"),
    (document("BridgeConfig", LINK + "hardwareAddr: ‸x"), "hardware address"),
    (document("LinkAliasConfig", "name: net0\nselector: {match: ‸link.speed}"), "a link has no field 'speed'"),
    (document("Layer2VIPConfig", "name: ‸a\nlink: b"), "must be an IP address"),
    (document("Layer2VIPConfig", "name: 10.0.0.1\nlink: ‸''"), "needs link"),
    (document("HCloudVIPConfig", "name: 10.0.0.1\nlink: b\napiToken: ‸''"), "needs apiToken"),
    (document("DHCPv4Config", "name: a\nclientIdentifier: duid\nduidRaw: ‸''"), "duid needs duidRaw"),
    (document("DHCPv6Config", "name: a\nduidRaw: ‸0001"), "only with clientIdentifier: duid"),
    (document("DHCPv6Config", "name: a\nclientIdentifier: duid\nduidRaw: ‸xyz"), "hexadecimal"),
    (document("DHCPv4Config", "name: ‸''"), "needs name"),
    (document("LinkAliasConfig", "name: ‸net%d0\nselector: {match: 'true'}"), "only in a %d at its end"),
    (document("LinkAliasConfig", "name: ‸net%s\nselector: {match: 'true'}"), "only in a %d at its end"),
    (document("LinkAliasConfig", "name: net0\nselector: {match: ‸''}"), "needs selector.match"),
    (document("ResolverConfig", "nameservers: [{address: ‸dns.example}]"), "is not an IP address"),
    (
        document(
            "ResolverConfig",
            "hostDNS: {enabled: true}\nnameservers: [{address: 9.9.9.9, protocol: DoT, tlsServerName: ‸''}]",
        ),
        "DoT needs tlsServerName",
    ),
    (document("ResolverConfig", "nameservers: [{address: 9.9.9.9, tlsServerName: ‸a}]"), "only with DoT and DoH"),
    (
        document("ResolverConfig", "nameservers: [{address: 9.9.9.9, protocol: ‸DoH, tlsServerName: a}]"),
        "DoH needs host DNS",
    ),
    (document("ResolverConfig", "hostDNS: {resolveMemberNames: ‸true}"), "needs hostDNS.enabled"),
    (
        "machine: {network: {nameservers: [10.0.0.1]}}\n---\n" + document("‸ResolverConfig", "nameservers: []"),
        "machine.network.nameservers is given in the main document too",
    ),
    (
        "machine: {network: {searchDomains: []}}\n---\n" + document("‸ResolverConfig", "nameservers: []"),
        "machine.network.searchDomains is given in the main document too",
    ),
    (document("TimeSyncConfig", "ntp: {}\n‸ptp: {devices: [/dev/ptp0]}"), "ntp and ptp exclude"),
    (document("TimeSyncConfig", "ntp: {useNTS: true, servers: [‸10.0.0.1]}"), "NTS needs names"),
    (document("TimeSyncConfig", "bootTimeout: ‸-1s"), "the timeout is negative"),
    (document("SysctlConfig", "params: {‸'': '1'}"), "a sysctl key is empty"),
    (document("SysctlConfig", "params: {‸/: '1'}"), "names no file"),
    (document("SysfsConfig", "params: {‸'': '1'}"), "a sysfs key is empty"),
    ("machine: {sysctls: {‸'': '1'}}", "a sysctl key is empty"),
    ("machine: {sysfs: {‸'': '1'}}", "a sysfs key is empty"),
    ("machine: {sysctls: {net.ipv4.ip_forward: ‸[1]}}", "must be a single value"),
    (document("KernelModuleConfig", "name: ‸''"), "KernelModuleConfig needs name"),
    ("machine: {kernel: {modules: [{name: ‸''}]}}", "a kernel module needs a name"),
    (document("UdevRulesConfig", 'rules: [a, ‸"b\\0"]'), "a rule of udev is text"),
    (document("TCPProbeConfig", "name: ‸''\nendpoint: a:1"), "TCPProbeConfig needs name"),
    (document("TCPProbeConfig", "name: a\nendpoint: ‸''"), "TCPProbeConfig needs endpoint"),
    (document("TCPProbeConfig", "name: a\nendpoint: a:1\ntimeout: ‸-5s"), "the timeout is negative"),
    (document("TCPProbeConfig", "name: a\nendpoint: a:1\ninterval: ‸-1s"), "the interval is negative"),
    (document("TCPProbeConfig", "name: a\nendpoint: a:1\nfailureThreshold: ‸-1"), "failureThreshold -1 is negative"),
    (document("HTTPProbeConfig", "name: ‸''\nurl: http://a/"), "HTTPProbeConfig needs name"),
    (document("HTTPProbeConfig", "name: a\nurl: ‸''"), "HTTPProbeConfig needs url"),
    (document("HTTPProbeConfig", "name: a\nurl: ‸ftp://a/"), 'the scheme "ftp" is not http or https'),
    (document("HTTPProbeConfig", "name: a\nurl: ‸/health"), "not a whole URL"),
    (document("HTTPProbeConfig", "name: a\nurl: ‸'http://'"), "not a whole URL"),
    (document("HTTPProbeConfig", "name: a\nurl: http://a/\ntimeout: ‸-5s"), "the timeout is negative"),
    (document("HTTPProbeConfig", "name: a\nurl: http://a/\ninterval: ‸-5s"), "the interval is negative"),
    (document("HTTPProbeConfig", "name: a\nurl: http://a/\nfailureThreshold: ‸-2"), "failureThreshold -2 is negative"),
    (condition("{probe: ‸gw}"), "there is no probe named"),
    (document("HostnameConfig", "hostname: a\nauto: ‸stable"), "auto and hostname exclude each other"),
    (document("HostnameConfig", f"hostname: ‸{'a' * 64}.example"), "is not a host name"),
    (document("HostnameConfig", f"hostname: ‸a.{'b' * 252}"), "is not a host name"),
    (document("HostnameConfig", "hostname: ‸''"), "needs auto or hostname"),
    (document("StaticHostConfig", "name: ‸a\nhostnames: [b]"), "must be an IP address"),
    (document("StaticHostConfig", "name: 10.0.0.1\nhostnames: ‸[]"), "needs hostnames"),
    (document("StaticHostConfig", "name: 10.0.0.1\nhostnames: [a, ‸'']"), "is not a name"),
    (document("ResolverConfig", 'searchDomains: {domains: [‸"a\\tb"]}'), "is not a name"),
    (
        document(
            "ResolverConfig",
            "hostDNS: {enabled: true}\nnameservers: [{address: 9.9.9.9, protocol: DoT, tlsServerName: ‸a b}]",
        ),
        "is not a name",
    ),
    (document("TimeSyncConfig", "ntp: {servers: [‸a b]}"), "is not a name"),
    (document("TimeSyncConfig", "ptp: {devices: [‸a b]}"), "is not a name"),
    (document("RoutingRuleConfig", "name: ‸first\ntable: main"), "must be a priority"),
    *((document("RoutingRuleConfig", f"name: ‸{n}\ntable: main"), "is taken") for n in (0, 32500, 32766, 32767)),
    (document("RoutingRuleConfig", "name: 1000\ntable: ‸''"), "neither a table nor an action"),
    (document("RoutingRuleConfig", "name: 1000\ntable: 5\nfwMask: ‸0x60"), "fwMask needs fwMark"),
    (document("RoutingRuleConfig", "name: 1000\ntable: 5\nsrc: ‸10.0.0.1"), "is not a CIDR"),
    (document("BlackholeRouteConfig", "name: ‸10.0.0.1"), "must be a CIDR"),
    (kube_network(pods="‸192.168.1.1/24"), "has bits set behind its prefix"),
    (kube_network(pods="‸nowhere"), "is not a CIDR"),
    (kube_network(services="‸10.0.0.0/10"), "is too large, its prefix must have at least 12 bits"),
    (kube_network(pods="‸2.0.0.0/7"), "is too large for parts of /24: its prefix must have at least 8 bits"),
    (kube_network(pods="‸fc00:db8::/40", services="fc00:db8:20::/112"), "is too large for parts of /64"),
    (kube_network(pods="‸10.244.0.0/28"), "is smaller than the part of it that each node gets, which is a /24"),
    (kube_network(pods="‸10.244.0.0/29"), "is too small, its prefix may have at most 28 bits"),
    (kube_network(pods="‸fc00:db8:10::/56", services="fc00:db8:20::/112", mask6="80"), "is too large for parts of /80"),
    *((kube_network(mask4=f"‸{mask}"), "is not between 1 and 32") for mask in (-1, 0, 33)),
    *((kube_network(mask6=f"‸{mask}"), "is not between 1 and 128") for mask in (-5, 129)),
    (kube_network(pods="10.244.0.0/16, ‸10.245.0.0/16", services="10.96.0.0/12, fd00::/112"), "of one family"),
    (kube_network(pods="10.244.0.0/16, 'fd00::/56', ‸10.1.0.0/16", services="10.96.0.0/12, fd01::/112"), "more than"),
    (
        kube_network(pods="10.244.0.0/16, 'fd00::/56'", services="10.96.0.0/12").replace(
            "serviceSubnets: ", "serviceSubnets: ‸"
        ),
        "as many",
    ),
    (
        document("KubeNetworkConfig", "podSubnets: ‸[]\nserviceSubnets: [10.96.0.0/12]"),
        "KubeNetworkConfig needs podSubnets",
    ),
    (document("KubeClusterConfig", "clusterName: ‸''\nendpoint: https://10.0.0.1:6443"), "needs clusterName"),
    (document("KubeClusterConfig", "clusterName: a\nendpoint: ‸''"), "needs endpoint"),
    (document("KubeClusterConfig", "clusterName: a\nendpoint: ‸'https://:6443'"), "is not a URL"),
    ("cluster: {network: {podSubnets: [‸here]}}", "is not a CIDR"),
    ("cluster: {network: {serviceSubnets: [10.96.0.0/12, ‸10.0.0.0/12]}}", "two serviceSubnets of one family"),
    (document("EnvironmentConfig", "variables: {A: b, ‸1C: d}"), "is not the name of a variable"),
    (document("TrustedRootsConfig", "name: a\ncertificates: ‸''"), "needs certificates"),
    (document("EtcFileConfig", "name: ‸/etc/motd"), "must be a path below /etc"),
    (document("EtcFileConfig", "name: ‸../motd"), "must be a path below /etc"),
    (document("EtcFileConfig", "name: ‸.hidden"), "must be a path below /etc"),
    (document("EtcFileConfig", "name: ‸a/../b"), "must be a path below /etc"),
    (document("EtcFileConfig", "name: ‸hosts"), "/etc/hosts cannot be set here"),
    (document("EtcFileConfig", "name: ‸ssl/certs/a"), "cannot be set here"),
    (document("EtcFileConfig", "name: ‸apparmor.d/a"), "cannot be set here"),
    (document("EtcFileConfig", "name: motd\nmode: ‸0999"), "is not an octal number"),
    ("machine: {}\n---\n‸cluster: {}", "a main document stands further up already"),
    (document("LinkConfig", LINK) + "---\n" + document("LinkConfig", "name: ‸a"), 'a LinkConfig named "a" stands'),
    (
        document("HostnameConfig", "auto: off") + "---\n" + document("‸HostnameConfig", "auto: off"),
        "a HostnameConfig stands",
    ),
    (
        document("LinkConfig", LINK) + "---\n" + document("DummyLinkConfig", "name: ‸a"),
        "described by a LinkConfig already",
    ),
    (
        document("VRFConfig", LINK + "table: 7") + "---\n" + document("LinkConfig", "name: ‸a"),
        "described by a VRFConfig already",
    ),
    (
        document("Layer2VIPConfig", "name: 10.0.0.1\nlink: a")
        + "---\n"
        + document("HCloudVIPConfig", "name: ‸10.0.0.1\nlink: a\napiToken: t"),
        "described by a Layer2VIPConfig already",
    ),
    (nodespan("etcd: {endpoints: [‸10.0.0.1:2379]}"), "URL of etcd"),
    (nodespan("‸etcd: {endpoints: [https://a], cert: /a}"), "go together"),
    (nodespan("‸etcd: {endpoints: [https://a], username: a}"), "etcd.username and etcd.passwordFile go together"),
    (nodespan("etcd: {endpoints: [https://a], username: a, passwordFile: ‸b}"), "not an absolute path"),
    (nodespan("‸etcd: {ca: /a}"), "etcd.ca needs etcd.endpoints"),
    (nodespan("etcd: {endpoints: [http://10.0.0.1:2379], ca: ‸/a}"), "etcd.ca is for https"),
    (nodespan("etcd: {endpoints: [https://10.0.0.1:2379], ca: ‸ca.crt}"), "not an absolute path"),
    (nodespan("vip: {leaseTTL: ‸500ms}"), "whole seconds, at least 3"),
    (nodespan("vip: {leaseTTL: ‸2s}"), "whole seconds, at least 3"),
    (condition("‸{interval: 1s}"), "none of tcp, http, unit, resource, probe is given"),
    (condition("{tcp: 'a:1', unit: ‸b}"), "tcp and unit exclude each other"),
    (condition("{tcp: ‸localhost}"), "is not host:port"),
    (condition("{http: ‸localhost}"), "is not a URL"),
    (condition("{http: 'http://a', ca: ‸/b}"), "only with an http that is a URL of https"),
    (condition("{resource: ‸links}"), "is not TYPE/ID"),
    (condition("{unit: a, jsonPath: ‸'{.spec}'}"), "jsonPath is used only with resource"),
    (condition("{resource: links/a, equals: ‸b}"), "equals is used only with jsonPath"),
    (condition("{resource: links/a, jsonPath: ‸'{.spec'}"), "is not a JSONPath expression"),
    (condition("{unit: a, interval: ‸0s}"), "interval must be more than 0"),
    (condition("{unit: a, timeout: ‸-1s}"), "timeout must be more than 0"),
    (condition("{unit: a, failures: ‸0}"), "failures must be at least 1"),
    (nodespan("podNetworks: [‸10.0.0.1]"), "is not a CIDR"),
    (nodespan("kubespan: {listenPort: ‸0}"), "port 0 would be another one after each start"),
    (nodespan("kubespan: {listenPort: ‸65536}"), "65536"),
    (static_peer("address: 'fd00::1'", key="‸abc"), "is not base64 of 32 bytes"),
    (static_peer("address: ‸nowhere"), "is not an IP address"),
    (static_peer("address: ‸10.0.0.1"), "is not an IPv6 address"),
    (static_peer("address: ‸'::ffff:10.0.0.1'"), "is not an IPv6 address"),
    (
        static_peer("endpoints: ['192.0.2.1:51820']", key="‸" + PEER_KEY),
        "nothing is reached through this peer",
    ),
    (static_peer("address: 'fd00::1', endpoints: [‸db.example.org:51820]"), "is not ip:port"),
    (static_peer("allowedAddresses: [‸10.0.0.0/33]"), "is neither an IP address nor a CIDR"),
    (
        static_peer(f"address: 'fd00::1'}}, {{publicKey: ‸{PEER_KEY}, address: 'fd00::2'"),
        "this peer is there already",
    ),
    (
        nodespan("kubespan: {relays: ['https://relay.example.org', ‸relay.example.org:3443]}"),
        "is not the URL of a relay",
    ),
    (nodespan("dashboard: {listen: ‸here}"), "is not an address and a port"),
    (nodespan("names: {mode: ‸hostsfile}"), "hostsfile"),
    (nodespan("names: {mode: resolved, domain: ‸''}"), "none is given"),
    (nodespan("names: {mode: hosts, domain: ‸com}"), "is a single label"),
    (nodespan("names: {mode: hosts, domain: ‸co.uk}"), "is a public suffix"),
    (nodespan("names: {mode: hosts, domain: ‸mesh.local}"), "is answered by other means"),
    (nodespan("names: {mode: hosts, domain: ‸Mesh.internal}"), "is not a domain in lower case"),
    (nodespan("hostDNS: {listen: ‸[]}"), "would listen nowhere"),
    (nodespan("hostDNS: {listen: [‸here]}"), "is not an address and a port"),
    (nodespan("hostDNS: {listen: ['127.0.0.53:53', ‸'127.0.0.53:53']}"), "is there already"),
    (nodespan("hostDNS: {listen: [‸'0.0.0.0:53']}"), "open resolver"),
    (nodespan("hostDNS: {listen: [‸'192.0.2.1:53']}"), "open resolver"),
    (nodespan("hostDNS: {rebindingAllowed: [‸a b]}"), "is not a domain"),
    (nodespan("dashboard: {listen: ‸'0.0.0.0:9080'}"), "there it takes mutual TLS"),
    (nodespan("dashboard: {listen: ‸'[::]:9080'}"), "there it takes mutual TLS"),
    (nodespan("dashboard: {listen: '127.0.0.1:9080', cert: /a, key: ‸''}"), "go together"),
    (nodespan("dashboard: {cert: ‸a, key: /b, ca: /c}"), "is not an absolute path"),
    (nodespan("states: [{namespaces: [a], url: ‸nowhere}]"), "is not the URL of a state: it begins with"),
    (nodespan("states: [{namespaces: [a], url: ‸'sqlite:'}]"), "what follows sqlite: is missing"),
    (nodespan("states: [{namespaces: [‸meta], url: 'memory:'}]"), "is of the running agent"),
    (nodespan("states: [{namespaces: [a, ‸a], url: 'memory:'}]"), "is on another state already"),
    (nodespan("states: [{namespaces: [‸''], url: 'memory:'}]"), "a namespace has a name"),
    (nodespan("states: [‸{url: 'memory:'}]"), "namespaces are missing"),
    (document("VRFConfig", LINK + "table: ‸main"), "not the number of a routing table that is free"),
    (document("VRFConfig", LINK + "table: ‸254"), "not the number of a routing table that is free"),
    (document("VRFConfig", LINK + "table: ‸''"), "VRFConfig needs table"),
    (document("VRFConfig", LINK + "table: 10\nhardwareAddr: ‸x"), "hardware address"),
    ("‸apiVersion: v1alpha1\nkind: VethConfig\nname: a\n", "VethConfig needs peer.name"),
    (document("VethConfig", LINK + "peer: {name: ‸a}"), "both ends are named"),
    (document("VethConfig", LINK + "peer: {name: b, addresses: [{address: ‸x}]}"), "with a prefix length"),
    (
        document("VethConfig", LINK + "peer: {name: b}") + "---\n" + document("LinkConfig", "name: ‸b"),
        "described by a VethConfig already",
    ),
    (
        document("VethConfig", LINK + "peer: {name: b}")
        + "---\n"
        + document("VethConfig", "name: c\npeer: {name: ‸a}"),
        "described by a VethConfig already",
    ),
    (
        document("VRFConfig", LINK + "table: 7\nlinks: [x]")
        + "---\n"
        + document("BridgeConfig", "name: b\nlinks: [y, ‸x]"),
        '"x" is a member of "a" already',
    ),
    (
        device("{interface: bond0, bond: {miimon: 100, interfaces: [x]}}")
        + "---\n"
        + document("BridgeConfig", "name: b\nlinks: [‸x]"),
        '"x" is a member of "bond0" already',
    ),
]


@pytest.mark.parametrize("machine", ["", "type: worker, "])
def test_a_virtual_ip_without_a_type_of_machine_says_what_such_a_machine_is(machine: str) -> None:
    text = f"machine: {{{machine}network: {{interfaces: [{{interface: a, vip: {{ip: 10.0.0.1}}}}]}}}}"
    (problem,) = load(text).errors
    assert problem.message == "a virtual IP is not allowed on a worker"
    assert "a machine without a type is a worker" in problem.hint


VIP = "name: ‸10.0.0.1\nlink: b"
GATEWAY = "routes: [{gateway: 10.0.0.1}]"
SELECTED = 'deviceSelector: {busPath: "0000:00:02*"}'


def _peers(*bodies: str) -> str:
    keys = (KEY_A, KEY_B)
    return ", ".join(f"{{publicKey: {key}, {body}}}" for key, body in zip(keys, bodies, strict=False))


def wireguard(*peers: str) -> str:
    return document("WireguardConfig", f"{LINK}privateKey: {KEY_A}\npeers: [{_peers(*peers)}]")


def legacy_wireguard(*peers: str) -> str:
    return f"{{interface: a, wireguard: {{privateKey: {KEY_A}, peers: [{_peers(*peers)}]}}}}"


def two(one: str, other: str) -> str:
    """A main document with two devices."""
    return device(f"{{interface: a, {one}}}\n      - {{interface: b, {other}}}")


@pytest.mark.parametrize(("marked", "message"), MAIN_DOCUMENT + ENSLAVED_ROWS + KUBESPAN + DOCUMENTS)
def test_a_broken_rule_is_one_error_at_its_place(marked: str, message: str) -> None:
    text, [(line, column)] = unmark(marked)
    (problem,) = load(text).errors
    assert message in problem.message
    assert (problem.line, problem.column) == (line, column)


@pytest.mark.parametrize(
    ("marked", "message"),
    [
        (device("{interface: a, cidr: ‸10.0.0.1/24}"), "cidr is deprecated"),
        (device('{interface: a, mtu: ‸1000, addresses: [10.0.0.1/24, "fd00::1/64"]}'), "IPv6 needs an MTU of 1280"),
        (device('{interface: a, vlans: [{vlanId: 7, mtu: ‸576, addresses: ["fd00::1/64"]}]}'), "IPv6 needs an MTU"),
        (document("LinkConfig", "name: a\nmtu: ‸1279\naddresses: [{address: 'fd00::1/64'}]"), "IPv6 needs an MTU"),
        (
            document("BondConfig", LINK + "links: [b]\nminLinks: 1\nmiimon: 1\nupdelay: 1\nbondMode: 802.3ad"),
            "downdelay",
        ),
        ("machine: {type: ‸join}", "older word"),
        (device("{interface: a, ‸bond: {interfaces: [b], mode: active-backup}}"), "never notices"),
        (document("BondConfig", LINK + "links: [b]\nbondMode: ‸balance-xor"), "never notices"),
        ("machine: {files: [{op: create, path: /a}, ‸{op: explode, path: /a}]}", 'op "explode" is not known'),
        ("machine: {files: [‸{op: create, path: a}]}", '"a" is not an absolute path'),
        # The original leaves these to their fate without a word.
        ("machine: {type: worker, network: {nameservers: [‸1.1.1.300]}}", "is left out"),
        (device("{interface: a, vlans: [‸{addresses: [10.0.0.1/24]}]}"), "vlanId 0 is not between 1 and 4094"),
        (device("{interface: a, vlans: [{vlanId: ‸4095}]}"), "vlanId 4095 is not between 1 and 4094"),
        (device("{interface: a, dhcp: true, dhcpOptions: {duidv6: ‸zz}}"), "is not a hexadecimal text"),
        # The original finds these out when it applies them.
        (document("KernelModuleConfig", "name: ‸../evil"), "is not the name of a kernel module"),
        (document("KernelModuleConfig", "name: a\nparameters: [b=1, ‸-r]"), "is not a parameter of a module"),
        ("machine: {kernel: {modules: [{name: ‸-r}]}}", "is not the name of a kernel module"),
        (document("SysctlConfig", "params: {a.b: '1', a/b: ‸'1'}"), "are one parameter"),
        (document("TCPProbeConfig", "name: a\nendpoint: ‸a"), "the probe always fails"),
        ("machine: {time: {bootTimeout: ‸-1s}}", "counts as 0"),
        # Accepted by the original, without effect.
        ("machine: {type: worker}\n---\n" + document("Layer2VIPConfig", VIP), "no effect on a worker"),
        ("machine: {}\n---\n" + document("Layer2VIPConfig", VIP), "no effect on a worker"),
        ("machine: {}\n---\n" + document("HCloudVIPConfig", VIP + "\napiToken: t"), "no effect on a worker"),
        (document("VXLANConfig", VXLAN + "group: ‸10.0.0.1"), "is not a multicast address"),
        (document("EthernetConfig", LINK + "features: {tso: ‸true}"), "what the ethtool program calls it"),
        (document("EthernetConfig", LINK + "wakeOnLan: [magic, ‸magic]"), "stands there already"),
        # What no device takes.
        (wireguard("persistentKeepaliveInterval: ‸70000s"), "70000 s counts as 65535 s"),
        (wireguard("persistentKeepaliveInterval: ‸400ms"), "0.4 s counts as 1 s"),
        (wireguard("persistentKeepaliveInterval: ‸25s500ms"), "25.5 s counts as 26 s"),
        (device(legacy_wireguard("persistentKeepaliveInterval: ‸70000s")), "70000 s counts as 65535 s"),
        (device(legacy_wireguard("persistentKeepaliveInterval: ‸-5s")), "-5 s counts as 0 s"),
        # What several peers allow.
        (wireguard("allowedIPs: [10.1.0.0/16, ‸10.0.0.0/8]", "allowedIPs: [10.0.0.0/8]"), "10.0.0.0/8 is allowed"),
        (wireguard("allowedIPs: [‸'fd00::1/64']", "allowedIPs: ['fd00::2/64']"), "fd00::/64 is allowed for the"),
        (
            device(legacy_wireguard("allowedIPs: [‸10.0.0.0/8]", "allowedIPs: [10.0.0.0/8]")),
            "that one, the last, gets it",
        ),
        # What the kernel has one place for.
        (
            device("{interface: a, mtu: 1400}\n      - {interface: a, mtu: ‸1300}"),
            "machine.network.interfaces[0] is about the same link and says something else",
        ),
        (
            device(f"{{{SELECTED}, mtu: 1400}}\n      - {{{SELECTED}, mtu: ‸1300}}"),
            "machine.network.interfaces[0] is about the same link and says something else",
        ),
        (
            device("{interface: a, vlans: [{vlanId: 5}]}")
            + "---\n"
            + document("VLANConfig", "name: data\nparent: a\nvlanID: ‸5"),
            '"a" has VLAN 5 as "a.5" already (the main document)',
        ),
        (
            document("VLANConfig", "name: b\nparent: a\nvlanID: 5")
            + "---\n"
            + document("VLANConfig", "name: c\nparent: a\nvlanID: ‸5"),
            '"a" has VLAN 5 as "b" already (VLANConfig)',
        ),
        (two("dhcp: true", "dhcp: ‸true"), '"b" and "a" both request a default route by DHCP with the metric 1024'),
        (two("dhcp: true", "routes: [‸{gateway: 10.0.0.1}]"), "both have a default route with the metric 1024"),
        (two(GATEWAY, "routes: [‸{network: 0.0.0.0/0, gateway: 10.0.1.1}]"), "both have a default route"),
        (two("routes: [{network: 10.0.0.0/8}]", "routes: [‸{network: 10.0.0.1/8}]"), "both have a route to 10.0.0.0/8"),
        (two("vlans: [{vlanId: 5, dhcp: true}]", "dhcp: ‸true"), '"b" and "a.5" both request a default route by DHCP'),
        (device("{interface: a, routes: [{gateway: 10.0.0.1}, ‸{gateway: 10.0.0.2}]}"), "both have a default route"),
        (document("DHCPv4Config", "name: a") + "---\n" + document("DHCPv4Config", "name: ‸b"), "by DHCP"),
        (
            document("LinkConfig", LINK + "routes: [{destination: 'fd00::/8', gateway: 'fe80::1'}]")
            + "---\n"
            + document("BlackholeRouteConfig", "name: ‸fd00::/8"),
            "both have a route to fd00::/8",
        ),
    ],
)
def test_harmless_mistakes_are_warnings(marked: str, message: str) -> None:
    text, places = unmark(marked)
    (problem,) = load(text).problems
    assert problem.severity is Severity.WARNING
    assert message in problem.message
    assert places in ([], [(problem.line, problem.column)])


def test_cidr_and_addresses_together_are_refused() -> None:
    problems = load(device("{interface: a, cidr: x, addresses: [10.0.0.1/8]}")).problems
    assert [(problem.severity.value, problem.column) for problem in problems] == [
        ("error", 30),
        ("error", 30),
        ("warning", 30),
    ]


@pytest.mark.parametrize(
    "text",
    [
        device("{interface: a, ignore: true, addresses: [x], bond: {mode: y}, vip: {ip: z}, routes: [{}]}"),
        device("{interface: a, vlans: [{vlanId: 5, addresses: [10.0.0.1], routes: [{gateway: x}], vip: {ip: y}}]}"),
        bond("mode: 802.3ad, lacpRate: fast, adActorSysPrio: 5, adUserPortKey: 5, miimon: 100, updelay: 300"),
        bond("mode: active-backup, primary: eth0, arpInterval: 100, arpValidate: all"),
        bond("mode: '', xmitHashPolicy: '', packetsPerSlave: 5, miimon: 100"),
        document("Layer2VIPConfig", "name: 10.0.0.1\nlink: b"),
        two("dhcp: true", "dhcp: true, dhcpOptions: {routeMetric: 2048}"),
        two("dhcp: true", "dhcp: true, dhcpOptions: {ipv4: false, ipv6: true}"),
        two("dhcp: true", "ignore: true, dhcp: true"),
        device("{interface: a, dhcp: true, routes: [{gateway: 10.0.0.1}]}"),
        device("{interface: a, dhcp: true}") + "---\n" + document("DHCPv4Config", "name: b\nignoreRoutes: true"),
        two(GATEWAY, "routes: [{gateway: 'fd00::1'}]"),
        wireguard("allowedIPs: [10.0.0.0/8]", "allowedIPs: [10.1.0.0/16]"),
        wireguard("persistentKeepaliveInterval: 0s", "persistentKeepaliveInterval: 65535s"),
        document("VRFConfig", LINK + "table: 7\nlinks: [x]") + "---\n" + document("LinkConfig", "name: x"),
        bond("mode: balance-alb, tlbDynamicLb: 1"),
        "machine: {env: {'1': b}}",
        "machine: {network: {kubespan: {mtu: 576, filters: {endpoints: [x]}}}}",
        f"machine: {{network: {{kubespan: {{enabled: true, mtu: 0}}}}}}\n{DISCOVERY}",
        document("KubeSpanConfig", "enabled: true") + "---\n" + SERVICE + "---\n" + IDENTITY,
        document("HostnameConfig", "auto: off\nhostname: a.example"),
        document("RoutingRuleConfig", "name: 32000\naction: blackhole"),
        document("EtcFileConfig", "name: hosts.allow"),
        document("MacVLANConfig", LINK + "parent: b"),
        document("MacVLANConfig", LINK + "parent: b\nmode: bridge\nmtu: 1400\nup: false"),
        document(
            "VXLANConfig", "name: vxlan900\nid: 100\nlocal: 10.255.0.1\nparent: vtep0\nport: 4789\nlearning: false"
        ),
        document("VXLANConfig", VXLAN + "group: ff05::100"),
        document("EthernetConfig", "name: enp0s1"),
        document("EthernetConfig", "name: enp0s1\nfeatures: {tx-checksum-ipv4: true}\nrings: {rx: 16}"),
        document("EthernetConfig", LINK + "channels: {combined: 4}\nwakeOnLan: []"),
        document(
            "EthernetConfig", LINK + "wakeOnLan: [phy, unicast, multicast, broadcast, magic, magicsecure, filter]"
        ),
        kube_network(pods="2.0.0.0/7", mask4="20"),
        kube_network(pods="0.0.0.0/1", mask4="1"),
        kube_network(pods="10.244.0.0/16, 'fc00:db8:10::/56'", services="10.96.0.0/12, 'fc00:db8:20::/112'"),
        "cluster: {network: {podSubnets: [10.244.1.0/16]}}",
        SERVICE + "---\n" + SERVICE.replace("name: a", "name: b") + "---\n" + IDENTITY,
    ],
)
def test_unusual_but_valid_settings_are_accepted(text: str) -> None:
    assert load(text).problems == ()


@pytest.mark.parametrize("endpoint", ["host.example:51820", "10.0.0.1:51820", '"[2001:db8::1]:51820"'])
def test_an_endpoint_of_a_wireguard_document_may_be_a_name(endpoint: str) -> None:
    assert load(document("WireguardConfig", PEERS + f"endpoint: {endpoint}")).problems == ()
