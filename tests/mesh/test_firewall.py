"""The ingress firewall in the kernel: what becomes of packets, while rules are replaced, and beside other tables."""

import contextlib
import os
import re
import signal
import socket
import struct
import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any

import pytest
import trio

from nodespan.controllers.common.packet_verdict import Packet, verdict
from nodespan.controllers.common.prior_state import PriorState
from nodespan.controllers.config.loading import load
from nodespan.controllers.network.config.nftables_chain_config import NfTablesChainConfigController
from nodespan.controllers.network.nftables.chain import NfTablesChainController
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig
from nodespan.resources.network import (
    ROUTED_ADDRESSES_ID,
    NetworkProblem,
    NfTablesChain,
    NodeAddress,
    NodeAddressSpec,
    Verdict,
)
from nodespan.runtime.testing.kit import Node, running
from tests.support.agent import agent, nodespan
from tests.support.deadlines import PATIENCE
from tests.support.netns import Namespace, connect, entered, namespaces
from tests.support.process import eventually

pytestmark = [pytest.mark.needs_link("veth"), pytest.mark.needs_program("nft")]

OPEN, CLOSED, PUBLISHED, MARKER = 7, 9, 8080, 11
OWN = ("192.0.2.1", "2001:db8::1")
NEAR = ("192.0.2.2", "2001:db8::2")
FAR = ("192.0.2.130", "2001:db8::1:2")
BLOCK = "{apiVersion: v1alpha1, kind: NetworkDefaultActionConfig, ingress: block}"
_FIREWALLS = Path(__file__).parents[2] / ".cache" / "firewalls"


def rule(
    name: str, *ports: int | str, sources: str = "{subnet: 0.0.0.0/0}, {subnet: '::/0'}", protocol: str = "udp"
) -> str:
    return (
        f"apiVersion: v1alpha1\nkind: NetworkRuleConfig\nname: {name}\n"
        f"portSelector: {{ports: [{', '.join(map(str, ports))}], protocol: {protocol}}}\ningress: [{sources}]\n"
    )


OPENS = rule("open", OPEN, MARKER)
# Many others, so that the chain is a long one.
MANY = tuple(rule(f"r{number}", 20_000 + number, sources="{subnet: 198.51.100.0/24}") for number in range(150))


@contextlib.contextmanager
def machines() -> Iterator[tuple[Namespace, Namespace]]:
    """A node and another machine on its network, with two addresses of each family."""
    with namespaces("node", "other") as (node, other):
        connect(node, "eth0", other, "eth0")
        node.ip(f"addr add {OWN[0]}/24 dev eth0", f"addr add {OWN[1]}/64 dev eth0 nodad")
        other.ip(
            *(f"addr add {address}/24 dev eth0" for address in (NEAR[0], FAR[0])),
            *(f"addr add {address}/64 dev eth0 nodad" for address in (NEAR[1], FAR[1])),
        )
        yield node, other


@contextlib.asynccontextmanager
async def firewall(node: Namespace, **settings: Any) -> AsyncIterator[Node]:
    """What makes chains of a configuration, and brings them into the kernel."""
    chains = NfTablesChainController(netns=str(node.path), **settings)
    async with running(NfTablesChainConfigController(), chains) as runtime:
        addresses = tuple(f"{address}/24" for address in OWN[:1]) + tuple(f"{address}/64" for address in OWN[1:])
        await runtime.put(NodeAddress, ROUTED_ADDRESSES_ID, NodeAddressSpec(addresses=addresses))
        yield runtime


def rules_of(node: Namespace, table: str = "nodespan") -> str:
    done = subprocess.run(node.inside("nft", "list", "table", "inet", table), capture_output=True, text=True)
    return done.stdout


async def apply(runtime: Node, node: Namespace, *documents: str) -> None:
    """Have a configuration in effect, in both tables."""
    loaded = load("\n---\n".join(documents))
    assert loaded.errors == ()
    await runtime.put(MachineConfig, MACHINE_CONFIG_ID, loaded.config)
    await runtime.settled()
    # A document among them shows in what the kernel lists.
    for mark in (document for document in documents if "name: mark" in document):
        port = mark.partition("ports: [")[2].partition("]")[0]
        for table in ("nodespan", "nodespan_guard"):
            await eventually(lambda text=f"dport {port}", table=table: text in rules_of(node, table))  # type: ignore[misc]


_marks = iter(range(40_000, 60_000))


def mark() -> str:
    """A rule by which it is seen that the configuration that it is in is in effect."""
    return rule("mark", next(_marks), sources="{subnet: 203.0.113.0/24}")


class Ports:
    """Sockets of the node at some UDP ports, and what has come to them."""

    def __init__(self, node: Namespace, *ports: int, any_address: bool = False) -> None:
        self._sockets: dict[tuple[int, int], socket.socket] = {}
        with entered(node):
            for family, address in zip(
                (socket.AF_INET, socket.AF_INET6), ("0.0.0.0", "::") if any_address else OWN, strict=True
            ):
                for port in ports:
                    server = socket.socket(family, socket.SOCK_DGRAM)
                    if family == socket.AF_INET6:
                        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
                    server.bind((address, port))
                    # A timeout of Python's would also hold for what is not to wait.
                    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", int(PATIENCE), 0))
                    self._sockets[4 if family == socket.AF_INET else 6, port] = server

    def __enter__(self) -> "Ports":
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._sockets.values():
            each.close()

    def receive(self, version: int, port: int) -> bytes:
        """The next datagram."""
        return self._sockets[version, port].recv(100)

    def waiting(self, version: int, port: int) -> list[bytes]:
        """What has come by now."""
        found = []
        server = self._sockets[version, port]
        with contextlib.suppress(BlockingIOError):
            while True:
                found.append(server.recv(100, socket.MSG_DONTWAIT))
        return found


def send(other: Namespace, source: str, *ports: int, text: bytes = b"x", to: str = "") -> None:
    """One datagram to each port, in this order, from a new port; `to` an address, or the node's first one."""
    version = ip_address(source).version
    with entered(other):
        client = socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
    with client:
        client.bind((source, 0))
        for port in ports:
            client.sendto(text, (to or (OWN[0] if version == 4 else OWN[1]), port))


CONFIGURATIONS = {
    "accept": (rule("a", CLOSED, sources="{subnet: 192.0.2.0/25}, {subnet: '2001:db8::/112'}"),),
    "accept, one family": (rule("a", CLOSED, sources="{subnet: 192.0.2.0/24, except: 192.0.2.128/25}"),),
    "accept, nobody": (rule("a", CLOSED, sources=""),),
    "block": (BLOCK, rule("a", CLOSED, sources="{subnet: 192.0.2.0/25}, {subnet: '2001:db8::/112'}")),
    "block, one family": (BLOCK, rule("a", CLOSED, sources="{subnet: '::/0'}")),
    "block, nobody": (BLOCK,),
}


async def test_the_kernel_does_with_packets_what_the_rules_say() -> None:
    with machines() as (node, other), Ports(node, OPEN, CLOSED, MARKER) as ports:
        async with firewall(node) as runtime:
            for name, documents in CONFIGURATIONS.items():
                await apply(runtime, node, *documents, rule("open", MARKER), mark())
                chains = [chain.spec for chain in runtime.state.list(NfTablesChain)]
                for source in (*NEAR, *FAR):
                    version = ip_address(source).version
                    send(other, source, OPEN, CLOSED, MARKER)
                    # The marker came last, on the same way.
                    await trio.to_thread.run_sync(ports.receive, version, MARKER)
                    for port in (OPEN, CLOSED):
                        packet = Packet(source=ip_address(source), destination=own(source), protocol="udp", port=port)
                        expected = verdict(chains, packet) is Verdict.ACCEPT
                        assert bool(ports.waiting(version, port)) is expected, (name, source, port)
            assert not runtime.state.list(NetworkProblem)


def own(source: str) -> IPv4Address | IPv6Address:
    return ip_address(OWN[0] if ip_address(source).version == 4 else OWN[1])


async def test_a_connection_from_before_the_firewall_goes_on_and_no_new_one_comes() -> None:
    with machines() as (node, other), contextlib.ExitStack() as stack:
        pairs = []
        for family, here, there in ((socket.AF_INET, OWN[0], NEAR[0]), (socket.AF_INET6, OWN[1], NEAR[1])):
            with entered(node):
                server = stack.enter_context(socket.create_server((here, 22), family=family))
            with entered(other):
                client = stack.enter_context(
                    socket.create_connection((here, 22), timeout=PATIENCE, source_address=(there, 0))
                )
            accepted = stack.enter_context(server.accept()[0])
            accepted.settimeout(PATIENCE)
            pairs.append((server, client, accepted))
        with entered(node):
            asking = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        with entered(other):
            asked = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        for each, here, there in ((asking, OWN[0], NEAR[0]), (asked, NEAR[0], OWN[0])):
            each.bind((here, MARKER))
            each.connect((there, MARKER))
            each.settimeout(PATIENCE)
        async with firewall(node) as runtime:
            for documents in (
                (BLOCK, mark()),
                (rule("ssh", 22, protocol="tcp", sources=""), mark()),
                (BLOCK, mark()),
            ):
                await apply(runtime, node, *documents)
                asked.send(b"answer")
                assert await trio.to_thread.run_sync(asking.recv, 6) == b"answer"
                for _, client, accepted in pairs:
                    # The other end speaks first: the kernel has seen nothing of this connection.
                    client.sendall(b"ping")
                    assert await trio.to_thread.run_sync(accepted.recv, 4) == b"ping"
                    accepted.sendall(b"pong")
                    assert await trio.to_thread.run_sync(client.recv, 4) == b"pong"
            with entered(other):
                late = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            late.settimeout(0)
            assert late.connect_ex((OWN[0], 22)) != 0
            await eventually(lambda: dropped(node) > 0)
            pairs[0][0].settimeout(0)
            with pytest.raises(BlockingIOError):
                pairs[0][0].accept()
            assert not runtime.state.list(NetworkProblem)


def dropped(node: Namespace) -> int:
    """How many packets rules have dropped, of whichever table sees them first."""
    listed = "".join(rules_of(node, table) for table in ("nodespan", "nodespan_guard"))
    return sum(map(int, re.findall(r"counter packets (\d+) bytes \d+ drop", listed)))


class Stream:
    """Datagrams from another machine to an open and a closed port, in turn, as fast as they go but for a pause."""

    def __init__(self, other: Namespace, ports: Ports, pause: float) -> None:
        self._other, self._ports, self._pause = other, ports, pause
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._send)
        self.sent = 0

    def __enter__(self) -> "Stream":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()

    def _send(self) -> None:
        with contextlib.ExitStack() as stack:
            clients = []
            for family, source, target in (
                (socket.AF_INET, NEAR[0], OWN[0]),
                (socket.AF_INET6, NEAR[1], OWN[1]),
            ):
                with entered(self._other):
                    client = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
                client.bind((source, 0))
                clients.append((client, target))
            # So far the node may be ahead of what it reads: nothing is lost in the sockets' buffers.
            while not self._ends.wait(self._pause):
                for client, target in clients:
                    client.sendto(b"%d" % self.sent, (target, CLOSED))
                    client.sendto(b"%d" % self.sent, (target, OPEN))
                for version in (4, 6):
                    got = self._ports.receive(version, OPEN)
                    assert got == b"%d" % self.sent, f"a packet to an open port was lost: {got!r}, not {self.sent}"
                self.sent += 1


@contextlib.contextmanager
def streaming(other: Namespace, ports: Ports, *, pause: float = 0.0) -> Iterator[Stream]:
    """A stream, of which none may get through to the closed port, and all to the open one."""
    failures: list[object] = []
    stream = Stream(other, ports, pause)
    stream._thread = threading.Thread(target=_noting(stream._send, failures))
    with stream:
        yield stream
    assert failures == []
    assert stream.sent > 0
    for version in (4, 6):
        assert ports.waiting(version, CLOSED) == []


def _noting(function: Callable[[], None], failures: list[object]) -> Callable[[], None]:
    def run() -> None:
        try:
            function()
        except (AssertionError, OSError) as error:
            failures.append(error)

    return run


# Port 7 is open and port 9 closed in all of them.
REPLACEMENTS: tuple[tuple[str, ...], ...] = (
    (BLOCK, OPENS),
    (BLOCK, OPENS, *MANY),
    (rule("close", CLOSED, sources=""),),
    (BLOCK, *MANY[:100], OPENS, *MANY[110:]),
    (BLOCK, *MANY[:50], OPENS),
    (rule("close", CLOSED, "30-40", sources="{subnet: 198.51.100.0/24}"),),
)


async def _replace_over_and_over(rounds: int) -> None:
    with machines() as (node, other), Ports(node, OPEN, CLOSED) as ports:
        async with firewall(node) as runtime:
            await apply(runtime, node, *REPLACEMENTS[0], mark())
            with streaming(other, ports) as stream:
                for _ in range(rounds):
                    for documents in REPLACEMENTS:
                        before = stream.sent
                        await apply(runtime, node, *documents, mark())
                        await eventually(lambda before=before: stream.sent > before + 5)  # type: ignore[misc]
            assert not runtime.state.list(NetworkProblem)


async def test_no_packet_slips_through_and_none_is_lost_while_rules_are_replaced() -> None:
    await _replace_over_and_over(1)


@pytest.mark.soak
async def test_no_packet_slips_through_while_rules_are_replaced_for_long() -> None:
    await _replace_over_and_over(100)


async def test_rules_stay_without_the_agent_and_the_next_one_takes_them_over_or_away(tmp_path: Path) -> None:
    prior = tmp_path / "before.jsonl"
    with machines() as (node, other), Ports(node, OPEN, CLOSED) as ports:
        node.run("nft", "add table inet theirs; add chain inet theirs c { type filter hook input priority 0; }")
        before = node.run("nft", "-a", "list", "ruleset")
        documents = (BLOCK, OPENS, *MANY, mark())
        async with firewall(node, prior=PriorState(prior)) as runtime:
            await apply(runtime, node, *documents)
            left = node.run("nft", "-a", "list", "table", "inet", "nodespan")
        with streaming(other, ports) as stream:
            await eventually(lambda: stream.sent > 20)
            # What a killed agent leaves, the next one finds.
            async with firewall(node, prior=PriorState(prior)) as runtime:
                await apply(runtime, node, *documents)
                await runtime.settled()
                assert stripped(node.run("nft", "-a", "list", "table", "inet", "nodespan")) == stripped(left)
                await apply(runtime, node, BLOCK, OPENS, mark())
        # The documents went while no agent ran.
        async with firewall(node, prior=PriorState(prior), stale_after=0.5) as runtime:
            await apply(runtime, node, "machine: {type: worker}")
            await eventually(lambda: node.run("nft", "-a", "list", "ruleset") == before)
            send(other, NEAR[0], CLOSED)
            assert await trio.to_thread.run_sync(ports.receive, 4, CLOSED) == b"x"
            # And while one runs.
            await apply(runtime, node, *documents)
            await apply(runtime, node, "machine: {type: worker}")
            await eventually(lambda: node.run("nft", "-a", "list", "ruleset") == before)


def stripped(listed: str) -> list[str]:
    """A table with its handles, and without what packets change."""
    return [line for line in listed.splitlines() if "counter" not in line]


async def test_a_flush_by_another_program_opens_nothing() -> None:
    with machines() as (node, other), Ports(node, OPEN, CLOSED) as ports:
        async with firewall(node) as runtime:
            await apply(runtime, node, BLOCK, OPENS, *MANY, mark())
            with streaming(other, ports) as stream:
                for _ in range(3):
                    before = stream.sent
                    node.run("nft", "flush", "ruleset")
                    await eventually(lambda before=before: stream.sent > before + 20)  # type: ignore[misc]
                    await eventually(lambda: f"dport {20_000}" in rules_of(node))
            problem = await runtime.eventually(NetworkProblem, "NfTablesChains/nodespan")
            assert "was deleted by another program (nft" in problem.spec.message


async def test_a_port_that_others_lead_elsewhere_is_closed_all_the_same() -> None:
    # As a container engine publishes a port.
    lead = "table ip nat { chain c { type nat hook prerouting priority -100; udp dport %d redirect to :%d; }; }"
    with machines() as (node, other), Ports(node, OPEN, CLOSED, MARKER) as ports:
        node.run("nft", lead % (PUBLISHED, OPEN))
        async with firewall(node) as runtime:
            closing = rule("close", PUBLISHED, sources="{subnet: 198.51.100.0/24}")
            for documents in ((BLOCK, OPENS), (closing,)):
                await apply(runtime, node, *documents, mark())
                send(other, NEAR[0], PUBLISHED, MARKER)
                await trio.to_thread.run_sync(ports.receive, 4, MARKER)
                assert ports.waiting(4, OPEN) == []
            await apply(runtime, node, BLOCK, OPENS, rule("publish", PUBLISHED), mark())
            send(other, NEAR[0], PUBLISHED, text=b"led")
            assert await trio.to_thread.run_sync(ports.receive, 4, OPEN) == b"led"


# Addresses that no list of the node's has: of a container engine's bridge, of a link without a carrier, of link scope.
UNLISTED = ("172.17.0.1", "2001:db8:b::1", "198.51.100.1", "2001:db8:c::1", "203.0.113.1")


async def test_a_published_port_is_closed_at_every_address_that_the_kernel_takes_packets_for() -> None:
    lead = "table inet theirs { chain c { type nat hook prerouting priority -100; udp dport %d redirect to :%d; }; }"
    with machines() as (node, other):
        node.ip(
            *("link add docker0 type bridge", "link add v0 type veth peer name v1", "link set docker0 up"),
            *("link set v1 master docker0", "link set v0 up", "link set v1 up"),
            *("addr add 172.17.0.1/16 dev docker0", "addr add 2001:db8:b::1/64 dev docker0 nodad"),
            *("link add empty type bridge", "link set empty up"),
            *("addr add 198.51.100.1/24 dev empty", "addr add 2001:db8:c::1/64 dev empty nodad"),
            "addr add 203.0.113.1/32 dev eth0 scope link",
        )
        node.run("nft", lead % (PUBLISHED, OPEN))
        other.ip(*(f"route add {each} via {OWN[0] if '.' in each else OWN[1]}" for each in UNLISTED))
        with Ports(node, OPEN, MARKER, any_address=True) as ports:
            for each in UNLISTED:
                # Without the firewall they all reach it.
                send(other, NEAR["." not in each], PUBLISHED, to=each)
                assert await trio.to_thread.run_sync(ports.receive, 4 if "." in each else 6, OPEN) == b"x", each
            async with firewall(node) as runtime:
                for documents in ((BLOCK, OPENS), (rule("close", PUBLISHED, sources="{subnet: 198.51.100.0/24}"),)):
                    await apply(runtime, node, *documents, mark())
                    for each in UNLISTED:
                        send(other, NEAR["." not in each], PUBLISHED, MARKER, to=each)
                        await trio.to_thread.run_sync(ports.receive, 4 if "." in each else 6, MARKER)
                    assert ports.waiting(4, OPEN) == ports.waiting(6, OPEN) == []
                await apply(runtime, node, BLOCK, OPENS, rule("publish", PUBLISHED), mark())
                for each in UNLISTED:
                    send(other, NEAR["." not in each], PUBLISHED, to=each, text=b"led")
                    assert await trio.to_thread.run_sync(ports.receive, 4 if "." in each else 6, OPEN) == b"led"
                assert not runtime.state.list(NetworkProblem)


def need(manager: str) -> None:
    """Skip the test without the manager."""
    if not (_FIREWALLS / f"{manager}.deb").exists() or not Path("/usr/bin/python3").exists():
        pytest.skip(f"{_FIREWALLS} has no {manager}.deb: `make test-mesh` fetches it")


# The others are slow, and run daily beside KubeSpan's chains, which are in the same table (test_clear_text).
@pytest.mark.parametrize(
    "manager", ["iptables", *(pytest.param(name, marks=pytest.mark.soak) for name in ("firewalld", "ufw"))]
)
async def test_a_firewall_manager_that_starts_reloads_and_stops_opens_nothing_and_changes_nothing(manager: str) -> None:
    need(manager)
    script = Path(__file__).parents[1] / "support/firewalls.sh"
    with machines() as (node, other), Ports(node, OPEN, CLOSED) as ports:
        async with firewall(node) as runtime:
            await apply(runtime, node, BLOCK, OPENS, mark())
            before = stripped(node.run("nft", "-a", "list", "table", "inet", "nodespan"))

            def run() -> subprocess.CompletedProcess[str]:
                return subprocess.run(
                    node.inside(
                        *("unshare", "--mount", "--pid", "--fork", "--kill-child"),
                        *("sh", str(script), str(_FIREWALLS), manager),
                    ),
                    capture_output=True,
                    text=True,
                    timeout=4 * PATIENCE,
                )

            done = await trio.to_thread.run_sync(run)
            assert done.returncode == 0, done.stdout + done.stderr
            assert stripped(node.run("nft", "-a", "list", "table", "inet", "nodespan")) == before
            send(other, NEAR[0], CLOSED, OPEN, text=b"after")
            assert await trio.to_thread.run_sync(ports.receive, 4, OPEN) == b"after"
            assert ports.waiting(4, CLOSED) == []
            assert not runtime.state.list(NetworkProblem)


async def test_a_killed_agent_leaves_the_node_closed_and_whoever_would_be_locked_out_is_warned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSH_CONNECTION", f"{FAR[0]} 50000 {OWN[0]} 22")

    def file(name: str, *documents: str) -> str:
        path = tmp_path / name
        path.write_text("\n---\n".join(documents))
        return str(path)

    def ssh(network: str) -> str:
        return rule("ssh", 22, protocol="tcp", sources=f"{{subnet: {network}}}")

    good = file("good.yaml", BLOCK, OPENS, ssh("192.0.2.0/24"))
    bad = file("bad.yaml", BLOCK, OPENS, ssh("192.0.2.0/25"))
    warning = f"lets no new connection in from {FAR[0]} to TCP port 22"
    with machines() as (node, other), Ports(node, OPEN, CLOSED) as ports:
        async with agent(tmp_path, namespace=node) as served:
            assert "warning" not in nodespan("apply", good, directory=tmp_path).stderr
            assert warning in nodespan("apply", "--dry-run", bad, directory=tmp_path).stderr
            assert "rules -(tcp 22 from 192.0.2.0/24: accept) +(tcp 22 from 192.0.2.0/25: accept)" in served.run(
                "apply", "--dry-run", bad
            )
            tried = nodespan("apply", "--mode", "try", "--timeout", "1h", bad, directory=tmp_path)
            assert warning in tried.stderr
            await eventually(lambda: "192.0.2.0/25" in rules_of(node))
            served.run("apply", "--cancel")
            await eventually(lambda: "192.0.2.0/25" not in rules_of(node))
            assert "NfTablesChainPriority(-140)" in served.run("get", "chains")
            assert "MachineConfig" in served.run("why", "chain", "ingress")
            async with contextlib.AsyncExitStack() as stack:
                with streaming(other, ports, pause=0.005) as stream:
                    os.kill(served.pid, signal.SIGKILL)
                    await eventually(lambda: "no agent answers" in served.run("version"))
                    before = stream.sent
                    await eventually(lambda: stream.sent > before + 20)
                    again = await stack.enter_async_context(agent(tmp_path, namespace=node))
                    await eventually(lambda: rules_of(node, "nodespan_guard"))
                    left = stripped(node.run("nft", "-a", "list", "table", "inet", "nodespan"))
                    before = stream.sent
                    await eventually(lambda: stream.sent > before + 20)
                    again.run("apply", good)
                    assert stripped(node.run("nft", "-a", "list", "table", "inet", "nodespan")) == left
                again.run("leave")
            assert node.run("nft", "list", "ruleset") == ""
