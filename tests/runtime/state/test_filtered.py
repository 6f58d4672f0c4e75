"""A filtered state puts every access to its rule, before anything is done."""

from collections.abc import Callable
from typing import Any

import attrs
import pytest

from nodespan.runtime.errors import AccessError
from nodespan.runtime.resource import Kind, Pointer, ResourceType
from nodespan.runtime.state import MemoryState
from nodespan.runtime.state.filtered import FilteredState, Verb


@attrs.frozen
class ThingSpec:
    text: str = ""


Thing = ResourceType("Things.test.dev", ThingSpec, namespace="test")
ONE = Thing.new("one", ThingSpec())

READS: dict[str, tuple[Callable[[FilteredState], Any], str, Verb]] = {
    "find": (lambda state: state.find(Thing, "one"), "one", Verb.GET),
    "get": (lambda state: state.get(Thing, "one"), "one", Verb.GET),
    "list": (lambda state: state.list(Thing), "", Verb.LIST),
    "view items": (lambda state: state.view(Thing).items, "", Verb.LIST),
    "view list": (lambda state: state.view(Thing).list(), "", Verb.LIST),
    "view subscribe": (lambda state: state.view(Thing).subscribe(lambda _r, _b, _d: None), "", Verb.WATCH),
    "view subscribe to one": (
        lambda state: state.view(Thing).subscribe(lambda _r, _b, _d: None, "one"),
        "one",
        Verb.WATCH,
    ),
    "watch": (lambda state: state.watch(Thing, "one"), "one", Verb.WATCH),
    "watch kind": (lambda state: state.watch_kind(Thing), "", Verb.WATCH),
    "watch kind in batches": (lambda state: state.watch_kind_aggregated(Thing), "", Verb.WATCH),
}
WRITES: dict[str, tuple[Callable[[FilteredState], Any], Verb]] = {
    "create": (lambda state: state.create(Thing.new("two", ThingSpec())), Verb.CREATE),
    "update": (lambda state: state.update(ONE), Verb.UPDATE),
    "destroy": (lambda state: state.destroy(Thing, "one"), Verb.DESTROY),
}


def filtered(inner: MemoryState, *, denied: Verb) -> tuple[FilteredState, list[tuple[str, Verb]]]:
    asked = []

    def rule(pointer: Pointer[Any], verb: Verb) -> None:
        asked.append((pointer.id, verb))
        if verb is denied:
            raise AccessError("denied")

    return FilteredState(inner, rule), asked


@pytest.mark.parametrize(("read", "id", "verb"), READS.values(), ids=READS.keys())
async def test_each_read_is_put_to_the_rule(read: Callable[[FilteredState], Any], id: str, verb: Verb) -> None:
    inner = MemoryState()
    await inner.create(ONE)
    allowed, asked = filtered(inner, denied=Verb.CREATE)
    read(allowed)
    assert asked == [(id, verb)]
    denied, _ = filtered(inner, denied=verb)
    with pytest.raises(AccessError):
        read(denied)


@pytest.mark.parametrize(("write", "verb"), WRITES.values(), ids=WRITES.keys())
async def test_a_denied_write_changes_nothing(write: Callable[[FilteredState], Any], verb: Verb) -> None:
    inner = MemoryState()
    stored = await inner.create(ONE)
    denied, asked = filtered(inner, denied=verb)
    with pytest.raises(AccessError):
        await write(denied)
    assert [each for _, each in asked] == [verb]
    assert inner.list(Thing) == [stored]


async def test_what_is_allowed_is_done() -> None:
    inner = MemoryState()
    allowed, _ = filtered(inner, denied=Verb.GET)
    stored = await allowed.create(ONE)
    updated = await allowed.update(stored.with_spec(ThingSpec("new")))
    assert inner.list(Thing) == [updated]
    await allowed.destroy(Thing, "one")
    assert inner.list(Thing) == []


@pytest.mark.parametrize("verb", Verb)
def test_only_the_first_three_verbs_read(verb: Verb) -> None:
    assert verb.only_reads is (verb in (Verb.GET, Verb.LIST, Verb.WATCH))


async def test_what_is_denied_leaves_no_trace_in_the_state() -> None:
    inner = MemoryState()
    before = set(inner.kinds())
    denied, _ = filtered(inner, denied=Verb.LIST)
    with pytest.raises(AccessError):
        denied.view(Kind[Any]("default", "Invented.example.dev")).list()
    assert set(inner.kinds()) == before
