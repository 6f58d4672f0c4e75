"""The names of links as resources, and what is done to links that are to be called otherwise."""

from pathlib import Path

import attrs
import pytest

from nodespan.controllers.network.naming.link_name import LinkNameController
from nodespan.controllers.network.naming.link_rename import NameChange, name_change
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig, MachineConfigSpec, NodespanConfig
from nodespan.resources.config.nodespan import LinkNameSettings, NamingScheme
from nodespan.resources.network import LinkName, LinkNameSpec, LinkStatus, LinkStatusSpec, NameRule
from nodespan.resources.runtime import KERNEL_CMDLINE_ID, KernelCmdline, KernelCmdlineSpec
from nodespan.runtime.testing.kit import running
from tests.controllers.network.naming.sysfs_tree import SysfsTree


@pytest.fixture
def tree(tmp_path: Path) -> SysfsTree:
    made = SysfsTree(tmp_path / "sys")
    made.link("eth0", made.pci("0000:02:00.0", files={"firmware_node/sun": 7}))
    return made


def status_of(tree: SysfsTree, link: str) -> LinkStatusSpec:
    """What the kernel says of a link of the tree."""
    return LinkStatusSpec(index=int((tree.root / "class" / "net" / link / "ifindex").read_text()))


async def test_each_link_that_sysfs_shows_has_one_for_as_long_as_it_is_there(tree: SysfsTree) -> None:
    async with running(LinkNameController(sysfs_root=tree.root)) as node:
        await node.create(LinkStatus.new("eth0", status_of(tree, "eth0")))
        await node.create(LinkStatus.new("elsewhere", LinkStatusSpec(index=7)))
        found = await node.eventually(LinkName, "eth0")
        assert (found.spec.name, found.spec.rule) == ("enp2s0", NameRule.PATH)
        assert node.state.find(LinkName, "elsewhere") is None
        await node.destroy(LinkStatus, "eth0")
        await node.gone(LinkName, "eth0")


async def test_the_kernel_line_and_the_configuration_are_followed(tree: SysfsTree) -> None:
    async with running(LinkNameController(sysfs_root=tree.root)) as node:
        await node.create(LinkStatus.new("eth0", status_of(tree, "eth0")))
        await node.eventually(LinkName, "eth0", lambda found: found.spec.name == "enp2s0")
        # The configuration has the last word on the scheme.
        await node.put(KernelCmdline, KERNEL_CMDLINE_ID, KernelCmdlineSpec(cmdline="net.naming_scheme=v258"))
        await node.eventually(LinkName, "eth0", lambda found: found.spec.name == "ens7")
        settings = NodespanConfig(link_names=LinkNameSettings(scheme=NamingScheme.V255))
        await node.put(MachineConfig, MACHINE_CONFIG_ID, MachineConfigSpec(nodespan=settings))
        await node.eventually(LinkName, "eth0", lambda found: found.spec.name == "enp2s0")
        settings = NodespanConfig(link_names=LinkNameSettings(scheme=NamingScheme.V257))
        await node.put(MachineConfig, MACHINE_CONFIG_ID, MachineConfigSpec(nodespan=settings))
        await node.eventually(LinkName, "eth0", lambda found: found.spec.name == "ens7")
        await node.put(KernelCmdline, KERNEL_CMDLINE_ID, KernelCmdlineSpec(cmdline="quiet net.ifnames=0"))
        await node.eventually(LinkName, "eth0", lambda found: found.spec.name == "eth0")


WANTED = LinkNameSpec(name="enp2s0", rule=NameRule.PATH, path="enp2s0", alt_names=("enx020000000001",))


@pytest.mark.parametrize(
    ("current", "has", "wanted", "change"),
    [
        ("eth0", (), WANTED, NameChange(index=3, name="enp2s0", alt_names=("enx020000000001", "eth0"))),
        (
            "eth0",
            ("enp2s0", "enx020000000001"),
            WANTED,
            NameChange(index=3, name="enp2s0", is_alt_name=True, alt_names=("eth0",)),
        ),
        ("eth0", (), attrs.evolve(WANTED, name="eth0"), NameChange(index=3, alt_names=("enx020000000001",))),
        ("enp2s0", ("enx020000000001", "eth0"), WANTED, NameChange(index=3)),
    ],
    ids=["renamed", "an alternative name becomes the name", "only alternative names", "nothing"],
)
def test_what_there_is_to_change(current: str, has: tuple[str, ...], wanted: LinkNameSpec, change: NameChange) -> None:
    found = name_change(current, LinkStatusSpec(index=3, alt_names=has), wanted)
    assert found == change
    assert bool(found) == (change != NameChange(index=3))
