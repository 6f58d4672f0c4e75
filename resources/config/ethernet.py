"""EthernetConfig: the settings of a network card, by the name of its link. None is unset, and leaves the card's own."""

import enum
from collections.abc import Mapping
from typing import Literal

import attrs

from nodespan.resources.config.notation import Unsigned32
from nodespan.runtime.resource import FrozenPairs, wire


class WakeOnLanMode(enum.StrEnum):
    """What wakes the machine."""

    PHY = "phy"
    UNICAST = "unicast"
    MULTICAST = "multicast"
    BROADCAST = "broadcast"
    MAGIC = "magic"
    MAGIC_SECURE = "magicsecure"
    FILTER = "filter"


@attrs.frozen(kw_only=True)
class EthernetRings:
    """The lengths of the queues between card and driver, in packets, and how they are used."""

    rx: Unsigned32 | None = None
    tx: Unsigned32 | None = None
    rx_mini: Unsigned32 | None = attrs.field(default=None, metadata=wire("rx-mini"))
    rx_jumbo: Unsigned32 | None = attrs.field(default=None, metadata=wire("rx-jumbo"))
    rx_buf_len: Unsigned32 | None = attrs.field(default=None, metadata=wire("rx-buf-len"))
    cqe_size: Unsigned32 | None = attrs.field(default=None, metadata=wire("cqe-size"))
    tx_push: bool | None = attrs.field(default=None, metadata=wire("tx-push"))
    rx_push: bool | None = attrs.field(default=None, metadata=wire("rx-push"))
    tx_push_buf_len: Unsigned32 | None = attrs.field(default=None, metadata=wire("tx-push-buf-len"))
    tcp_data_split: bool | None = attrs.field(default=None, metadata=wire("tcp-data-split"))


@attrs.frozen(kw_only=True)
class EthernetChannels:
    """How many channels there are to be of each kind."""

    rx: Unsigned32 | None = None
    tx: Unsigned32 | None = None
    other: Unsigned32 | None = None
    combined: Unsigned32 | None = None


@attrs.frozen(kw_only=True)
class EthernetConfig:
    """The settings of the link `name`. Features are named as the kernel names them.

    `wake_on_lan` are all modes that are to be on: () switches it off, None leaves it.
    """

    api_version: Literal["v1alpha1"] = "v1alpha1"
    kind: Literal["EthernetConfig"] = "EthernetConfig"
    name: str = ""
    features: Mapping[str, bool] = attrs.field(default=FrozenPairs(), converter=FrozenPairs[bool])
    rings: EthernetRings | None = None
    channels: EthernetChannels | None = None
    wake_on_lan: tuple[WakeOnLanMode, ...] | None = None
