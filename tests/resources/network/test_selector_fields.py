"""What a device selector looks at can be read off a link."""

import attrs

from nodespan.resources.config.selector import DeviceSelector
from nodespan.resources.network import LinkStatusSpec
from nodespan.runtime.codec.plain import spec_to_plain
from nodespan.runtime.resource.spec import outside_name


def test_a_link_shows_every_field_that_a_selector_can_use() -> None:
    card = LinkStatusSpec(
        hardware_addr="02:00:00:00:00:01",
        permanent_addr="02:00:00:00:00:02",
        pci_id="8086:10D3",
        driver="e1000e",
        bus_path="0000:00:14.0",
    )
    shown = spec_to_plain(card)
    # Whether a link is physical follows from its type and its kind.
    usable = {outside_name(field) for field in attrs.fields(DeviceSelector)} - {"physical"} | {"type", "kind"}
    assert usable <= shown.keys()
    assert (shown["type"], shown["kind"], card.physical) == ("ether", "", True)
