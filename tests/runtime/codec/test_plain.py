"""Specs and metadata as plain data, and back without loss."""

import enum
import importlib
import pkgutil
import typing
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv4Interface, IPv6Network
from typing import Any

import attrs
import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nodespan.resources
from nodespan.resources.config import MachineConfig
from nodespan.resources.config.notation import Bounds
from nodespan.resources.network import LinkStatusSpec, WireguardPeerStatus, WireguardStatus
from nodespan.resources.network.enums import KernelEnum
from nodespan.resources.network.link import BondMaster
from nodespan.runtime.codec.plain import (
    format_time,
    metadata_from_plain,
    metadata_to_plain,
    parse_time,
    resource_to_plain,
    spec_from_plain,
    spec_to_plain,
)
from nodespan.runtime.codec.yamltext import dump
from nodespan.runtime.engine.status import ControllerStatus
from nodespan.runtime.resource import (
    FrozenMapping,
    Kind,
    Metadata,
    Namespace,
    Phase,
    Resource,
    ResourceDefinition,
    ResourceType,
    TextFlag,
    tombstone,
    wire,
)
from nodespan.runtime.resource.spec import is_omitted_when_empty


def registered_types() -> list[ResourceType[Any]]:
    """Every type that a module of `resources` declares, and those of the runtime itself."""
    found: dict[str, ResourceType[Any]] = {}
    for module in pkgutil.walk_packages(nodespan.resources.__path__, "nodespan.resources."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, ResourceType):
                found[value.name] = value
    return [*found.values(), Namespace, ResourceDefinition, ControllerStatus]


class Colour(enum.StrEnum):
    RED = "red"
    BLUE = "blue"


class Switches(TextFlag):
    LEFT = 1
    RIGHT = 4


@attrs.frozen(kw_only=True)
class Inner:
    long_name: str = ""
    count: int = attrs.field(default=0, metadata=wire(omit_empty=True))


@attrs.frozen(kw_only=True)
class Sample:
    """A field of every kind that a spec may have."""

    later: str = attrs.field(default="", metadata=wire(omit_empty=True))
    first_word: str = "x"
    pci_id: str = attrs.field(default="", metadata=wire("pciID"))
    colour: Colour = attrs.field(default=Colour.RED, metadata=wire(omit_empty=True))
    switches: Switches = attrs.field(default=Switches(0))
    key: bytes = b""
    wait: timedelta = timedelta()
    gateway: IPv4Address | None = attrs.field(default=None, metadata=wire(omit_empty=True))
    address: IPv4Interface = attrs.field(default=IPv4Interface("0.0.0.0/0"))
    subnet: IPv6Network = attrs.field(default=IPv6Network("::/0"))
    inner: Inner | None = attrs.field(default=None, metadata=wire(omit_empty=True))
    many: tuple[Inner, ...] = ()
    pairs: Mapping[str, str] = attrs.field(factory=FrozenMapping, converter=FrozenMapping)
    done: bool = attrs.field(default=False, metadata=wire(omit_empty=True))


EMPTY = {
    "firstWord": "x",
    "pciID": "",
    "switches": "",
    "key": "",
    "wait": "0s",
    "address": "0.0.0.0/0",
    "subnet": "::/0",
    "many": [],
    "pairs": {},
}
FULL = Sample(
    later="last",
    colour=Colour.BLUE,
    switches=Switches.LEFT | Switches.RIGHT,
    key=b"\xff\x00k",
    wait=timedelta(seconds=90),
    gateway=IPv4Address("192.0.2.1"),
    address=IPv4Interface("192.0.2.7/24"),
    subnet=IPv6Network("2001:db8::/32"),
    inner=Inner(long_name="in"),
    many=(Inner(count=1), Inner()),
    pairs={"b": "2", "a": "1"},
    done=True,
)
FULL_PLAIN = {
    "later": "last",
    "firstWord": "x",
    "pciID": "",
    "colour": "blue",
    "switches": "LEFT,RIGHT",
    "key": "/wBr",
    "wait": "1m30s",
    "gateway": "192.0.2.1",
    "address": "192.0.2.7/24",
    "subnet": "2001:db8::/32",
    "inner": {"longName": "in"},
    "many": [{"longName": "", "count": 1}, {"longName": ""}],
    "pairs": {"a": "1", "b": "2"},
    "done": True,
}


def only_plain(data: object) -> bool:
    """Whether both wires take it as it is: no member of a class, for which YAML or msgpack has no word."""
    if isinstance(data, dict):
        return all(type(key) is str and only_plain(value) for key, value in data.items())
    if isinstance(data, list | tuple):
        return all(map(only_plain, data))
    return data is None or type(data) in (str, int, float, bool)


def test_an_empty_spec_shows_what_may_not_be_left_out() -> None:
    assert spec_to_plain(Sample()) == EMPTY


def test_fields_keep_the_order_of_the_class_the_optional_ones_among_them() -> None:
    plain = spec_to_plain(FULL)
    assert plain == FULL_PLAIN
    assert list(plain) == list(FULL_PLAIN)


@pytest.mark.parametrize("spec", [Sample(), FULL])
def test_what_is_shown_is_plain_to_both_wires_and_reads_back(spec: Sample) -> None:
    plain = spec_to_plain(spec)
    assert only_plain(plain)
    assert msgpack.unpackb(msgpack.packb(plain)) == plain
    assert spec_from_plain(Sample, plain) == spec


@pytest.mark.parametrize(
    "plain",
    [
        {"unknown": 1},
        {"colour": "green"},
        {"switches": "LEFT,UP"},
        {"key": "%%"},
        {"wait": "soon"},
        {"gateway": "192.0.2"},
        {"inner": {"nope": 1}},
        {"many": 7},
        {"first_word": "inside names are not outside names"},
        {"inner": "text"},
        [],
        None,
    ],
)
def test_data_that_is_not_a_valid_spec_is_refused(plain: Any) -> None:
    with pytest.raises((ValueError, TypeError, KeyError)):
        spec_from_plain(Sample, plain)


def test_a_choice_that_says_nothing_is_left_out_where_the_field_is_optional() -> None:
    plain = spec_to_plain(BondMaster())
    assert "adSelect" not in plain
    assert "adLacpActive" not in plain
    assert plain["mode"] == "balance-rr"


def test_the_keepalive_of_a_peer_is_text() -> None:
    peer = WireguardPeerStatus(public_key="k", persistent_keepalive_interval=timedelta(seconds=25))
    plain = spec_to_plain(LinkStatusSpec(wireguard=WireguardStatus(peers=(peer,))))
    assert plain["wireguard"]["peers"][0] == {
        "publicKey": "k",
        "endpoint": "",
        "persistentKeepaliveInterval": "25s",
        "allowedIPs": [],
    }


def test_a_tombstone_has_an_empty_spec() -> None:
    plain = resource_to_plain(tombstone(Kind("ns", "Things.test"), "gone"))
    assert plain["spec"] == {}
    assert plain["metadata"]["version"] == "undefined"


def test_a_configuration_is_shown_as_the_text_that_the_operator_wrote() -> None:
    spec = MachineConfig.spec_class(text="machine: {}\n")
    assert spec_to_plain(spec) == "machine: {}\n"


# Every registered type.


def strategy(hint: Any) -> st.SearchStrategy[Any]:
    """Values for a field; where hypothesis cannot know what a class allows, it is said here."""
    if isinstance(hint, type) and issubclass(hint, KernelEnum):
        named = st.sampled_from(sorted(hint, key=lambda member: member.number))
        return named | st.integers(0, 70_000).map(hint.of)
    if isinstance(hint, type) and issubclass(hint, TextFlag):
        return st.sets(st.sampled_from(sorted(hint))).map(lambda members: hint(sum(members)))
    if hint is datetime:
        return st.datetimes(timezones=st.just(UTC))
    if hint is timedelta:
        return st.timedeltas(min_value=timedelta(), max_value=timedelta(days=1000))
    return st.from_type(hint)


SHOWN_OTHERWISE = {MachineConfig.name}
TYPES = [type for type in registered_types() if type.name not in SHOWN_OTHERWISE]


def test_there_are_types_to_be_tested() -> None:
    assert {"LinkStatuses.net.talos.dev", "KernelCmdlines.runtime.talos.dev"} <= {type.name for type in TYPES}


def something(hint: Any) -> Any:
    """A value for a field that has no default."""
    if issubclass(hint, enum.Enum):
        return next(iter(hint))
    return hint() if attrs.has(hint) else hint("x", "utf-8") if hint is bytes else hint("1")


@pytest.mark.parametrize("type", TYPES, ids=str)
def test_the_default_spec_of_every_type_reads_back(type: ResourceType[Any]) -> None:
    attrs.resolve_types(type.spec_class)
    required = [field for field in attrs.fields(type.spec_class) if field.default is attrs.NOTHING]
    spec = type.spec_class(**{field.name: something(field.type) for field in required})
    plain = spec_to_plain(spec)
    assert only_plain(plain)
    assert spec_from_plain(type.spec_class, plain) == spec


@pytest.mark.parametrize("type", TYPES, ids=str)
def test_every_spec_of_every_type_reads_back(type: ResourceType[Any]) -> None:
    @given(spec_strategy(type.spec_class))
    def reads_back(spec: Any) -> None:
        plain = spec_to_plain(spec)
        assert only_plain(plain)
        assert dump(plain)
        assert spec_from_plain(type.spec_class, msgpack.unpackb(msgpack.packb(plain))) == spec

    reads_back()


def spec_strategy(spec_class: Any) -> st.SearchStrategy[Any]:
    """Specs of a class, field by field."""
    attrs.resolve_types(spec_class)
    fields = {}
    for field in attrs.fields(spec_class):
        values = field_strategy(field.type)
        # The outside form does not tell apart the kinds of empty values.
        fields[field.name] = values.map(_or(field.default)) if is_omitted_when_empty(field) else values
    return st.builds(spec_class, **fields)


def _or(default: Any) -> Callable[[Any], Any]:
    return lambda value: value if default is None else value or default


TEXT = st.text(st.characters(codec="utf-8"), max_size=8)


def field_strategy(hint: Any) -> st.SearchStrategy[Any]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if attrs.has(hint):
        return spec_strategy(hint)
    if origin is tuple:
        return st.lists(field_strategy(arguments[0]), max_size=3).map(tuple)
    if type(None) in arguments:
        (some,) = (argument for argument in arguments if argument is not type(None))
        return st.none() | field_strategy(some)
    if hint is str:
        return TEXT
    if hint is int:
        return st.integers(-(2**63), 2**64 - 1)
    if origin is typing.Annotated:
        (bounds,) = (extra for extra in hint.__metadata__ if isinstance(extra, Bounds))
        return st.integers(bounds.low, bounds.high)
    return strategy(hint)


# Metadata and times.

NANOSECONDS = st.integers(-62_135_596_800, 253_402_300_799).map(lambda seconds: seconds * 10**9)
METADATA = st.builds(
    Metadata,
    TEXT,
    TEXT,
    TEXT,
    st.none() | st.integers(1, 2**63 - 1),
    TEXT,
    st.sampled_from(Phase),
    NANOSECONDS,
    NANOSECONDS,
    st.dictionaries(TEXT, TEXT, max_size=3).map(FrozenMapping),
    st.dictionaries(TEXT, TEXT, max_size=3).map(FrozenMapping),
    st.lists(TEXT, max_size=3, unique=True).map(tuple),
)


@given(METADATA)
def test_metadata_reads_back(metadata: Metadata) -> None:
    plain = metadata_to_plain(metadata)
    assert only_plain(plain)
    read = metadata_from_plain(msgpack.unpackb(msgpack.packb(plain)))
    assert read == metadata
    assert (read.created, read.updated) == (metadata.created, metadata.updated)


def test_metadata_is_in_the_order_of_the_originals_and_leaves_out_what_is_empty() -> None:
    bare = Metadata("ns", "Things.test", "one", 3, "", Phase.TEARING_DOWN, 0, 10**9)
    assert list(metadata_to_plain(bare).items()) == [
        ("namespace", "ns"),
        ("type", "Things.test"),
        ("id", "one"),
        ("version", "3"),
        ("owner", ""),
        ("phase", "tearingDown"),
        ("created", "1970-01-01T00:00:00Z"),
        ("updated", "1970-01-01T00:00:01Z"),
    ]
    full = attrs.evolve(bare, labels={"b": "2", "a": "1"}, annotations={"n": ""}, finalizers=("z", "y"))
    assert list(metadata_to_plain(full).items())[8:] == [
        ("labels", {"a": "1", "b": "2"}),
        ("annotations", {"n": ""}),
        ("finalizers", ["z", "y"]),
    ]


def test_a_resource_is_metadata_and_spec() -> None:
    resource = Resource(Metadata("ns", "Things.test", "one"), Inner(long_name="n"))
    assert list(resource_to_plain(resource)) == ["metadata", "spec"]
    assert resource_to_plain(resource)["spec"] == {"longName": "n"}


TIMES = [
    ("1970-01-01T00:00:00Z", 0),
    ("2026-01-02T03:04:05Z", 1_767_323_045 * 10**9),
    ("2026-01-02T04:04:05+01:00", 1_767_323_045 * 10**9),
    ("1969-12-31T23:59:59Z", -(10**9)),
    ("1969-12-31T23:59:59.5Z", -(10**9) // 2),
    ("2026-01-02T03:04:05.999999999Z", 1_767_323_045_999_999_000),
    ("0001-01-01T00:00:00Z", -62_135_596_800 * 10**9),
]


@pytest.mark.parametrize(("text", "nanoseconds"), TIMES)
def test_a_time_is_read_to_the_microsecond(text: str, nanoseconds: int) -> None:
    assert parse_time(text) == nanoseconds


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1_999_999_999, "1970-01-01T00:00:01Z"),
        (-1, "1969-12-31T23:59:59Z"),
        TIMES[-1][::-1],
    ],
)
def test_a_time_is_shown_in_whole_seconds_of_utc(nanoseconds: int, text: str) -> None:
    assert format_time(nanoseconds) == text


@pytest.mark.parametrize("text", ["", "yesterday", "2026-01-02", "2026-01-02T03:04:05", "2026-13-02T03:04:05Z"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no zone|Invalid isoformat|month must be"):
        parse_time(text)
