"""A machine that is configured: a namespace with network cards, and in this process what a configuration goes through.

That is everything between the text of a configuration and the kernel but the agent's own process, which takes long to
start under emulation.
"""

import contextlib
import inspect
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from nodespan.controllers.config.loading import load
from nodespan.controllers.network.apply.address_spec import AddressSpecController
from nodespan.controllers.network.apply.link_alias_spec import LinkAliasSpecController
from nodespan.controllers.network.apply.link_spec import LinkSpecController
from nodespan.controllers.network.apply.route_spec import RouteSpecController
from nodespan.controllers.network.apply.routing_rule_spec import RoutingRuleSpecController
from nodespan.controllers.network.config.address_config import AddressConfigController
from nodespan.controllers.network.config.device_config import DeviceConfigController
from nodespan.controllers.network.config.link_alias_config import LinkAliasConfigController
from nodespan.controllers.network.config.link_config import LinkConfigController
from nodespan.controllers.network.config.operator_config import OperatorConfigController
from nodespan.controllers.network.config.route_config import RouteConfigController
from nodespan.controllers.network.config.routing_rule_config import RoutingRuleConfigController
from nodespan.controllers.network.merge.controllers import (
    AddressMergeController,
    LinkMergeController,
    OperatorMergeController,
    RouteMergeController,
    RoutingRuleMergeController,
)
from nodespan.controllers.network.status.link_status import LinkStatusController
from nodespan.controllers.network.vip.operator_vip_config import OperatorVIPConfigController
from nodespan.controllers.network.wireguard.peers import WireguardPeerController
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig
from nodespan.resources.network import NetworkProblem
from nodespan.runtime.testing.kit import Node, running
from tests.mesh.bond_scenarios import plug, switch
from tests.support.deadlines import PATIENCE
from tests.support.ip_state import IpState, differences
from tests.support.netns import Namespace, execute, namespaces

CONTROLLERS = (
    *(AddressConfigController, DeviceConfigController, LinkAliasConfigController, LinkConfigController),
    *(OperatorConfigController, OperatorVIPConfigController, RouteConfigController, RoutingRuleConfigController),
    *(AddressMergeController, LinkMergeController, OperatorMergeController, RouteMergeController),
    *(RoutingRuleMergeController, AddressSpecController, LinkAliasSpecController, LinkSpecController),
    *(LinkStatusController, RouteSpecController, RoutingRuleSpecController, WireguardPeerController),
)
# The first link of a kind may have to wait for the kernel to load a module; the guest's processor is emulated.
MAC = "02:00:00:00:00:"


@attrs.frozen
class Machine(IpState):
    """The machine, its switch with 192.0.2.9 on it, and its controllers."""

    far: Namespace
    runtime: Node

    async def configure(self, text: str) -> None:
        """Put a configuration into effect, which must be right; what it leads to is still on its way."""
        loaded = load(text)
        assert not loaded.errors, loaded.errors
        await self.runtime.put(MachineConfig, MACHINE_CONFIG_ID, loaded.config)

    async def devices(self, *entries: str) -> None:
        """Put these entries of `machine.network.interfaces` into effect."""
        lines = "".join(f"      - {entry}\n" for entry in entries)
        await self.configure(f"machine:\n  type: controlplane\n  network:\n    interfaces:\n{lines}")

    async def nothing(self) -> None:
        """Put a configuration into effect that says nothing of the network."""
        await self.configure("machine: {type: controlplane}\n")

    def problems(self) -> dict[str, str]:
        """What is wrong, by the ids of the problems."""
        return {each.id: each.spec.message for each in self.runtime.state.list(NetworkProblem)}

    async def becomes(self, **expected: object) -> None:
        """Wait until these methods, called with what stands behind the name after `__`, return this."""

        def check() -> bool:
            for call, wanted in expected.items():
                name, _, argument = call.partition("__")
                seen = getattr(self, name)(*([argument] if argument else []))
                assert seen == wanted, f"{name} {argument}: {seen}"
            return True

        await self.shows(check, within=PATIENCE)

    async def whole(self, bond: str, *members: str) -> None:
        """Wait until a bond is up with just these members, all up."""

        def check() -> bool:
            seen = self.members(bond)
            assert seen == list(members), f"{bond} has the members {seen}"
            assert all("UP" in self.link(name)["flags"] for name in (bond, *members))
            return True

        await self.shows(check, within=PATIENCE)

    def plug(self, card: str, number: int) -> None:
        """Lay a cable from a card of this name, whose address ends in its number, to the switch."""
        plug(self.inside, self.far, {card: f"{MAC}{number:02x}"})

    def pull(self, card: str) -> None:
        """Take a card out."""
        self.inside.run("ip", "link", "del", card)

    async def is_again(self, before: Any) -> None:
        """Wait until `ip` prints the same as before."""

        def check() -> bool:
            found = differences(before, self.everything())
            assert not found, found
            return True

        await self.shows(check, within=PATIENCE)

    async def settled(self) -> None:
        """Wait until no controller has anything to do."""
        await self.runtime.settled(within=PATIENCE)


def without_a_first_vrf(inside: Namespace) -> None:
    """Have the first VRF of a namespace behind it, which brings a rule along that nobody takes away again."""
    inside.ip("link add first type vrf table 9", "link del first")


@contextlib.contextmanager
def place(*cards: str) -> Iterator[tuple[Namespace, Namespace]]:
    """A namespace with cards of these names, numbered from 0, and the one with the switch."""
    with namespaces("node", "far") as (inside, far):
        without_a_first_vrf(inside)
        switch(inside, far, {card: f"{MAC}{number:02x}" for number, card in enumerate(cards)})
        yield inside, far


@contextlib.asynccontextmanager
async def at_work(inside: Namespace, far: Namespace, **settings: Any) -> AsyncIterator[Machine]:
    """The controllers at work in a namespace; `settings` are for those that take them. They end without a word."""
    made = []
    for cls in CONTROLLERS:
        taken = inspect.signature(cls).parameters
        given = {"netns": str(inside.path), **settings}
        made.append(cls(**{name: value for name, value in given.items() if name in taken}))
    async with running(*made) as runtime:
        yield Machine(inside, far, runtime)


@contextlib.asynccontextmanager
async def machine(*cards: str, **settings: Any) -> AsyncIterator[Machine]:
    """A machine with these cards, down, that nothing is configured of."""
    with place(*cards) as (inside, far):
        async with at_work(inside, far, **settings) as made:
            yield made


@contextlib.contextmanager
def real_cards(inside: Namespace, cards: Mapping[str, str]) -> Iterator[None]:
    """Cards of the guest in a namespace, down: by their names there, their addresses or what their path in sysfs has.

    Afterwards they are what they were, whatever became of them.
    """
    found = {link.name: link for link in Path("/sys/class/net").iterdir() if (link / "device").exists()}
    moving, returning = [], []
    for name, place in cards.items():
        (called,) = (
            each
            for each, link in found.items()
            if place in os.path.realpath(link / "device") or (link / "address").read_text().strip() == place
        )
        address, mtu = ((found[called] / what).read_text().strip() for what in ("address", "mtu"))
        moving.append(f"link set {called} down netns {inside.name} name {name}")
        returning.append(f"link set {name} down nomaster address {address} mtu {mtu} alias ''")
        returning.append(f"addr flush dev {name}")
        returning.append(f"link set {name} netns 1 name {called}")
    # All at once, for each command takes its time.
    execute("ip", "-batch", "-", stdin="\n".join(moving))
    try:
        yield
    finally:
        inside.run("ip", "-force", "-batch", "-", stdin="\n".join(returning))
