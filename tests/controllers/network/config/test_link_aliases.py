"""Which links get which alias, and how they are given and taken away."""

import errno
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

import pytest
import trio
from pyroute2.netlink import rtnl

from nodespan.controllers.network.apply.link_alias_spec import LinkAliasSpecController
from nodespan.controllers.network.config.link_alias_config import LinkAliasConfigController, choose_aliases
from nodespan.kernel.links import KernelLink, read_link
from nodespan.kernel.rtnetlink import Message, members
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig
from nodespan.resources.config.links import LinkAliasConfig, LinkSelector
from nodespan.resources.config.status import CONFIG_STATUS_ID, ConfigStatus, ConfigStatusSpec
from nodespan.resources.network import LinkAliasSpec, LinkAliasSpecSpec, LinkStatus, LinkStatusSpec
from nodespan.runtime.testing.kit import running
from tests.controllers.network.config.house import config, nic, problems

T = TypeVar("T")

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


_IFNAME, _MTU, _IFALIAS = 3, 4, 20


class Kernel:
    """Links of a kernel by index, which can be given aliases; and a mirror of them that is always up to date."""

    netns = None
    is_certain = True

    def __init__(self, **aliases: str) -> None:
        self.items: dict[int, KernelLink] = {}
        # What was requested: the index and the alias.
        self.requested: list[tuple[int, str]] = []
        self.error = 0
        # So often another program reverts a change before anything else sees it.
        self.reversals = 0
        self._touched: set[int] = set()
        self._on_change: Callable[[], None] = lambda: None
        for index, (name, alias) in enumerate(aliases.items(), start=2):
            self.put(index, name, alias)

    def put(self, index: int, name: str, alias: str, *, silently: bool = False) -> None:
        self.items[index] = read_link(self._message(index, name, alias))
        if not silently:
            self._touched.add(index)
            self._on_change()

    def remove(self, index: int) -> None:
        del self.items[index]
        self._touched.add(index)
        self._on_change()

    def alias(self, index: int) -> str:
        return self.items[index].status.alias

    def _message(self, index: int, name: str, alias: str) -> Message:
        attributes = {_IFNAME: name.encode() + b"\0", _MTU: (1500).to_bytes(4, "little"), _IFALIAS: alias.encode()}
        return Message(rtnl.RTM_NEWLINK, 0, (0, 1, index, 0, 0), attributes)

    # The access.

    @asynccontextmanager
    async def mirror(self, kind: Any, on_change: Callable[[], None], aspect: Any = None) -> AsyncIterator[Any]:
        self._on_change = on_change
        self._touched = set(self.items)
        yield self

    @contextmanager
    def open(self) -> Iterator[Any]:
        yield self

    # The mirror.

    async def catch_up(self) -> None:
        await trio.lowlevel.checkpoint()

    def take(self) -> frozenset[int]:
        touched, self._touched = frozenset(self._touched), set()
        return touched

    # The connection.

    def link(self, index: int) -> Message | None:
        found = self.items.get(index)
        return None if found is None else self._message(index, found.name, found.status.alias)

    def change(self, _type: int, _flags: int, fields: tuple[int, ...], *attributes: bytes) -> None:
        index, alias = fields[2], dict(members(b"".join(attributes)))[_IFALIAS].decode()
        self.requested.append((index, alias))
        if self.error:
            raise OSError(self.error, os.strerror(self.error))
        if self.reversals:
            self.reversals -= 1
        else:
            self.put(index, self.items[index].name, alias)


def controller_of(kernel: Any) -> LinkAliasSpecController:
    """A controller whose worker takes no thread, so that time can be virtual."""

    async def at_once(job: Callable[[], T], /) -> T:
        return job()

    controller = LinkAliasSpecController(kernel=kernel)
    controller._reconciler._worker = at_once
    return controller


@pytest.mark.virtual_clock
async def test_an_alias_is_set_and_the_original_is_restored() -> None:
    kernel = Kernel(eth0="uplink", eth1="somebody's")
    async with running(controller_of(kernel)) as node:
        await node.put(LinkAliasSpec, "eth0", LinkAliasSpecSpec(alias="net0"))
        await node.settled()
        assert kernel.requested == [(2, "net0")]
        assert not await node.teardown(LinkAliasSpec, "eth0")
        await node.settled()
        assert kernel.requested == [(2, "net0"), (2, "uplink")]
        await node.destroy(LinkAliasSpec, "eth0")
        assert kernel.alias(3) == "somebody's"


@pytest.mark.virtual_clock
async def test_an_alias_changed_by_another_program_is_not_removed() -> None:
    kernel = Kernel(eth0="")
    async with running(controller_of(kernel)) as node:
        await node.put(LinkAliasSpec, "eth0", LinkAliasSpecSpec(alias="net0"))
        await node.settled()
        kernel.requested.clear()
        kernel.put(2, "eth0", "somebody's", silently=True)
        await node.teardown(LinkAliasSpec, "eth0")
        await node.settled()
        assert not kernel.requested
        await node.destroy(LinkAliasSpec, "eth0")
        assert kernel.alias(2) == "somebody's"


@pytest.mark.virtual_clock
async def test_the_spec_of_a_link_that_is_gone_is_let_go() -> None:
    kernel = Kernel(eth0="")
    async with running(controller_of(kernel)) as node:
        await node.put(LinkAliasSpec, "eth0", LinkAliasSpecSpec(alias="net0"))
        await node.settled()
        kernel.requested.clear()
        kernel.remove(2)
        await node.teardown(LinkAliasSpec, "eth0")
        await node.settled()
        assert not kernel.requested
        await node.destroy(LinkAliasSpec, "eth0")


@pytest.mark.virtual_clock
async def test_a_failure_is_a_problem_and_is_not_retried_in_a_loop() -> None:
    kernel = Kernel(eth0="")
    kernel.error = errno.EBUSY
    async with running(controller_of(kernel)) as node:
        await node.put(LinkAliasSpec, "eth0", LinkAliasSpecSpec(alias="net0"))
        await node.settled()
        kernel.put(2, "eth0", "")
        await node.settled()
        assert len(kernel.requested) == 1
        assert list(problems(node)) == ["LinkAliasSpecs/eth0"]


@pytest.mark.virtual_clock
async def test_a_removed_document_removes_its_alias() -> None:
    kernel = Kernel(eth0="")
    async with running(LinkAliasConfigController(), controller_of(kernel)) as node:
        await node.put(LinkStatus, "eth0", nic(2))
        text = "{apiVersion: v1alpha1, kind: LinkAliasConfig, name: NAME, selector: {match: 'true'}}"
        await node.put(MachineConfig, MACHINE_CONFIG_ID, config(text.replace("NAME", "net0")))
        await node.settled()
        assert kernel.alias(2) == "net0"
        await node.put(MachineConfig, MACHINE_CONFIG_ID, config(text.replace("NAME", "net1")))
        await node.settled()
        assert kernel.alias(2) == "net1"
        await node.destroy(MachineConfig, MACHINE_CONFIG_ID)
        await node.gone(LinkAliasSpec, "eth0")
        assert not kernel.alias(2)


@pytest.mark.virtual_clock
async def test_an_alias_that_another_program_removes_is_set_again() -> None:
    kernel = Kernel(eth0="", eth1="")
    async with running(controller_of(kernel)) as node:
        await node.put(LinkAliasSpec, "eth0", LinkAliasSpecSpec(alias="net0"))
        await node.settled()
        # A change of another link does nothing twice.
        kernel.put(3, "eth1", "somebody's")
        await node.settled()
        assert kernel.requested == [(2, "net0")]
        kernel.put(2, "eth0", "")
        await node.settled()
        assert kernel.requested == [(2, "net0")] * 2
        assert kernel.alias(2) == "net0"


@pytest.mark.virtual_clock
async def test_an_alias_that_is_reverted_before_it_is_seen_is_set_again() -> None:
    kernel = Kernel(eth0="")
    kernel.reversals = 1
    async with running(controller_of(kernel)) as node:
        await node.put(LinkAliasSpec, "eth0", LinkAliasSpecSpec(alias="net0"))
        await node.settled()
        assert kernel.alias(2) == "net0"


@pytest.mark.virtual_clock
async def test_while_the_agent_takes_over_no_alias_is_set() -> None:
    kernel = Kernel(eth0="")
    async with running(controller_of(kernel)) as node:
        await node.put(ConfigStatus, CONFIG_STATUS_ID, ConfigStatusSpec(taking_over=True))
        await node.put(LinkAliasSpec, "eth0", LinkAliasSpecSpec(alias="net0"))
        await node.settled()
        assert not kernel.requested
        await node.put(ConfigStatus, CONFIG_STATUS_ID, ConfigStatusSpec())
        await node.settled()
        assert kernel.alias(2) == "net0"
