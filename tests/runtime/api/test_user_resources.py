"""What users write: created, applied, edited, labeled and deleted, or refused with the place and what to do."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
import trio.testing

from nodespan.runtime.api.user_resources import Answer, RefusedError, UserResources
from nodespan.runtime.controller import Controller, ControllerContext, exclusive, strong
from nodespan.runtime.resource import ResourceType
from nodespan.runtime.testing import Node, running

pytestmark = pytest.mark.virtual_clock


@attrs.frozen(kw_only=True)
class WishSpec:
    """What a user wants."""

    text: str
    number: int = 0


@attrs.frozen(kw_only=True)
class FactSpec:
    """What came of it."""

    text: str = ""


Wish = ResourceType("Wishes.test.nodespan.dev", WishSpec, singular="Wish", namespace="wishes", writable=True)
Fact = ResourceType("Facts.test.nodespan.dev", FactSpec, namespace="wishes")


class _Granter(Controller):
    """A fact for each wish, which it holds until the test lets it go."""

    name = "test.Granter"
    inputs = (strong(Wish),)
    outputs = (exclusive(Fact),)

    def __init__(self) -> None:
        self.lets_go = trio.Event()

    async def run(self, ctx: ControllerContext) -> None:
        async for _ in ctx:
            for wish in ctx.list(Wish):
                if wish.metadata.is_tearing_down:
                    await self.lets_go.wait()
                    await ctx.remove_finalizer(Wish, wish.id)
                else:
                    await ctx.add_finalizer(Wish, wish.id)
                    await ctx.put(Fact, wish.id, FactSpec(text=wish.spec.text))


def wish(id: str, spec: str = "{text: x}", **metadata: str) -> str:
    """A document."""
    more = "".join(f", {key}: {value}" for key, value in metadata.items())
    return f"metadata: {{type: wish, id: {id}{more}}}\nspec: {spec}\n"


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[Node, UserResources, _Granter]]:
    """A node with the controller, and the door."""
    granter = _Granter()
    async with running(granter) as node:
        yield node, UserResources(node.state, node.engine.types), granter


async def done(answers: AsyncGenerator[Answer, None]) -> list[str]:
    """What became of each resource."""
    return [f"{answer['type']}/{answer['id']} {answer['done']}" async for answer in answers]


async def refusal(answers: AsyncGenerator[Answer, None]) -> str:
    """Why nothing became of it."""
    with pytest.raises(RefusedError) as caught:
        await done(answers)
    return str(caught.value)


async def test_a_wish_is_created_and_acted_on() -> None:
    async with serving() as (node, users, _):
        text = wish("a", labels="{app: web}") + "---\n" + wish("b", "{text: other, number: 2}")
        assert await done(users.create(text, "f.yaml")) == ["Wish/a created", "Wish/b created"]
        created = node.state.get(Wish, "b")
        assert created.spec == WishSpec(text="other", number=2)
        assert created.metadata.owner == ""
        assert node.state.get(Wish, "a").metadata.labels == {"app": "web"}
        await node.eventually(Fact, "b", spec=FactSpec(text="other"))


async def test_nothing_of_a_file_is_written_if_any_of_it_is_wrong() -> None:
    async with serving() as (node, users, _):
        said = await refusal(users.create(wish("a") + "---\n" + wish("b", "{txt: x}"), "f.yaml"))
        assert said.splitlines() == [
            "f.yaml:5:8: spec.txt: unknown key, did you mean 'text'?",
            "f.yaml:5:1: spec.text: is missing",
        ]
        assert node.state.list(Wish) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "f.yaml: there is no resource in this file"),
        ("a: [", "f.yaml:1:5: not valid YAML"),
        ("x", "f.yaml:1:1: a resource has the keys metadata (with type and id) and spec"),
        ("metadata: {type: wish}\nspec: {}", "f.yaml:1:1: metadata.id: is missing"),
        ("metadata: {type: wish, id: 7}", "f.yaml:1:28: metadata.id: must be a text"),
        (wish("a", lables="{}"), "metadata.lables: unknown key, did you mean 'labels'?"),
        (wish("a", labels="{a: 1}"), "metadata.labels.a: must be a text: put it in quotes"),
        (wish("a", version="x"), "metadata.version: 'x' is not a version"),
        (wish("a", namespace="other"), "metadata.namespace: must be wishes, the namespace of the type"),
        (wish("a") + "speck: 1", "f.yaml:3:1: speck: unknown key, did you mean 'spec'?"),
        ("metadata: {type: wsh, id: a}", "'wsh' is not a registered type, did you mean 'wish'?"),
        ("metadata: {type: fact, id: a}", "Fact is not for users to write: it is made by controllers"),
    ],
)
async def test_mistakes_have_their_place(text: str, said: str) -> None:
    async with serving() as (_, users, __):
        assert said in await refusal(users.apply(text, "f.yaml"))


async def test_applying_creates_changes_and_leaves_alone() -> None:
    async with serving() as (node, users, _):
        assert await done(users.apply(wish("a", labels="{app: web}"), "f")) == ["Wish/a created"]
        await node.eventually(Fact, "a")
        version = node.state.get(Wish, "a").metadata.version
        assert await done(users.apply(wish("a", labels="{app: web}"), "f")) == ["Wish/a unchanged"]
        assert node.state.get(Wish, "a").metadata.version == version
        # Labels that the file does not speak of stay; those it speaks of become exactly these.
        assert await done(users.apply(wish("a", "{text: new}"), "f")) == ["Wish/a configured"]
        assert node.state.get(Wish, "a").metadata.labels == {"app": "web"}
        assert await done(users.apply(wish("a", "{text: new}", labels="{tier: a}"), "f")) == ["Wish/a configured"]
        assert node.state.get(Wish, "a").metadata.labels == {"tier": "a"}
        assert node.state.get(Wish, "a").metadata.finalizers == ("test.Granter",)
        await node.eventually(Fact, "a", spec=FactSpec(text="new"))
        assert "already exists: apply it to change it" in await refusal(users.create(wish("a"), "f"))


async def test_what_a_controller_owns_is_refused() -> None:
    async with serving() as (node, users, _):
        await node.state.create(Wish.new("owned", WishSpec(text="x")), owner="test.Other")
        owned = "is an output of test.Other, which alone writes it"
        assert owned in await refusal(users.apply(wish("owned", "{text: y}"), "f"))
        assert owned in await refusal(users.delete("wish", "owned", "", wait=True))
        assert owned in await refusal(users.label("wish", "owned", "", {"a": "b"}))


async def test_an_edit_is_refused_if_the_resource_changed_meanwhile() -> None:
    async with serving() as (node, users, _):
        await done(users.create(wish("a"), "f"))
        await node.eventually(Fact, "a")
        version = str(node.state.get(Wish, "a").metadata.version)
        assert await done(users.replace(wish("a", version=version), "f")) == ["Wish/a unchanged"]
        assert await done(users.replace(wish("a", "{text: y}", version=version), "f")) == ["Wish/a edited"]
        assert "it was changed meanwhile: edit it again" in await refusal(
            users.replace(wish("a", "{text: z}", version=version), "f")
        )
        assert "there is no Wish 'b' any more" in await refusal(users.replace(wish("b"), "f"))


async def test_labels_are_set_and_removed() -> None:
    async with serving() as (node, users, _):
        await done(users.create(wish("a", labels="{app: web}"), "f"))
        await node.eventually(Fact, "a")
        assert await done(users.label("wish", "a", "", {"tier": "x", "app": None})) == ["Wish/a labeled"]
        assert node.state.get(Wish, "a").metadata.labels == {"tier": "x"}
        assert await done(users.label("wishes", "a", "wishes", {"tier": "x"})) == ["Wish/a unchanged"]
        assert "not the name of a label" in await refusal(users.label("wish", "a", "", {"a=b": "c"}))
        assert "there is no Wish 'aa', did you mean 'a'?" in await refusal(users.label("wish", "aa", "", {}))
        assert "users write Wish in namespace wishes" in await refusal(users.label("wish", "a", "other", {}))


async def test_deleting_waits_for_those_who_hold_it() -> None:
    async with serving() as (node, users, granter):
        await done(users.create(wish("a"), "f"))
        await node.eventually(Fact, "a")
        said: list[str] = []

        async def delete() -> None:
            said.extend(await done(users.delete("wish", "a", "", wait=True)))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(delete)
            await node.eventually(Wish, "a", lambda found: found.metadata.is_tearing_down)
            assert "is being deleted, and held by test.Granter" in await refusal(
                users.apply(wish("a", "{text: y}"), "f")
            )
            granter.lets_go.set()
        assert said == ["Wish/a deleting, held by test.Granter", "Wish/a deleted"]


async def test_a_deletion_without_waiting_clients_ends_too() -> None:
    async with serving() as (node, users, granter):
        await done(users.create(wish("a"), "f"))
        await node.eventually(Fact, "a")
        assert await done(users.delete("wish", "a", "", wait=False)) == ["Wish/a deleting, held by test.Granter"]
        granter.lets_go.set()
        await node.gone(Wish, "a")
