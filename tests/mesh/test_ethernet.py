"""The settings of network cards on real links: set, put right, refused by name, and as they were in the end."""

import contextlib
import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from nodespan.controllers.common.prior_state import PriorState
from nodespan.controllers.network.apply.ethernet_spec import EthernetSpecController
from nodespan.controllers.network.status.ethernet_status import EthernetStatusController
from nodespan.resources.network import (
    EthernetChannels,
    EthernetRings,
    EthernetSpec,
    EthernetSpecSpec,
    EthernetStatus,
    NetworkProblem,
    Severity,
    WOLMode,
)
from nodespan.runtime.testing.kit import Node, running
from tests.support.netns import Namespace, namespace
from tests.support.process import eventually

pytestmark = [pytest.mark.needs_link("veth"), pytest.mark.needs_program("ethtool")]

SEGMENTED = EthernetSpecSpec(features={"tx-tcp-segmentation": False})


@contextlib.asynccontextmanager
async def node(inside: Namespace, record: Path | None = None) -> AsyncIterator[Node]:
    netns = str(inside.path)
    applier = EthernetSpecController(netns=netns, prior=PriorState(record))
    async with running(applier, EthernetStatusController(netns=netns)) as runtime:
        yield runtime


@contextlib.contextmanager
def machine() -> Iterator[Namespace]:
    with namespace() as inside:
        inside.run("ip", "-batch", "-", stdin="link add x0 type veth peer name x1\nlink set x1 alias uplink up\n")
        yield inside


async def end(runtime: Node, id: str) -> None:
    """Destroy a spec once its applier has let go of it."""
    await runtime.teardown(EthernetSpec, id)
    await runtime.eventually(EthernetSpec, id, lambda spec: not spec.metadata.finalizers)
    await runtime.destroy(EthernetSpec, id)


def features(inside: Namespace, link: str = "x0") -> dict[str, str]:
    """What the ethtool program says, but for the words that it makes up for groups of features."""
    lines = inside.run("ethtool", "-k", link).splitlines()[1:]
    pairs = (line.strip().partition(": ")[::2] for line in lines)
    return {name: state for name, state in pairs if name in KERNEL_NAMES}


def channels(inside: Namespace) -> list[str]:
    return re.findall(r"(?:RX|TX):\s+(\S+)", inside.run("ethtool", "-l", "x0"))


KERNEL_NAMES = frozenset(
    {
        *("tx-tcp-segmentation", "tx-tcp6-segmentation", "tx-scatter-gather", "tx-checksum-ip-generic", "highdma"),
        *("rx-lro", "tx-vlan-hw-insert", "rx-vlan-hw-parse", "tx-udp-segmentation", "rx-fcs", "loopback"),
    }
)


async def test_settings_are_applied_shown_put_right_and_taken_back(tmp_path: Path) -> None:
    record = tmp_path / "before.jsonl"
    with machine() as inside:
        before, queues = features(inside), channels(inside)
        async with node(inside, record) as runtime:
            # Nobody has asked: nothing is shown, and nothing on record.
            await runtime.settled()
            assert runtime.state.list(EthernetStatus) == []
            await runtime.put(EthernetSpec, "x0", SEGMENTED)
            await eventually(lambda: features(inside)["tx-tcp-segmentation"] == "off")
            shown = await runtime.eventually(
                EthernetStatus, "x0", lambda status: status.spec.features["tx-tcp-segmentation"] == "off"
            )
            # As the tool has it, and for the other link too.
            assert {name: shown.spec.features[name] for name in before} == features(inside)
            other = await runtime.eventually(EthernetStatus, "x1")
            assert {name: other.spec.features[name] for name in before} == features(inside, "x1")
            assert json.loads(record.read_text().splitlines()[1])
            # Another program changes it; and so does another link of the name.
            inside.run("ethtool", "-K", "x0", "tso", "on")
            await eventually(lambda: features(inside)["tx-tcp-segmentation"] == "off")
            inside.run("ip", "link", "del", "x0")
            await runtime.gone(EthernetStatus, "x0")
            problem = await runtime.eventually(NetworkProblem, "EthernetSpecs/x0")
            assert problem.spec.message == "there is no link x0"
            inside.run("ip", "link", "add", "x0", "type", "veth", "peer", "name", "x1")
            await eventually(lambda: features(inside)["tx-tcp-segmentation"] == "off")
            await runtime.gone(NetworkProblem, "EthernetSpecs/x0")
            await runtime.settled()
            await end(runtime, "x0")
            await runtime.gone(EthernetStatus, "x1")
            assert (features(inside), channels(inside)) == (before, queues)
            # Neither of the two links has left anything.
            assert PriorState(record).journal.all() == {}


async def test_what_a_link_cannot_have_is_named_and_the_rest_is_applied() -> None:
    bad = EthernetSpecSpec(
        rings=EthernetRings(rx=5),
        channels=EthernetChannels(rx=100_000),
        features={"rx-lro": True, "tx-tcp-segmentatio": False, "tx-tcp6-segmentation": False},
        wake_on_lan=(WOLMode.MAGIC,),
    )
    with machine() as inside:
        before = features(inside)
        async with node(inside) as runtime:
            await runtime.put(EthernetSpec, "x0", bad)
            await eventually(lambda: features(inside)["tx-tcp6-segmentation"] == "off")
            problem = await runtime.eventually(NetworkProblem, "EthernetSpecs/x0")
            for part in (
                "the driver has no rings to set",
                "features.rx-lro on cannot be: the driver has it off [fixed]",
                "there is no feature tx-tcp-segmentatio, did you mean 'tx-tcp-segmentation'?",
                "channels.rx 100000",
                "cannot wake the machine by magic",
            ):
                assert part in problem.spec.message
            assert problem.spec.severity is Severity.ERROR
            await runtime.put(EthernetSpec, "x0", EthernetSpecSpec())
            await runtime.gone(NetworkProblem, "EthernetSpecs/x0")
            await eventually(lambda: features(inside) == before)


async def test_the_next_agent_after_a_killed_one_knows_what_was_there(tmp_path: Path) -> None:
    record = tmp_path / "before.jsonl"
    with machine() as inside:
        before = features(inside)
        for spec in (SEGMENTED, EthernetSpecSpec(features={"tx-scatter-gather": False})):
            # An agent that ends takes nothing back.
            async with node(inside, record) as runtime:
                await runtime.put(EthernetSpec, "x0", spec)
                changed = next(iter(spec.features))
                await eventually(lambda changed=changed: features(inside)[changed] == "off")  # type: ignore[misc]
                await runtime.settled()
        async with node(inside, record) as runtime:
            await runtime.put(EthernetSpec, "x0", EthernetSpecSpec())
            await eventually(lambda: features(inside) == before)


async def test_one_link_by_two_names_has_the_settings_of_its_own_name() -> None:
    with machine() as inside:
        async with node(inside) as runtime:
            await runtime.put(EthernetSpec, "uplink", SEGMENTED)
            await eventually(lambda: features(inside, "x1")["tx-tcp-segmentation"] == "off")
            await runtime.put(EthernetSpec, "x1", EthernetSpecSpec(features={"tx-tcp6-segmentation": False}))
            await eventually(lambda: features(inside, "x1")["tx-tcp-segmentation"] == "on")
            problem = await runtime.eventually(NetworkProblem, "EthernetSpecs/uplink")
            assert problem.spec.message.startswith("x1 has its settings from the EthernetConfig x1")
            await end(runtime, "x1")
            await eventually(lambda: features(inside, "x1")["tx-tcp-segmentation"] == "off")
            await runtime.gone(NetworkProblem, "EthernetSpecs/uplink")
