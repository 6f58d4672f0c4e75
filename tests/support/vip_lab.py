"""A place to break things in: three nodes that share a virtual IP, with a real agent and a real etcd member each.

The nodes are namespaces on a bridge, with a client beside them in which `vip_recorder` watches the address.
"""

import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import attrs
import trio

from nodespan.runtime.cli.errors import CommandError
from nodespan.runtime.codec.plain import parse_time
from tests.support.agent import AgentProcess, agent
from tests.support.deadlines import PATIENCE
from tests.support.etcd import Cluster, Place, etcd_cluster
from tests.support.netns import Namespace, execute, namespaces
from tests.support.process import eventually, running
from tests.support.vip_recorder import Record

VIP = "192.0.2.100"
LINK = "eth0"
TTL = 5.0
# Beside the other tests there are more processes than processors.
BUSY = 1.0 if "NODESPAN_QUIET" in os.environ else 5.0

_CONFIG = """\
machine:
  type: controlplane
  network:
    interfaces:
      - interface: {link}
        vip: {{ip: {vip}}}
---
apiVersion: nodespan.dev/v1alpha1
kind: NodespanConfig
etcd: {{endpoints: [{endpoints}]}}
vip: {{leaseTTL: {ttl:g}s, conditions: [{conditions}]}}
"""


# What runs behind it believes that the machine has been up for an hour longer.
_HOUR_AHEAD = ("unshare", "--time", "--monotonic", "3600", "--boottime", "3600", "--fork", "--kill-child")


class Node:
    """One node: its namespace, and the agent in it, which can be started, stopped and killed.

    `wrapper` is a command that the agent is started by.
    """

    def __init__(self, number: int, namespace: Namespace, directory: Path, wrapper: tuple[str, ...] = ()) -> None:
        self.number = number
        self.namespace = namespace
        self.address = f"192.0.2.{number + 1}"
        self.hostname = f"node{number}"
        self.config = directory / "config.yaml"
        self._directory = directory
        self._wrapper = wrapper
        self._life: contextlib.AsyncExitStack | None = None
        self._agent: AgentProcess | None = None

    @property
    def agent(self) -> AgentProcess:
        """The agent that runs."""
        assert self._agent is not None, f"the agent of {self.hostname} does not run"
        return self._agent

    async def start(self) -> None:
        """Start the agent, with the node's hostname, and wait until it answers."""
        assert self._life is None, f"the agent of {self.hostname} runs already"
        life = contextlib.AsyncExitStack()
        options = ("--config", str(self.config))
        self._life = life
        self._agent = await life.enter_async_context(
            agent(self._directory, *options, namespace=self.namespace, wrapper=self._wrapper, hostname=self.hostname)
        )

    async def stop(self) -> None:
        """Have the agent stop in good order, and wait for that."""
        life, running, self._life, self._agent = self._life, self._agent, None, None
        if running is not None and self._wrapper:
            # The process that was started waits for the agent. One that is told twice does not take its time.
            with contextlib.suppress(ProcessLookupError):
                os.kill(running.pid, signal.SIGTERM)
        if life is not None:
            await life.aclose()

    async def kill(self) -> None:
        """Kill the agent with SIGKILL."""
        if self._agent is not None:
            self.signal(signal.SIGKILL)
        await self.stop()

    def signal(self, number: signal.Signals) -> None:
        """Send the agent a signal."""
        os.kill(self.agent.pid, number)

    def cut_off(self, *others: str) -> None:
        """Let nothing pass between this node and these addresses; ARP passes."""
        listed = ", ".join(others)
        rules = "".join(
            f"add chain ip cut {chain} {{ type filter hook {chain} priority 0; }}\n"
            f"add rule ip cut {chain} ip {side} {{ {listed} }} drop\n"
            for chain, side in (("input", "saddr"), ("output", "daddr"))
        )
        self.namespace.run("nft", "-f", "-", stdin=f"add table ip cut\n{rules}")

    def heal(self) -> None:
        """Take `cut_off` back."""
        self.namespace.run("nft", "delete", "table", "ip", "cut")

    def status(self, field: str, ip: str = VIP) -> str:
        """A field of the node's VIPStatus, "" if there is no status, or nobody to ask."""
        with contextlib.suppress(CommandError):
            return str(self.agent.specs("vipstatuses").get(f"{LINK}/{ip}", {}).get(field, ""))
        return ""

    async def is_(self, state: str, ip: str = VIP, *, within: float = PATIENCE) -> None:
        """Wait until the state in the VIPStatus is this one."""
        await eventually(lambda: self.status("state", ip) == state, within=within)

    async def says(self, text: str, *, within: float = PATIENCE) -> None:
        """Wait until the reason in the VIPStatus contains a text."""
        await eventually(lambda: text in self.status("reason"), within=within)

    async def follows(self, leader: "Node | None", *, within: float = PATIENCE) -> None:
        """Wait until this node says that the other leads, or nobody."""
        hostname = "" if leader is None else leader.hostname
        await eventually(lambda: self.status("leader") == hostname, within=within)

    async def fulfils(self, condition: str, *, within: float = PATIENCE) -> None:
        """Wait until a condition for owning virtual IPs holds."""
        await eventually(lambda: self.agent.specs("vipconditions").get(condition, {}).get("ok") is True, within=within)

    def has_address(self, address: str = VIP) -> bool:
        """Whether the kernel has the address on the node's link, whatever runs there."""
        return f" {address}/" in self.namespace.run("ip", "address", "show", "dev", LINK)


@attrs.frozen
class Lab:
    """All of it."""

    nodes: tuple[Node, ...]
    etcd: Cluster
    client: Namespace
    record: Record

    def owner(self) -> Node | None:
        """Who has the address."""
        number = self.record.owner()
        return None if number is None else self.nodes[number]

    async def owned(self, *, but: Node | None = None, within: float = 3 * TTL) -> Node:
        """Wait until a node (another than `but`) has the address and pings are answered; returns the node."""
        return await eventually(lambda: self._owner_but(but), within=within)

    def _owner_but(self, but: Node | None) -> Node:
        owner = self.owner()
        assert owner is not None, "nobody has the address"
        assert owner is not but, f"{owner.hostname} has the address still"
        return owner

    def _answered_since(self, since: float) -> float:
        answered = self.record.answered_since(since)
        assert answered is not None, "no ping is answered"
        return answered

    async def ready(self) -> Node:
        """Wait until one node has the address, the others stand for it, and all say so; returns the owner.

        The next in the queue has then stood for so long that it will believe in its election at once.
        """
        owner = await self.owned()
        for node in self.nodes:
            await node.follows(owner, within=3 * TTL)
            await node.is_("leader" if node is owner else "candidate", within=TTL)
        standing = [parse_time(node.status("since")) for node in self.nodes if node is not owner]
        if standing:
            # Times of day are shown without their fractions.
            await trio.sleep(max(0.0, min(standing) / 1e9 + TTL + 1 - time.time()))
        return owner

    async def failed_over(self, since: float, *, but: Node | None = None, within: float) -> float:
        """Wait until another node than `but` is reached through the address; returns how long after `since`.

        Raises AssertionError if that takes longer than `within`, counted from `since`, or five times that beside other
        tests.
        """
        within *= BUSY
        owner = await self.owned(but=but, within=within + 2)
        began = max(tenure.begin for tenure in self.record.tenures() if tenure.node == owner.number)
        answered = await eventually(lambda: self._answered_since(began))
        taken = answered - since
        assert taken <= within, f"the address was reached again after {taken:.2f} s, which is more than {within:g}"
        return taken

    def write_config(self, node: Node, *, conditions: str = "") -> None:
        """Write a node's configuration; an agent that runs takes it up within a second."""
        endpoints = ", ".join(self.etcd.endpoints)
        text = _CONFIG.format(link=LINK, vip=VIP, endpoints=endpoints, ttl=TTL, conditions=conditions)
        node.config.write_text(text)


@contextlib.contextmanager
def _directory() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="vip-"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


@contextlib.asynccontextmanager
async def vip_lab(*, count: int = 3, start: bool = True) -> AsyncIterator[Lab]:
    """The place, with all agents running, when nobody has been elected yet; or, without `start`, with none running.

    The clocks of the third node are an hour ahead of the others'.
    """
    with _directory() as directory, namespaces(*(f"n{i}" for i in range(count)), "client", "switch") as made:
        *spaces, client, switch = made
        switch.run("ip", "link", "add", "br0", "type", "bridge")
        switch.run("ip", "link", "set", "br0", "up")
        for number, space in enumerate((*spaces, client)):
            _plug_in(switch, space, number)
        client.run("ip", "address", "add", "192.0.2.200/24", "dev", LINK)
        nodes = tuple(
            Node(number, space, directory / f"n{number}", _HOUR_AHEAD if number == 2 else ())
            for number, space in enumerate(spaces)
        )
        for node in nodes:
            node.config.parent.mkdir()
            node.namespace.run("ip", "address", "add", f"{node.address}/24", "dev", LINK)
        places = [Place(address=node.address, namespace=node.namespace) for node in nodes]
        path = directory / "record"
        recorder = (
            *(sys.executable, "-m", "tests.support.vip_recorder", str(path), VIP, str(client.path), LINK),
            *(str(space.path) for space in spaces),
        )
        async with etcd_cluster(places) as cluster, running(*recorder):
            await eventually(path.exists)
            lab = Lab(nodes, cluster, client, Record(path))
            try:
                async with trio.open_nursery() as nursery:
                    for node in nodes:
                        lab.write_config(node)
                        if start:
                            nursery.start_soon(node.start)
                yield lab
            finally:
                with trio.CancelScope(shield=True):
                    for node in nodes:
                        await node.kill()


def _plug_in(switch: Namespace, space: Namespace, number: int) -> None:
    execute(
        *("ip", "link", "add", LINK, "netns", space.name, "type", "veth"),
        *("peer", "name", f"port{number}", "netns", switch.name),
    )
    switch.run("ip", "link", "set", f"port{number}", "master", "br0", "up")
    space.run("ip", "link", "set", LINK, "up")
