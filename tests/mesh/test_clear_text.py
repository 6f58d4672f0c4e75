"""Packets to peers' addresses never leave in clear text, whatever others do to links, routes, rules and packet filter.

A packet socket at a node's outer card sees every packet that leaves; those to a peer that WireGuard did not make are
counted, under continuous traffic of all kinds, over each event.
"""

import contextlib
import itertools
import os
import select
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_address

import attrs
import pytest

from nodespan.cluster.commands import LINK, agent_command
from nodespan.cluster.peers import kubespan_address, look, specs_of
from nodespan.cluster.plan import Plan, Station
from nodespan.cluster.station_processes import NAMESPACES, pids_in, start
from nodespan.controllers.kubespan.data_path import FIREWALL_MARK, LINK_NAME, LISTEN_PORT, ROUTING_TABLE, RULE_PRIORITY
from nodespan.kernel.netns import in_netns
from nodespan.runtime.cli.client import ask
from nodespan.runtime.cli.errors import CommandError
from tests.support import run
from tests.support.agent import COMMAND

pytestmark = [
    pytest.mark.alone,
    pytest.mark.needs_link("veth", "bridge"),
    pytest.mark.needs_program("nft", "unshare", "wg"),
]

_WITHIN = 60.0
_V6 = "2001:db8:17::{}"
_CLIENT, _CLIENT_GATEWAY = "198.51.100.66", "198.51.100.65"
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
    return subprocess.run((*COMMAND, *arguments), capture_output=True, text=True, timeout=_WITHIN + 30)


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
            f"ip netns exec {node.namespace} sysctl -qw net.ipv4.ip_forward=1",
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
            threading.Thread(target=self._send, args=(lab.client, lab.targets[:1])),
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
        if protocol == socket.IPPROTO_UDP and LISTEN_PORT in struct.unpack_from("!HH", body):
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


_RULES = (
    "for f in -4 -6; do ip $f rule add pref 32766 lookup main; ip $f rule add pref 32767 lookup default || true; done"
)
_EVENTS = {
    "flush of the packet filter": "nft flush ruleset",
    "deletion of the table": "nft delete table inet nodespan",
    "flush of one chain": "nft flush chain inet nodespan kubespan_outgoing",
    "flush of a set": "nft flush set inet nodespan kubespan_routed_ipv4",
    "a firewall that loads its rules": "echo 'flush ruleset; table inet filter { chain input "
    "{ type filter hook input priority 0; policy accept; }; }' | nft -f -",
    "deletion of the rules": f"ip -4 rule del pref {RULE_PRIORITY}; ip -6 rule del pref {RULE_PRIORITY}",
    "flush of the rules": f"ip -4 rule flush; ip -6 rule flush; {_RULES}",
    "flush of the routes": f"ip -4 route flush table {ROUTING_TABLE}; ip -6 route flush table {ROUTING_TABLE}",
    "deletion of the link": f"ip link del {LINK_NAME}",
    "link down": f"ip link set {LINK_NAME} down",
    "packet filter and rules at once": f"nft flush ruleset; ip rule del pref {RULE_PRIORITY}",
}


@pytest.mark.parametrize("event", _EVENTS)
def test_nothing_leaves_in_clear_text_over(
    event: str, lab: Lab, record_property: Callable[[str, object], None]
) -> None:
    wait_for(lab.is_whole)
    with Watch(lab) as watch:
        wait_for(lambda: watch.sent > 100)
        for number in itertools.count(1):
            lab.inside(_EVENTS[event])
            took = wait_for(lab.is_whole, pause=0.0)
            record_property(f"{event}, whole again after s", round(took, 3))
            if number == 2:
                break
        before = watch.sent
        wait_for(lambda: watch.sent > before + 100)
    wait_for(lab.is_up)
    assert watch.clear == []


def test_a_problem_names_the_program_that_flushed_the_packet_filter(lab: Lab) -> None:
    wait_for(lab.is_whole)
    lab.inside("nft flush ruleset")

    def is_named() -> bool:
        problems = specs_of(lab.node, "networkproblems")
        return any("was deleted by another program (nft, process" in each["message"] for each in problems)

    wait_for(is_named)
    wait_for(lab.is_whole)


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
            within=_WITHIN / 2,
        )
    assert watch.clear == []


def _command(pid: int) -> str:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/comm") as file:
        return file.read().strip()
    return ""
