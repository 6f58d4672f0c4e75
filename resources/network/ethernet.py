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
    tx: int | None = attrs.field(default=None, metadata=_optional("tx"))
    rx_mini: int | None = attrs.field(default=None, metadata=_optional("rx-mini"))
    rx_jumbo: int | None = attrs.field(default=None, metadata=_optional("rx-jumbo"))
    rx_buf_len: int | None = attrs.field(default=None, metadata=_optional("rx-buf-len"))
    cqe_size: int | None = attrs.field(default=None, metadata=_optional("cqe-size"))
    tx_push: bool | None = attrs.field(default=None, metadata=_optional("tx-push"))
    rx_push: bool | None = attrs.field(default=None, metadata=_optional("rx-push"))
    tx_push_buf_len: int | None = attrs.field(default=None, metadata=_optional("tx-push-buf-len"))
    tcp_data_split: bool | None = attrs.field(default=None, metadata=_optional("tcp-data-split"))


@attrs.frozen(kw_only=True)
class EthernetRingsStatus:
    """The rings of a card: how long they may be, then how they are."""

    rx_max: int | None = attrs.field(default=None, metadata=_optional("rx-max"))
    rx_mini_max: int | None = attrs.field(default=None, metadata=_optional("rx-mini-max"))
    rx_jumbo_max: int | None = attrs.field(default=None, metadata=_optional("rx-jumbo-max"))
    tx_max: int | None = attrs.field(default=None, metadata=_optional("tx-max"))
    tx_push_buf_len_max: int | None = attrs.field(default=None, metadata=_optional("tx-push-buf-len-max"))
    rx: int | None = attrs.field(default=None, metadata=_optional("rx"))
    rx_mini: int | None = attrs.field(default=None, metadata=_optional("rx-mini"))
    rx_jumbo: int | None = attrs.field(default=None, metadata=_optional("rx-jumbo"))
    tx: int | None = attrs.field(default=None, metadata=_optional("tx"))
    rx_buf_len: int | None = attrs.field(default=None, metadata=_optional("rx-buf-len"))
    cqe_size: int | None = attrs.field(default=None, metadata=_optional("cqe-size"))
    tx_push: bool | None = attrs.field(default=None, metadata=_optional("tx-push"))
    rx_push: bool | None = attrs.field(default=None, metadata=_optional("rx-push"))
    tx_push_buf_len: int | None = attrs.field(default=None, metadata=_optional("tx-push-buf-len"))
    tcp_data_split: bool | None = attrs.field(default=None, metadata=_optional("tcp-data-split"))


@attrs.frozen(kw_only=True)
class EthernetChannels:
    """How many channels there are of each kind."""

    rx: int | None = attrs.field(default=None, metadata=_optional("rx"))
    tx: int | None = attrs.field(default=None, metadata=_optional("tx"))
    other: int | None = attrs.field(default=None, metadata=_optional("other"))
    combined: int | None = attrs.field(default=None, metadata=_optional("combined"))


@attrs.frozen(kw_only=True)
class EthernetChannelsStatus:
    """The channels of a card: how many there may be, then how many there are."""

    rx_max: int | None = attrs.field(default=None, metadata=_optional("rx-max"))
    tx_max: int | None = attrs.field(default=None, metadata=_optional("tx-max"))
    other_max: int | None = attrs.field(default=None, metadata=_optional("other-max"))
    combined_max: int | None = attrs.field(default=None, metadata=_optional("combined-max"))
    rx: int | None = attrs.field(default=None, metadata=_optional("rx"))
    tx: int | None = attrs.field(default=None, metadata=_optional("tx"))
    other: int | None = attrs.field(default=None, metadata=_optional("other"))
    combined: int | None = attrs.field(default=None, metadata=_optional("combined"))


def _frozen_switches(pairs: Mapping[str, bool]) -> FrozenPairs[bool]:
    return FrozenPairs(sorted(pairs.items()))


@attrs.frozen(kw_only=True)
class EthernetSpecSpec:
    """The desired settings of one link. What is None, or not among the features, is left as it is.

    `wake_on_lan` are all modes that are to be on; () switches it off.
    """

    rings: EthernetRings | None = attrs.field(default=None, metadata=_optional("rings"))
    features: Mapping[str, bool] = attrs.field(
        default=FrozenPairs(), converter=_frozen_switches, metadata=wire(omit_empty=True)
    )
    channels: EthernetChannels | None = attrs.field(default=None, metadata=_optional("channels"))
    wake_on_lan: tuple[WOLMode, ...] | None = attrs.field(default=None, metadata=_optional("wakeOnLan"))


EthernetSpec = ResourceType("EthernetSpecs.net.talos.dev", EthernetSpecSpec, namespace=NAMESPACE)


@attrs.frozen(kw_only=True)
class EthernetStatusSpec:
    """The settings of one link as its driver reports them. A group that the driver does not have is None, or empty.

    `features` are in the kernel's order, each with `on` or `off`, and `[fixed]` if it cannot be changed, or
    `[requested on]` if it was asked for and is not in effect.
    """

    link_state: bool | None = attrs.field(default=None, metadata=_optional("linkState"))
    speed_mbit: int = attrs.field(default=0, metadata=wire(omit_empty=True))
    port: Port = Port.OTHER
    duplex: Duplex = Duplex.UNKNOWN
    our_modes: tuple[str, ...] = attrs.field(default=(), metadata=wire(omit_empty=True))
    peer_modes: tuple[str, ...] = attrs.field(default=(), metadata=wire(omit_empty=True))
    rings: EthernetRingsStatus | None = attrs.field(default=None, metadata=_optional("rings"))
    features: Mapping[str, str] = attrs.field(
        default=FrozenPairs(), converter=FrozenPairs[str], metadata=wire(omit_empty=True)
    )
    channels: EthernetChannelsStatus | None = attrs.field(default=None, metadata=_optional("channels"))
    wake_on_lan: tuple[WOLMode, ...] = attrs.field(default=(), metadata=wire("wakeOnLAN", omit_empty=True))


EthernetStatus = ResourceType(
    "EthernetStatuses.net.talos.dev",
    EthernetStatusSpec,
    singular="EthernetStatus",
    namespace=NAMESPACE,
    aliases=("ethtool",),
    columns={"Link": ".linkState", "Speed": ".speedMbit"},
)
