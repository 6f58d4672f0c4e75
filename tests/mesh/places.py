"""Where nodes of the world stand: the kinds of networks, each made of namespaces, and which of them reach which.

An internet of one wire (203.0.113.0/24, and IPv6) with a station that runs discovery and relay. An end is a node in a
network of one of nine kinds. The NATs have the names of RFC 3489, which says best what gets in:

    full cone            one port for all that the node sends; everybody may send there
    address-restricted   the same port; who was sent something may send there, from any port of theirs
    port-restricted      the same port; it has to come from where something was sent to
    symmetric            another port for each destination; what may come in is as above

The port of the first three is not the node's own, so peers have to be told of it by one who sees it.
"""

import contextlib
import enum
import itertools
from collections.abc import Iterator

import attrs

from tests.support.netns import Namespace, connect, entered, namespace

KUBESPAN_PORT = 51820
PROXY_PORT = 3128
SERVICE = ("203.0.113.2", "2001:db8::2")
HUB = ("203.0.113.3", "2001:db8::3")
# Those of the internet's switch.
_ports = itertools.count(1)
_GATEWAY = ("203.0.113.1", "2001:db8::1")


class Kind(enum.StrEnum):
    """The network that a node stands in."""

    PUBLIC = "public"
    FULL_CONE = "full cone"
    ADDRESS_RESTRICTED = "address-restricted"
    PORT_RESTRICTED = "port-restricted"
    SYMMETRIC = "symmetric"
    UDP_BLOCKED = "UDP blocked, proxy"
    CARRIER = "carrier NAT, home NAT"
    IPV6_ONLY = "IPv6 only"
    SAME_LAN = "same LAN"


def pairs() -> list[tuple[Kind, Kind]]:
    """Each kind with each, itself too."""
    kinds = list(Kind)
    return [(one, other) for number, one in enumerate(kinds) for other in kinds[number:]]


# Behind these a node cannot be told which port it will have for a peer that it has not sent anything.
_UNPREDICTABLE = frozenset({Kind.SYMMETRIC})
# These let in only what comes from the very port that something was sent to.
_CHOOSY = frozenset({Kind.PORT_RESTRICTED, Kind.SYMMETRIC, Kind.CARRIER})


def can_be_direct(one: Kind, other: Kind) -> bool:
    """Whether theory allows packets to go from one to the other without anybody in between."""
    both = {one, other}
    if Kind.SAME_LAN in both:
        return True
    if Kind.UDP_BLOCKED in both:
        return False
    if Kind.IPV6_ONLY in both:
        return both <= {Kind.IPV6_ONLY, Kind.PUBLIC}
    return not (both & _UNPREDICTABLE and both <= _CHOOSY)


@attrs.frozen
class Place:
    """Where a node stands. `service` is the address at which it reaches discovery; `proxy` that of its proxy."""

    node: Namespace
    service: str = SERVICE[0]
    proxy: str = ""
    proxy_host: Namespace | None = None


# What homes let out and in, with the ports that the first three kinds of NAT give to their nodes.
_HOME = """\
table ip home {
    set contacted { type ipv4_addr; size 1000; flags dynamic, timeout; timeout 5m; }
    chain input {
        type filter hook input priority 0; policy accept;
        iifname "wan" ct state new drop
    }
    chain forward {
        type filter hook forward priority 0; policy drop;
        ct state established,related accept
        ct status dnat accept
        iifname "lan" oifname "lan" accept
        iifname "lan" %(out)s accept
    }
    chain noted {
        type filter hook postrouting priority 200; policy accept;
        oifname "wan" meta l4proto udp add @contacted { ip daddr }
    }
    chain prerouting {
        type nat hook prerouting priority -100; policy accept;
        %(inward)s
    }
    chain postrouting {
        type nat hook postrouting priority 100; policy accept;
        %(outward)s
        oifname "wan" masquerade
    }
}
"""
_FIREWALL = """\
table ip6 firewall {
    chain input {
        type filter hook input priority 0; policy accept;
        iifname "wan" meta l4proto { tcp, udp } ct state new drop
    }
    chain forward {
        type filter hook forward priority 0; policy drop;
        ct state established,related accept
        iifname "lan" accept
    }
}
"""


def home_rules(kind: Kind, lan: str, outside: str) -> str:
    """The rules of a home router of a kind, for the nodes .2 and .3 of its LAN."""
    inward, outward = [], []
    source = "ip saddr @contacted" if kind is Kind.ADDRESS_RESTRICTED else ""
    for host in (2, 3):
        node, port = f"{lan}.{host}", 41800 + host
        if kind in (Kind.FULL_CONE, Kind.ADDRESS_RESTRICTED, Kind.PORT_RESTRICTED):
            outward.append(f'oifname "wan" ip saddr {node} udp sport {KUBESPAN_PORT} snat to {outside}:{port}')
        if kind in (Kind.FULL_CONE, Kind.ADDRESS_RESTRICTED):
            inward.append(f'iifname "wan" {source} udp dport {port} dnat to {node}:{KUBESPAN_PORT}')
    if kind is Kind.SYMMETRIC:
        outward.append('oifname "wan" meta l4proto udp masquerade to :20000-60000 fully-random')
    # The one without NAT worth the name lets its users have TCP only.
    out = "meta l4proto tcp" if kind is Kind.SAME_LAN else ""
    separator = "\n        "
    return _HOME % {"out": out, "inward": separator.join(inward), "outward": separator.join(outward)}


class World:
    """The internet; `place` puts nodes there. What is made ends with the stack."""

    def __init__(self, stack: contextlib.ExitStack, internet: Namespace, service: Namespace) -> None:
        self._stack = stack
        # The home routers, by the name of the first node behind each.
        self._routers: dict[str, Namespace] = {}
        self._internet = internet
        self.service = service

    @contextlib.contextmanager
    def nodes(self) -> Iterator["World"]:
        """The same internet, for nodes that are there for as long as the block lasts."""
        with contextlib.ExitStack() as stack:
            yield World(stack, self._internet, self.service)

    def connect_service(self) -> None:
        """Put the station that runs discovery and relay there."""
        self._on_the_wire(self.service, "eth0", *SERVICE)

    def hub(self) -> Place:
        """A public node that both ends reach."""
        return self._public("hub", *HUB)

    def place(self, kind: Kind, number: int) -> Place:
        """The network of an end, which is 1 or 2, and its node."""
        if kind is Kind.PUBLIC:
            return self._public(f"node{number}", f"203.0.113.{number}0", f"2001:db8::{number}0")
        if kind is Kind.IPV6_ONLY:
            return self._ipv6_only(number)
        return self._home(kind, number)

    def second(self, kind: Kind, first: Place) -> Place:
        """A node on the LAN of another one, which is the first end and of this kind."""
        if kind is Kind.PUBLIC:
            return self._public("node2", "203.0.113.20", "2001:db8::20")
        node = self._namespace("node2")
        router = self._routers[first.node.name]
        connect(node, "eth0", router, "port2")
        router.ip("link set port2 master lan")
        if kind is Kind.IPV6_ONLY:
            _ipv6_node(node, 1, 3)
        else:
            node.ip("address add 192.168.1.3/24 dev eth0", "route add default via 192.168.1.1")
        return attrs.evolve(first, node=node)

    def _namespace(self, label: str) -> Namespace:
        return self._stack.enter_context(namespace(label))

    def _on_the_wire(self, station: Namespace, link: str, *addresses: str) -> None:
        port = f"port{next(_ports)}"
        connect(station, link, self._internet, port)
        self._internet.ip(f"link set {port} master wire")
        for address in addresses:
            if ":" in address:
                station.ip(f"address add {address}/64 dev {link} nodad", f"route add default via {_GATEWAY[1]}")
            else:
                station.ip(f"address add {address}/24 dev {link}", f"route add default via {_GATEWAY[0]}")

    def _public(self, label: str, *addresses: str) -> Place:
        node = self._namespace(label)
        self._on_the_wire(node, "eth0", *addresses)
        return Place(node)

    def _router(self, label: str, lan: str) -> Namespace:
        """A router with a LAN, which has a switch."""
        router = self._namespace(label)
        router.ip("link add lan type bridge", "link set lan up", f"address add {lan} dev lan nodad")
        set_kernel(router, "ipv4/ip_forward", "1")
        set_kernel(router, "ipv6/conf/all/forwarding", "1")
        return router

    def _home(self, kind: Kind, number: int) -> Place:
        lan, outside = f"192.168.{number}", f"203.0.113.{number}1"
        # The LANs of two ends differ: nodes with one address are another matter.
        router, node = self._router(f"router{number}", f"{lan}.1/24"), self._namespace(f"node{number}")
        self._routers[node.name] = router
        connect(node, "eth0", router, "port1")
        router.ip("link set port1 master lan")
        node.ip(f"address add {lan}.2/24 dev eth0", f"route add default via {lan}.1")
        if kind is Kind.CARRIER:
            carrier = self._router(f"carrier{number}", f"100.64.{number}.1/24")
            self._on_the_wire(carrier, "wan", f"203.0.113.{number}2")
            connect(router, "wan", carrier, "port1")
            carrier.ip("link set port1 master lan")
            router.ip(f"address add 100.64.{number}.2/24 dev wan", f"route add default via 100.64.{number}.1")
            carrier.run("nft", "-f", "-", stdin=_carrier_rules(f"203.0.113.{number}2"))
        else:
            self._on_the_wire(router, "wan", outside)
        if kind is Kind.UDP_BLOCKED:
            # Nothing is forwarded at all: there is the proxy.
            set_kernel(router, "ipv4/ip_forward", "0")
            return Place(node, proxy=f"{lan}.1", proxy_host=router)
        router.run("nft", "-f", "-", stdin=home_rules(kind, lan, outside))
        return Place(node)

    def _ipv6_only(self, number: int) -> Place:
        router, node = self._router(f"router{number}", f"2001:db8:0:{number}::1/64"), self._namespace(f"node{number}")
        self._routers[node.name] = router
        self._on_the_wire(router, "wan", f"2001:db8::{number}1")
        self._internet.ip(f"route replace 2001:db8:0:{number}::/64 via 2001:db8::{number}1")
        connect(node, "eth0", router, "port1")
        router.ip("link set port1 master lan")
        router.run("nft", "-f", "-", stdin=_FIREWALL)
        _ipv6_node(node, number, 2)
        return Place(node, service=SERVICE[1])


def _ipv6_node(node: Namespace, network: int, host: int) -> None:
    node.ip(
        f"address add 2001:db8:0:{network}::{host}/64 dev eth0 nodad", f"route add default via 2001:db8:0:{network}::1"
    )


def _carrier_rules(outside: str) -> str:
    """A carrier gives each flow of a customer one port, and lets in what was asked for."""
    return f"""\
table ip carrier {{
    chain input {{
        type filter hook input priority 0; policy accept;
        iifname "wan" ct state new drop
    }}
    chain forward {{
        type filter hook forward priority 0; policy drop;
        ct state established,related accept
        iifname "lan" accept
    }}
    chain postrouting {{
        type nat hook postrouting priority 100; policy accept;
        oifname "wan" udp sport {KUBESPAN_PORT} snat to {outside}:41900
        oifname "wan" masquerade
    }}
}}
"""


def set_kernel(station: Namespace, name: str, value: str) -> None:
    """Set a kernel parameter of a namespace; the name is below /proc/sys/net."""
    # /proc/sys/net shows the settings of the reader's own namespace.
    with entered(station), open(f"/proc/sys/net/{name}", "w") as file:
        file.write(value)


@contextlib.contextmanager
def world() -> Iterator[World]:
    """The internet, for as long as the block lasts."""
    with contextlib.ExitStack() as stack:
        internet, service = stack.enter_context(namespace("internet")), stack.enter_context(namespace("service"))
        internet.ip(
            *("link add wire type bridge", "link set wire up", f"address add {_GATEWAY[0]}/24 dev wire"),
            f"address add {_GATEWAY[1]}/64 dev wire nodad",
        )
        set_kernel(internet, "ipv6/conf/all/forwarding", "1")
        made = World(stack, internet, service)
        made.connect_service()
        yield made


def ends(made: World, one: Kind, other: Kind) -> tuple[Place, Place]:
    """The two ends of a pair."""
    if Kind.SAME_LAN not in (one, other):
        return made.place(one, 1), made.place(other, 2)
    kind = other if one is Kind.SAME_LAN else one
    first = made.place(kind, 1)
    return first, made.second(kind, first)
