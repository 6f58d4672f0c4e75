"""What an agent costs that has nothing to do: with a mesh of peers that are all down, and with everything configured.

Both run at the same time, for minutes, in network namespaces of their own; what they find there (a discovery service,
an etcd, other nodes) are processes beside them. Needs root, etcd, nft and WireGuard, in the kernel or as wireguard-go.
"""

import base64
import functools
import hashlib
import os
import random
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import attrs
import structlog
import trio

from bench.agent import NODESPAN, place_of_its_own
from bench.measure import Figure
from nodespan.controllers.kubespan.addressing import Purpose, cluster_prefix, node_address
from nodespan.discovery.affiliate import AffiliateData, KubeSpanPart
from nodespan.discovery.client import Client, ClientOptions
from nodespan.discovery.endpoint_url import DialAddress
from nodespan.discovery.service.server import DiscoveryOptions, serve_discovery
from nodespan.discovery.transport import GrpcTransport
from nodespan.runtime.cli.client import AgentGoneError, specs

PEERS = 98
SERVICE = ("127.0.0.1", 3000)
# Free memory is given back 20 s after the start, and what is looked up once has been by then.
_SETTLED = 60.0
# Minutes, for what happens twice in one.
_MEASURED = 180.0
_PATIENCE = 120.0
# What follows within this time of seconds is the same wake-up: the answer of a thread, for instance.
_REST = 0.05
_LOOK = 0.01
_CLUSTER = base64.urlsafe_b64encode(hashlib.sha256(b"bench").digest()).decode()
_KEY = hashlib.sha256(b"secret").digest()

# wireguard-go has its sockets in a directory of files, whatever the network namespace.
ENTER = (
    "unshare",
    "--uts",
    "--mount",
    "sh",
    "-c",
    'mkdir -p /run/wireguard; mount -t tmpfs none /run/wireguard; exec "$@"',
    "-",
)

# The first card leads to a gateway that takes all packets, and answers none.
NETWORK = """\
link set lo up
link add uplink address 02:00:00:00:00:01 type veth peer name far address 02:00:00:00:00:02
link add lan type veth peer name lan-far
link set uplink up
link set far up
link set lan-far up
address add 192.0.2.2/24 dev uplink
neighbor add 192.0.2.1 lladdr 02:00:00:00:00:02 dev uplink
route add default via 192.0.2.1
"""
CLUSTER = f"""\
cluster:
  id: {_CLUSTER}
  secret: {base64.b64encode(_KEY).decode()}
  discovery: {{enabled: true, registries: {{service: {{endpoint: "http://{SERVICE[0]}:{SERVICE[1]}/"}}}}}}
"""
MESH = f"""\
version: v1alpha1
machine:
  type: controlplane
  network: {{kubespan: {{enabled: true}}}}
{CLUSTER}"""
EVERYTHING = f"""\
version: v1alpha1
machine:
  type: controlplane
  sysctls: {{net.ipv4.tcp_keepalive_time: "600"}}
  env: {{https_proxy: "http://proxy.corp.example:3128"}}
  time: {{servers: [192.0.2.1]}}
  files: [{{path: /etc/corp/motd, op: create, permissions: 0o644, content: welcome}}]
  features: {{hostDNS: {{enabled: true}}}}
  network:
    hostname: node1
    nameservers: [192.0.2.1]
    searchDomains: [corp.example]
    extraHostEntries: [{{ip: 192.0.2.1, aliases: [gateway]}}]
    kubespan: {{enabled: true, filters: {{endpoints: ["0.0.0.0/0"]}}}}
    interfaces:
      - interface: bond0
        bond: {{mode: active-backup, miimon: 100, interfaces: [lan]}}
        dhcp: true
        dhcpOptions: {{ipv4: true, ipv6: true}}
      - interface: br0
        bridge: {{stp: {{enabled: false}}}}
        addresses: [10.30.0.1/24]
      - interface: uplink
        addresses: [192.0.2.2/24]
        routes: [{{network: 10.8.0.0/16, gateway: 192.0.2.1}}]
        vip: {{ip: 192.0.2.99}}
        vlans: [{{vlanId: 100, addresses: [10.31.0.1/24]}}]
      - interface: wg0
        addresses: [10.40.0.1/24]
        wireguard:
          privateKey: AAsAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAEA=
          listenPort: 51821
          peers: [{{publicKey: ZO8zP03otxNFOAxTfrFw+Ju9oXmi2i0zS83lMxp5TSU=, allowedIPs: [10.40.0.2/32]}}]
{CLUSTER}---
apiVersion: nodespan.dev/v1alpha1
kind: NodespanConfig
etcd: {{endpoints: ["http://127.0.0.1:2379"]}}
kubespan: {{measurePaths: true, portMapping: true, relays: ["http://{SERVICE[0]}:{SERVICE[1]}"]}}
names: {{mode: hosts, domain: mesh.internal}}
hostDNS: {{mesh: true}}
---
apiVersion: v1alpha1
kind: LinkAliasConfig
name: wan
selector: {{match: link.type == 1}}
---
apiVersion: v1alpha1
kind: NetworkDefaultActionConfig
ingress: block
---
apiVersion: v1alpha1
kind: NetworkRuleConfig
name: ssh
portSelector: {{ports: [22], protocol: tcp}}
ingress: [{{subnet: 192.0.2.0/24}}]
---
apiVersion: v1alpha1
kind: RoutingRuleConfig
name: "1000"
src: 10.30.0.0/24
table: "100"
---
apiVersion: v1alpha1
kind: TCPProbeConfig
name: discovery
endpoint: {SERVICE[0]}:{SERVICE[1]}
"""


def _peer(number: int) -> AffiliateData:
    """A node that is down."""
    mac = f"02:00:00:00:01:{number:02x}"
    key = base64.b64encode(hashlib.sha256(mac.encode()).digest()).decode()
    address = str(node_address(cluster_prefix(_CLUSTER, Purpose.KUBESPAN), mac))
    return AffiliateData(
        node_id=f"node-{number}",
        addresses=(f"10.99.0.{number}",),
        hostname=f"node-{number}",
        nodename=f"node-{number}",
        machine_type="worker",
        operating_system="Debian",
        kubespan=KubeSpanPart(public_key=key, address=address),
    )


async def _others(peers: int) -> None:
    """A discovery service that knows so many nodes, whose word about themselves holds for half an hour."""
    async with trio.open_nursery() as nursery:
        await nursery.start(functools.partial(serve_discovery, DiscoveryOptions(listen=SERVICE)))
        if peers:
            await _announce(peers)


async def _announce(peers: int) -> None:
    """Announce so many nodes, until they have heard of each other."""
    clients: list[Client] = []
    names = {_peer(number).node_id for number in range(1, peers + 1)}
    async with trio.open_nursery() as nursery:

        def look() -> None:
            # Together these two have heard of all. The agent may be among those they have heard of, too.
            if len(clients) == peers and all(
                names <= {one.options.node_id, *one.affiliates} for one in (clients[0], clients[-1])
            ):
                nursery.cancel_scope.cancel()

        for number in range(1, peers + 1):
            data = _peer(number)
            address = DialAddress(f"{SERVICE[0]}:{SERVICE[1]}", insecure=True)
            client = Client(
                ClientOptions(target=address, cluster_id=_CLUSTER, node_id=data.node_id, key=_KEY),
                GrpcTransport(environment=dict),
                log=structlog.get_logger(),
                on_change=look,
                random=random.Random(number),
                random_bytes=secrets.token_bytes,
            )
            client.publish(data, (f"198.51.100.{number}:51820",))
            clients.append(client)
            nursery.start_soon(client.run)


@attrs.frozen
class _Costs:
    """Of an idle agent: resident memory, processor time and how often its loop woke."""

    megabytes: float
    percent: float
    wakeups: float


@attrs.define
class _Meter:
    """Counts what one agent uses from now on. A wake-up of its loop is one that follows a rest of at least `_REST`."""

    _pid: int
    _started: float = attrs.field(factory=time.monotonic)
    _processor: float = attrs.field(init=False)
    _switches: int = attrs.field(init=False)
    _last: float = 0.0
    _wakeups: int = 0

    def __attrs_post_init__(self) -> None:
        self._processor, self._switches = self._used(), self._slept()

    def look(self) -> None:
        """To be called every few milliseconds."""
        slept, now = self._slept(), time.monotonic()
        if slept != self._switches:
            self._wakeups += now - self._last > _REST
            self._switches, self._last = slept, now

    def costs(self) -> _Costs:
        """What it has used since the beginning, a second."""
        seconds = time.monotonic() - self._started
        percent = (self._used() - self._processor) / seconds * 100
        return _Costs(int(_status(self._pid)["VmRSS"]) / 1000, percent, self._wakeups / seconds)

    def _used(self) -> float:
        # The clock of another process (clock_getcpuclockid(3)): seconds of processor time, also of threads that ended.
        return time.clock_gettime((~self._pid << 3) | 2)

    def _slept(self) -> int:
        """How often the thread of the loop has begun to wait."""
        return int(_status(self._pid)["voluntary_ctxt_switches"])


def _status(pid: int) -> Mapping[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: rest.split()[0] for name, _, rest in (line.partition(":") for line in lines) if rest.strip()}


@contextmanager
def _namespace(name: str) -> Iterator[tuple[str, ...]]:
    """A network namespace: the command that enters it."""
    subprocess.run(["ip", "netns", "add", name], check=True)
    enter = ("ip", "netns", "exec", name)
    try:
        subprocess.run((*enter, "ip", "-batch", "-"), input=NETWORK.encode(), check=True)
        yield enter
    finally:
        # An agent that stops leaves its tunnels, and so the programs that make them.
        found = subprocess.run(["ip", "netns", "pids", name], check=True, capture_output=True, text=True)
        for pid in found.stdout.split():
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGTERM)
        subprocess.run(["ip", "netns", "delete", name], check=True)


@contextmanager
def _process(*command: str, environment: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


@attrs.frozen
class _Case:
    """A configuration, how many other nodes the discovery service knows, and whether there is an etcd."""

    name: str
    config: str
    peers: int
    has_etcd: bool


PEERS_DOWN = _Case("peers", MESH, PEERS, has_etcd=False)
ALL = _Case("all", EVERYTHING, 0, has_etcd=True)


def _start(stack: ExitStack, case: _Case, directory: Path) -> int:
    """Start an agent, and others beside it; returns its number."""
    environment = place_of_its_own(directory)
    config = directory / "config.yaml"
    config.touch(mode=0o600)
    config.write_text(case.config)
    enter = stack.enter_context(_namespace(f"nodespan-bench-{case.name}-{os.getpid()}"))
    if case.has_etcd:
        stack.enter_context(_process(*enter, "etcd", "--data-dir", str(directory / "etcd"), "--unsafe-no-fsync"))
    others = f"import trio; from bench.idle import _others; trio.run(_others, {case.peers})"
    stack.enter_context(_process(*enter, sys.executable, "-c", others))
    command = (*enter, *ENTER, *NODESPAN, "agent", "--config", str(config))
    agent = stack.enter_context(_process(*command, environment=environment))
    ends = time.monotonic() + _PATIENCE
    while not _is_ready(case, environment["NODESPAN_SOCKET"]):
        assert agent.poll() is None, f"{case.name}: the agent has ended"
        assert time.monotonic() < ends, f"{case.name}: the agent has not come up"
        time.sleep(0.5)
    return agent.pid


def _is_ready(case: _Case, socket: str) -> bool:
    """Whether the agent is in touch with all that is there."""
    try:
        peers, services = specs(socket, "kubespanpeerstatuses"), specs(socket, "discoveryservicestatuses")
        leads = [status["state"] for status in specs(socket, "vipstatuses")] == ["leader"] * case.has_etcd
    except AgentGoneError:
        return False
    return len(peers) == case.peers and leads and [service["state"] for service in services] == ["connected"]


@functools.cache
def _costs() -> Mapping[str, _Costs]:
    """What each agent costs, by the name of its case."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        pids = {case.name: _start(stack, case, directory / case.name) for case in (PEERS_DOWN, ALL)}
        time.sleep(_SETTLED)
        meters = {name: _Meter(pid) for name, pid in pids.items()}
        ends = time.monotonic() + _MEASURED
        while time.monotonic() < ends:
            for meter in meters.values():
                meter.look()
            time.sleep(_LOOK)
        return {name: meter.costs() for name, meter in meters.items()}


def peers_memory() -> Figure:
    """Resident memory with a mesh of peers that are down."""
    return Figure(f"memory with {PEERS} peers, against the goal", _costs()["peers"].megabytes, 55, 1.2, "MB", goal=1)


def peers_processor() -> Figure:
    """Processor time of the same agent."""
    ours = _costs()["peers"].percent
    return Figure(f"idle, {PEERS} peers down, of a core, against the goal", ours, 0.2, 2, "%", goal=1)


def peers_wakeups() -> Figure:
    """How often the loop of the same agent wakes."""
    ours = _costs()["peers"].wakeups
    return Figure(f"wake-ups a second, {PEERS} peers down, against the goal", ours, 1, 1.5, "/s", goal=1)


def everything_memory() -> Figure:
    """Resident memory with everything configured."""
    ours = _costs()["all"].megabytes
    return Figure("memory with everything configured, against the goal", ours, 45, 1.5, "MB", goal=1)


FIGURES = (peers_memory, peers_processor, peers_wakeups, everything_memory)
