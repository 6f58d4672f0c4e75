"""JSON for people is that of `json.dumps`, in a fraction of its time."""

import json
from collections.abc import Callable
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodespan.runtime.text.indented_json import to_indented_json

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
KEYS = st.text() | st.integers().map(str)
PLAIN = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(KEYS, inner, max_size=4)
        | st.dictionaries(st.integers() | st.booleans() | st.floats(allow_nan=False), inner, max_size=2)
    ),
    max_leaves=10,
)


def plainly(value: object) -> str:
    return json.dumps(value, indent=4, sort_keys=True, ensure_ascii=False)


@given(PLAIN)
def test_it_is_what_json_dumps(value: object) -> None:
    assert to_indented_json(value) == plainly(value)


@pytest.mark.parametrize(
    "value", [(), (1, (2,)), {"a": ()}, [{}, []], {"a": {}}, {None: 1}, 1e400, "\ud800\x00", 10**30]
)
def test_what_is_rare_is_what_json_dumps(value: object) -> None:
    assert to_indented_json(value) == plainly(value)


@pytest.mark.parametrize("value", [object(), {"a": [b""]}, {"a": 1, 2: 1}, {("a",): 1}])
def test_what_is_not_plain_is_an_error(value: Any) -> None:
    for function in (plainly, to_indented_json):
        with pytest.raises(TypeError):
            function(value)


@pytest.mark.parametrize("nest", [lambda inner: [inner], lambda inner: {"a": inner}], ids=["lists", "maps"])
def test_what_the_wire_carries_is_not_nested_too_deeply(nest: Callable[[object], object]) -> None:
    value: object = 1
    for _ in range(511):
        value = nest(value)
    assert msgpack.unpackb(msgpack.packb(value)) == value
    assert to_indented_json(value) == plainly(value)
