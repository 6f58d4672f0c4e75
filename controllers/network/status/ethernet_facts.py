"""What a driver reports of its card, as the status that users see: pure."""

from nodespan.kernel.hardware.ethernet_settings import EthernetLink, EthernetSettings
from nodespan.resources.network import EthernetStatusSpec, WOLMode
from nodespan.resources.network.enums import Port
from nodespan.runtime.resource import FrozenPairs


def status_of(link: EthernetLink, settings: EthernetSettings) -> EthernetStatusSpec:
    """The status of a link. The speed is not in it: LinkStatus has it, and the originals leave it empty here."""
    wake = settings.wake_on_lan
    return EthernetStatusSpec(
        link_state=link.link_state,
        port=Port.OTHER if link.port is None else link.port,
        duplex=link.duplex,
        our_modes=link.our_modes,
        peer_modes=link.peer_modes,
        rings=settings.rings,
        features=FrozenPairs((name, feature.text) for name, feature in settings.features.items()),
        channels=settings.channels,
        wake_on_lan=() if wake is None else tuple(mode for mode in WOLMode if mode.number & wake.active),
    )
