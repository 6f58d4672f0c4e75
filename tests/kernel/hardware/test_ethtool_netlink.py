"""Messages about the settings of network cards, byte by byte, and the kernel's own answers."""

import errno
import struct

import pytest

from nodespan.kernel.hardware.ethernet_settings import EthernetChange, EthernetSettings, Feature, WakeOnLan
from nodespan.kernel.hardware.ethtool_netlink import (
    channel_attributes,
    feature_attributes,
    open_ethtool_netlink,
    read_channels,
    read_features,
    read_rings,
    read_strings,
    read_wake_on_lan,
    ring_attributes,
    wake_attributes,
)
from nodespan.kernel.rtnetlink import Attributes, attribute, members, nest, number8, number32, zero_terminated
from nodespan.resources.network import EthernetChannelsStatus, EthernetRingsStatus

LOOPBACK = 1


def attributes(*parts: bytes) -> Attributes:
    return dict(members(b"".join(parts)))


def bitset(number: int, size: int, value: int, mask: int | None = None) -> bytes:
    words = (size + 31) // 32 * 4
    parts = [number32(2, size), attribute(4, value.to_bytes(words, "little"))]
    if mask is None:
        parts.insert(0, attribute(1, b""))
    else:
        parts.append(attribute(5, mask.to_bytes(words, "little")))
    return nest(number, *parts)


def test_rings_are_what_the_driver_reports_and_nothing_else() -> None:
    found = read_rings(
        attributes(
            number32(2, 4096), number32(5, 4096), number32(6, 256), number32(9, 512), number8(11, 2), number8(13, 0)
        )
    )
    assert found == EthernetRingsStatus(rx_max=4096, tx_max=4096, rx=256, tx=512, tcp_data_split=True, tx_push=False)


@pytest.mark.parametrize(("number", "split"), [(0, None), (1, False), (2, True)])
def test_a_driver_that_does_not_know_whether_it_splits_says_nothing(number: int, split: bool | None) -> None:
    assert read_rings(attributes(number8(11, number))).tcp_data_split is split


def test_channels_are_what_the_driver_reports() -> None:
    found = read_channels(attributes(number32(4, 1), number32(5, 8), number32(8, 1), number32(9, 4)))
    assert found == EthernetChannelsStatus(other_max=1, combined_max=8, other=1, combined=4)


def test_features_beyond_the_first_word_are_read() -> None:
    names = tuple(f"f{bit}" for bit in range(40))
    hardware, never = 1 << 0 | 1 << 1 | 1 << 33 | 1 << 39, 1 << 39
    wanted, active = 1 << 0 | 1 << 33, 1 << 0 | 1 << 1 | 1 << 5 | 1 << 39
    found = read_features(
        attributes(
            bitset(2, 40, hardware, (1 << 40) - 1), bitset(3, 40, wanted), bitset(4, 40, active), bitset(5, 40, never)
        ),
        names,
    )
    assert list(found) == list(names)
    assert {
        name: feature.text for name, feature in found.items() if name in ("f0", "f1", "f2", "f5", "f33", "f39")
    } == {
        "f0": "on",
        "f1": "on [requested off]",
        "f2": "off [fixed]",
        "f5": "on [fixed]",
        "f33": "off [requested on]",
        "f39": "on [fixed]",
    }


def test_what_wakes_is_a_mask_of_what_the_card_can_do() -> None:
    assert read_wake_on_lan(attributes(bitset(2, 8, 0x20, 0x2F))) == WakeOnLan(supported=0x2F, active=0x20)


def test_names_are_read_in_their_order() -> None:
    strings = (nest(1, number32(1, number), zero_terminated(2, name)) for number, name in enumerate(("a", "", "c")))
    reply = nest(2, nest(1, number32(1, 4), number32(2, 3), nest(3, *strings)))
    assert read_strings(attributes(reply)) == ("a", "", "c")
    assert read_strings(attributes(b"")) == ()


def test_requests_hold_only_what_is_asked_for() -> None:
    assert ring_attributes({"rx": 128}) == number32(6, 128)
    assert attributes(ring_attributes({"tx": 0, "tcp_data_split": 0, "rx_push": 1, "cqe_size": 64})) == {
        9: struct.pack("=I", 0),
        11: b"\x01",
        14: b"\x01",
        12: struct.pack("=I", 64),
    }
    assert attributes(ring_attributes({"tcp_data_split": 1})) == {11: b"\x02"}
    assert attributes(channel_attributes({"combined": 4, "other": 0})) == {
        9: struct.pack("=I", 4),
        8: struct.pack("=I", 0),
    }


def test_features_are_asked_for_by_name() -> None:
    off = nest(1, zero_terminated(2, "tx-tcp-segmentation"))
    on = nest(1, zero_terminated(2, "rx-gro"), attribute(3, b""))
    assert feature_attributes({"tx-tcp-segmentation": False, "rx-gro": True}) == nest(3, nest(3, off, on))


def test_modes_that_are_not_named_are_switched_off() -> None:
    found = dict(members(attributes(wake_attributes(0x20))[2]))
    assert [struct.unpack("=I", found[number])[0] for number in (2, 4, 5)] == [8, 0x20, 0xFF]


# The kernel.


def test_the_loopback_has_features_and_no_rings() -> None:
    with open_ethtool_netlink(None) as ethtool:
        settings = ethtool.settings(LOOPBACK)
        wire = ethtool.link(LOOPBACK)
    assert (settings.rings, settings.channels, settings.wake_on_lan) == (None, None, None)
    assert settings.features["loopback"] == Feature(is_active=True, is_requested=False, is_fixed=True)
    assert (wire.port, wire.our_modes, wire.peer_modes) == (None, (), ())


def test_a_link_that_is_gone_has_nothing_and_takes_nothing() -> None:
    with open_ethtool_netlink(None) as ethtool:
        assert ethtool.settings(0x7FFFFFF0) == EthernetSettings()
        refusals = ethtool.change(0x7FFFFFF0, EthernetChange(rings={"rx": 1}))
    assert refusals["rings"].errno in (errno.ENODEV, errno.EPERM)
