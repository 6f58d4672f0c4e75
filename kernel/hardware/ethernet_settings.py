"""The settings of a network card as values: what its driver reports, and what can be asked of it."""

from collections.abc import Mapping

import attrs

from nodespan.resources.network.enums import Duplex, Port
from nodespan.resources.network.ethernet import EthernetChannelsStatus, EthernetRingsStatus


@attrs.frozen
class Feature:
    """What a card or the kernel does for packets: in effect, as asked for, and whether it cannot be changed."""

    is_active: bool
    is_requested: bool
    is_fixed: bool

    @property
    def text(self) -> str:
        """As users see it: `on [fixed]`, `off [requested on]`."""
        state = "on" if self.is_active else "off"
        if self.is_fixed:
            return f"{state} [fixed]"
        if self.is_active != self.is_requested:
            return f"{state} [requested {'on' if self.is_requested else 'off'}]"
        return state


@attrs.frozen
class WakeOnLan:
    """The kernel's bits of the modes that a card can do, and of those that are on."""

    supported: int
    active: int


@attrs.frozen(kw_only=True)
class EthernetSettings:
    """What can be set of a link, `features` in the kernel's order. A group that its driver does not have is None."""

    rings: EthernetRingsStatus | None = None
    channels: EthernetChannelsStatus | None = None
    features: Mapping[str, Feature] = attrs.field(factory=dict)
    wake_on_lan: WakeOnLan | None = None


@attrs.frozen(kw_only=True)
class EthernetLink:
    """What the driver says of the wire. `port` is None if it says nothing at all."""

    link_state: bool | None = None
    port: Port | None = None
    duplex: Duplex = Duplex.UNKNOWN
    our_modes: tuple[str, ...] = ()
    peer_modes: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class EthernetChange:
    """New values, by the fields of rings and channels, and by the names of features. `wake_on_lan` are all bits."""

    rings: Mapping[str, int] = attrs.field(factory=dict)
    features: Mapping[str, bool] = attrs.field(factory=dict)
    channels: Mapping[str, int] = attrs.field(factory=dict)
    wake_on_lan: int | None = None
