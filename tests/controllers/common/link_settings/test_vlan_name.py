"""Names of the VLANs of devices."""

import pytest

from nodespan.controllers.common.link_settings.vlan_name import vlan_link_name


@pytest.mark.parametrize(
    ("base", "vlan_id", "expected"),
    [
        ("eth0", 100, "eth0.100"),
        ("abcdefghij", 1, "abcdefghij.1"),
        ("enx12545f8c99cd", 25, "enx1ee6413.25"),
        ("enp59s0f0np0", 100, "enp5634d92.100"),
    ],
)
def test_long_names_are_shortened(base: str, vlan_id: int, expected: str) -> None:
    assert vlan_link_name(base, vlan_id) == expected
