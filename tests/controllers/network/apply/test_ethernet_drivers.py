"""Drivers that refuse, round, or do not answer: what is on record then, and that other links go on."""

import errno
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

import attrs
import pytest

from nodespan.controllers.common.prior_state import PriorState
from nodespan.controllers.network.apply.ethernet_plan import Kept, from_plain
from nodespan.controllers.network.apply.ethernet_spec import EthernetDriver, EthernetWork, _apply, _settings_of
from nodespan.controllers.network.apply.kernel_access import NetworkNamespace
from nodespan.controllers.network.status.ethernet_status import _read
from nodespan.kernel.hardware import ethtool_netlink
from nodespan.kernel.hardware.ethernet_settings import EthernetChange, EthernetLink, EthernetSettings, Feature
from nodespan.resources.network import EthernetRings, EthernetRingsStatus, EthernetSpec, EthernetSpecSpec
from nodespan.runtime.controller import Look, Specs

T = TypeVar("T")

HEALTHY, HANGING = 2, 3
WANTED = EthernetSpecSpec(rings=EthernetRings(rx=128), features={"rx-gro": True})
OFF = Feature(is_active=False, is_requested=False, is_fixed=False)
ON = Feature(is_active=True, is_requested=True, is_fixed=False)


@attrs.define
class Drivers:
    """The drivers of the links of a machine. Groups in `refusals` are refused, links in `silent` give an error."""

    refusals: dict[str, int] = attrs.field(factory=dict)
    silent: set[int] = attrs.field(factory=set)
    lacking: str = ""
    rx: dict[int, int] = attrs.field(factory=lambda: {HEALTHY: 256, HANGING: 256})
    gro: dict[int, bool] = attrs.field(factory=lambda: {HEALTHY: False, HANGING: False})

    def settings(self, index: int) -> EthernetSettings:
        if index in self.silent:
            raise OSError(errno.EIO, "Input/output error")
        return EthernetSettings(
            rings=EthernetRingsStatus(rx_max=512, rx=self.rx[index]),
            features={"rx-gro": ON if self.gro[index] else OFF},
        )

    def link(self, index: int) -> EthernetLink:
        self.settings(index)
        return EthernetLink()

    def change(self, index: int, change: EthernetChange) -> dict[str, OSError]:
        refused = {group: OSError(number, "refused") for group, number in self.refusals.items()}
        if change.rings and "rings" not in refused:
            self.rx[index] = change.rings["rx"]
        if change.features and "features" not in refused:
            self.gro[index] = change.features["rx-gro"]
        asked = {"rings": change.rings, "features": change.features}
        return {group: error for group, error in refused.items() if asked[group]}


@pytest.fixture
def drivers(monkeypatch: pytest.MonkeyPatch) -> Drivers:
    drivers = Drivers()

    @contextmanager
    def opened(netns: str | None) -> Iterator[Drivers]:
        if drivers.lacking:
            raise OSError(errno.EOPNOTSUPP, drivers.lacking)
        yield drivers

    monkeypatch.setattr(ethtool_netlink, "open_ethtool_netlink", opened)
    return drivers


def applied(prior: PriorState, specs: Mapping[int, EthernetSpecSpec | None]) -> Mapping[str, Exception]:
    work = {f"eth{index}": EthernetWork(f"eth{index}", index, spec) for index, spec in specs.items()}
    return _apply(None, prior, work, frozenset({HEALTHY, HANGING})).failed


def record(prior: PriorState, index: int) -> dict[str, Kept]:
    return from_plain(prior.journal.get(f"ethernet/{index}"))


def test_what_a_driver_refused_is_asked_for_again_and_put_back(drivers: Drivers) -> None:
    prior = PriorState(None)
    drivers.refusals = {"rings": errno.EBUSY}
    for _ in range(2):
        assert "does not take its rings" in str(applied(prior, {HEALTHY: WANTED})["eth2"])
        # The other group is in effect; nothing says that the driver made 256 of 128.
        assert record(prior, HEALTHY) == {"features/rx-gro": Kept(0, 1, 1)}
    drivers.refusals = {}
    assert applied(prior, {HEALTHY: WANTED}) == {}
    assert (drivers.rx[HEALTHY], drivers.gro[HEALTHY]) == (128, True)
    drivers.refusals = {"features": errno.EBUSY}
    assert list(applied(prior, {HEALTHY: None})) == ["eth2"]
    assert record(prior, HEALTHY) == {"features/rx-gro": Kept(0, 1, 1)}
    drivers.refusals = {}
    assert applied(prior, {HEALTHY: None}) == {}
    assert (drivers.rx[HEALTHY], drivers.gro[HEALTHY], record(prior, HEALTHY)) == (256, False, {})


def test_a_refused_change_keeps_what_is_on_record_of_the_one_before(drivers: Drivers) -> None:
    prior = PriorState(None)
    applied(prior, {HEALTHY: WANTED})
    drivers.refusals = {"rings": errno.ENOMEM}
    assert applied(prior, {HEALTHY: attrs.evolve(WANTED, rings=EthernetRings(rx=512))})
    assert record(prior, HEALTHY)["rings/rx"] == Kept(256, 128, 128)


def test_a_driver_that_does_not_answer_takes_no_other_link_along(drivers: Drivers) -> None:
    prior = PriorState(None)
    drivers.silent = {HANGING}
    found, silent, lacking = _settings_of(None, frozenset({HEALTHY, HANGING}))
    assert (list(found), silent, lacking) == (
        [HEALTHY],
        {HANGING: "its driver does not answer: Input/output error"},
        "",
    )
    assert list(_read(None, (HANGING, HEALTHY))) == [HEALTHY]
    failed = applied(prior, {HANGING: WANTED, HEALTHY: WANTED})
    assert {id: str(error) for id, error in failed.items()} == {
        "eth3": f"[Errno {errno.EIO}] the driver of eth3 does not answer: Input/output error"
    }
    assert (drivers.rx, record(prior, HANGING)) == ({HEALTHY: 128, HANGING: 256}, {})
    drivers.silent = set()
    assert applied(prior, {HANGING: WANTED}) == {}
    assert drivers.rx[HANGING] == 128


async def test_a_full_comparison_tells_what_drivers_report_from_what_they_reported(drivers: Drivers) -> None:
    driver = EthernetDriver(NetworkNamespace(None), Specs(EthernetSpec), PriorState(None))
    found: list[bool] = []

    async def read(job: Callable[[], T], found_nothing: Callable[[T], bool], /) -> T:
        result = job()
        found.append(not found_nothing(result))
        return result

    async def compared() -> bool:
        await driver._read(Look(everything=True, read=read), frozenset({HEALTHY, HANGING}))
        return found[-1]

    drivers.silent = {HANGING}
    assert [await compared() for _ in range(3)] == [True, False, False]
    drivers.rx[HEALTHY] = 64
    assert [await compared() for _ in range(2)] == [True, False]
    drivers.silent = set()
    assert [await compared() for _ in range(2)] == [True, False]
    assert (list(driver.settings), driver.silent) == ([HEALTHY, HANGING], {})
    driver.settings.clear()
    drivers.lacking = "there are none"
    assert [await compared() for _ in range(2)] == [True, False]
    assert driver.lacking == "there are none"
