"""Addresses, prefixes and endpoints as bytes."""

import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodespan.resources.addresses import (
    AddressError,
    decode_address,
    encode_address,
    format_address,
    join_endpoint,
    join_prefix,
    split_endpoint,
    split_prefix,
)
from tests.support.vectors import cases

ADDRESSES = st.ip_addresses().map(format_address)


@pytest.mark.parametrize("case", cases("ip_binary"))
def test_known_addresses(case: dict[str, Any]) -> None:
    packed, text = bytes.fromhex(case["hex"]), case["address"] or ""
    assert decode_address(packed) == text
    assert encode_address(text) == packed


@pytest.mark.parametrize("length", [1, 2, 3, *range(5, 16)])
def test_bytes_of_another_length_are_not_an_address(length: int) -> None:
    with pytest.raises(AddressError, match="4 or 16 bytes"):
        decode_address(bytes(length))


@given(ADDRESSES)
def test_every_address_survives_the_wire(text: str) -> None:
    assert decode_address(encode_address(text)) == text
    assert ipaddress.ip_address(text).packed == encode_address(text)


@given(st.binary(max_size=40))
def test_garbage_is_an_address_or_an_error(packed: bytes) -> None:
    try:
        text = decode_address(packed)
    except AddressError:
        return
    assert encode_address(text) == packed


@given(ADDRESSES, st.integers(0, 0xFFFF))
def test_every_endpoint_survives_the_wire(address: str, port: int) -> None:
    endpoint = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    packed, split_port = split_endpoint(endpoint)
    assert (packed, split_port) == (encode_address(address), port)
    assert join_endpoint(packed, port) == endpoint


@given(ADDRESSES, st.integers(0, 128))
def test_a_prefix_keeps_its_host_bits(address: str, length: int) -> None:
    assert join_prefix(*split_prefix(f"{address}/{length}")) == f"{address}/{length}"


@given(st.text())
def test_any_text_is_parsed_or_rejected(text: str) -> None:
    for understand in (encode_address, split_prefix, split_endpoint):
        try:
            understand(text)
        except AddressError:
            continue


@pytest.mark.parametrize(
    "text", ["", "1.2.3.4", "1.2.3.4:", ":80", "1.2.3.4:65536", "::1:80", "[::1]", "name:80", "[]:1"]
)
def test_invalid_endpoints_are_rejected(text: str) -> None:
    with pytest.raises(AddressError):
        split_endpoint(text)


def test_empty_messages_are_neither_prefix_nor_endpoint() -> None:
    for join in (join_prefix, join_endpoint):
        with pytest.raises(AddressError):
            join(b"", 1)
