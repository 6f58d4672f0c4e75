"""The text of the kernel's numbers."""

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodespan.resources.network import enums
from nodespan.resources.network.enums import AddressFlags, KernelEnum, LinkFlags, RouteFlags
from nodespan.runtime.resource import TextFlag

TABLES = KernelEnum.__subclasses__()
FLAGS: list[type[TextFlag]] = [LinkFlags, AddressFlags, RouteFlags]


@pytest.mark.parametrize(
    ("table", "number", "text"),
    [
        (enums.LinkType, 772, "loopback"),
        (enums.LinkType, 65534, "nohdr"),
        (enums.LinkType, 803, "803"),
        (enums.OperationalState, 3, "lowerLayerDown"),
        (enums.Port, 255, "Other"),
        (enums.Duplex, 1, "Full"),
        (enums.Family, 10, "inet6"),
        (enums.Scope, 254, "host"),
        (enums.Scope, 42, "42"),
        (enums.RoutingTable, 254, "main"),
        (enums.RoutingTable, 1000, "1000"),
        (enums.RouteType, 6, "blackhole"),
        (enums.RouteProtocol, 16, "dhcp"),
        (enums.RouteProtocol, 201, "201"),
        (enums.RuleAction, 8, "prohibit"),
        (enums.VLANProtocol, 34984, "802.1ad"),
        (enums.BondMode, 4, "802.3ad"),
        (enums.ARPValidate, 6, "filter-backup"),
    ],
)
def test_a_number_has_its_text(table: type[KernelEnum], number: int, text: str) -> None:
    assert table.of(number) == text
    assert table(text).number == number


@given(st.sampled_from(TABLES), st.integers(0, 2**32 - 1))
def test_every_number_comes_back_from_its_text(table: type[KernelEnum], number: int) -> None:
    value = table.of(number)
    assert table(str(value)) == value
    assert table(str(value)).number == number


@pytest.mark.parametrize("table", TABLES)
def test_members_come_back_from_their_text_and_from_their_digits(table: type[KernelEnum]) -> None:
    for member in table:
        assert table(member.value) is member
        assert table(str(member.number)) is member


@pytest.mark.parametrize("text", ["", "nonsense", "-1", "1.5", "²"])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a valid RouteProtocol"):
        enums.RouteProtocol(text)


def test_a_number_without_a_name_survives_copying() -> None:
    value = enums.RouteProtocol.of(201)
    for copied in (copy.deepcopy(value), pickle.loads(pickle.dumps(value))):
        assert copied == value
        assert copied.number == 201
        assert hash(copied) == hash(value)


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (LinkFlags(0), ""),
        (LinkFlags(0x11843), "UP,BROADCAST,RUNNING,SLAVE,MULTICAST,LOWER_UP"),
        (LinkFlags(1 << 18), "ECHO"),
        (AddressFlags(0x80), "permanent"),
        (AddressFlags(0x281), "temporary,permanent,noprefixroute"),
        (AddressFlags(0x800), "stableprivacy"),
        (RouteFlags(0x1200), "cloned,lookup_table"),
    ],
)
def test_flags_are_names_from_the_lowest_bit(flags: TextFlag, text: str) -> None:
    assert flags.text() == text


@given(st.sampled_from(FLAGS), st.data())
def test_flags_come_back_from_their_text(flags: type[TextFlag], data: st.DataObject) -> None:
    value = flags(sum(data.draw(st.sets(st.sampled_from(list(flags))))))
    assert flags.parse(value.text()) == value
