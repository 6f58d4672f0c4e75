"""A wrong spec is refused where it is written, with the name of the field."""

import enum
from collections.abc import Mapping
from typing import Any

import attrs
import pytest

from nodespan.runtime.errors import SpecError
from nodespan.runtime.resource.spec_check import SpecCheck, check_spec


class Color(enum.StrEnum):
    RED = "red"


@attrs.frozen
class Part:
    number: int = 0


@attrs.frozen(kw_only=True)
class Spec:
    text: str = ""
    size: int = 0
    ratio: float = 0.0
    color: Color = Color.RED
    names: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()
    part: Part | None = None
    labels: Mapping[str, str] = attrs.field(factory=dict)
    data: bytes = b""
    whatever: Any = None


@attrs.frozen(kw_only=True)
class OtherSpec:
    text: str = ""


@pytest.mark.parametrize(
    "spec",
    [
        Spec(),
        Spec(ratio=1, part=Part(3), parts=(Part(1), Part(2)), names=("a",), labels={"a": "b"}, whatever=object()),
    ],
)
def test_what_the_annotations_say_is_accepted(spec: Spec) -> None:
    check_spec(spec, Spec, "x")
    check = SpecCheck(Spec)
    assert check.passes(spec)
    assert check.passes(spec)  # also where the classes of its values are known


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ({"text": "a"}, r"the spec of x must be a Spec, not \{'text': 'a'\} \(dict\): write Spec\(...\)"),
        (OtherSpec(text="a"), "must be a Spec, not OtherSpec"),
        (None, "must be a Spec, not None"),
        (Spec, "must be a Spec, not <class"),
        (Spec(text=17), r"Spec.text of x must be str, not 17 \(int\)"),  # type: ignore[arg-type]
        (Spec(size="1"), "Spec.size"),  # type: ignore[arg-type]
        (Spec(ratio="1"), "Spec.ratio"),  # type: ignore[arg-type]
        (Spec(color="red"), "Spec.color of x must be Color"),  # type: ignore[arg-type]
        (Spec(names="abc"), "Spec.names"),  # type: ignore[arg-type]
        (Spec(names=["a"]), "Spec.names"),  # type: ignore[arg-type]
        (Spec(names=("a", 1)), "Spec.names"),  # type: ignore[arg-type]
        (Spec(parts=(Part(1), Part("2"))), "Spec.parts"),  # type: ignore[arg-type]
        (Spec(part=Part(number=None)), "Spec.part"),  # type: ignore[arg-type]
        (Spec(labels=("a",)), "Spec.labels"),  # type: ignore[arg-type]
        (Spec(data="text"), "Spec.data"),  # type: ignore[arg-type]
    ],
)
def test_what_they_do_not_say_is_refused_by_name(spec: Any, text: str) -> None:
    with pytest.raises(SpecError, match=text):
        check_spec(spec, Spec, "x")
    check = SpecCheck(Spec)
    assert check.passes(Spec(names=("a",), parts=(Part(1),), part=Part(1)))
    assert not check.passes(spec)
    assert not check.passes(spec)


def test_a_subclass_is_left_to_the_check_that_knows_it() -> None:
    @attrs.frozen(kw_only=True)
    class Wider(Spec):
        more: int = 0

    assert not SpecCheck(Spec).passes(Wider())
    check_spec(Wider(), Spec, "x")
    with pytest.raises(SpecError, match=r"Spec\.more"):
        check_spec(Wider(more="1"), Spec, "x")  # type: ignore[arg-type]


def test_a_check_remembers_a_bounded_number_of_combinations() -> None:
    @attrs.frozen
    class Loose:
        value: Mapping[str, str]

    check = SpecCheck(Loose)
    for number in range(200):
        assert check.passes(Loose(type(f"Map{number}", (dict,), {})()))
    assert len(check._rest) == 64
    assert not check.passes(Loose(1))  # type: ignore[arg-type]
