"""Nobody locks themselves out: what `nodespan apply --mode try` cuts off comes back, whatever becomes of the agent."""

import contextlib
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import attrs
import pytest
import trio

from tests.support.agent import AgentProcess, agent, nodespan
from tests.support.deadlines import PATIENCE
from tests.support.netns import Namespace, connect, namespaces
from tests.support.process import eventually

pytestmark = [pytest.mark.needs_link("veth"), pytest.mark.needs_program("ping")]

ADDRESS, ELSEWHERE, CALLER = "10.20.0.1", "10.66.0.1", "10.20.0.2"
CONFIG = """\
machine:
  type: worker
  network:
    interfaces:
      - interface: eth0
        addresses: [{address}/24]
        routes: [{{network: 10.99.0.0/16, gateway: {caller}}}]
"""


@attrs.frozen
class Place:
    """A node, whose agent comes and goes, and a caller who reaches it over one cable."""

    directory: Path
    node: Namespace
    caller: Namespace

    def file(self, name: str, address: str, caller: str = CALLER) -> str:
        path = self.directory / name
        path.write_text(CONFIG.format(address=address, caller=caller))
        return str(path)

    @contextlib.asynccontextmanager
    async def agent(self) -> AsyncIterator[AgentProcess]:
        async with agent(self.directory, namespace=self.node) as served:
            yield served

    def is_reached(self, address: str = ADDRESS) -> bool:
        ping = self.caller.inside("ping", "-c1", "-W1", address)
        return subprocess.run(ping, capture_output=True, timeout=PATIENCE).returncode == 0

    async def comes_back(self) -> None:
        await eventually(self.is_reached)
        await eventually(self.is_as_before)

    def is_as_before(self) -> bool:
        has_route = "10.99.0.0/16 via 10.20.0.2" in self.node.run("ip", "route")
        return self.addresses() == [f"{ADDRESS}/24"] and has_route

    def addresses(self) -> list[str]:
        lines = self.node.run("ip", "-4", "-o", "address", "show", "dev", "eth0").splitlines()
        return [line.split()[3] for line in lines]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return nodespan(*arguments, directory=self.directory)


@contextlib.contextmanager
def place(directory: Path) -> Iterator[Place]:
    with namespaces("node", "caller") as (node, caller):
        connect(node, "eth0", caller, "eth0")
        caller.run("ip", "address", "add", f"{CALLER}/24", "dev", "eth0")
        yield Place(directory, node, caller)


async def kill(served: AgentProcess) -> None:
    """The agent is gone, without having been asked to stop."""
    served.process.kill()
    await served.process.wait()


async def begin(there: Place, served: AgentProcess, duration: str) -> None:
    """The node is reached, and then on trial with an address at which the caller does not reach it."""
    served.run("apply", there.file("good.yaml", ADDRESS))
    await there.comes_back()
    served.run("apply", "--mode", "try", "--timeout", duration, there.file("bad.yaml", ELSEWHERE, "10.66.0.2"))
    assert there.addresses() == [f"{ELSEWHERE}/24"]
    assert not there.is_reached()


async def test_a_trial_that_cuts_off_the_caller_is_rolled_back(tmp_path: Path) -> None:
    with place(tmp_path) as there:
        async with there.agent() as served:
            await begin(there, served, "4s")
            await there.comes_back()
            assert "no configuration is on trial" in there.run("apply", "--confirm").stderr


async def test_a_trial_is_rolled_back_although_the_agent_was_killed_and_restarted(tmp_path: Path) -> None:
    with place(tmp_path) as there:
        async with there.agent() as served:
            await begin(there, served, "8s")
            await kill(served)
        async with there.agent() as served:
            assert "a configuration is on trial" in served.log
            assert there.addresses() == [f"{ELSEWHERE}/24"]
            await there.comes_back()


async def test_a_trial_that_expired_while_the_agent_was_dead_is_rolled_back_at_its_start(tmp_path: Path) -> None:
    with place(tmp_path) as there:
        async with there.agent() as served:
            await begin(there, served, "4s")
            await kill(served)
        await trio.sleep(4)
        assert there.addresses() == [f"{ELSEWHERE}/24"]
        async with there.agent():
            await there.comes_back()


async def test_a_confirmed_trial_survives_a_kill(tmp_path: Path) -> None:
    with place(tmp_path) as there:
        async with there.agent() as served:
            await begin(there, served, "1m")
            served.run("apply", "--confirm")
            await kill(served)
        async with there.agent() as served:
            await served_settles(served)
            assert there.addresses() == [f"{ELSEWHERE}/24"]
            served.run("apply", there.file("good.yaml", ADDRESS))
            await there.comes_back()


async def served_settles(served: AgentProcess) -> None:
    await eventually(lambda: ELSEWHERE in served.run("get", "addressspecs"))


async def test_a_trial_can_be_cancelled(tmp_path: Path) -> None:
    with place(tmp_path) as there:
        async with there.agent() as served:
            await begin(there, served, "1m")
            served.run("apply", "--cancel")
            await there.comes_back()


async def test_apply_reports_what_the_kernel_rejects(tmp_path: Path) -> None:
    with place(tmp_path) as there:
        async with there.agent():
            done = there.run("apply", there.file("bad.yaml", ADDRESS, "10.77.0.1"))
            assert done.returncode == 2
            assert "RouteSpecs/inet4/10.77.0.1/10.99.0.0/16/1024: " in done.stderr
            assert there.addresses() == [f"{ADDRESS}/24"]


async def test_a_dry_run_lists_the_kernel_changes(tmp_path: Path) -> None:
    with place(tmp_path) as there:
        async with there.agent() as served:
            served.run("apply", there.file("good.yaml", ADDRESS))
            await there.comes_back()
            before = there.node.run("ip", "-4", "-j", "address"), there.node.run("ip", "-4", "-j", "route")
            shown = served.run("apply", "--dry-run", there.file("other.yaml", ELSEWHERE, "10.66.0.2"))
            _, _, kernel = shown.partition("kernel:\n")
            assert kernel.splitlines() == [
                f"  - address {ADDRESS}/24 on eth0",
                f"  + address {ELSEWHERE}/24 on eth0",
                "  - route 10.99.0.0/16 via 10.20.0.2 on eth0 metric 1024",
                "  + route 10.99.0.0/16 via 10.66.0.2 on eth0 metric 1024",
                "nothing was changed",
            ]
            assert before == (there.node.run("ip", "-4", "-j", "address"), there.node.run("ip", "-4", "-j", "route"))
