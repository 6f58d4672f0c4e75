"""Plain data at the door: every mistake has its path, and what has none becomes the spec."""

import datetime
import enum
from collections.abc import Mapping
from ipaddress import IPv4Address
from typing import Any, Literal

import attrs
import pytest

from nodespan.runtime.codec.door import find_mistakes
from nodespan.runtime.codec.plain import spec_from_plain, spec_to_plain
from nodespan.runtime.resource import FrozenMapping, ResourceType, TextFlag, wire
from tests.runtime.codec.test_plain import registered_types


class Colour(enum.StrEnum):
    """A choice."""

    RED = "red"
    BLUE = "blue"


class Rights(TextFlag):
    """A set."""

    read = 1
    write = 2


NO_RIGHTS = Rights(0)


@attrs.frozen(kw_only=True)
class PartSpec:
    """A nested one."""

    size: int = attrs.field(default=1, validator=attrs.validators.gt(0))


@attrs.frozen(kw_only=True)
class ThingSpec:
    """One field of each sort."""

    name: str
    link_index: int = 0
    ratio: float = 1.0
    enabled: bool = False
    colour: Colour = Colour.RED
    rights: Rights = NO_RIGHTS
    address: IPv4Address | None = None
    wait: datetime.timedelta = datetime.timedelta()
    kind: Literal["a", "b"] = "a"
    parts: tuple[PartSpec, ...] = ()
    pair: tuple[int, str] = (0, "")
    words: Mapping[str, str] = attrs.field(factory=FrozenMapping)
    secret: bytes = attrs.field(default=b"", metadata=wire("secretKey"))


GOOD = {
    "name": "x",
    "linkIndex": 2,
    "ratio": 3,
    "enabled": True,
    "colour": "blue",
    "rights": "read,write",
    "address": "10.0.0.1",
    "wait": "1m30s",
    "kind": "b",
    "parts": [{"size": 2}, {}],
    "pair": [1, "x"],
    "words": {"a": "b"},
    "secretKey": "aGk=",
}


def test_good_data_has_no_mistakes() -> None:
    assert list(find_mistakes(ThingSpec, GOOD)) == []
    spec = spec_from_plain(ThingSpec, GOOD)
    assert spec.parts == (PartSpec(size=2), PartSpec())
    assert list(find_mistakes(ThingSpec, spec_to_plain(spec))) == []


@pytest.mark.parametrize(
    ("change", "where", "message"),
    [
        ({"name": None}, "spec.name", "must be a text, not empty"),
        ({"name": 7}, "spec.name", "must be a text, not 7: put it in quotes"),
        ({"name": True}, "spec.name", "must be a text, not true: put it in quotes"),
        ({"nane": "x"}, "spec.nane", "unknown key, did you mean 'name'?"),
        ({"link_index": 1}, "spec.link_index", "unknown key, did you mean 'linkIndex'?"),
        ({"linkIndex": "1"}, "spec.linkIndex", "must be a whole number, not '1'"),
        ({"linkIndex": True}, "spec.linkIndex", "must be a whole number, not true"),
        ({"linkIndex": 1.5}, "spec.linkIndex", "must be a whole number, not 1.5"),
        ({"ratio": "x"}, "spec.ratio", "must be a number, not 'x'"),
        ({"enabled": "yes"}, "spec.enabled", "must be true or false, not 'yes'"),
        ({"colour": "green"}, "spec.colour", "must be one of 'red', 'blue', not 'green'"),
        ({"rights": "read,fly"}, "spec.rights", "unknown flag 'fly', expected some of read, write"),
        ({"address": "10.0.0.256"}, "spec.address", "Octet 256 (> 255) not permitted in '10.0.0.256'"),
        ({"address": 7}, "spec.address", "must be a text, not 7"),
        ({"kind": "c"}, "spec.kind", "must be one of 'a', 'b', not 'c'"),
        ({"parts": {"size": 1}}, "spec.parts", "must be a list, not keys and values"),
        ({"parts": [{}, {"size": "x"}]}, "spec.parts[1].size", "must be a whole number, not 'x'"),
        ({"parts": [{}, 7]}, "spec.parts[1]", "must be keys and values, not 7"),
        ({"parts": [{"size": 0}]}, "spec.parts[0]", "'size' must be > 0: 0"),
        ({"pair": [1]}, "spec.pair", "must be a list of 2, not of 1"),
        ({"pair": [1, 2]}, "spec.pair[1]", "must be a text, not 2: put it in quotes"),
        ({"words": {"a": 1}}, "spec.words.a", "must be a text, not 1: put it in quotes"),
        ({"words": []}, "spec.words", "must be keys and values, not a list"),
    ],
)
def test_a_mistake_has_its_path(change: dict[str, Any], where: str, message: str) -> None:
    (mistake,) = find_mistakes(ThingSpec, GOOD | change, ("spec",))
    assert (mistake.where, mistake.message) == (where, message)


def test_all_mistakes_are_found_at_once() -> None:
    mistakes = list(find_mistakes(ThingSpec, {"enabled": 1, "kind": "c", "extra": 1}, ("spec",)))
    assert [mistake.where for mistake in mistakes] == ["spec.extra", "spec.name", "spec.enabled", "spec.kind"]


def _has_empty_spec(type: ResourceType[Any]) -> bool:
    return all(field.default is not attrs.NOTHING for field in attrs.fields(type.spec_class))


@pytest.mark.parametrize("type", [type for type in registered_types() if _has_empty_spec(type)], ids=str)
def test_what_the_types_of_this_house_show_would_be_taken_back(type: ResourceType[Any]) -> None:
    plain = spec_to_plain(type.spec_class())
    if isinstance(plain, dict):
        assert list(find_mistakes(type.spec_class, plain)) == []
