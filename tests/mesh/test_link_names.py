"""Links are given their predictable names, if the configuration asks for it."""

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from nodespan.controllers.network.naming.link_rename import LinkRenameController
from nodespan.controllers.network.status.link_status import LinkStatusController
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig, MachineConfigSpec, NodespanConfig
from nodespan.resources.config.nodespan import LinkNameSettings
from nodespan.resources.network import LinkName, LinkNameSpec, LinkStatus, NameRule, NetworkProblem
from nodespan.runtime.testing.kit import Node, running
from tests.support.netns import Namespace, namespace
from tests.support.process import eventually

pytestmark = [pytest.mark.needs_link("veth")]

WANTED = LinkNameSpec(name="enp2s0", rule=NameRule.PATH, path="enp2s0", alt_names=("enx020000000001",))


@contextlib.asynccontextmanager
async def node(*, rename: bool = True) -> AsyncIterator[tuple[Namespace, Node]]:
    """A namespace with a link `x0` that is down, and the controllers that rename."""
    with namespace() as inside:
        inside.run("ip", "link", "add", "x0", "type", "veth", "peer", "name", "x1")
        netns = str(inside.path)
        async with running(LinkStatusController(netns=netns), LinkRenameController(netns=netns)) as runtime:
            settings = NodespanConfig(link_names=LinkNameSettings(rename=rename))
            await runtime.put(MachineConfig, MACHINE_CONFIG_ID, MachineConfigSpec(nodespan=settings))
            await runtime.eventually(LinkStatus, "x0")
            yield inside, runtime


def names(inside: Namespace) -> dict[str, set[str]]:
    """The alternative names of each link."""
    links: list[dict[str, Any]] = json.loads(inside.run("ip", "-json", "link", "show"))
    return {link["ifname"]: set(link.get("altnames", ())) for link in links}


async def test_a_renamed_link_keeps_its_old_name_as_an_alternative() -> None:
    async with node() as (inside, runtime):
        await runtime.put(LinkName, "x0", WANTED)
        await eventually(lambda: names(inside).get("enp2s0") == {"enx020000000001", "x0"})
        assert names(inside)["x1"] == set()
        # So it is still found by whoever calls it so.
        inside.run("ip", "link", "show", "x0")
        await runtime.gone(LinkStatus, "x0")
        await runtime.gone(NetworkProblem, "LinkNames/x0")


async def test_an_alternative_name_can_become_the_name() -> None:
    async with node() as (inside, runtime):
        inside.run("ip", "link", "property", "add", "dev", "x0", "altname", "enp2s0")
        await eventually(lambda: names(inside)["x0"] == {"enp2s0"})
        await runtime.put(LinkName, "x0", WANTED)
        await eventually(lambda: names(inside).get("enp2s0") == {"enx020000000001", "x0"})


async def test_a_name_in_use_by_another_link_renames_neither() -> None:
    async with node() as (inside, runtime):
        inside.run("ip", "link", "set", "x1", "name", "enp2s0")
        await runtime.put(LinkName, "x0", WANTED)
        problem = await runtime.eventually(NetworkProblem, "LinkNames/x0")
        assert problem.spec.message == "it is not renamed to enp2s0: another link has that name"
        assert set(names(inside)) == {"lo", "x0", "enp2s0"}
        # As soon as something about it changes it is tried again.
        inside.run("ip", "link", "set", "enp2s0", "name", "x1")
        inside.run("ip", "link", "set", "x0", "mtu", "1400")
        await eventually(lambda: "enp2s0" in names(inside))
        await runtime.gone(NetworkProblem, "LinkNames/x0")


async def test_a_link_that_keeps_its_name_gets_only_the_alternative_names() -> None:
    async with node() as (inside, runtime):
        await runtime.put(LinkName, "x0", LinkNameSpec(name="x0", rule=NameRule.KEEP, alt_names=("eno1", "enp2s0")))
        await eventually(lambda: names(inside)["x0"] == {"eno1", "enp2s0"})


async def test_links_are_renamed_only_if_configured() -> None:
    async with node(rename=False) as (inside, runtime):
        await runtime.put(LinkName, "x0", WANTED)
        await runtime.settled()
        assert names(inside)["x0"] == set()
        settings = NodespanConfig(link_names=LinkNameSettings(rename=True))
        await runtime.put(MachineConfig, MACHINE_CONFIG_ID, MachineConfigSpec(nodespan=settings))
        await eventually(lambda: "enp2s0" in names(inside))
