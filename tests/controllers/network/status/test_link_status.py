"""Which links are read again, and what of them is new."""

from collections.abc import Iterable, Mapping
from typing import Any, cast

import attrs
import pytest

from nodespan.controllers.network.status import link_status
from nodespan.controllers.network.status.link_facts import LinkFacts
from nodespan.controllers.network.status.link_status import LinkStatusController
from nodespan.kernel.hardware.ethtool import DriverFacts
from nodespan.kernel.links import KernelLink, read_link
from nodespan.kernel.shared_mirror import MirrorView
from tests.kernel.messages import link, nest


@attrs.frozen
class Links:
    """A mirror."""

    items: Mapping[int, KernelLink]


class Drivers:
    """What drivers say, and which links they were asked about."""

    def __init__(self) -> None:
        self.facts: dict[int, LinkFacts] = {}
        self.asked: list[list[int]] = []

    def read(self, links: Iterable[KernelLink], **_: object) -> Mapping[int, LinkFacts]:
        indexes = [each.status.index for each in links]
        self.asked.append(indexes)
        return {index: self.facts.get(index, LinkFacts()) for index in indexes}


def of_kind(index: int, kind: str) -> KernelLink:
    info = [("IFLA_LINKINFO", nest(("IFLA_INFO_KIND", kind)))] if kind else []
    return read_link(link(("IFLA_IFNAME", f"l{index}"), *info, index=index))


@pytest.fixture
def drivers(monkeypatch: pytest.MonkeyPatch) -> Drivers:
    found = Drivers()
    monkeypatch.setattr(link_status, "read_facts", found.read)
    return found


async def test_links_without_a_device_behind_them_are_read_with_each_tenth_look(drivers: Drivers) -> None:
    kinds = ["", "veth", "bond", "dummy", "wireguard", "tun", "ifb", "vlan"]
    mirror = cast("MirrorView[int, KernelLink]", Links({at: of_kind(at, kind) for at, kind in enumerate(kinds, 1)}))
    controller = LinkStatusController()
    for _ in range(20):
        assert not controller._differs(mirror)
    every, some = [1, 2, 3, 4, 5, 6, 7, 8], [1, 3, 5, 6, 8]
    assert drivers.asked == ([some] * 9 + [every]) * 2


@pytest.mark.parametrize(
    ("facts", "is_new"),
    [
        ({}, False),
        # One that has come since, and is shown by what the kernel said of that.
        ({3: LinkFacts(driver=DriverFacts(speed_mbit=100))}, False),
        ({1: LinkFacts(driver=DriverFacts(speed_mbit=1000))}, False),
        ({1: LinkFacts(driver=DriverFacts(speed_mbit=100))}, True),
        ({1: LinkFacts(driver=DriverFacts(speed_mbit=1000, link_state=True))}, True),
        ({1: LinkFacts()}, True),
    ],
)
async def test_a_look_finds_what_is_not_shown(drivers: Drivers, facts: dict[int, LinkFacts], is_new: bool) -> None:
    controller = LinkStatusController()
    mirror: Any = Links({at: of_kind(at, "") for at in (1, 2)})
    drivers.facts = {1: LinkFacts(driver=DriverFacts(speed_mbit=1000))}
    await controller._statuses(mirror, frozenset({1, 2}), {})
    mirror = Links({at: of_kind(at, "") for at in (1, 2, 3)})
    drivers.facts |= facts
    assert controller._differs(mirror) is is_new
