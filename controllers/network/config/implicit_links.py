"""Which links get the defaults of the originals because nothing mentions them."""

from collections.abc import Iterator

from nodespan.controllers.network.config.cmdline_parts import cmdline_links
from nodespan.controllers.network.config.derivation import Scene
from nodespan.controllers.network.config.link_parts import LINK_DOCUMENTS
from nodespan.resources.config.device import Device


def _names(device: Device) -> Iterator[str]:
    yield device.interface
    yield from device.bond.interfaces if device.bond else ()
    yield from device.bridge.interfaces if device.bridge else ()


def implicit_links(scene: Scene) -> tuple[str, ...]:
    """The NICs that nothing mentions: none as soon as there is a document about any link."""
    if any(isinstance(document, LINK_DOCUMENTS) for document in scene.machine.documents):
        return ()
    resolve = scene.links.resolve
    taken = {resolve(name) for device in scene.devices.values() for name in _names(device)}
    taken |= scene.ignored | set(map(resolve, scene.cmdline.ignored_interfaces))
    taken |= {spec.name for spec in cmdline_links(scene.cmdline, scene.links)}
    return tuple(name for name in scene.links.physical if name not in taken)
