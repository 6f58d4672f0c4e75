"""Sets of addresses in their text form, read and written as `ipaddress` does it."""

from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from nodespan.controllers.common.ip.blocks import IPSet, parse_network
from nodespan.resources.addresses import encode_address

ADDRESSES = st.ip_addresses().map(str) | st.ip_addresses(v=6, network="::/95").map(str)
LENGTHS = st.just("") | st.integers(0, 140).map(lambda length: f"/{length}")
TEXTS = st.tuples(ADDRESSES, LENGTHS).map("".join) | st.text("0123af.:/%", max_size=24) | st.text(max_size=6)


def outcome(read: Callable[[str], Any], text: str) -> Any:
    """What a text is read as, None if it is refused."""
    try:
        return read(text)
    except ValueError:
        return None


@given(TEXTS)
@example("1.2.3.4/255.0.0.0")
@example("1.2.3.4/0.0.0.255")
@example("1.2.3.4/024")
@example("01.2.3.4")
@example("fe80::1%eth0")
@example("fe80::1%eth0/64")
@example("::ffff:1.2.3.4/97")
@example("::1/ 8")
@example("1:2:3:4:5:6:7::")
@example("1::2:3:4:5:6:7:8")
def test_a_text_is_read_as_ipaddress_reads_it(text: str) -> None:
    assert outcome(lambda text: IPSet.parse([text]), text) == outcome(
        lambda text: IPSet.of([parse_network(text)]), text
    )
    if text and "%" not in text:
        assert outcome(encode_address, text) == outcome(lambda text: ip_address(text).packed, text)


NETWORKS = st.builds(
    lambda first, length: IPv6Network((first, length), strict=False),
    st.integers(0, 2**128 - 1) | st.integers(0, 2**49),
    st.integers(0, 128),
) | st.builds(
    lambda first, length: IPv4Network((first, length), strict=False), st.integers(0, 2**32 - 1), st.integers(0, 32)
)


@given(st.lists(NETWORKS, max_size=4))
@example([IPv6Network("::1:2:0:0/96"), IPv6Network("::ffff:1.2.3.0/120"), IPv6Network("1:0:2:0:0:3:0:0/128")])
def test_a_set_is_written_as_ipaddress_writes_it(networks: list[Any]) -> None:
    found = IPSet.of(networks)
    assert found.texts() == tuple(map(str, found.prefixes()))
    assert IPSet.parse(found.texts()) == found
