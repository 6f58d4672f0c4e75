"""Names agree with those of the guest's udev, wherever QEMU plugs a card in.

The guest's systemd is v252 where Debian is 12: its scheme gives these cards the same names as v255. v257 and the
later ones, which ask ACPI for slots first, would not; that this is all that differs is said here too.
"""

import functools
import subprocess
from collections.abc import Iterable
from pathlib import Path

import attrs
import pytest

from nodespan.controllers.network.naming import Candidates, NameFacts, candidates_of, choose
from nodespan.controllers.network.naming.link_rename import LinkRenameController
from nodespan.controllers.network.naming.name_facts import read_name_facts
from nodespan.controllers.network.status.link_status import LinkStatusController
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig, MachineConfigSpec, NodespanConfig
from nodespan.resources.config.nodespan import LinkNameSettings, NamingScheme
from nodespan.resources.network import LinkName, LinkNameSpec, LinkStatus, NameRule, NetworkProblem
from nodespan.runtime.testing.kit import running
from tests.support.deadlines import PATIENCE
from tests.support.netns import namespace
from tests.support.process import eventually

LINKS = Path("/sys/class/net")
# What the cards of tests.vm.cards are called: the buses behind ports are numbered in the order of the ports.
PLACES = {"enp0s16", "enp0s17f0", "enp0s17f1", "enp0s19", "enp0s20", "enp0s25", "enp1s0", "enp2s0", "enp4s4"}
# Which of its interfaces the card on USB is, is up to which of its two drivers comes first.
USB_PLACE = "enp0s21u1"
_KERNEL_GAVE_IT = 1


@functools.cache
def cards() -> dict[str, NameFacts]:
    """The facts of all links with hardware behind them."""
    found = {}
    for link in LINKS.iterdir():
        if (link / "device").exists():
            facts = read_name_facts(link.name, int((link / "ifindex").read_text()))
            assert facts is not None
            found[link.name] = facts
    assert found, "this guest has no cards"
    return found


def by_udev(links: Iterable[str]) -> dict[str, Candidates]:
    """The names that udev has for these links."""
    asked = list(links)
    command = ("udevadm", "info", "--query=property", *(str(LINKS / link) for link in asked))
    printed = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True).stdout
    # Each device begins with this.
    _, *devices = printed.split("DEVPATH=")
    found = {}
    for link, device in zip(asked, devices, strict=True):
        names = dict(line.split("=", 1) for line in device.splitlines() if "=" in line)
        found[link] = Candidates(
            onboard=names.get("ID_NET_NAME_ONBOARD", ""),
            slot=names.get("ID_NET_NAME_SLOT", ""),
            path=names.get("ID_NET_NAME_PATH", ""),
            mac=names.get("ID_NET_NAME_MAC", ""),
        )
    return found


@pytest.mark.hardware
def test_the_cards_have_their_configured_pci_positions() -> None:
    paths = {candidates_of(facts).path for facts in cards().values()}
    assert {path for path in paths if not path.startswith(USB_PLACE)} == PLACES
    assert len(paths) == len(PLACES) + 1


@pytest.mark.hardware
def test_every_name_matches_udev() -> None:
    assert {link: candidates_of(facts) for link, facts in cards().items()} == by_udev(cards())


@pytest.mark.hardware
def test_the_newer_schemes_differ_in_slots_only() -> None:
    for facts in cards().values():
        newer = {candidates_of(facts, scheme) for scheme in NamingScheme if scheme is not NamingScheme.V255}
        (only,) = newer
        assert attrs.evolve(only, slot="") == attrs.evolve(candidates_of(facts), slot="")


@pytest.mark.hardware
def test_the_derived_name_is_the_one_udev_assigned() -> None:
    given = {
        link: choose(attrs.evolve(facts, name_assign_type=_KERNEL_GAVE_IT)).name
        for link, facts in cards().items()
        # Debian has a rule of its own for these: by address, or not at all.
        if not facts.usb_interface
    }
    assert given == {link: link for link in given}


@pytest.mark.hardware
def test_links_named_by_udev_are_left_alone() -> None:
    for link, facts in cards().items():
        if not facts.usb_interface:
            spec = choose(facts)
            assert (spec.name, spec.rule) == (link, NameRule.KEEP)


async def test_a_link_that_is_up_is_renamed_as_soon_as_the_kernel_does_it() -> None:
    with namespace() as inside:
        inside.run("ip", "link", "add", "x0", "type", "dummy")
        inside.run("ip", "link", "set", "x0", "up")
        netns = str(inside.path)
        async with running(LinkStatusController(netns=netns), LinkRenameController(netns=netns)) as node:
            settings = NodespanConfig(link_names=LinkNameSettings(rename=True))
            await node.put(MachineConfig, MACHINE_CONFIG_ID, MachineConfigSpec(nodespan=settings))
            await node.eventually(LinkStatus, "x0")
            await node.put(LinkName, "x0", LinkNameSpec(name="enp2s0", rule=NameRule.PATH))
            if _is_old_kernel():
                problem = await node.eventually(NetworkProblem, "LinkNames/x0")
                assert "renames only links that are down" in problem.spec.message
                inside.run("ip", "link", "set", "x0", "down")
            await eventually(lambda: "enp2s0" in inside.run("ip", "link", "show"))
            await node.gone(NetworkProblem, "LinkNames/x0")


def _is_old_kernel() -> bool:
    """Whether this kernel renames only links that are down, found out by trying."""
    with namespace() as inside:
        inside.run("ip", "link", "add", "y0", "type", "dummy")
        inside.run("ip", "link", "set", "y0", "up")
        rename = inside.inside("ip", "link", "set", "y0", "name", "y1")
        return subprocess.run(rename, capture_output=True, timeout=PATIENCE).returncode != 0


@pytest.mark.parametrize("kind", ["dummy", "bridge"])
def test_virtual_links_keep_their_names(kind: str) -> None:
    name = f"t{kind}0"
    subprocess.run(("ip", "link", "add", name, "type", kind), check=True, timeout=PATIENCE)
    try:
        facts = read_name_facts(name, int((LINKS / name / "ifindex").read_text()))
        assert facts is not None
        assert (choose(facts).name, choose(facts).alt_names) == (name, ())
    finally:
        subprocess.run(("ip", "link", "delete", name), check=True, timeout=PATIENCE)
