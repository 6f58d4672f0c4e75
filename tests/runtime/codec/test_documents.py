"""YAML documents from outside: their data, the places of values, and what is refused."""

import math

import pytest

from nodespan.runtime.codec.documents import DocumentError, Path, read_documents

TEXT = """\
metadata:
    type: banner
    id: "7"
spec:
    lines: [one, 2, 3.5, .inf, true, ~, 2026-01-02T03:04:05Z, 0x10, 1_000]
    nested:
        deep: x
--- {}
---
"""


def test_data_is_plain_and_typed_as_written() -> None:
    first, second = read_documents(TEXT)
    assert first.data == {
        "metadata": {"type": "banner", "id": "7"},
        "spec": {
            "lines": ["one", 2, 3.5, math.inf, True, None, "2026-01-02T03:04:05Z", 16, 1000],
            "nested": {"deep": "x"},
        },
    }
    assert second.data == {}


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ((), (1, 1)),
        (("spec",), (4, 1)),
        (("metadata", "id"), (3, 9)),
        (("spec", "lines", 1), (5, 18)),
        (("spec", "nested"), (6, 5)),
        (("spec", "nested", "deep"), (7, 15)),
        (("spec", "missing"), (4, 1)),
        (("other",), (1, 1)),
    ],
)
def test_each_value_has_its_place_and_what_is_missing_that_above_it(path: Path, place: tuple[int, int]) -> None:
    assert next(read_documents(TEXT)).place(path) == place


def test_a_key_has_a_place_too() -> None:
    assert next(read_documents(TEXT)).place(("metadata", "id"), on_key=True) == (3, 5)
    assert next(read_documents(TEXT)).place(("metadata", "missing"), on_key=True) == (1, 1)


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("a: [", "not valid YAML", 1),
        ("a: 1\na: 2", "'a' is given twice", 2),
        ("{[1]: 2}", "a key must be a text", 1),
        ("a: !!binary aGk=", "is not allowed here", 1),
        ("[" * 70 + "]" * 70, "nested too deep", 1),
        ("a: &x [*x]", "nested too deep", 1),
        ("\x00", "U\\+0000 is not allowed", 0),
        (
            "a: &a [1,1,1,1,1,1,1,1,1,1]\n"
            + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 10)}]\n" for n in range(6)),
            "too much",
            1,
        ),
    ],
)
def test_what_is_no_document_is_refused_with_its_place(text: str, message: str, line: int) -> None:
    with pytest.raises(DocumentError, match=message) as caught:
        list(read_documents(text))
    assert caught.value.line == line
