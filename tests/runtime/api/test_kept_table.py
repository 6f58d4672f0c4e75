"""A large table is kept for as long as it is asked for again, and is the same."""

from typing import Any

import pytest
import trio

from nodespan.resources.network import RouteStatus, RouteStatusSpec
from nodespan.runtime.api import kept_table
from nodespan.runtime.api.kept_table import KeptTable
from nodespan.runtime.resource import Resource
from tests.runtime.cli.samples import resource

RESOURCES: list[Resource[Any]] = [
    resource(RouteStatus, f"{number:04}", RouteStatusSpec()) for number in range(kept_table._FEWEST_ROWS)
]
EQUAL = resource(RouteStatus, RESOURCES[-1].id, RouteStatusSpec())


def filled() -> KeptTable:
    table = KeptTable()
    assert [*table.keep("key", RESOURCES, iter(["a", "b"]))] == ["a", "b"]
    return table


async def test_the_table_of_the_same_resources_is_kept() -> None:
    assert filled().find("key", list(RESOURCES)) == ["a", "b"]


@pytest.mark.parametrize(
    ("key", "resources"),
    [
        ("another", RESOURCES),
        ("key", RESOURCES[:-1]),
        ("key", [*RESOURCES, EQUAL]),
        ("key", [*RESOURCES[:-1], EQUAL]),
        ("key", RESOURCES[::-1]),
        ("key", []),
    ],
    ids=["key", "fewer", "more", "another", "order", "none"],
)
async def test_what_is_not_the_same_is_another_table(key: str, resources: list[Resource[Any]]) -> None:
    assert filled().find(key, resources) is None


async def test_at_first_nothing_is_kept() -> None:
    assert KeptTable().find("key", []) is None


async def test_a_small_table_is_made_each_time() -> None:
    table = KeptTable()
    few = RESOURCES[1:]
    assert [*table.keep("key", few, ["a"])] == ["a"]
    assert table.find("key", few) is None


async def test_a_table_of_many_megabytes_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_table, "_LARGEST", 3)
    table = filled()
    assert "".join(table.keep("larger", RESOURCES, ["abc", "d", "", "e"])) == "abcde"
    assert table.find("larger", RESOURCES) is None
    assert table.find("key", RESOURCES) == ["a", "b"]


async def test_a_table_that_was_not_taken_to_its_end_is_not_kept() -> None:
    table = KeptTable()
    parts = table.keep("key", RESOURCES, ["a", "b"])
    assert next(parts) == "a"
    assert table.find("key", RESOURCES) is None
    del parts
    assert table.find("key", RESOURCES) is None


@pytest.mark.virtual_clock
async def test_it_is_forgotten_some_seconds_after_its_last_use() -> None:
    table = filled()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(table.forget_in_time)
        await trio.sleep(4)
        assert table.find("key", RESOURCES) is not None
        await trio.sleep(4)
        # A second task has nothing to do.
        with trio.fail_after(0):
            await table.forget_in_time()
        assert table.find("key", RESOURCES[1:]) is None
        await trio.sleep(0.9)
        assert table._parts
        await trio.sleep(0.2)
        assert not table._parts
        assert not table._resources
    assert table.find("key", RESOURCES) is None


@pytest.mark.virtual_clock
async def test_when_the_task_that_waits_is_cancelled_the_next_one_forgets() -> None:
    began = trio.current_time()
    table = filled()
    with trio.move_on_after(1):
        await table.forget_in_time()
    assert table.find("key", RESOURCES) is not None
    await table.forget_in_time()
    assert table.find("key", RESOURCES) is None
    assert trio.current_time() - began == 6
