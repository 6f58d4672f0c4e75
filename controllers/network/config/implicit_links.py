"""The links that get defaults because nothing configures them."""

from collections.abc import Iterator

from nodespan.controllers.network.config.cmdline_parts import cmdline_links
from nodespan.controllers.network.config.derivation import DerivationContext
from nodespan.controllers.network.config.link_parts import LINK_DOCUMENTS
from nodespan.resources.config.device import Device


def _names(device: Device) -> Iterator[str]:
    yield device.interface
    yield from device.bond.interfaces if device.bond else ()
    yield from device.bridge.interfaces if device.bridge else ()


def implicit_links(context: DerivationContext) -> tuple[str, ...]:
    """The NICs that nothing configures: none as soon as there is a document about any link."""
    if any(isinstance(document, LINK_DOCUMENTS) for document in context.machine.documents):
        return ()
    resolve = context.links.resolve
    taken = {resolve(name) for device in context.devices.values() for name in _names(device)}
    taken |= context.ignored | set(map(resolve, context.cmdline.ignored_interfaces))
    taken |= {spec.name for spec in cmdline_links(context.cmdline, context.links)}
    return tuple(name for name in context.links.physical if name not in taken)
