"""Which links get which alias, and how they are given and taken away."""

import errno
from collections.abc import Iterable, Mapping

import attrs
import pytest

from nodespan.controllers.network.apply import link_alias_spec
from nodespan.controllers.network.apply.link_alias_spec import LinkAliasSpecController
from nodespan.controllers.network.config.link_alias_config import LinkAliasConfigController, choose_aliases
from nodespan.kernel.link_alias import AliasChange, AliasResult
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig
from nodespan.resources.config.links import LinkAliasConfig, LinkSelector
from nodespan.resources.network import LinkAliasSpec, LinkAliasSpecSpec, LinkStatus, LinkStatusSpec
from nodespan.runtime.testing.kit import Node, running
from tests.controllers.network.config.house import config, nic, problems
from tests.support.process import eventually

LINKS: Mapping[str, LinkStatusSpec] = {
    "eth0": nic(2, "52:54:00:00:00:03"),
    "eth1": nic(3, "52:54:00:00:00:02", driver="e1000"),
    "eth2": nic(4, "52:54:00:00:00:01"),
    # Inherits what a NIC has, and is none.
    "eth1.5": LinkStatusSpec(index=5, hardware_addr="52:54:00:00:00:02", kind="vlan", driver="e1000"),
}


def alias(name: str, match: str) -> LinkAliasConfig:
    return LinkAliasConfig(name=name, selector=LinkSelector(match=match))


CASES = [
    ("one NIC", [alias("net0", 'link.driver == "e1000"')], {"eth1": "net0"}, ()),
    ("many, by address", [alias("net%d", "true")], {"eth2": "net0", "eth1": "net1", "eth0": "net2"}, ()),
    (
        "those that have one already are passed over",
        [alias("mgmt", 'link.driver == "e1000"'), alias("net%d", "true")],
        {"eth1": "mgmt", "eth2": "net0", "eth0": "net1"},
        (),
    ),
    (
        "by name, whatever the order of the documents",
        [alias("net0", "true && link.driver == 'e1000'"), alias("net%d", "link.driver == 'e1000'")],
        {"eth1": "net0"},
        ("eth1 is called net0 already, by a document whose name comes first",),
    ),
    ("none", [alias("net0", "false")], {}, ("no NIC is as selector.match says",)),
    (
        "several for a fixed name",
        [alias("net0", 'link.driver == "virtio_net"')],
        {},
        ("2 NICs are as selector.match says (eth2, eth0): a name for many of them ends in %d",),
    ),
    (
        "the first of two that want one NIC",
        [alias("a", 'link.driver == "e1000"'), alias("b", 'link.driver == "e1000"')],
        {"eth1": "a"},
        ("eth1 is called a already, by a document whose name comes first",),
    ),
]


@pytest.mark.parametrize(
    ("documents", "expected", "warnings"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_aliases_are_chosen(
    documents: list[LinkAliasConfig], expected: dict[str, str], warnings: tuple[str, ...]
) -> None:
    asked = choose_aliases(documents, LINKS)
    assert {name: spec.alias for name, spec in asked.outputs} == expected
    assert tuple(text for _, text in asked.warnings) == warnings
    assert not asked.problems


def test_a_bad_expression_is_a_problem_of_its_document_alone() -> None:
    asked = choose_aliases([alias("a", "link.drvier"), alias("b", 'link.driver == "e1000"')], LINKS)
    assert [id for id, _ in asked.problems] == ["a"]
    assert "at character 6: a link has no field 'drvier'" in asked.problems[0][1]
    assert [name for name, _ in asked.outputs] == ["eth1"]


class Links:
    """Links that can be given aliases, as their statuses show."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.asked: list[dict[int, str]] = []
        self.error = 0

    def set(self, netns: str | None, changes: Iterable[AliasChange]) -> dict[int, AliasResult]:
        statuses = {each.spec.index: each.spec for each in self.node.state.list(LinkStatus)}
        # The kernel knows what its statuses do not show yet.
        known = {index: alias for asked in self.asked for index, alias in asked.items()}
        results = {}
        for change in changes:
            before = known.get(change.index, statuses[change.index].alias)
            error = OSError(self.error, "") if self.error else None
            results[change.index] = AliasResult(before=before, error=error)
            if before != change.alias and change.instead_of in (None, before):
                self.asked.append({change.index: change.alias})
        return results

    async def show(self) -> None:
        """The statuses follow the last that was asked for."""
        for resource in self.node.state.list(LinkStatus):
            for given in self.asked:
                if resource.spec.index in given:
                    spec = attrs.evolve(resource.spec, alias=given[resource.spec.index])
                    await self.node.put(LinkStatus, resource.id, spec)
        self.asked.clear()
        await self.node.settled()


@pytest.fixture
def links(monkeypatch: pytest.MonkeyPatch) -> Links:
    fake = Links(Node.__new__(Node))
    monkeypatch.setattr(link_alias_spec, "set_aliases", fake.set)
    return fake


async def test_an_alias_is_set_and_the_original_is_restored(links: Links) -> None:
    async with running(LinkAliasSpecController()) as node:
        links.node = node
        await node.put(LinkStatus, "eth0", nic(2, alias="uplink"))
        await node.put(LinkStatus, "eth1", nic(3, alias="somebody's"))
        await node.put(LinkAliasSpec, "eth0", LinkAliasSpecSpec(alias="net0"))
        await node.settled()
        assert links.asked == [{2: "net0"}]
        await links.show()
        assert not links.asked
        assert not await node.teardown(LinkAliasSpec, "eth0")
        await node.settled()
        assert links.asked == [{2: "uplink"}]
        await node.destroy(LinkAliasSpec, "eth0")


async def test_an_alias_changed_by_another_program_is_not_removed(links: Links) -> None:
    async with running(LinkAliasSpecController()) as node:
        links.node = node
        await node.put(LinkStatus, "eth0", nic(2))
        await node.put(LinkAliasSpec, "eth0", LinkAliasSpecSpec(alias="net0"))
        await node.settled()
        await links.show()
        await node.teardown(LinkAliasSpec, "eth0")
        await node.destroy(LinkStatus, "eth0")
        await node.settled()
        assert not links.asked
        await node.destroy(LinkAliasSpec, "eth0")


async def test_a_failure_is_a_problem_and_is_not_retried_in_a_loop(links: Links) -> None:
    links.error = errno.EBUSY
    async with running(LinkAliasSpecController()) as node:
        links.node = node
        await node.put(LinkStatus, "eth0", nic(2))
        await node.put(LinkAliasSpec, "eth0", LinkAliasSpecSpec(alias="net0"))
        await node.settled()
        await node.put(LinkStatus, "eth0", nic(2, mtu=9000))
        await node.settled()
        assert len(links.asked) == 1
        assert list(problems(node)) == ["LinkAliasSpecs/eth0"]


async def test_a_removed_document_removes_its_alias(links: Links) -> None:
    async with running(LinkAliasConfigController(), LinkAliasSpecController()) as node:
        links.node = node
        await node.put(LinkStatus, "eth0", nic(2))
        text = "{apiVersion: v1alpha1, kind: LinkAliasConfig, name: NAME, selector: {match: 'true'}}"
        await node.put(MachineConfig, MACHINE_CONFIG_ID, config(text.replace("NAME", "net0")))
        await node.settled()
        await links.show()
        await node.put(MachineConfig, MACHINE_CONFIG_ID, config(text.replace("NAME", "net1")))
        await node.settled()
        await links.show()
        assert (await node.eventually(LinkStatus, "eth0")).spec.alias == "net1"
        await node.destroy(MachineConfig, MACHINE_CONFIG_ID)
        await node.gone(LinkAliasSpec, "eth0")
        await links.show()
        assert not (await node.eventually(LinkStatus, "eth0")).spec.alias


async def test_an_alias_that_another_program_removes_is_set_again(links: Links) -> None:
    async with running(LinkAliasSpecController()) as node:
        links.node = node
        await node.put(LinkStatus, "eth0", nic(2))
        await node.put(LinkAliasSpec, "eth0", LinkAliasSpecSpec(alias="net0"))
        await node.settled()
        # Until the status shows it, nothing is done twice.
        await node.put(LinkStatus, "eth1", nic(3))
        await node.settled()
        assert links.asked == [{2: "net0"}]
        await links.show()
        await node.put(LinkStatus, "eth0", nic(2))
        # The work is done in a thread, which the engine does not wait for.
        await eventually(lambda: links.asked == [{2: "net0"}])
