"""Node ids as text."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodespan.discovery.node_id import NodeIdError, decode_node_id, encode_node_id, machine_id, new_node_id
from tests.support.vectors import cases


@pytest.mark.parametrize("case", cases("node_id"))
def test_known_node_ids(case: dict[str, Any]) -> None:
    raw = bytes.fromhex(case["raw_hex"])
    assert encode_node_id(raw) == case["node_id"] == new_node_id(lambda size: raw[:size])
    assert decode_node_id(case["node_id"]) == raw
    assert machine_id(case["node_id"]) == case["machine_id"]


@given(st.binary(min_size=32, max_size=32))
def test_every_node_id_can_be_read_back(raw: bytes) -> None:
    text = encode_node_id(raw)
    assert text.isascii()
    assert text.isalnum()
    assert decode_node_id(text) == raw


@given(st.text() | st.text("ABf5", min_size=30, max_size=60))
def test_any_text_is_a_node_id_or_an_error(text: str) -> None:
    try:
        raw = decode_node_id(text)
    except NodeIdError:
        return
    assert encode_node_id(raw) == text


@pytest.mark.parametrize("text", ["", "A" * 42, "A" * 44, "A" * 1000, "-" * 43, "A" * 42 + "9"])
def test_invalid_node_ids_are_rejected(text: str) -> None:
    with pytest.raises(NodeIdError):
        decode_node_id(text)
