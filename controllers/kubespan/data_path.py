"""How packets find the tunnel: marks, and the numbers that go with them.

A packet to a peer's address gets the mark `FORCE_MARK` and is routed again, by a rule, to a table of its own whose only
route leads into the tunnel. The packet that WireGuard makes of it has `FIREWALL_MARK`, by which it is left alone.

Links, routes, rules and chains are all needed for that, and each of them can be removed by other programs. The guard
does not depend on them: a packet that leaves for a peer's address, and is neither WireGuard's own nor on its way into
the tunnel, is dropped (`GUARD_CHAIN`). So the loss of any of them costs packets and never secrecy.
"""

LINK_NAME = "kubespan"
DEFAULT_MTU = 1420
KEEPALIVE = 25

FIREWALL_MARK = 0x20
FORCE_MARK = 0x40
MARK_MASK = FIREWALL_MARK | FORCE_MARK

ROUTING_TABLE = 180
RULE_PRIORITY = 32500
ROUTE_METRIC = 1

# The kernel's reverse-path filter, in its loose form too, drops all IPv4 from a link that has no IPv4 address at all.
# This one (the dummy address of RFC 7600) is of host scope, so that it is never chosen as a source.
IPV4_PRESENCE = "192.0.0.8/32"

PREROUTING_CHAIN = "kubespan_prerouting"
OUTGOING_CHAIN = "kubespan_outgoing"
GUARD_CHAIN = "kubespan_guard"
ROUTED_SET = "kubespan_routed"
# Where the discovery services are, and the proxies on the way.
DISCOVERY_SET = "kubespan_discovery"
# Where the etcd of virtual IPs is, if it is spoken to by TLS and not inside the mesh.
ETCD_SET = "kubespan_etcd"
