"""The settings of real network cards, of Intel and of virtio: as the ethtool program has them, and restored."""

import re
from pathlib import Path

import attrs
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


def cards() -> tuple[str, str, str]:
    """The names of a card of virtio, and of the two by Intel: a newer one, and one that can wake the machine."""
    name_of = {path.read_text().strip(): path.parent.name for path in Path("/sys/class/net").glob("*/address")}
    virtio, intel, waking = (name_of[f"{MAC_PREFIX}{number:02x}"] for number in (1, 2, 9))
    return virtio, intel, waking


def numbers(option: str, link: str) -> list[int]:
    """Maximum and current length of the rings for receiving and sending (-g), or the combined channels (-l)."""
    words = "RX|TX" if option == "-g" else "Combined"
    return [int(number) for number in re.findall(rf"^(?:{words}):\s+(\d+)$", execute("ethtool", option, link), re.M)]


def features(link: str) -> tuple[str, str]:
    """`tx-tcp-segmentation` and `rx-gro`; what the kernel does for all cards has another name in the program."""
    printed = execute("ethtool", "-k", link)
    (segmentation,), (offload,) = (
        re.findall(rf"^\t?{name}: (.*)", printed, re.M) for name in ("tx-tcp-segmentation", "generic-receive-offload")
    )
    return segmentation, offload


def segmentation(link: str) -> str:
    return features(link)[0]


def offload(link: str) -> str:
    return features(link)[1]


def wake_on_lan(link: str) -> set[str]:
    found = re.search(r"^\s*Wake-on: (\w+)$", execute("ethtool", link), re.M)
    return set() if found is None else {WAKE[letter] for letter in found[1] if letter != "d"}


def all_settings() -> list[object]:
    virtio, *intel = cards()
    return [
        *(numbers("-g", virtio), numbers("-l", virtio)),
        *((features(link), wake_on_lan(link)) for link in cards()),
        *(numbers("-g", link) for link in intel),
    ]


def agrees(shown: EthernetStatusSpec, link: str) -> bool:
    assert shown.rings is not None
    rings = [shown.rings.rx_max, shown.rings.tx_max, shown.rings.rx, shown.rings.tx]
    return (
        rings == numbers("-g", link)
        and (shown.features["tx-tcp-segmentation"], shown.features["rx-gro"]) == features(link)
        and {mode.value for mode in shown.wake_on_lan} == wake_on_lan(link)
    )


@pytest.mark.hardware
async def test_cards_are_set_shown_and_restored(tmp_path: Path) -> None:
    virtio, intel, waking = cards()
    before = all_settings()
    (rx_max, _, rx, _), intel_segmentation = numbers("-g", intel), segmentation(intel)
    less = EthernetSpecSpec(rings=EthernetRings(rx=rx // 2), features={"tx-tcp-segmentation": False})
    woken = EthernetSpecSpec(rings=EthernetRings(tx=80), wake_on_lan=(WOLMode.MAGIC,))
    applier = EthernetSpecController(prior=PriorState(tmp_path / "before.jsonl"))
    async with running(applier, EthernetStatusController()) as node:
        await node.put(EthernetSpec, intel, less)
        await node.put(EthernetSpec, virtio, EthernetSpecSpec(features={"rx-gro": False}))
        await node.put(EthernetSpec, waking, woken)
        await eventually(lambda: (numbers("-g", intel)[2], segmentation(intel)) == (rx // 2, "off"))
        await eventually(lambda: offload(virtio) == "off")
        await eventually(lambda: (numbers("-g", waking)[3], wake_on_lan(waking)) == (80, {"magic"}))
        for link in cards():
            await node.eventually(EthernetStatus, link, lambda status, link=link: agrees(status.spec, link))  # type: ignore[misc]
        assert node.state.list(NetworkProblem) == []
        # A length that the driver rounds is no quarrel with it; one that it does not have is refused.
        await node.put(EthernetSpec, intel, EthernetSpecSpec(rings=EthernetRings(rx=rx // 2 + 1)))
        await eventually(lambda: rx // 2 < numbers("-g", intel)[2] <= rx // 2 + 8)
        await eventually(lambda: segmentation(intel) == intel_segmentation)
        problem = await node.eventually(NetworkProblem, f"EthernetSpecs/{intel}")
        assert f"rings.rx {rx // 2 + 1} was asked for, and the driver made" in problem.spec.message
        too_much = EthernetSpecSpec(
            rings=EthernetRings(rx=rx_max + 1), channels=EthernetChannels(combined=2), wake_on_lan=(WOLMode.MAGIC,)
        )
        await node.put(EthernetSpec, intel, too_much)
        await node.eventually(
            NetworkProblem,
            f"EthernetSpecs/{intel}",
            lambda found: all(
                part in found.spec.message
                for part in (
                    f"more than the {rx_max} that the card has",
                    "the driver has no channels",
                    "the card cannot wake the machine by magic",
                )
            ),
        )
        await node.put(EthernetSpec, waking, attrs.evolve(woken, wake_on_lan=()))
        await eventually(lambda: wake_on_lan(waking) == set())
        for link in cards():
            await node.teardown(EthernetSpec, link)
            await node.eventually(EthernetSpec, link, lambda spec: not spec.metadata.finalizers)
            await node.destroy(EthernetSpec, link)
        await eventually(lambda: all_settings() == before)
