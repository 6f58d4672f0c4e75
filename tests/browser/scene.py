"""A cluster as it may look: what the pictures in the documents show, and what the browser's tests begin with."""

import datetime

from nodespan.controllers.config.loading import load
from nodespan.resources.cluster import (
    DiscoveryServiceStatus,
    DiscoveryServiceStatusSpec,
    MachineType,
    Member,
    MemberSpec,
    ServiceState,
)
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig
from nodespan.resources.config.status import CONFIG_STATUS_ID, ConfigStatus, ConfigStatusSpec
from nodespan.resources.kubespan import PeerState
from nodespan.resources.network import (
    HOSTNAME_ID,
    HostnameStatus,
    HostnameStatusSpec,
    NetworkProblem,
    NetworkProblemSpec,
    VIPState,
    VIPStatus,
    VIPStatusSpec,
)
from nodespan.runtime.engine.status import ControllerStatus, ControllerStatusSpec
from tests.controllers.config.samples import SECRET
from tests.controllers.dashboard.rig import Rig

PEERS = [
    *(f"control-{number}" for number in range(1, 4)),
    *(f"rack-a-{number}" for number in range(1, 9)),
    *(f"rack-b-{number}" for number in range(1, 9)),
    *(f"edge-{city}" for city in ("berlin", "oslo", "lisbon", "porto")),
]
DOWN, TRYING = "rack-b-5", "edge-oslo"
ADDRESS = "10.0.0.100"
CONFIG = f"""\
# One of three control-plane nodes.
machine:
  type: controlplane
  network:
    hostname: control-0
    kubespan: {{enabled: true}}
    interfaces:
      - interface: lo
        vip: {{ip: {ADDRESS}}}
cluster:
  id: example
  secret: {SECRET}
  controlPlane: {{endpoint: "https://{ADDRESS}:6443"}}
---
apiVersion: nodespan.dev/v1alpha1
kind: NodespanConfig
etcd: {{endpoints: ["https://10.0.0.1:2379"]}}
dashboard: {{listen: "127.0.0.1:9080"}}
"""


def state_of(name: str) -> PeerState:
    """The state of a peer in the scene."""
    return {DOWN: PeerState.DOWN, TRYING: PeerState.UNKNOWN}.get(name, PeerState.UP)


async def put_scene(rig: Rig) -> None:
    """Put the whole cluster into the state."""
    now = datetime.datetime.now(datetime.UTC)
    for number, name in enumerate(PEERS, start=1):
        address = f"fd83:b1a4:7d0c:8e02:{number:x}:ff:fe00:{number:x}"
        await rig.peer_spec(name, address, f"{address}/128", f"10.244.{number}.0/24")
        await traffic(rig, number, name, 0)
        kind = MachineType.CONTROLPLANE if name.startswith("control") else MachineType.WORKER
        spec = MemberSpec(
            node_id=name, addresses=(address,), hostname=name, machine_type=kind, operating_system="Debian 12"
        )
        await rig.put(Member, name, spec)
    await rig.put(HostnameStatus, HOSTNAME_ID, HostnameStatusSpec(hostname="control-0"))
    discovery = DiscoveryServiceStatusSpec(
        endpoint="discovery.example.org:443", state=ServiceState.CONNECTED, affiliates=len(PEERS)
    )
    await rig.put(DiscoveryServiceStatus, "default", discovery)
    await hold(rig, "control-2", now - datetime.timedelta(minutes=4))
    problem = NetworkProblemSpec(
        type="RouteSpecs.net.talos.dev",
        id="inet4/10.9.0.0/16",
        message="network is unreachable: 192.0.2.254 is on no link",
    )
    await rig.put(NetworkProblem, "RouteSpecs/inet4/10.9.0.0/16", problem)
    loaded = load(CONFIG)
    await rig.put(MachineConfig, MACHINE_CONFIG_ID, loaded.config)
    status = ConfigStatusSpec(files=("/etc/nodespan/config.yaml",), digest="4f2c9a7d61b0e853", since=now)
    await rig.put(ConfigStatus, CONFIG_STATUS_ID, status)
    await wake(rig, 1)


async def traffic(rig: Rig, number: int, name: str, step: int) -> None:
    """What a peer has sent and received by a step."""
    received = step * 900_000 * (1 + number % 5) + (step * step * number * 7919) % 900_000
    sent = received // (2 + number % 3)
    state = state_of(name)
    await rig.peer(
        name,
        state,
        received=received if state is PeerState.UP else 4_000_000,
        sent=sent if state is PeerState.UP else 1_000_000,
        endpoint=f"198.51.100.{number}:51820" if state is PeerState.UP else "",
    )


async def hold(rig: Rig, leader: str, since: datetime.datetime) -> None:
    """Another node holds the virtual IP."""
    is_here = leader == "control-0"
    spec = VIPStatusSpec(
        ip=ADDRESS,
        link_name="bond0",
        state=VIPState.LEADER if is_here else VIPState.CANDIDATE,
        leader=leader,
        since=since.isoformat().replace("+00:00", "Z"),
        lease="694d9c1f3b2a77" if is_here else "",
    )
    await rig.put(VIPStatus, f"bond0/{ADDRESS}", spec)


async def wake(rig: Rig, times: int) -> None:
    """Controllers that have woken so often."""
    for number, name in enumerate(
        ("kubespan.PeerController", "kubespan.PeerSpecController", "cluster.MemberController")
    ):
        spec = ControllerStatusSpec(shape="plain", wakeups=times * (3 + number), reads=90 * times, writes=12 * times)
        await rig.put(ControllerStatus, name, spec)
