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
    """The length of the queue of received packets."""
    tx: Unsigned32 | None = None
    """The length of the queue of packets to send."""
    rx_mini: Unsigned32 | None = attrs.field(default=None, metadata=wire("rx-mini"))
    """The length of the queue of small received packets."""
    rx_jumbo: Unsigned32 | None = attrs.field(default=None, metadata=wire("rx-jumbo"))
    """The length of the queue of large received packets."""
    rx_buf_len: Unsigned32 | None = attrs.field(default=None, metadata=wire("rx-buf-len"))
    """The size of a buffer for received packets, in bytes."""
    cqe_size: Unsigned32 | None = attrs.field(default=None, metadata=wire("cqe-size"))
    """The size of an entry of the completion queue, in bytes."""
    tx_push: bool | None = attrs.field(default=None, metadata=wire("tx-push"))
    """Whether descriptors of packets to send are written straight to the card."""
    rx_push: bool | None = attrs.field(default=None, metadata=wire("rx-push"))
    """Whether descriptors of received packets are written straight to the card."""
    tx_push_buf_len: Unsigned32 | None = attrs.field(default=None, metadata=wire("tx-push-buf-len"))
    """How many bytes of a packet are written along with its descriptor."""
    tcp_data_split: bool | None = attrs.field(default=None, metadata=wire("tcp-data-split"))
    """Whether headers and data of TCP are received into separate buffers."""


@attrs.frozen(kw_only=True)
class EthernetChannels:
    """How many channels there are to be of each kind."""

    rx: Unsigned32 | None = None
    """Channels that only receive."""
    tx: Unsigned32 | None = None
    """Channels that only send."""
    other: Unsigned32 | None = None
    """Channels for other purposes, such as the state of the link."""
    combined: Unsigned32 | None = None
    """Channels that receive and send."""


@attrs.frozen(kw_only=True)
class EthernetConfig:
    """The settings of a network card."""

    api_version: Literal["v1alpha1"] = "v1alpha1"
    kind: Literal["EthernetConfig"] = "EthernetConfig"
    name: str = ""
    """The name of the link."""
    features: Mapping[str, bool] = attrs.field(default=FrozenPairs(), converter=FrozenPairs[bool])
    """Whether each of these features is on, by the kernel's names."""
    rings: EthernetRings | None = None
    """The queues between card and driver."""
    channels: EthernetChannels | None = None
    """The pairs of queues that processors share."""
    wake_on_lan: tuple[WakeOnLanMode, ...] | None = None
    """All modes that are to be on; an empty list switches it off, unset leaves it."""
