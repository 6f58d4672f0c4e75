"""EthernetSpec and EthernetStatus: the settings of a network card, desired and observed; the id is the link's name.

Rings are the queues of packets between the card and its driver; channels are the pairs of queues that processors share;
features are what the card or the kernel does for packets, by the kernel's names; wake-on-LAN is what wakes a machine
that sleeps. None is unset in a spec, and not known to the driver in a status.
"""

from collections.abc import Mapping
from typing import Any

import attrs

from nodespan.resources.network.enums import Duplex, KernelEnum, Port
from nodespan.resources.network.namespace import NAMESPACE
from nodespan.runtime.resource import FrozenPairs, ResourceType, wire


class WOLMode(KernelEnum):
    """What wakes a machine over the network; the numbers are the kernel's bits."""

    PHY = "phy", 1
    UNICAST = "unicast", 2
    MULTICAST = "multicast", 4
    BROADCAST = "broadcast", 8
    # ARP. The originals show the bit, but have no name for it.
    ARP = "WOLMode(16)", 16
    MAGIC = "magic", 32
    MAGIC_SECURE = "magicsecure", 64
    FILTER = "filter", 128


def _optional(key: str) -> dict[str, Any]:
    return wire(key, omit_empty=True)


@attrs.frozen(kw_only=True)
class EthernetRings:
    """The lengths of rings, in packets, and how they are used."""

    rx: int | None = attrs.field(default=None, metadata=_optional("rx"))
    """The length of the queue of received packets."""
    tx: int | None = attrs.field(default=None, metadata=_optional("tx"))
    """The length of the queue of packets to send."""
    rx_mini: int | None = attrs.field(default=None, metadata=_optional("rx-mini"))
    """The length of the queue of small received packets."""
    rx_jumbo: int | None = attrs.field(default=None, metadata=_optional("rx-jumbo"))
    """The length of the queue of large received packets."""
    rx_buf_len: int | None = attrs.field(default=None, metadata=_optional("rx-buf-len"))
    """The size of a buffer for received packets, in bytes."""
    cqe_size: int | None = attrs.field(default=None, metadata=_optional("cqe-size"))
    """The size of an entry of the completion queue, in bytes."""
    tx_push: bool | None = attrs.field(default=None, metadata=_optional("tx-push"))
    """Whether descriptors of packets to send are written straight to the card."""
    rx_push: bool | None = attrs.field(default=None, metadata=_optional("rx-push"))
    """Whether descriptors of received packets are written straight to the card."""
    tx_push_buf_len: int | None = attrs.field(default=None, metadata=_optional("tx-push-buf-len"))
    """How many bytes of a packet are written along with its descriptor."""
    tcp_data_split: bool | None = attrs.field(default=None, metadata=_optional("tcp-data-split"))
    """Whether headers and data of TCP are received into separate buffers."""


@attrs.frozen(kw_only=True)
class EthernetRingsStatus:
    """The rings of a card: how long they may be, then how they are."""

    rx_max: int | None = attrs.field(default=None, metadata=_optional("rx-max"))
    """The greatest length of the queue of received packets."""
    rx_mini_max: int | None = attrs.field(default=None, metadata=_optional("rx-mini-max"))
    """The greatest length of the queue of small received packets."""
    rx_jumbo_max: int | None = attrs.field(default=None, metadata=_optional("rx-jumbo-max"))
    """The greatest length of the queue of large received packets."""
    tx_max: int | None = attrs.field(default=None, metadata=_optional("tx-max"))
    """The greatest length of the queue of packets to send."""
    tx_push_buf_len_max: int | None = attrs.field(default=None, metadata=_optional("tx-push-buf-len-max"))
    """How many bytes may be written along with a descriptor."""
    rx: int | None = attrs.field(default=None, metadata=_optional("rx"))
    """The length of the queue of received packets."""
    rx_mini: int | None = attrs.field(default=None, metadata=_optional("rx-mini"))
    """The length of the queue of small received packets."""
    rx_jumbo: int | None = attrs.field(default=None, metadata=_optional("rx-jumbo"))
    """The length of the queue of large received packets."""
    tx: int | None = attrs.field(default=None, metadata=_optional("tx"))
    """The length of the queue of packets to send."""
    rx_buf_len: int | None = attrs.field(default=None, metadata=_optional("rx-buf-len"))
    """The size of a buffer for received packets, in bytes."""
    cqe_size: int | None = attrs.field(default=None, metadata=_optional("cqe-size"))
    """The size of an entry of the completion queue, in bytes."""
    tx_push: bool | None = attrs.field(default=None, metadata=_optional("tx-push"))
    """Whether descriptors of packets to send are written straight to the card."""
    rx_push: bool | None = attrs.field(default=None, metadata=_optional("rx-push"))
    """Whether descriptors of received packets are written straight to the card."""
    tx_push_buf_len: int | None = attrs.field(default=None, metadata=_optional("tx-push-buf-len"))
    """How many bytes of a packet are written along with its descriptor."""
    tcp_data_split: bool | None = attrs.field(default=None, metadata=_optional("tcp-data-split"))
    """Whether headers and data of TCP are received into separate buffers."""


@attrs.frozen(kw_only=True)
class EthernetChannels:
    """How many channels there are of each kind."""

    rx: int | None = attrs.field(default=None, metadata=_optional("rx"))
    """Channels that only receive."""
    tx: int | None = attrs.field(default=None, metadata=_optional("tx"))
    """Channels that only send."""
    other: int | None = attrs.field(default=None, metadata=_optional("other"))
    """Channels for other purposes, such as the state of the link."""
    combined: int | None = attrs.field(default=None, metadata=_optional("combined"))
    """Channels that receive and send."""


@attrs.frozen(kw_only=True)
class EthernetChannelsStatus:
    """The channels of a card: how many there may be, then how many there are."""

    rx_max: int | None = attrs.field(default=None, metadata=_optional("rx-max"))
    """The greatest number of channels that only receive."""
    tx_max: int | None = attrs.field(default=None, metadata=_optional("tx-max"))
    """The greatest number of channels that only send."""
    other_max: int | None = attrs.field(default=None, metadata=_optional("other-max"))
    """The greatest number of channels for other purposes."""
    combined_max: int | None = attrs.field(default=None, metadata=_optional("combined-max"))
    """The greatest number of channels that receive and send."""
    rx: int | None = attrs.field(default=None, metadata=_optional("rx"))
    """Channels that only receive."""
    tx: int | None = attrs.field(default=None, metadata=_optional("tx"))
    """Channels that only send."""
    other: int | None = attrs.field(default=None, metadata=_optional("other"))
    """Channels for other purposes, such as the state of the link."""
    combined: int | None = attrs.field(default=None, metadata=_optional("combined"))
    """Channels that receive and send."""


def _frozen_switches(pairs: Mapping[str, bool]) -> FrozenPairs[bool]:
    return FrozenPairs(sorted(pairs.items()))


@attrs.frozen(kw_only=True)
class EthernetSpecSpec:
    """The desired settings of one link. What is unset, or not among the features, is left as it is."""

    rings: EthernetRings | None = attrs.field(default=None, metadata=_optional("rings"))
    """The queues between card and driver."""
    features: Mapping[str, bool] = attrs.field(
        default=FrozenPairs(), converter=_frozen_switches, metadata=wire(omit_empty=True)
    )
    """Whether each of these features is on, by the kernel's names."""
    channels: EthernetChannels | None = attrs.field(default=None, metadata=_optional("channels"))
    """The pairs of queues that processors share."""
    wake_on_lan: tuple[WOLMode, ...] | None = attrs.field(default=None, metadata=_optional("wakeOnLan"))
    """All modes that are to be on; an empty list switches it off."""


EthernetSpec = ResourceType("EthernetSpecs.net.talos.dev", EthernetSpecSpec, namespace=NAMESPACE)


@attrs.frozen(kw_only=True)
class EthernetStatusSpec:
    """The settings of one link as its driver reports them. A group that the driver does not have is unset, or empty."""

    link_state: bool | None = attrs.field(default=None, metadata=_optional("linkState"))
    """Whether the link has a carrier."""
    speed_mbit: int = attrs.field(default=0, metadata=wire(omit_empty=True))
    """The speed in Mbit/s."""
    port: Port = Port.OTHER
    """The kind of port."""
    duplex: Duplex = Duplex.UNKNOWN
    """Whether both directions work at the same time."""
    our_modes: tuple[str, ...] = attrs.field(default=(), metadata=wire(omit_empty=True))
    """The modes that this end offers."""
    peer_modes: tuple[str, ...] = attrs.field(default=(), metadata=wire(omit_empty=True))
    """The modes that the other end offers."""
    rings: EthernetRingsStatus | None = attrs.field(default=None, metadata=_optional("rings"))
    """The queues between card and driver."""
    features: Mapping[str, str] = attrs.field(
        default=FrozenPairs(), converter=FrozenPairs[str], metadata=wire(omit_empty=True)
    )
    """The features by the kernel's names and in its order, each `on` or `off`, with `[fixed]` if it cannot be changed,
    or `[requested on]` if it was asked for and is not in effect.
    """
    channels: EthernetChannelsStatus | None = attrs.field(default=None, metadata=_optional("channels"))
    """The pairs of queues that processors share."""
    wake_on_lan: tuple[WOLMode, ...] = attrs.field(default=(), metadata=wire("wakeOnLAN", omit_empty=True))
    """The modes that are on."""


EthernetStatus = ResourceType(
    "EthernetStatuses.net.talos.dev",
    EthernetStatusSpec,
    singular="EthernetStatus",
    namespace=NAMESPACE,
    aliases=("ethtool",),
    columns={"Link": ".linkState", "Speed": ".speedMbit"},
)
