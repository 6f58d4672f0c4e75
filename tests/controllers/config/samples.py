"""Whole configurations without mistakes, one per use that people make of them."""

KEY_A = "kCQsKr4B28VUl7qw1sVkTDNF9fFH++ViIuKsss+C6kc="
KEY_B = "TPbGXrYlvuXgAl8dERpwjlA5tnEMoihPDPxlovcLtVg="
SECRET = "vlf2HU1NEZL3Ezi9Tk+RZBLJUbjnsHnTzs3wK9JNk6Q="

PROXIES = """
version: v1alpha1
machine:
  type: controlplane
  files:
    - content: |
        -----BEGIN CERTIFICATE-----
        MIIBszCCAVmgAwIBAgIUQ2hhbGxlbmdlIGFjY2VwdGVk
        -----END CERTIFICATE-----
      permissions: 0644
      path: /etc/ssl/certs/ca-certificates
      op: append
  env:
    http_proxy: http://proxy.corp.example:3128
    https_proxy: http://proxy.corp.example:3128
    no_proxy: 10.0.0.0/8,.corp.example
  time:
    servers: [ntp1.corp.example, ntp2.corp.example]
  network:
    nameservers: [10.1.0.53, 10.2.0.53]
"""

SELECTORS = """
machine:
  install:
    extraKernelArgs: [net.ifnames=0]
  network:
    interfaces:
      - deviceSelector:
          driver: virtio*
          hardwareAddr: "00:00:*"
        addresses: [192.168.88.21/24]
      - interface: bond0
        bond:
          mode: balance-rr
          deviceSelectors:
            - hardwareAddr: '00:50:56:8e:8f:e4'
            - hardwareAddr: '00:50:57:9c:2c:2d'
        addresses: [10.20.0.5/24]
      - deviceSelector:
          busPath: "0*"
        addresses: [10.3.4.5/24]
"""

VIRTUAL_IPS = """
machine:
  type: controlplane
  network:
    interfaces:
      - interface: eth0
        dhcp: true
        vip:
          ip: 192.168.0.15
        vlans:
          - vlanId: 100
            dhcp: true
            dhcpOptions: {routeMetric: 2048}
            vip:
              ip: 192.168.1.15
      - deviceSelector:
          busPath: "0*"
        dhcp: true
        dhcpOptions: {routeMetric: 4096}
        vip:
          ip: 192.168.2.15
"""

WIREGUARD = f"""
machine:
  network:
    interfaces:
      - interface: wg0
        mtu: 1500
        addresses: [192.168.2.1/24]
        wireguard:
          privateKey: {KEY_A}
          listenPort: 51820
          peers:
            - publicKey: {KEY_B}
              endpoint: 209.202.254.14:8172
              persistentKeepaliveInterval: 5s
              allowedIPs: [192.168.88.0/24]
"""

ADDRESSES = """
machine:
  network:
    hostname: node1.example.org
    searchDomains: [example.org]
    interfaces:
      - interface: enp1s0
        mtu: 9000
        addresses: [10.0.0.5/24, "fd00::5/64", 10.0.0.9]
        routes:
          - {network: 0.0.0.0/0, gateway: 10.0.0.1, metric: 1024}
          - {network: 10.8.0.0/16, source: 10.0.0.5}
      - interface: enp2s0
        dhcp: true
        dhcpOptions: {routeMetric: 2048, ipv4: true, ipv6: true}
      - interface: enp3s0
        ignore: true
"""

KUBESPAN = f"""
machine:
  type: worker
  network:
    kubespan:
      enabled: true
      mtu: 1380
      filters:
        endpoints: [0.0.0.0/0, "!192.168.0.0/16", "::/0"]
        excludeAdvertisedNetworks: [10.9.0.0/16]
cluster:
  id: any text at all
  secret: {SECRET}
  clusterName: home
  controlPlane: {{endpoint: "https://10.0.0.1:6443"}}
  discovery:
    enabled: true
    registries:
      kubernetes: {{disabled: true}}
      service: {{endpoint: "https://discovery.example.org/"}}
"""

DOCUMENTS = f"""
apiVersion: v1alpha1
kind: LinkAliasConfig
name: net0
selector:
  match: link.driver == "virtio_net" && glob("00:1a:2b:*", mac(link.permanent_addr))
---
apiVersion: v1alpha1
kind: BondConfig
name: bond0
links: [enp1s0, enp2s0]
bondMode: 802.3ad
miimon: 100
updelay: 200
downdelay: 200
lacpRate: fast
adLACPActive: on
addresses: [{{address: 10.15.0.3/16}}]
routes: [{{destination: 10.0.0.0/8, gateway: 10.15.0.1}}, {{gateway: 10.15.0.1}}]
---
apiVersion: v1alpha1
kind: VLANConfig
name: net0.34
vlanID: 34
parent: net0
addresses: [{{address: 192.168.1.100/24}}]
---
apiVersion: v1alpha1
kind: Layer2VIPConfig
name: 192.168.1.15
link: net0.34
---
apiVersion: v1alpha1
kind: DHCPv4Config
name: net0
routeMetric: 2048
clientIdentifier: mac
---
apiVersion: v1alpha1
kind: EnvironmentConfig
variables: {{https_proxy: "http://proxy:3128"}}
---
apiVersion: v1alpha1
kind: TrustedRootsConfig
name: corp-ca
certificates: |
  -----BEGIN CERTIFICATE-----
---
apiVersion: v1alpha1
kind: WireguardConfig
name: wg1
privateKey: {KEY_A}
listenPort: 51821
peers:
  - publicKey: {KEY_B}
    presharedKey: {SECRET}
    endpoint: "[2001:db8::7]:51820"
    persistentKeepaliveInterval: 25s
    allowedIPs: [10.7.0.0/16]
---
apiVersion: v1alpha1
kind: BridgeConfig
name: br0
links: [enp5s0]
stp: {{enabled: true}}
vlan: {{filtering: false}}
---
apiVersion: v1alpha1
kind: MacVLANConfig
name: enp5s0.mv
parent: enp5s0
mode: private
hardwareAddr: 02:00:5e:10:00:02
---
apiVersion: v1alpha1
kind: VXLANConfig
name: vxlan900
id: 100
local: 10.255.0.1
parent: enp5s0
port: 4789
learning: false
---
apiVersion: v1alpha1
kind: EthernetConfig
name: enp5s0
features: {{tx-tcp-segmentation: false}}
rings: {{rx: 256, tx-push: true}}
channels: {{combined: 2}}
wakeOnLan: [magic]
---
apiVersion: v1alpha1
kind: DummyLinkConfig
name: dummy0
hardwareAddr: 02:00:5e:10:00:01
---
apiVersion: v1alpha1
kind: ResolverConfig
nameservers: [{{address: 9.9.9.9, protocol: DoT, tlsServerName: dns.example.org}}, {{address: 10.0.0.53}}]
searchDomains: {{domains: []}}
hostDNS: {{enabled: true}}
---
apiVersion: v1alpha1
kind: TimeSyncConfig
bootTimeout: 1m30s
ntp: {{servers: [time.example.org], useNTS: true}}
---
apiVersion: v1alpha1
kind: HostnameConfig
auto: stable
---
apiVersion: v1alpha1
kind: StaticHostConfig
name: 10.0.0.80
hostnames: [registry.example.org]
---
apiVersion: v1alpha1
kind: RoutingRuleConfig
name: "1000"
src: 10.0.0.0/8
table: 100
fwMark: 0x20
fwMask: 0x60
---
apiVersion: v1alpha1
kind: BlackholeRouteConfig
name: 10.99.0.0/16
---
apiVersion: v1alpha1
kind: EtcFileConfig
name: apt/apt.conf.d/99proxy
mode: 0o600
contents: Acquire::http::Proxy "http://proxy:3128";
---
apiVersion: v1alpha1
kind: KubeSpanConfig
enabled: true
mtu: 1280
---
apiVersion: v1alpha1
kind: KubespanEndpointsConfig
extraAnnouncedEndpoints: [192.0.2.7:51820]
---
apiVersion: v1alpha1
kind: DiscoveryIdentityConfig
clusterID: AAAA
clusterSecret: {SECRET}
---
apiVersion: v1alpha1
kind: DiscoveryServiceConfig
name: default
endpoint: https://discovery.example.org/some/path
---
apiVersion: nodespan.dev/v1alpha1
kind: NodespanConfig
etcd: {{endpoints: [https://10.0.0.1:2379], ca: /pki/ca.crt, cert: /pki/c.crt, key: /pki/c.key}}
vip: {{leaseTTL: 5s, conditions: [{{tcp: "127.0.0.1:6443"}}]}}
podNetworks: [10.244.1.0/24]
kubespan:
  listenPort: 4500
  relays: [https://relay.example.org:3443]
  staticPeers:
    - publicKey: {KEY_B}
      name: db
      address: fd7f::1
      endpoints: ["198.51.100.7:4500"]
      allowedAddresses: [10.5.0.0/16, 10.6.0.1]
defaults: {{dhcp: true, hostname: true, resolvers: true, timeServers: true}}
states: [{{namespaces: [notes], url: "sqlite:notes.db", synchronous: NORMAL, key: /etc/notes.key}}]
---
apiVersion: v1alpha1
kind: VRFConfig
name: vrf0
links: [enp9s0]
table: "100"
addresses: [{{address: 10.9.0.1/24}}]
---
apiVersion: v1alpha1
kind: VethConfig
name: veth-host
addresses: [{{address: 192.0.2.1/30}}]
peer: {{name: veth-router, mtu: 1400, up: false, addresses: [{{address: 192.0.2.2/30}}]}}
"""

SAMPLES = {
    "proxies": PROXIES,
    "selectors": SELECTORS,
    "virtual IPs": VIRTUAL_IPS,
    "WireGuard": WIREGUARD,
    "addresses": ADDRESSES,
    "KubeSpan": KUBESPAN,
    "documents": DOCUMENTS,
}
