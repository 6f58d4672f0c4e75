"""What messages about addresses mean."""

from typing import Any

import pytest

from nodespan.kernel.addresses import Addresses, AddressKey, read_address
from nodespan.kernel.mirror import Effect
from nodespan.resources.network import AddressFlags, AddressStatusSpec, Family, Scope
from tests.kernel.messages import address


@pytest.mark.parametrize(
    ("message", "status"),
    [
        (
            address(
                ("IFA_ADDRESS", "192.0.2.5"),
                ("IFA_LOCAL", "192.0.2.5"),
                ("IFA_BROADCAST", "192.0.2.255"),
                ("IFA_FLAGS", 0x280),
                ("IFA_RT_PRIORITY", 5),
                prefixlen=24,
                flags=0x80,
            ),
            AddressStatusSpec(
                address="192.0.2.5/24",
                local="192.0.2.5",
                broadcast="192.0.2.255",
                link_index=7,
                flags=AddressFlags.PERMANENT | AddressFlags.NOPREFIXROUTE,
                priority=5,
            ),
        ),
        (
            address(("IFA_ADDRESS", "198.51.100.2"), ("IFA_LOCAL", "198.51.100.1"), prefixlen=32, flags=0x81),
            AddressStatusSpec(
                address="198.51.100.2/32",
                local="198.51.100.1",
                link_index=7,
                flags=AddressFlags.PERMANENT | AddressFlags.TEMPORARY,
            ),
        ),
        (
            address(("IFA_ADDRESS", "fe80::1"), ("IFA_FLAGS", 0xC0), family=10, prefixlen=64, scope=253),
            AddressStatusSpec(
                address="fe80::1/64",
                link_index=7,
                family=Family.INET6,
                scope=Scope.LINK,
                flags=AddressFlags.PERMANENT | AddressFlags.TENTATIVE,
            ),
        ),
    ],
    ids=["plain", "point to point, without the wide flags", "IPv6"],
)
def test_an_address_is_read(message: Any, status: AddressStatusSpec) -> None:
    assert read_address(message) == status


def near(local: str, *, gone: bool = False, flags: int = 0x80) -> Any:
    return address(("IFA_ADDRESS", "198.51.100.9"), ("IFA_LOCAL", local), ("IFA_FLAGS", flags), prefixlen=32, gone=gone)


KEY = AddressKey(7, "198.51.100.9/32")
ONE, TWO = read_address(near("198.51.100.1")), read_address(near("198.51.100.2"))
CHANGED = read_address(near("198.51.100.1", flags=0x81))


@pytest.mark.parametrize(
    ("before", "message", "after"),
    [
        ((), near("198.51.100.1"), (ONE,)),
        ((ONE,), near("198.51.100.1"), (ONE,)),
        ((ONE,), near("198.51.100.1", flags=0x81), (CHANGED,)),
        ((ONE,), near("198.51.100.2"), (ONE, TWO)),
        ((ONE, TWO), near("198.51.100.1", gone=True), (TWO,)),
        ((ONE,), near("198.51.100.1", gone=True), None),
        ((), near("198.51.100.1", gone=True), None),
    ],
)
def test_address_messages_fold(
    before: tuple[AddressStatusSpec, ...], message: Any, after: tuple[AddressStatusSpec, ...] | None
) -> None:
    items = {KEY: before} if before else {}
    assert Addresses().fold(items, message) == Effect(changes={KEY: after})
