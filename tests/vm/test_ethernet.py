"""The settings of real network cards, an e1000e and one of virtio: as the ethtool program has them, and restored."""

import re
from pathlib import Path

import pytest

from nodespan.controllers.common.prior_state import PriorState
from nodespan.controllers.network.apply.ethernet_spec import EthernetSpecController
from nodespan.controllers.network.status.ethernet_status import EthernetStatusController
from nodespan.resources.network import (
    EthernetChannels,
    EthernetRings,
    EthernetSpec,
    EthernetSpecSpec,
    EthernetStatus,
    EthernetStatusSpec,
    NetworkProblem,
    WOLMode,
)
from nodespan.runtime.testing.kit import running
from tests.support.netns import execute
from tests.support.process import eventually
from tests.vm.cards import MAC_PREFIX

# What the ethtool program's letters mean.
WAKE = {"p": "phy", "u": "unicast", "m": "multicast", "b": "broadcast", "g": "magic", "s": "magicsecure", "f": "filter"}


def cards() -> tuple[str, str]:
    """The names of a card of virtio and of the one by Intel."""
    name_of = {path.read_text().strip(): path.parent.name for path in Path("/sys/class/net").glob("*/address")}
    return name_of[f"{MAC_PREFIX}01"], name_of[f"{MAC_PREFIX}02"]


def numbers(option: str, link: str) -> list[int]:
    """Maximum and current length of the rings for receiving and sending (-g), or the combined channels (-l)."""
    words = "RX|TX" if option == "-g" else "Combined"
    return [int(number) for number in re.findall(rf"^(?:{words}):\s+(\d+)$", execute("ethtool", option, link), re.M)]


def segmentation(link: str) -> str:
    (state,) = re.findall(r"\ttx-tcp-segmentation: (.*)", execute("ethtool", "-k", link))
    return str(state)


def wake_on_lan(link: str) -> set[str]:
    found = re.search(r"^\s*Wake-on: (\w+)$", execute("ethtool", link), re.M)
    return set() if found is None else {WAKE[letter] for letter in found[1] if letter != "d"}


def all_settings() -> list[object]:
    virtio, intel = cards()
    return [
        *(numbers("-g", virtio), numbers("-l", virtio), segmentation(virtio), wake_on_lan(virtio)),
        *(numbers("-g", intel), segmentation(intel), wake_on_lan(intel)),
    ]


def agrees(shown: EthernetStatusSpec, link: str) -> bool:
    assert shown.rings is not None
    rings = [shown.rings.rx_max, shown.rings.tx_max, shown.rings.rx, shown.rings.tx]
    return (
        rings == numbers("-g", link)
        and shown.features["tx-tcp-segmentation"] == segmentation(link)
        and {mode.value for mode in shown.wake_on_lan} == wake_on_lan(link)
    )


@pytest.mark.hardware
async def test_cards_are_set_shown_and_restored(tmp_path: Path) -> None:
    virtio, intel = cards()
    before = all_settings()
    (rx_max, _, rx, _), intel_segmentation = numbers("-g", intel), segmentation(intel)
    applier = EthernetSpecController(prior=PriorState(tmp_path / "before.jsonl"))
    async with running(applier, EthernetStatusController()) as node:
        await node.put(
            EthernetSpec,
            intel,
            EthernetSpecSpec(
                rings=EthernetRings(rx=rx // 2), features={"tx-tcp-segmentation": False}, wake_on_lan=(WOLMode.MAGIC,)
            ),
        )
        await node.put(EthernetSpec, virtio, EthernetSpecSpec(features={"tx-tcp-segmentation": False}))
        await eventually(lambda: (numbers("-g", intel)[2], segmentation(intel)) == (rx // 2, "off"))
        await eventually(lambda: segmentation(virtio) == "off")
        await eventually(lambda: wake_on_lan(intel) == {"magic"})
        for link in (virtio, intel):
            await node.eventually(EthernetStatus, link, lambda status, link=link: agrees(status.spec, link))  # type: ignore[misc]
        assert node.state.list(NetworkProblem) == []
        # A length that the driver rounds is no quarrel with it; one that it does not have is refused.
        await node.put(EthernetSpec, intel, EthernetSpecSpec(rings=EthernetRings(rx=rx // 2 + 1), wake_on_lan=()))
        await eventually(lambda: rx // 2 < numbers("-g", intel)[2] <= rx // 2 + 8)
        await eventually(lambda: (segmentation(intel), wake_on_lan(intel)) == (intel_segmentation, set()))
        await node.settled()
        problem = await node.eventually(NetworkProblem, f"EthernetSpecs/{intel}")
        assert f"rings.rx {rx // 2 + 1} was asked for, and the driver made" in problem.spec.message
        too_many = EthernetSpecSpec(rings=EthernetRings(rx=rx_max + 1), channels=EthernetChannels(combined=2))
        await node.put(EthernetSpec, intel, too_many)
        await node.eventually(
            NetworkProblem,
            f"EthernetSpecs/{intel}",
            lambda found: (
                f"more than the {rx_max} that the card has" in found.spec.message
                and "the driver has no channels" in found.spec.message
            ),
        )
        for link in (virtio, intel):
            await node.destroy(EthernetSpec, link)
            await node.gone(EthernetSpec, link)
        await eventually(lambda: all_settings() == before)
