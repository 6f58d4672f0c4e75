"""Addresses and prefixes as text: the short way for plain IPv4 says what the library says."""

from collections.abc import Callable
from ipaddress import ip_interface, ip_network

from hypothesis import example, given
from hypothesis import strategies as st

from nodespan.kernel.prefixes import Prefix, parse_address, parse_prefix

OCTETS = st.integers(0, 300).map(str) | st.sampled_from(["", "00", "01", "+1", " 1", "1e1", "\u0661", "0x1"])
LENGTHS = st.integers(-1, 40).map(str) | st.sampled_from(["", "08", "255.255.0.0", "0.0.0.255", " 8", "\u0661"])
ADDRESSES = st.lists(OCTETS, min_size=3, max_size=5).map(".".join)
TEXTS = ADDRESSES | st.tuples(ADDRESSES, LENGTHS).map("/".join) | st.ip_addresses().map(str) | st.text(max_size=12)


def outcome(read: Callable[[str], object], text: str) -> object:
    """What is read, or the words of the refusal."""
    try:
        return read(text)
    except ValueError as error:
        return str(error)


def address(text: str) -> Prefix:
    interface = ip_interface(text)
    return Prefix(interface.ip.packed, interface.network.prefixlen)


def prefix(text: str) -> Prefix | None:
    if not text:
        return None
    network = ip_network(text, strict=False)
    return Prefix(network.network_address.packed, network.prefixlen) if network.prefixlen else None


@given(TEXTS)
@example("192.0.2.1")
@example("192.0.2.1/0")
@example("192.0.2.1/24")
@example("192.0.2.1/255.255.255.0")
@example("192.0.2.1/")
@example("192.0.2.1\0")
@example("\ud800")
@example("2001:db8::1/64")
def test_texts_are_read_as_the_library_reads_them(text: str) -> None:
    assert outcome(parse_address, text) == outcome(address, text)
    assert outcome(parse_prefix, text) == outcome(prefix, text)
