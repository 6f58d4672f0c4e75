"""Packets to peers' addresses never leave in clear text, whatever others do to links, routes, rules and packet filter.

A packet socket at a node's outer card sees every packet that leaves; those to a peer that WireGuard did not make are
counted, under continuous traffic of all kinds, over each event.
"""

import contextlib
import os
import re
import select
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from ipaddress import ip_address
from pathlib import Path

import attrs
import pytest
from pyroute2.netlink import rtnl

from nodespan.cluster.commands import LINK, agent_command
from nodespan.cluster.peers import kubespan_address, look, specs_of
from nodespan.cluster.plan import DISCOVERY_PORT, Plan, Station
from nodespan.cluster.station_processes import NAMESPACES, pids_in, start
from nodespan.controllers.kubespan.data_path import FIREWALL_MARK, LINK_NAME, ROUTING_TABLE, RULE_PRIORITY
from nodespan.controllers.kubespan.manager import route_spec, spec_route_id
from nodespan.kernel.links import read_link
from nodespan.kernel.netns import in_netns
from nodespan.kernel.packet_filter.nft_events import CommitReader
from nodespan.kernel.routes import read_route
from nodespan.kernel.rtnetlink import Message, parse
from nodespan.kernel.rules import read_rule
from nodespan.resources.kubespan import KUBESPAN_PORT
from nodespan.resources.network import Family, LinkFlags
from nodespan.runtime.cli.client import ask
from nodespan.runtime.cli.errors import CommandError
from tests.support import run
from tests.support.agent import command
from tests.support.deadlines import PATIENCE

pytestmark = [
    pytest.mark.alone,
    pytest.mark.needs_link("veth", "bridge"),
    pytest.mark.needs_program("nft", "unshare", "wg"),
]

_WITHIN = 150.0
_V6 = "2001:db8:17::{}"
_CLIENT, _CLIENT_GATEWAY = "198.51.100.66", "198.51.100.65"
_CLIENT_V6, _CLIENT_GATEWAY_V6 = "2001:db8:18::2", "2001:db8:18::1"
_PORT = 9
_OUTGOING = 4  # PACKET_OUTGOING (packet(7))
_NEIGHBOUR_DISCOVERY = (135, 136)


@attrs.define
class Lab:
    """A mesh; a client whose packets the first node forwards."""

    plan: Plan
    client: str
    targets: tuple[str, ...]

    @property
    def node(self) -> Station:
        return self.plan.public_nodes[0]

    def inside(self, command: str) -> str:
        words = ("ip", "netns", "exec", self.node.namespace, "sh", "-c", command)
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout

    def is_up(self) -> bool:
        return all(seen.is_up for seen in look(self.plan).values())

    def is_whole(self) -> bool:
        """Whether everything that leads packets into the tunnel is there, and both guards."""
        done = subprocess.run(
            ("ip", "netns", "exec", self.node.namespace, "sh", "-ec", _WHOLE), capture_output=True, text=True
        )
        return done.returncode == 0


_WHOLE = f"""
for chain in outgoing prerouting guard; do nft list chain inet nodespan kubespan_$chain | grep -q hook; done
nft list chain inet nodespan_guard kubespan_guard | grep -q hook
nft list set inet nodespan kubespan_routed_ipv4 | grep -q elements
for family in -4 -6; do
    ip $family route show table {ROUTING_TABLE} | grep -q 'dev {LINK_NAME}'
    ip $family rule | grep -q ^{RULE_PRIORITY}:
done
"""


def nodespan(*arguments: str) -> subprocess.CompletedProcess[str]:
    return command(*arguments, within=_WITHIN + 30)


def wait_for(check: Callable[[], bool], within: float = _WITHIN, pause: float = 0.05) -> float:
    began = time.monotonic()
    while True:
        with contextlib.suppress(CommandError):
            if check():
                return time.monotonic() - began
        assert time.monotonic() - began < within, f"still not so after {within:g} s"
        time.sleep(pause)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    plan = Plan(name=f"{run.NAME}c", size=3)
    client = f"{run.NAME}client"
    made = nodespan("cluster", "create", "--name", plan.name, "--nodes", "3", "--keep")
    try:
        assert made.returncode == 0, made.stdout + made.stderr
        # On one wire, so that IPv6 needs no router.
        node, peer = plan.public_nodes[:2]
        lab = Lab(plan, client, (peer.address.split("/")[0], _V6.format(2), kubespan_address(peer)))
        for number, each in enumerate((node, peer), 1):
            words = ("ip", "-n", each.namespace, "address", "add", f"{_V6.format(number)}/64", "dev", LINK, "nodad")
            subprocess.run(words, check=True)
        for command in (
            f"ip netns add {client}",
            f"ip -n {client} link add eth0 type veth peer name inner netns {node.namespace}",
            f"ip -n {node.namespace} address add {_CLIENT_GATEWAY}/30 dev inner",
            f"ip -n {node.namespace} link set inner up",
            f"ip -n {client} address add {_CLIENT}/30 dev eth0",
            f"ip -n {client} link set eth0 up",
            f"ip -n {client} route add default via {_CLIENT_GATEWAY}",
            f"ip -n {node.namespace} address add {_CLIENT_GATEWAY_V6}/64 dev inner nodad",
            f"ip -n {client} address add {_CLIENT_V6}/64 dev eth0 nodad",
            f"ip -n {client} route add default via {_CLIENT_GATEWAY_V6}",
            f"ip netns exec {node.namespace} sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1",
        ):
            subprocess.run(command.split(), check=True)
        wait_for(lambda: lab.is_up() and lab.is_whole())
        wait_for(lambda: _V6.format(2) in lab.inside("nft list set inet nodespan_guard kubespan_routed_ipv6"))
        yield lab
    finally:
        destroyed = nodespan("cluster", "destroy", "--name", plan.name)
        subprocess.run(("ip", "netns", "del", client), check=False)
    assert destroyed.returncode == 0, destroyed.stderr


class Watch:
    """Sends to all targets without pause, from the node and through it, and counts what leaves in clear text."""

    def __init__(self, lab: Lab) -> None:
        self._over = threading.Event()
        self._targets = {ip_address(target).packed for target in lab.targets}
        self.sent = 0
        self.clear: list[str] = []
        with in_netns(str(NAMESPACES / lab.node.namespace)):
            self._card = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))  # ETH_P_ALL
            self._card.bind((LINK, 0))
        self._threads = [
            threading.Thread(target=self._look),
            threading.Thread(target=self._send, args=(lab.node.namespace, lab.targets)),
            threading.Thread(target=self._send, args=(lab.client, lab.targets[:2])),
        ]

    def _send(self, namespace: str, targets: tuple[str, ...]) -> None:
        with contextlib.ExitStack() as stack:
            senders: list[tuple[socket.socket, tuple[str, int], bytes]] = []
            with in_netns(str(NAMESPACES / namespace)):
                for target in targets:
                    version6 = ":" in target
                    family = socket.AF_INET6 if version6 else socket.AF_INET
                    echo = (
                        (socket.IPPROTO_ICMPV6, b"\x80\0\0\0") if version6 else (socket.IPPROTO_ICMP, b"\x08\0\xf7\xff")
                    )
                    udp = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
                    raw = stack.enter_context(socket.socket(family, socket.SOCK_RAW, echo[0]))
                    senders += [(udp, (target, _PORT), b"secret"), (raw, (target, 0), echo[1] + bytes(4))]
                while not self._over.is_set():
                    for sender, address, data in senders:
                        with contextlib.suppress(OSError):
                            sender.sendto(data, address)
                        self.sent += 1
                    for target in targets:
                        family = socket.AF_INET6 if ":" in target else socket.AF_INET
                        with socket.socket(family, socket.SOCK_STREAM) as stream:
                            stream.settimeout(0)
                            with contextlib.suppress(OSError):
                                stream.connect((target, _PORT))
                    time.sleep(0.001)

    def _look(self) -> None:
        while not self._over.is_set():
            if not select.select((self._card,), (), (), 0.05)[0]:
                continue
            data, (_, kind, direction, *_) = self._card.recvfrom(65536)
            if direction == _OUTGOING and (seen := self._clear_text(kind, data[14:])):
                self.clear.append(seen)

    def _clear_text(self, kind: int, packet: bytes) -> str:
        if kind == 0x0800:
            target, protocol, body = packet[16:20], packet[9], packet[(packet[0] & 0xF) * 4 :]
        elif kind == 0x86DD:
            target, protocol, body = packet[24:40], packet[6], packet[40:]
            if protocol == socket.IPPROTO_ICMPV6 and body[0] in _NEIGHBOUR_DISCOVERY:
                return ""
        else:
            return ""
        if target not in self._targets:
            return ""
        if protocol == socket.IPPROTO_UDP and KUBESPAN_PORT in struct.unpack_from("!HH", body):
            return ""
        return f"{ip_address(target)} protocol {protocol}"

    def __enter__(self) -> "Watch":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
        self._card.close()


def test_the_watch_sees_clear_text(lab: Lab) -> None:
    with Watch(lab) as watch:
        with in_netns(str(NAMESPACES / lab.node.namespace)):
            for target, family in ((lab.targets[0], socket.AF_INET), (lab.targets[1], socket.AF_INET6)):
                with socket.socket(family, socket.SOCK_DGRAM) as sender:
                    # As if WireGuard had made it.
                    sender.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, FIREWALL_MARK)
                    sender.sendto(b"secret", (target, _PORT))
        wait_for(lambda: len(set(watch.clear)) == 2)
    assert set(watch.clear) == {f"{target} protocol {socket.IPPROTO_UDP}" for target in lab.targets[:2]}


class Repairs:
    """When what leads packets into the tunnel went and came back, by the kernel's notifications: nothing is polled."""

    _RTNL = rtnl.RTMGRP_LINK | rtnl.RTMGRP_IPV4_ROUTE | rtnl.RTMGRP_IPV6_ROUTE | rtnl.RTMGRP_IPV4_RULE
    _NETFILTER, _NFTABLES, _SOL_NETLINK, _ADD_MEMBERSHIP = 12, 7, 270, 1

    def __init__(self, lab: Lab) -> None:
        self._over = threading.Event()
        self._commits = CommitReader()
        self._lost: dict[Hashable, float] = {}
        self.seconds: list[tuple[str, float]] = []
        with in_netns(str(NAMESPACES / lab.node.namespace)):
            self._filter = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, self._NETFILTER)
            self._network = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._filter.bind((0, 0))
        self._filter.setsockopt(self._SOL_NETLINK, self._ADD_MEMBERSHIP, self._NFTABLES)
        self._network.bind((0, self._RTNL | rtnl.RTMGRP_IPV6_RULE))
        self._thread = threading.Thread(target=self._follow)

    @property
    def is_over(self) -> bool:
        """Whether something was lost, and all of it is back."""
        return bool(self.seconds) and not self._lost

    def _follow(self) -> None:
        while not self._over.is_set():
            for ready in select.select((self._filter, self._network), (), (), 0.05)[0]:
                data = ready.recv(1 << 17)
                if ready is self._network:
                    for message in parse(data):
                        self._note_message(message)
                    continue
                for commit in self._commits.feed(data):
                    if "nodespan" in commit.touched:
                        # What changes it first is the event, what changes it next the repair.
                        self._note("table nodespan", gone="table nodespan" not in self._lost)

    def _note_message(self, message: Message) -> None:
        match message.type:
            case rtnl.RTM_NEWRULE | rtnl.RTM_DELRULE if read_rule(message).priority == RULE_PRIORITY:
                self._note(f"rule {message.family}", gone=message.type == rtnl.RTM_DELRULE)
            case rtnl.RTM_NEWROUTE | rtnl.RTM_DELROUTE if read_route(message).status.table.number == ROUTING_TABLE:
                if not read_route(message).status.dst:
                    self._note(f"route {message.family}", gone=message.type == rtnl.RTM_DELROUTE)
            case rtnl.RTM_NEWLINK | rtnl.RTM_DELLINK if message.family == 0 and read_link(message).name == LINK_NAME:
                down = LinkFlags.UP not in read_link(message).status.flags
                self._note("link", gone=down or message.type == rtnl.RTM_DELLINK)

    def _note(self, what: str, *, gone: bool) -> None:
        if gone:
            self._lost.setdefault(what, time.monotonic())
        elif (since := self._lost.pop(what, None)) is not None:
            self.seconds.append((what, time.monotonic() - since))

    def __enter__(self) -> "Repairs":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._filter.close()
        self._network.close()


@attrs.frozen
class Event:
    """What somebody does, and the problems that name it: their resource, and what they say was done."""

    command: str
    said: str = ""
    about: tuple[str, ...] = ()


_RULES = (
    "for f in -4 -6; do ip $f rule add pref 32766 lookup main; ip $f rule add pref 32767 lookup default || true; done"
)
_TABLE = ("nodespan",)
_BOTH_RULES = (f"inet4/{RULE_PRIORITY}", f"inet6/{RULE_PRIORITY}")
_BOTH_ROUTES = tuple(spec_route_id(route_spec(family, 1420)) for family in (Family.INET4, Family.INET6))
_DOWN = f"ip link set {LINK_NAME} down"
# A flush of rules is done over a second connection, whose port is not the number of the process.
_EVENTS = {
    "flush of the packet filter": Event("nft flush ruleset", "deleted by another program (nft, process", _TABLE),
    "deletion of the table": Event("nft delete table inet nodespan", "deleted by another program (nft,", _TABLE),
    "flush of one chain": Event("nft flush chain inet nodespan kubespan_outgoing", "changed by another", _TABLE),
    "flush of a set": Event("nft flush set inet nodespan kubespan_routed_ipv4", "changed by another", _TABLE),
    "a firewall that loads its rules": Event(
        "echo 'flush ruleset; table inet filter { chain input "
        "{ type filter hook input priority 0; policy accept; }; }' | nft -f -",
        "deleted by another program (nft, process",
        _TABLE,
    ),
    "deletion of the rules": Event(
        f"ip -4 rule del pref {RULE_PRIORITY}; ip -6 rule del pref {RULE_PRIORITY}",
        "it was removed by another program (",
        _BOTH_RULES,
    ),
    "flush of the rules": Event(
        f"ip -4 rule flush; ip -6 rule flush; {_RULES}", "it was removed by another program and", _BOTH_RULES
    ),
    "flush of the routes": Event(
        f"ip -4 route flush table {ROUTING_TABLE}; ip -6 route flush table {ROUTING_TABLE}",
        "it was removed by another program (",
        _BOTH_ROUTES,
    ),
    "deletion of one route": Event(
        f"ip -4 route del default table {ROUTING_TABLE}", "it was removed by another program (", _BOTH_ROUTES[:1]
    ),
    "deletion of the link": Event(f"ip link del {LINK_NAME}", "it was deleted by another program", (LINK_NAME,)),
    "link down": Event(_DOWN, "it was set down by another program", (LINK_NAME,)),
    "link down, again and again": Event(
        f"for i in 1 2 3; do {_DOWN}; until ip link show {LINK_NAME} | grep -q ,UP; do :; done; done; {_DOWN}"
    ),
    "packet filter and rules at once": Event(f"nft flush ruleset; ip rule del pref {RULE_PRIORITY}"),
}


def _problems(lab: Lab, event: Event) -> dict[str, str]:
    """What the agent says about those that the event names."""
    said = specs_of(lab.node, "networkproblems")
    return {each["id"]: each["message"] for each in said if each["id"] in event.about and event.said in each["message"]}


def _is_said(before: dict[str, str], now: dict[str, str], event: Event) -> bool:
    """Whether all is said, with the number of this time's process where it is known."""
    return all(id in now and ("process" not in now[id] or now[id] != before.get(id)) for id in event.about)


def _over(event: Event, lab: Lab, note: Callable[[str, object], None]) -> None:
    wait_for(lab.is_whole)
    before = _problems(lab, event)
    with Watch(lab) as watch, Repairs(lab) as repairs:
        wait_for(lambda: watch.sent > 100)
        lab.inside(event.command)
        wait_for(lambda: repairs.is_over)
        wait_for(lab.is_whole)
        sent = watch.sent
        wait_for(lambda: watch.sent > sent + 100)
        wait_for(lambda: _is_said(before, _problems(lab, event), event))
    wait_for(lab.is_up)
    assert watch.clear == []
    for what, seconds in repairs.seconds:
        note(f"{what} back after ms", round(1000 * seconds, 1))


@pytest.mark.parametrize("event", _EVENTS)
def test_nothing_leaves_in_clear_text_over(
    event: str, lab: Lab, record_property: Callable[[str, object], None]
) -> None:
    _over(_EVENTS[event], lab, record_property)


@pytest.mark.soak
@pytest.mark.parametrize("event", _EVENTS)
def test_nothing_leaves_in_clear_text_over_and_over(
    event: str, lab: Lab, record_property: Callable[[str, object], None]
) -> None:
    for _ in range(30):
        _over(_EVENTS[event], lab, record_property)


_PROJECT = Path(__file__).parents[2]
_FIREWALLS = _PROJECT / ".cache" / "firewalls"


@pytest.mark.parametrize("manager", ["ufw", "firewalld", "iptables"])
def test_nothing_leaves_in_clear_text_while_a_firewall_manager_starts_reloads_and_stops(manager: str, lab: Lab) -> None:
    if not (_FIREWALLS / f"{manager}.deb").exists() or not Path("/usr/bin/python3").exists():
        pytest.skip(f"{_FIREWALLS} has no {manager}.deb: `make test-mesh` fetches it")
    wait_for(lab.is_whole)
    with Watch(lab) as watch:
        wait_for(lambda: watch.sent > 100)
        done = subprocess.run(
            (
                *("nsenter", f"--net={NAMESPACES / lab.node.namespace}", "--"),
                *("unshare", "--mount", "--pid", "--fork", "--kill-child"),
                *("sh", str(_PROJECT / "tests/support/firewalls.sh"), str(_FIREWALLS), manager),
            ),
            capture_output=True,
            text=True,
            timeout=_WITHIN,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        wait_for(lab.is_whole)
    wait_for(lab.is_up)
    assert watch.clear == []


def _set_mtu(lab: Lab, mtu: int) -> None:
    text = lab.node.config.read_text()
    lab.node.config.write_text(re.sub(r"(kind: KubeSpanConfig\n)(mtu: \d+\n)?", rf"\1mtu: {mtu}\n", text))
    wait_for(lambda: f"mtu {mtu}" in lab.inside(f"ip link show {LINK_NAME}"))


def test_nothing_leaves_in_clear_text_over_a_change_of_the_configuration(lab: Lab) -> None:
    wait_for(lab.is_whole)
    before = lab.node.config.read_text()
    with Watch(lab) as watch:
        try:
            _set_mtu(lab, 1380)
            wait_for(lambda: "mtu 1380" in lab.inside(f"ip route show table {ROUTING_TABLE}"))
        finally:
            lab.node.config.write_text(before)
        wait_for(lambda: "mtu 1420" in lab.inside(f"ip link show {LINK_NAME}"))
        wait_for(lambda: lab.is_whole() and lab.is_up())
    assert watch.clear == []


# As a cable that is pulled at the far end: its addresses stay announced.
_SILENCE = (
    "table inet silence { chain in { type filter hook prerouting priority -400; policy drop; }; "
    "chain out { type filter hook postrouting priority 400; policy drop; }; }"
)


def test_nothing_leaves_in_clear_text_while_a_peer_is_lost_and_regained(lab: Lab) -> None:
    wait_for(lab.is_whole)
    peer = lab.plan.public_nodes[1]
    with Watch(lab) as watch:
        for command in (_SILENCE, "delete table inet silence"):
            words = ("ip", "netns", "exec", peer.namespace, "nft", command)
            subprocess.run(words, check=True)
            sent = watch.sent
            wait_for(lambda sent=sent: watch.sent > sent + 300)  # type: ignore[misc]
        wait_for(lambda: lab.is_whole() and lab.is_up())
    assert watch.clear == []


def test_nothing_leaves_in_clear_text_while_the_agent_is_killed_and_started_again(lab: Lab) -> None:
    wait_for(lab.is_whole)
    with Watch(lab) as watch:
        for number in (signal.SIGKILL, signal.SIGTERM):
            pid = int(ask(str(lab.node.socket), {"call": "version"})[0]["pid"])
            os.kill(pid, number)
            wait_for(lambda pid=pid: pid not in pids_in(lab.node.namespace))  # type: ignore[misc]
            before = watch.sent
            wait_for(lambda before=before: watch.sent > before + 300)  # type: ignore[misc]
            process = start(lab.node, agent_command(lab.node))
            threading.Thread(target=process.wait, daemon=True).start()
            wait_for(lambda: lab.is_up() and lab.is_whole())
    assert watch.clear == []


def test_traffic_that_began_before_the_address_was_known_is_led_into_the_tunnel(lab: Lab) -> None:
    address = "203.0.113.77"
    peer = lab.plan.public_nodes[1]
    wait_for(lab.is_whole)
    lab.inside(f"ip route add {address} via {peer.address.split('/')[0]}")
    try:
        with Watch(attrs.evolve(lab, targets=(address,))) as watch:
            wait_for(lambda: len(watch.clear) > 10)
            subprocess.run(("ip", "-n", peer.namespace, "address", "add", f"{address}/32", "dev", LINK), check=True)
            wait_for(lambda: address in lab.inside("nft list set inet nodespan kubespan_routed_ipv4"))
            # What was on its way to the socket of the watch.
            sent = watch.sent
            wait_for(lambda: watch.sent > sent + 20)
            count, sent = len(watch.clear), watch.sent
            wait_for(lambda: watch.sent > sent + 200)
            assert len(watch.clear) == count
    finally:
        subprocess.run(("ip", "-n", peer.namespace, "address", "del", f"{address}/32", "dev", LINK), check=False)
        lab.inside(f"ip route del {address}")


def test_a_member_that_claims_the_address_of_discovery_cuts_no_node_off_from_it(lab: Lab) -> None:
    address, peer = lab.plan.discovery.address.split("/")[0], lab.plan.public_nodes[1]
    wait_for(lab.is_whole)

    def reaches(port: int) -> bool:
        with in_netns(str(NAMESPACES / lab.node.namespace)):
            sender = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        with sender:
            sender.settimeout(5.0)
            return sender.connect_ex((address, port)) == 0

    before = peer.config.read_text()
    claiming = before.replace("kind: KubeSpanConfig\n", "kind: KubeSpanConfig\nadvertiseKubernetesNetworks: true\n")
    claiming += f"---\napiVersion: nodespan.dev/v1alpha1\nkind: NodespanConfig\npodNetworks: [{address}/32]\n"
    peer.config.write_text(claiming)
    try:
        wait_for(lambda: address in lab.inside("nft list set inet nodespan kubespan_routed_ipv4"))
        # Any other port leads into the tunnel, to the member.
        assert not reaches(_PORT)
        assert reaches(DISCOVERY_PORT)
    finally:
        peer.config.write_text(before)
    wait_for(lambda: address not in lab.inside("nft list set inet nodespan kubespan_routed_ipv4"))


def test_the_guard_is_made_again_when_its_nft_is_killed(lab: Lab) -> None:
    wait_for(lab.is_whole)
    with Watch(lab) as watch:
        before = {pid for pid in pids_in(lab.node.namespace) if _command(pid) == "nft"}
        assert len(before) == 1
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        # At once, and not a minute later, when everything is compared the next time.
        wait_for(
            lambda: lab.is_whole() and {pid for pid in pids_in(lab.node.namespace) if _command(pid) == "nft"} != before,
            within=PATIENCE,
        )
    assert watch.clear == []


def _command(pid: int) -> str:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/comm") as file:
        return file.read().strip()
    return ""
