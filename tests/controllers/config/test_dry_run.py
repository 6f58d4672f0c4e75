"""A dry run tells what would change, with the real controllers, and changes nothing."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import structlog.testing

from nodespan.controllers.common.prior_state import Prior, PriorState, address_slot
from nodespan.controllers.config.action_names import APPLY, DRY_RUN
from nodespan.controllers.config.dry_run import DryRun, dry_run
from nodespan.controllers.config.files.controller import FileController
from nodespan.controllers.config.loading import load
from nodespan.kernel.saved_objects import Saved
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig
from nodespan.resources.network import (
    AddressSpec,
    AddressSpecSpec,
    AddressStatus,
    AddressStatusSpec,
    HostnameStatus,
    HostnameStatusSpec,
    LinkStatus,
    LinkStatusSpec,
    LinkType,
    OperatorSpec,
)
from nodespan.runtime.controller import Controller, ControllerContext, QueueController, weak
from nodespan.runtime.plugins import Settings, load_installed
from nodespan.runtime.resource import Resource
from nodespan.runtime.state import State
from nodespan.runtime.testing.kit import Node, running
from tests.controllers.config.fake_clock import FakeBootClock
from tests.controllers.config.test_apply import Operator

CONFIG = """
machine:
  type: worker
  network:
    interfaces:
      - interface: eth0
        mtu: {mtu}
        addresses: [{address}]
{more}
"""


def config(*, mtu: int = 1500, address: str = "10.0.0.5/24", more: str = "") -> str:
    return CONFIG.format(mtu=mtu, address=address, more=more)


def installed() -> list[Controller | QueueController]:
    return load_installed(Settings(state_dir=Path("/nowhere")), structlog.get_logger())


def deriving() -> Iterator[Controller | QueueController]:
    return (controller for controller in installed() if controller.only_derives)


@asynccontextmanager
async def live(text: str | None) -> AsyncIterator[Node]:
    """A node in which a configuration has come to rest."""
    async with running(*deriving()) as node:
        for name, status in {"eth0": LinkStatusSpec(index=2, mtu=1500), "lo": LinkStatusSpec(index=1)}.items():
            await node.create(LinkStatus.new(name, status), owner="network.LinkStatusController")
        if text is not None:
            await node.create(MachineConfig.new(MACHINE_CONFIG_ID, load(text).config), owner="config.FileController")
        await node.settled()
        yield node


async def tried(node: Node, text: str) -> DryRun:
    before = snapshot(node.state)
    found = await dry_run(load(text).config, node.state, installed())
    assert snapshot(node.state) == before
    assert found.failures == ()
    return found


def snapshot(state: State) -> dict[str, Resource[object]]:
    kinds = [kind for kind in state.kinds() if "ControllerStatus" not in kind.type]
    return {str(found.metadata.pointer): found for kind in kinds for found in state.view(kind).items.values()}


async def test_the_configuration_in_effect_makes_no_difference() -> None:
    async with live(config()) as node:
        found = await tried(node, config())
        assert (found.resources, found.problems) == ((), ())


async def test_only_the_consequences_of_a_changed_field_are_shown() -> None:
    async with live(config()) as node:
        found = await tried(node, config(mtu=9000))
        assert found.resources == (
            "~ DeviceConfigSpec eth0/000: device.mtu 1500 -> 9000",
            "~ LinkSpec eth0: mtu 1500 -> 9000",
        )
        assert "~ link eth0: mtu 1500 -> 9000, up false -> true" in found.kernel


async def test_all_of_the_first_configuration_is_shown() -> None:
    async with live(None) as node:
        found = await tried(node, config(more="      - interface: dummy0\n        dummy: true\n"))
        assert any(line.startswith("+ LinkSpec dummy0: ") for line in found.resources)
        assert {"+ link dummy0 (dummy)", "+ address 10.0.0.5/24 on eth0"} <= set(found.kernel)


async def test_what_exists_already_is_reported_to_stay() -> None:
    async with live(None) as node:
        there = AddressStatusSpec(address="10.0.0.5/24", link_name="eth0", link_index=2)
        await node.put(AddressStatus, "eth0/10.0.0.5/24", there)
        found = await tried(node, config())
        assert "= address 10.0.0.5/24 on eth0: already there, stays" in found.kernel


async def test_what_existed_before_is_reported_to_stay_when_it_is_no_longer_configured(tmp_path: Path) -> None:
    record = PriorState(tmp_path / "before.jsonl")
    record.note({address_slot(2, "10.0.0.5/24"): Prior(saved=(Saved(20, bytes(8)),)), address_slot(2, "x"): Prior()})
    async with live(config()) as node:
        there = AddressStatusSpec(address="10.0.0.5/24", link_name="eth0", link_index=2)
        await node.put(AddressStatus, "eth0/10.0.0.5/24", there)
        nothing = load("# nothing").config
        found = await dry_run(nothing, node.state, installed(), tmp_path / "before.jsonl")
        assert "= address 10.0.0.5/24 on eth0: was there before, stays" in found.kernel
        without = await dry_run(nothing, node.state, installed(), tmp_path / "none.jsonl")
        assert "- address 10.0.0.5/24 on eth0" in without.kernel


async def test_a_rename_of_the_host_is_named_first() -> None:
    async with live(None) as node:
        await node.put(HostnameStatus, "hostname", HostnameStatusSpec(hostname="ordinary"))
        found = await tried(node, config().replace("interfaces:", "hostname: web.corp.example\n    interfaces:", 1))
        assert found.kernel[0] == "~ host name: ordinary -> web.corp.example"


async def test_an_alias_is_named() -> None:
    alias = "---\napiVersion: v1alpha1\nkind: LinkAliasConfig\nname: net0\nselector: {match: 'link.index == 3u'}\n"
    async with live(None) as node:
        await node.put(LinkStatus, "eth1", LinkStatusSpec(index=3, mtu=1500, type=LinkType.ETHER, alias="old"))
        found = await tried(node, config() + alias)
        assert "~ link eth1: alias old -> net0" in found.kernel


async def test_problems_that_depend_on_the_machine_are_shown() -> None:
    selector = "      - deviceSelector: {driver: none-such}\n        dhcp: true\n"
    async with live(config()) as node:
        found = await tried(node, config(more=selector))
        assert len(found.problems) == 1


async def test_outputs_of_dhcp_stay_as_long_as_their_operator() -> None:
    dhcp = "        dhcp: true\n"
    async with live(config(more=dhcp)) as node:
        (operator,) = node.state.list(OperatorSpec)
        lease = AddressSpecSpec(address="10.0.9.9/24", link_name="eth0")
        unmerged = AddressSpec.new(f"{operator.id}/eth0/10.0.9.9/24", lease, namespace="network-config")
        await node.create(unmerged, owner="network.OperatorSpecController")
        await node.eventually(AddressSpec, "eth0/10.0.9.9/24")
        assert (await tried(node, config(more=dhcp))).resources == ()
        lines = (await tried(node, config())).resources
        assert {"- AddressSpec eth0/10.0.9.9/24", f"- OperatorSpec {operator.id}"} <= set(lines)


async def test_a_controller_that_fails_is_named() -> None:
    class Failing(Controller):
        name = "test.Failing"
        only_derives = True
        inputs = (weak(MachineConfig),)

        async def run(self, ctx: ControllerContext) -> None:
            raise RuntimeError("it broke")

    async with running() as node:
        found = await dry_run(load(config()).config, node.state, [Failing()])
        assert found.failures == ("test.Failing failed: it broke",)


async def test_the_command_gets_the_differences_and_nothing_is_changed(tmp_path: Path) -> None:
    controller = FileController(state_dir=tmp_path, clock=FakeBootClock(), new_controllers=installed)
    with structlog.testing.capture_logs():
        async with running(controller, *deriving()) as node:
            operator = Operator(node, controller)
            await operator.asks(APPLY, config())
            assert await operator.asks(DRY_RUN, config(mtu=9000)) == 0
            assert "~ LinkSpec eth0: mtu 1500 -> 9000\n" in operator.said()
            assert operator.said().endswith("nothing was changed\n")
            assert operator.text == config()
            assert await operator.asks(DRY_RUN, config()) == 0
            assert "resources:" not in operator.said()
            assert await operator.asks(DRY_RUN, config(address="nonsense")) == 1
