"""What resources carry besides their spec: versions, phases, owners, finalizers, labels; when they are equal."""

import copy
import inspect
import pickle
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodespan.runtime.resource import (
    FrozenMapping,
    Kind,
    Metadata,
    Phase,
    Pointer,
    Resource,
    Version,
    format_version,
    is_tombstone,
    next_version,
    parse_version,
    tombstone,
)
from nodespan.runtime.resource.metadata import stored_metadata, stored_resource

# Versions.


@pytest.mark.parametrize(("version", "after"), [(None, 1), (1, 2), (2**63, 2**63 + 1)])
def test_versions_count_from_one(version: Version, after: int) -> None:
    assert next_version(version) == after


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("undefined", None),
        ("0", 0),
        ("1", 1),
        ("007", 7),
        ("+5", 5),
        ("9223372036854775807", 2**63 - 1),
        ("-1", 2**64 - 1),
        ("-9223372036854775808", 2**63),
    ],
)
def test_a_version_is_undefined_or_a_signed_number_taken_as_unsigned(text: str, version: Version) -> None:
    assert parse_version(text) == version


@pytest.mark.parametrize(
    "text",
    ["", " ", "1 ", "1.0", "0x1", "1_000", "one", "Undefined", "-", "+-1", "\u0661", "9223372036854775808", "9" * 5000],
)
def test_other_text_is_not_a_version(text: str) -> None:
    with pytest.raises(ValueError, match=r"version|limit"):
        parse_version(text)


@given(st.none() | st.integers(0, 2**63 - 1))
def test_a_version_survives_its_text(version: Version) -> None:
    assert parse_version(format_version(version)) == version


# Phases.


@pytest.mark.parametrize(("text", "phase"), [("running", Phase.RUNNING), ("tearingDown", Phase.TEARING_DOWN)])
def test_phases_have_a_text(text: str, phase: Phase) -> None:
    assert Phase(text) is phase
    assert str(phase) == text


@pytest.mark.parametrize("text", ["", "Running", "tearing_down", "tearingdown", "unknown"])
def test_no_other_text_is_a_phase(text: str) -> None:
    with pytest.raises(ValueError, match="is not a valid Phase"):
        Phase(text)


# Addresses.


def test_addresses_read_as_type_namespace_and_id() -> None:
    pointer = Pointer[Any]("default", "Paths.os.example.com", "var/run")
    resource = Resource(Metadata(*pointer), "spec")
    assert str(pointer) == str(resource) == "Paths.os.example.com(default/var/run)"
    assert str(resource.metadata) == "Paths.os.example.com(default/var/run@undefined)"
    assert str(resource.evolve(version=3).metadata) == "Paths.os.example.com(default/var/run@3)"
    assert resource.pointer == resource.metadata.pointer == resource.kind.pointer("var/run") == pointer
    assert resource.kind == resource.metadata.kind == pointer.kind == Kind("default", "Paths.os.example.com")


# New metadata.


def test_metadata_is_made_as_attrs_would_make_it() -> None:
    """Its constructor is our own: it takes the same fields, in the same order and with the same defaults."""
    parameters = list(inspect.signature(Metadata).parameters.values())
    assert [each.name for each in parameters] == [field.name for field in attrs.fields(Metadata)]
    given = {each.name: each.default for each in parameters if each.default is not inspect.Parameter.empty}
    fields = {field.name: field.default for field in attrs.fields(Metadata) if field.default is not attrs.NOTHING}
    assert given.keys() == fields.keys()
    assert {name for name in given if given[name] != fields[name]} == {"created", "updated"}  # of factories
    values: Any = ("namespace", "type", "id", 7, "owner", Phase.TEARING_DOWN, 1, 2, {"a": "b"}, {"c": "d"}, ("x",))
    made = Metadata(*values)
    assert type(made) is Metadata
    assert tuple(getattr(made, field.name) for field in attrs.fields(Metadata)) == values
    assert type(made.labels) is type(made.annotations) is FrozenMapping
    named: dict[str, Any] = dict(zip((each.name for each in parameters), values, strict=True))
    for other in (Metadata(**named), attrs.evolve(made), copy.copy(made), pickle.loads(pickle.dumps(made))):
        assert other == made
        assert hash(other) == hash(made)
        assert repr(other) == repr(made)
        assert (other.created, other.updated) == (1, 2)
    with pytest.raises(TypeError, match=r"^Metadata\(\) missing 1 required positional argument: 'id'"):
        Metadata("namespace", "type")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"^Metadata\(\) got an unexpected keyword argument 'label'"):
        Metadata("namespace", "type", "id", label={})  # type: ignore[call-arg]


def test_what_states_store_is_made_as_the_constructors_make_it() -> None:
    given = _full()
    stored = stored_metadata(given, 9, "other", 3, 4)
    assert stored == attrs.evolve(given, version=9, owner="other")
    assert (type(stored), stored.created, stored.updated) == (Metadata, 3, 4)
    resource = stored_resource(stored, "spec")
    assert resource == Resource(stored, "spec")
    assert type(resource) is Resource
    for target in (stored, resource):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            target.spec = "changed"  # type: ignore[misc, union-attr]


def test_new_metadata_is_running_unowned_and_made_now() -> None:
    metadata = Metadata("default", "T", "id")
    assert metadata.version is None
    assert metadata.owner == ""
    assert metadata.phase is Phase.RUNNING
    assert metadata.created == metadata.updated > 0
    assert metadata.labels == metadata.annotations == {}
    assert metadata.finalizers == ()


# Owners.


@pytest.mark.parametrize(("before", "given", "allowed"), [
    ("", "", True),
    ("", "A", True),
    ("A", "A", True),
    ("A", "B", False),
    ("A", "", False),
])  # fmt: skip
def test_an_owner_is_set_once(before: str, given: str, allowed: bool) -> None:
    metadata = Metadata("default", "T", "id", owner=before)
    if allowed:
        assert metadata.owned_by(given).owner == given
    else:
        with pytest.raises(ValueError, match="already set"):
            metadata.owned_by(given)


# Finalizers.


def test_finalizers_are_unique_and_keep_the_order_they_came_in() -> None:
    metadata = Metadata("default", "T", "id").with_finalizers("B", "A", "B").with_finalizers("C", "A")
    assert metadata.finalizers == ("B", "A", "C")
    assert metadata.without_finalizers("A", "D").finalizers == ("B", "C")


def test_adding_a_present_and_removing_a_missing_finalizer_gives_the_very_same_metadata() -> None:
    metadata = Metadata("default", "T", "id").with_finalizers("A", "B")
    assert metadata.with_finalizers("B") is metadata
    assert metadata.with_finalizers() is metadata
    assert metadata.without_finalizers("C") is metadata


@given(st.lists(st.sampled_from("ABCD")), st.lists(st.sampled_from("ABCD")))
def test_finalizers_are_a_set(added: list[str], removed: list[str]) -> None:
    metadata = Metadata("default", "T", "id").with_finalizers(*added).without_finalizers(*removed)
    assert len(set(metadata.finalizers)) == len(metadata.finalizers)
    assert set(metadata.finalizers) == set(added) - set(removed)


def test_a_change_of_finalizers_leaves_all_else_alone() -> None:
    before = _full()
    after = before.with_finalizers("new")
    assert attrs.evolve(after, finalizers=before.finalizers) == before
    assert (after.created, after.updated) == (before.created, before.updated)


@pytest.mark.parametrize(("phase", "finalizers", "ready"), [
    (Phase.RUNNING, (), False),
    (Phase.RUNNING, ("A",), False),
    (Phase.TEARING_DOWN, ("A",), False),
    (Phase.TEARING_DOWN, (), True),
])  # fmt: skip
def test_a_resource_is_ready_to_be_destroyed_when_torn_down_and_not_held(
    phase: Phase, finalizers: tuple[str, ...], ready: bool
) -> None:
    metadata = Metadata("default", "T", "id", phase=phase, finalizers=finalizers)
    assert metadata.is_tearing_down is (phase is Phase.TEARING_DOWN)
    assert metadata.is_destroy_ready is ready


# Equality.


def _full() -> Metadata:
    return Metadata(
        "default",
        "T",
        "id",
        version=2,
        owner="owner",
        phase=Phase.TEARING_DOWN,
        created=1,
        updated=2,
        labels=FrozenMapping({"app": "web"}),
        annotations=FrozenMapping({"ttl": "1h"}),
        finalizers=("A", "B"),
    )


@pytest.mark.parametrize(
    "change",
    [
        {"namespace": "other"},
        {"type": "other"},
        {"id": "other"},
        {"version": 3},
        {"version": None},
        {"owner": ""},
        {"phase": Phase.RUNNING},
        {"labels": {"app": "db"}},
        {"labels": {}},
        {"annotations": {}},
        {"finalizers": ("A",)},
        {"finalizers": ("A", "C")},
    ],
)
def test_metadata_differs_by_any_of_its_parts(change: dict[str, Any]) -> None:
    assert attrs.evolve(_full(), **change) != _full()


@pytest.mark.parametrize("change", [{"created": 5}, {"updated": 5}, {"finalizers": ("B", "A")}])
def test_times_and_the_order_of_finalizers_make_no_difference(change: dict[str, Any]) -> None:
    changed = attrs.evolve(_full(), **change)
    assert changed == _full()
    assert hash(changed) == hash(_full())


def test_resources_are_equal_by_metadata_and_spec() -> None:
    resource = Resource(_full(), ("spec",))
    assert resource == Resource(attrs.evolve(_full(), created=7), ("spec",))
    assert resource != Resource(_full(), ("other",))
    assert resource != resource.evolve(version=9)


def test_a_copy_with_nothing_changed_is_the_resource_itself() -> None:
    resource = Resource(_full(), ("spec",))
    assert resource.with_spec(("spec",)) is resource
    assert resource.with_labels({"app": "web"}) is resource
    assert resource.with_labels({}) is resource
    assert resource.with_spec(("other",)).spec == ("other",)
    assert resource.with_labels({"tier": "a"}).metadata.labels == {"app": "web", "tier": "a"}


def test_a_spec_never_shows_in_the_repr_of_a_resource() -> None:
    assert "secret" not in repr(Resource(_full(), ("secret",)))
    assert "secret" not in str(Resource(_full(), ("secret",)))


# Immutability.


@pytest.mark.parametrize(
    "change",
    [
        lambda labels: labels.__setitem__("app", "db"),
        lambda labels: labels.__delitem__("app"),
        lambda labels: labels.__ior__({"app": "db"}),
        lambda labels: labels.clear(),
        lambda labels: labels.pop("app"),
        lambda labels: labels.popitem(),
        lambda labels: labels.setdefault("new", ""),
        lambda labels: labels.update({"app": "db"}),
        lambda labels: labels.update(app="db"),
        lambda labels: setattr(labels, "app", "db"),
    ],
)
def test_labels_refuse_to_be_changed(change: Callable[[Any], object]) -> None:
    metadata = _full()
    for pairs, before in ((metadata.labels, {"app": "web"}), (FrozenMapping({"app": "web"}), {"app": "web"})):
        with pytest.raises((TypeError, AttributeError)):
            change(pairs)
        assert pairs == before


def test_not_even_a_second_initialisation_changes_labels() -> None:
    labels = _full().labels
    labels.__init__({"app": "db"})  # type: ignore[misc]
    assert labels == {"app": "web"}


def test_operators_on_labels_make_something_new() -> None:
    labels = alias = FrozenMapping({"app": "web"})
    assert labels | {"tier": "a"} == {"app": "web", "tier": "a"}
    with pytest.raises(TypeError, match="with_"):
        labels |= {"tier": "a"}
    assert alias == {"app": "web"}
    assert labels.with_({"app": "db"}) == {"app": "db"}
    assert labels.without("app", "missing") == {}
    assert labels == {"app": "web"}


def test_labels_do_not_follow_the_mapping_they_were_made_from() -> None:
    source = {"app": "web"}
    metadata = Metadata("default", "T", "id", labels=source, annotations=source)
    source["app"] = "db"
    assert metadata.labels == metadata.annotations == {"app": "web"}


@pytest.mark.parametrize(
    ("target", "field"),
    [(_full(), field.name) for field in attrs.fields(Metadata)]
    + [(Resource(_full(), "spec"), "metadata"), (Resource(_full(), "spec"), "spec"), (_full(), "unheard_of")],
)
def test_no_field_can_be_set(target: object, field: str) -> None:
    with pytest.raises(AttributeError):
        setattr(target, field, "changed")


@given(st.dictionaries(st.text(), st.text()), st.randoms(use_true_random=False))
def test_labels_are_sorted_and_equal_whatever_order_they_came_in(pairs: dict[str, str], random: Any) -> None:
    shuffled = list(pairs.items())
    random.shuffle(shuffled)
    labels = FrozenMapping(shuffled)
    assert list(labels) == sorted(pairs)
    assert labels == FrozenMapping(pairs) == pairs
    assert hash(labels) == hash(FrozenMapping(pairs))
    for duplicate in (copy.copy(labels), copy.deepcopy(labels), pickle.loads(pickle.dumps(labels))):
        assert duplicate == labels
        assert type(duplicate) is FrozenMapping


# Tombstones.


def test_a_tombstone_has_an_address_and_nothing_else() -> None:
    grave = tombstone(Kind("default", "T"), "id")
    assert is_tombstone(grave)
    assert grave.metadata == Metadata("default", "T", "id")
    assert grave == tombstone(Kind("default", "T"), "id")
    with pytest.raises(AttributeError, match="tombstone"):
        grave.spec.anything  # noqa: B018  reading it is what must fail
    assert not is_tombstone(Resource(_full(), None))
