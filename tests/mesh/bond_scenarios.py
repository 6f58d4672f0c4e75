"""A namespace with three network cards of sorts, whose far ends are ports of one switch; for tests of bonds on them."""

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from nodespan.controllers.network.apply import link_work
from nodespan.controllers.network.apply.link_spec import LinkSpecController
from nodespan.controllers.network.merge.controllers import LinkMergeController
from nodespan.kernel.changes.link_changes import LinkChange, change_link
from nodespan.kernel.rtnetlink import RtnlSocket
from nodespan.resources.network import BondMaster, LinkSpecSpec, NetworkProblem, NetworkProblemSpec
from nodespan.resources.network.enums import ADLACPActive, BondMode
from nodespan.runtime.testing.kit import Node, running
from tests.mesh.link_scenarios import BASE, links, want
from tests.support.deadlines import PATIENCE
from tests.support.netns import Namespace, entered, namespaces

CARDS = ("e0", "e1", "e2")
# The first link of a kind may have to wait for the kernel to load a module.
# Starting `ip` takes its time on an emulated machine, and takes it from the controllers.
_POLL = 0.1


async def until(check: Callable[[], object], *, within: float = PATIENCE) -> None:
    """Wait until `check` returns something true, looking now and then."""
    deadline = trio.current_time() + within
    while not (value := check()):
        assert trio.current_time() < deadline, f"{check} still returns {value!r}"
        await trio.sleep(_POLL)


@attrs.frozen
class Bench:
    """The namespaces, and the controllers in the first."""

    inside: Namespace
    far: Namespace
    runtime: Node

    def link(self, name: str) -> dict[str, Any]:
        """What `ip` prints of a link, nothing if there is none."""
        return links(self.inside).get(name, {})

    def options(self, name: str = "bond0") -> dict[str, Any]:
        """What `ip` prints of the options of a bond."""
        found: dict[str, Any] = self.link(name).get("linkinfo", {}).get("info_data", {})
        return found

    def members(self, name: str = "bond0") -> list[str]:
        """The members of a bond, in the order in which they joined."""
        with entered(self.inside):
            path = Path(f"/proc/thread-self/net/bonding/{name}")
            report = path.read_text() if path.exists() else ""
        return [line.partition(": ")[2] for line in report.splitlines() if line.startswith("Slave Interface")]

    async def want(self, *specs: LinkSpecSpec) -> None:
        """Want these links."""
        for spec in specs:
            await want(self.runtime, spec)

    async def whole(self, *members: str, name: str = "bond0") -> None:
        """Wait until a bond is up with just these members, all up."""

        def check() -> bool:
            if self.members(name) != list(members):
                return False
            there = links(self.inside)
            return all("UP" in there.get(link, {}).get("flags", ()) for link in (name, *members))

        await until(check)

    def messages(self) -> list[str]:
        """What is wrong at the moment."""
        return [problem.spec.message for problem in self.runtime.state.list(NetworkProblem)]

    async def problem(self, name: str, containing: str = "") -> NetworkProblemSpec:
        """What is shown to be wrong with a link."""
        shown = await self.runtime.eventually(
            NetworkProblem, f"LinkSpecs/{name}", lambda problem: containing in problem.spec.message, within=PATIENCE
        )
        return shown.spec


@contextlib.contextmanager
def cables() -> Iterator[tuple[Namespace, Namespace]]:
    """The cards with addresses of their own, down; at the far end a switch with 192.0.2.9 on it."""
    with namespaces("node", "far") as (inside, far):
        switch(inside, far, {card: address(number) for number, card in enumerate(CARDS)})
        yield inside, far


@contextlib.asynccontextmanager
async def controllers(inside: Namespace, far: Namespace) -> AsyncIterator[Bench]:
    """The controllers of links, in the first namespace. After others they are a restart; beside others they fight."""
    async with running(LinkMergeController(), LinkSpecController(netns=str(inside.path))) as runtime:
        yield Bench(inside, far, runtime)


@contextlib.asynccontextmanager
async def bench() -> AsyncIterator[Bench]:
    """The cables, and controllers at work."""
    with cables() as (inside, far):
        async with controllers(inside, far) as made:
            yield made


def switch(inside: Namespace, far: Namespace, cards: Mapping[str, str]) -> None:
    """The switch, with 192.0.2.9 on it, and cables to it as `plug` lays them."""
    # With an address of its own, or else it has that of a port, and another when that port goes.
    bridge = "link add switch address 02:00:00:00:ff:00 up type bridge"
    far.ip(bridge, "addr add 192.0.2.9/24 dev switch", *_cables(inside, cards))


def plug(inside: Namespace, far: Namespace, cards: Mapping[str, str]) -> None:
    """Lay cables from cards of these names and addresses, which are down, to the switch."""
    far.ip(*_cables(inside, cards))


def _cables(inside: Namespace, cards: Mapping[str, str]) -> Iterator[str]:
    for card, address in cards.items():
        yield f"link add far-{card} type veth peer name {card} address {address} netns {inside.name}"
        yield f"link set far-{card} master switch up"


def rename(inside: Namespace, card: str, name: str) -> None:
    """Give a card another name, for which it has to be down."""
    inside.run("ip", "-batch", "-", stdin=f"link set {card} down\nlink set {card} name {name}\n")


def pull(inside: Namespace, card: str) -> None:
    """Take a card out."""
    inside.run("ip", "link", "del", card)


def address(number: int) -> str:
    """The address of the card of this number."""
    return f"02:00:00:00:00:{number:02x}"


def bond(name: str = "bond0", /, **options: Any) -> LinkSpecSpec:
    """A bond in mode active-backup that watches its members, unless options say otherwise."""
    given = {"mode": BondMode.ACTIVE_BACKUP, "miimon": 50, "ad_lacp_active": ADLACPActive.ON, **options}
    return attrs.evolve(BASE, name=name, kind="bond", bond_master=BondMaster(**given))


def member(name: str, number: int, master: str = "bond0", **changes: Any) -> LinkSpecSpec:
    """A card as member of a bond."""
    return attrs.evolve(BASE, name=name, logical=False, master_name=master, slave_index=number, **changes)


MEMBERS = tuple(member(card, number) for number, card in enumerate(CARDS[:2]))


@contextlib.contextmanager
def recorded(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[LinkChange]]:
    """What is written to links while the block lasts."""
    written: list[LinkChange] = []

    def change(kernel: RtnlSocket, what: LinkChange) -> None:
        written.append(what)
        change_link(kernel, what)

    with monkeypatch.context() as patched:
        patched.setattr(link_work, "change_link", change)
        yield written


def ping(inside: Namespace, count: int, interval: float) -> tuple[str, ...]:
    """The command that pings the switch and prints a summary."""
    return inside.inside("ping", "-q", "-n", "-c", str(count), "-i", str(interval), "-W", "2", "192.0.2.9")


def received(summary: str) -> tuple[int, int]:
    """How many pings were sent, and how many came back."""
    (line,) = [line for line in summary.splitlines() if "transmitted" in line]
    words = line.replace(",", "").split()
    return int(words[0]), int(words[3])
