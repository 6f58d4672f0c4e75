"""`nodespan cluster` as users run it: real tunnels between nodes, and nothing left of them."""

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest

from nodespan.cluster.commands import agent_command
from nodespan.cluster.echo import ping
from nodespan.cluster.peers import kubespan_address, look
from nodespan.cluster.pinging import Pinging
from nodespan.cluster.plan import Plan, Station
from nodespan.cluster.station_processes import NAMESPACES, pids_in, start
from nodespan.runtime.cli.client import ask
from nodespan.runtime.cli.errors import CommandError
from tests.mesh.waiting import eventually
from tests.support import run
from tests.support.agent import command
from tests.support.forked import Forked, begin
from tests.support.netns import execute

pytestmark = [
    pytest.mark.needs_link("veth", "bridge"),
    pytest.mark.needs_program("nft", "unshare", "wg"),
]

_UP_WITHIN = 60
_GONE_WITHIN = 30


def plan_called(suffix: str, size: int = 3) -> Plan:
    """A cluster whose name contains the id of its test run."""
    return Plan(name=f"{run.NAME}{suffix}", size=size)


def nodespan(*arguments: str, within: float = _UP_WITHIN + 30) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return command(*arguments, within=within)


def traces(plan: Plan) -> list[str]:
    """What there is of a cluster on the machine."""
    found = [path.name for path in NAMESPACES.iterdir() if path.name.startswith(plan.namespace_prefix)]
    # Clusters of other tests may be going meanwhile.
    for directory, directories, files in os.walk("/run/nodespan"):
        found += [f"{directory}/{name}" for name in (*directories, *files) if plan.name in name]
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdecimal() and plan.name.encode() in (entry / "cmdline").read_bytes():
                found.append(f"process {entry.name}")
    return found


@attrs.frozen
class Kept:
    """A cluster that was made with `--keep`, and what was printed."""

    plan: Plan
    output: str

    def node(self, number: int) -> Station:
        """The node of this number."""
        return self.plan.nodes[number]


@contextlib.contextmanager
def keeping() -> Iterator[Kept]:
    """A cluster of which nothing is left after the block."""
    plan = plan_called("k")
    rules = execute("nft", "list", "ruleset")
    made = nodespan("cluster", "create", "--name", plan.name, "--keep", "--timeout", str(_UP_WITHIN))
    try:
        assert made.returncode == 0, made.stdout + made.stderr
        yield Kept(plan, made.stdout)
    finally:
        destroyed = nodespan("cluster", "destroy", "--name", plan.name)
    assert destroyed.returncode == 0, destroyed.stderr
    assert traces(plan) == []
    assert execute("nft", "list", "ruleset") == rules


@attrs.define
class Shared:
    """The cluster that tests share, made when one needs it."""

    _stack: contextlib.ExitStack = attrs.field(factory=contextlib.ExitStack)
    _kept: Kept | None = None

    def kept(self) -> Kept:
        """The cluster."""
        if self._kept is None:
            self._kept = self._stack.enter_context(keeping())
        return self._kept

    def close(self) -> None:
        """Destroy it; the next test that needs one gets a new one."""
        self._kept = None
        self._stack.close()


@pytest.fixture(scope="module")
def shared() -> Iterator[Shared]:
    made = Shared()
    yield made
    made.close()


@pytest.fixture
def kept(shared: Shared) -> Kept:
    return shared.kept()


@pytest.fixture
def used_up(shared: Shared) -> Iterator[Kept]:
    """The cluster for a test after which it is as no other test expects it, in whatever order they run."""
    yield shared.kept()
    shared.close()


def agent_pid(node: Station) -> int:
    """The process that answers for a node."""
    return int(ask(str(node.socket), {"call": "version"})[0]["pid"])


def wg(node: Station, what: str) -> list[str]:
    """The lines that `wg show` prints inside a node, which come in no order."""
    done = nodespan("cluster", "exec", node.name, "--", "wg", "show", "kubespan", what)
    assert done.returncode == 0, done.stderr
    return sorted(done.stdout.splitlines())


def test_killing_an_agent_loses_no_packet(kept: Kept) -> None:
    victim, other = kept.node(1), kept.node(2)
    address = kubespan_address(victim)
    handshakes = wg(victim, "latest-handshakes")
    here = NAMESPACES / other.namespace
    with (
        Pinging(here, address, timeout=1.0) as through_mesh,
        Pinging(here, victim.address, timeout=1.0) as to_node,
    ):
        pid = agent_pid(victim)
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: pid not in pids_in(victim.namespace), 5)
        start_again(victim)
        eventually(lambda: agent_answers(victim), 15)
        eventually(lambda: all(seen.is_up for seen in look(kept.plan).values()), 15)
    assert through_mesh.sent > 20
    assert (through_mesh.lost, to_node.lost) == (0, 0)
    assert wg(victim, "latest-handshakes") == handshakes


def start_again(node: Station) -> None:
    """Start the agent of a node whose agent has ended; it ends with the cluster."""
    process = start(node, agent_command(node))
    threading.Thread(target=process.wait, daemon=True).start()


def agent_answers(node: Station) -> bool:
    """Whether the agent of a node is back."""
    try:
        return agent_pid(node) > 0
    except CommandError:
        return False


def test_create_reports_how_the_nodes_find_each_other(kept: Kept) -> None:
    assert "all 6 tunnel ends are up" in kept.output
    assert f"{kept.node(0).name}: {kept.node(1).name} is up" in kept.output
    assert "no answer" not in kept.output
    assert "nodespan cluster destroy" in kept.output


def test_every_node_reaches_every_other_one_through_the_tunnels(kept: Kept) -> None:
    for node, peer in kept.plan.pairs:
        assert ping(NAMESPACES / node.namespace, kubespan_address(peer)) is not None
        before = sum_of(wg(node, "transfer"))
        assert ping(NAMESPACES / node.namespace, peer.address) is not None
        assert sum_of(wg(node, "transfer")) > before


def sum_of(transfer: list[str]) -> int:
    """All bytes that the lines of `wg show ... transfer` count."""
    return sum(int(number) for line in transfer for number in line.split()[1:])


def test_the_node_behind_nat_is_observed_at_its_routers_address(kept: Kept) -> None:
    hidden = kept.node(-1).name
    view = look(kept.plan)
    assert view[kept.node(0).name, hidden].endpoint.startswith("198.51.100.3:")


def test_nodes_are_queried_by_name(kept: Kept) -> None:
    listed = nodespan("--node", kept.node(0).name, "get", "kubespanpeerstatuses")
    assert kept.node(1).name in listed.stdout, listed.stderr


def test_peers_are_found_by_the_names_of_their_nodes(kept: Kept) -> None:
    node, peer = kept.node(0).name, kept.node(1).name
    for arguments in (("get", "kubespanpeerstatuses", peer), ("get", "affiliates", peer)):
        done = nodespan(*arguments, "--node", node)
        assert (done.returncode, peer in done.stdout) == (0, True), done.stderr
    assert "KubeSpanPeerSpec" in nodespan("why", "kubespanpeerspecs", peer, "--node", node).stdout


def test_an_unknown_node_is_reported_with_the_nearest(kept: Kept) -> None:
    name = kept.node(0).name
    done = nodespan("get", "links", "--node", f"{name}x")
    assert done.returncode == 1
    assert f"no node '{name}x', did you mean '" in done.stderr


def test_commands_run_inside_a_node(kept: Kept) -> None:
    node = kept.node(2)
    done = nodespan("cluster", "exec", node.name, "--", "sh", "-c", "uname -n; ip -brief address show eth0; exit 7")
    assert done.returncode == 7
    assert done.stdout.split()[0] == node.name
    assert "192.0.2.11/24" in done.stdout


def test_commands_run_at_every_station(kept: Kept) -> None:
    """The bridge and the router have no files of their own."""
    for station in kept.plan.stations:
        done = nodespan("cluster", "exec", station.name, "--", "uname", "-n")
        assert (done.stdout, done.stderr) == (f"{station.name}\n", "")


def test_clusters_are_listed_with_processes_and_addresses(kept: Kept) -> None:
    listed = nodespan("cluster", "show").stdout
    assert f"{kept.plan.name}: 3 nodes, kept running" in listed
    for node in kept.plan.nodes:
        assert str(agent_pid(node)) in listed
        assert kubespan_address(node) in listed


def test_a_second_cluster_of_the_same_name_is_rejected_and_the_first_is_kept(kept: Kept) -> None:
    refused = nodespan("cluster", "create", "--name", kept.plan.name)
    assert refused.returncode == 1
    assert f"nodespan cluster destroy --name {kept.plan.name}" in refused.stderr
    assert all(seen.is_up for seen in look(kept.plan).values())


def test_cluster_files_are_readable_by_root_only(kept: Kept) -> None:
    assert kept.plan.directory.stat().st_mode & 0o777 == 0o700
    for node in kept.plan.nodes:
        assert node.config.stat().st_mode & 0o777 == 0o600


def test_the_secret_is_in_no_log_and_no_process_list(kept: Kept) -> None:
    (secret,) = {
        line.split()[1]
        for node in kept.plan.nodes
        for line in node.config.read_text().splitlines()
        if "clusterSecret" in line
    }
    assert secret not in kept.output
    for station in kept.plan.stations:
        assert not station.log.exists() or secret not in station.log.read_text()
        for pid in pids_in(station.namespace):
            assert secret.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()


# Last of those of this cluster, so that no second one is needed.
def test_a_node_that_leaves_is_gone_and_forgotten(used_up: Kept) -> None:
    node, *others = used_up.plan.nodes
    during = state_of(node.namespace)
    done = nodespan("leave", "--node", node.name)
    assert done.returncode == 0, f"{done.stderr}\n{node.log.read_text()[-6000:]}"
    after = state_of(node.namespace)
    assert "kubespan" in during[0]
    assert "kubespan" not in "".join(after)
    assert "nodespan" not in after[5]
    assert "180" not in after[2] + after[3]
    assert not pids_in(node.namespace)  # neither the agent nor wireguard-go
    eventually(lambda: not any(look(used_up.plan)[other.name, node.name].is_up for other in others), _GONE_WITHIN)
    for other in others:
        eventually(lambda at=other: node.name not in peers(at.name), _GONE_WITHIN)  # type: ignore[misc]


def state_of(namespace: str) -> list[str]:
    """What an agent changes in its namespace."""
    inside = ("ip", "netns", "exec", namespace)
    return [
        execute("ip", "-n", namespace, "-brief", "link"),
        execute("ip", "-n", namespace, "-brief", "address"),
        execute("ip", "-n", namespace, "rule"),
        execute("ip", "-n", namespace, "-6", "rule"),
        execute("ip", "-n", namespace, "route", "show", "table", "all"),
        execute(*inside, "nft", "list", "ruleset"),
        execute(*inside, "cat", "/proc/sys/net/ipv4/conf/all/rp_filter"),
    ]


def peers(node: str) -> str:
    """What a node shows of its peers."""
    return nodespan("get", "kubespanpeerstatuses", "--node", node).stdout


@contextlib.contextmanager
def creating(plan: Plan, log: Path) -> Iterator[Forked]:
    """A cluster in the foreground of a process; whatever is left of it is removed at the end."""
    arguments = ("cluster", "create", "--name", plan.name, "--nodes", str(plan.size))
    with log.open("wb") as output, Path(os.devnull).open() as nothing:
        files = (nothing.fileno(), output.fileno(), output.fileno())
        process = begin(arguments, directory=Path.cwd(), environment=os.environ, files=files)
    try:
        yield process
    finally:
        process.kill()
        process.ended(within=_GONE_WITHIN)
        nodespan("cluster", "destroy", "--name", plan.name)


def is_written(log: Path, text: str) -> Callable[[], bool]:
    """Whether a text has been written."""
    return lambda: text in log.read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_foreground_cluster_leaves_nothing_behind_when_interrupted(number: signal.Signals, tmp_path: Path) -> None:
    plan, log = plan_called("f", size=2), tmp_path / "log"
    with creating(plan, log) as process:
        eventually(is_written(log, "Ctrl-C ends it"), _UP_WITHIN)
        if number == signal.SIGINT:  # once is enough
            os.kill(agent_pid(plan.nodes[0]), signal.SIGKILL)
            eventually(is_written(log, f"the agent of {plan.nodes[0].name} ended (signal 9); restarting it"), 10)
        process.send_signal(number)
        assert process.ended(within=_GONE_WITHIN) == 0, log.read_text()
        assert traces(plan) == []


@pytest.mark.parametrize("moment", ["creating the cluster", "the internet is a bridge", "agents are starting"])
def test_an_interrupted_creation_leaves_nothing_behind(moment: str, tmp_path: Path) -> None:
    plan, log = plan_called("h", size=2), tmp_path / "log"
    with creating(plan, log) as process:
        eventually(is_written(log, moment), 30)
        process.send_signal(signal.SIGINT)
        assert process.ended(within=_GONE_WITHIN) == 130
        assert traces(plan) == []


@pytest.mark.parametrize("moment", ["creating the cluster", "agents are starting", "Ctrl-C ends it"])
def test_destroy_removes_what_a_killed_command_left(moment: str, tmp_path: Path) -> None:
    plan, log = plan_called("x", size=2), tmp_path / "log"
    with creating(plan, log) as process:
        eventually(is_written(log, moment), _UP_WITHIN)
        process.kill()
        process.ended(within=_GONE_WITHIN)
        destroyed = nodespan("cluster", "destroy", "--name", plan.name)
        assert destroyed.returncode == 0, destroyed.stderr
        assert traces(plan) == []


def test_a_foreground_cluster_can_be_destroyed_from_another_terminal(tmp_path: Path) -> None:
    plan, log = plan_called("o", size=2), tmp_path / "log"
    with creating(plan, log) as process:
        eventually(is_written(log, "agents are starting"), 30)
        assert nodespan("cluster", "destroy", "--name", plan.name).returncode == 0
        assert traces(plan) == []
        assert process.ended(within=_GONE_WITHIN) == 130


def test_a_node_that_is_not_up_in_time_is_named_with_the_end_of_its_log(tmp_path: Path) -> None:
    plan = plan_called("t", size=2)
    made = nodespan("cluster", "create", "--name", plan.name, "--nodes", "2", "--timeout", "0")
    assert made.returncode == 1
    assert "not all nodes are up after 0 s" in made.stderr
    assert f"{plan.nodes[0].name}, {plan.nodes[1].name}: " in made.stderr
    assert f"the end of {plan.nodes[0].log}" in made.stderr
    assert traces(plan) == []
