"""The State service, as clients of the originals know it."""

import struct
from pathlib import Path
from typing import Any

import pytest
import trio

from nodespan.resources import network
from nodespan.resources.messages import messages
from nodespan.runtime.codec.messages import RawSpec, SpecMessages
from nodespan.runtime.resource import Kind, Namespace, NamespaceSpec, Phase, Resource, ResourceDefinition
from nodespan.runtime.resource.definition import definition_resource
from nodespan.runtime.state import MemoryState
from tests.runtime.api.cosi.client import WIRE, Cosi, Thing, ThingSpec, connected, serving
from tests.support.messages import shown

THING: dict[str, Any] = {"namespace": "test", "type": Thing.name}
LINK: dict[str, Any] = {"namespace": "network", "type": network.LinkAliasSpec.name}
UNKNOWN = Kind[Any]("test", "Foreigns.example.dev")


def thing(id: str = "a", version: str = "undefined", phase: str = "running", **fields: Any) -> Any:
    """A resource as a client sends it, without a spec."""
    cosi = WIRE["cosi.resource.Resource"]
    return cosi(metadata={**THING, "id": id, "version": version, "phase": phase, **fields}, spec={})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.sock"


# What is sent.


async def test_a_resource_carries_all_its_metadata_and_both_forms_of_its_spec(path: Path) -> None:
    async with serving(path, types=(network.LinkAliasSpec,), messages=SpecMessages(messages())) as served:
        given = network.LinkAliasSpec.new(
            "eth0", network.LinkAliasSpecSpec(alias="lan"), labels={"b": "2", "a": "1"}, annotations={"n": ""}
        )
        stored = await served.state.create(given.evolve(finalizers=("x", "w")), owner="owner")
        got = (await served.use(lambda cosi: cosi.call("Get", **LINK, id="eth0"))).resource
        metadata = got.metadata
        assert (metadata.namespace, metadata.type, metadata.id) == ("network", network.LinkAliasSpec.name, "eth0")
        assert (metadata.version, metadata.owner, metadata.phase) == ("1", "owner", "running")
        assert metadata.created.seconds * 10**9 + metadata.created.nanos == stored.metadata.created
        assert metadata.updated.seconds * 10**9 + metadata.updated.nanos == stored.metadata.updated
        assert list(metadata.finalizers) == ["x", "w"]
        assert dict(metadata.labels) == {"a": "1", "b": "2"}
        assert dict(metadata.annotations) == {"n": ""}
        assert (got.spec.proto_spec, got.spec.yaml_spec) == (b"\x0a\x03lan", "alias: lan\n")


async def test_definitions_and_namespaces_are_what_clients_resolve_names_by(path: Path) -> None:
    async with serving(path) as served:
        await served.state.create(definition_resource(network.LinkStatus), owner="meta")
        await served.state.create(Namespace.new("network", NamespaceSpec(description="links")), owner="meta")

        def work(cosi: Cosi) -> None:
            (definition,) = cosi.list(namespace="meta", type=ResourceDefinition.name)
            spec = WIRE["cosi.resource.meta.ResourceDefinitionSpec"].FromString(definition.spec.proto_spec)
            assert spec.resource_type == "LinkStatuses.net.talos.dev"
            assert spec.display_type == "LinkStatus"
            assert spec.default_namespace == "network"
            assert list(spec.aliases) == ["link", "links", "linkstatus", "ls"]
            assert "linkstatuses.net.talos" in spec.all_aliases
            assert (spec.print_columns[0].name, spec.print_columns[0].json_path) == ("Alias", ".alias")
            assert shown("Sensitivity", spec, "sensitivity") == "NON_SENSITIVE"
            (namespace,) = cosi.list(namespace="meta", type=Namespace.name)
            assert namespace.spec.proto_spec == b"\x0a\x05links"

        await served.use(work)


async def test_a_list_is_in_the_order_of_ids_and_as_the_queries_say(path: Path) -> None:
    async with serving(path) as served:
        for id, labels in (("b", {"n": "2"}), ("a", {"n": "10"}), ("ab", {}), ("c", {"m": ""})):
            await served.state.create(Thing.new(id, ThingSpec(), labels=labels))

        def ids(cosi: Cosi, *terms: dict[str, Any], regexp: str = "") -> list[str]:
            options = {"label_query": [{"terms": [term]} for term in terms], "id_query": {"regexp": regexp}}
            return [found.metadata.id for found in cosi.list(**THING, options=options)]

        def work(cosi: Cosi) -> None:
            assert [found.metadata.id for found in cosi.list(**THING)] == ["a", "ab", "b", "c"]
            assert cosi.list(namespace="test", type="Unknowns.example.dev") == []
            assert ids(cosi, regexp="a") == ["a", "ab"]
            assert ids(cosi, {"key": "n"}) == ["a", "b"]
            assert ids(cosi, {"key": "n", "op": 2}) == ["ab", "c"]
            assert ids(cosi, {"key": "n", "invert": True}) == ["ab", "c"]
            assert ids(cosi, {"key": "n", "op": 1, "value": ["2"]}, {"key": "m"}) == ["b", "c"]
            assert ids(cosi, {"key": "n", "op": 3, "value": ["2", "10"]}) == ["a", "b"]
            assert ids(cosi, {"key": "n", "op": 4, "value": ["2"]}) == ["a"]
            assert ids(cosi, {"key": "n", "op": 5, "value": ["2"]}) == ["a", "b"]
            assert ids(cosi, {"key": "n", "op": 6, "value": ["10"]}) == ["b"]
            assert ids(cosi, {"key": "n", "op": 7, "value": ["10"]}) == ["a", "b"]

        await served.use(work)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"id_query": {"regexp": "("}}, "INVALID_ARGUMENT"),
        ({"id_query": {"regexp": "(a+)+$"}}, "INVALID_ARGUMENT"),
        ({"label_query": [{"terms": [{"key": "a", "op": 1}]}]}, "INVALID_ARGUMENT"),
        ({"label_query": [{"terms": [{"key": "a", "op": 99}]}]}, "UNIMPLEMENTED"),
    ],
)
async def test_a_query_that_cannot_be_run_is_refused(path: Path, options: dict[str, Any], code: str) -> None:
    async with serving(path) as served:
        found = await served.use(
            lambda cosi: [cosi.code(method, **THING, options=options)[0] for method in ("List", "Watch")]
        )
        assert found == [code, code]


# Writes and their errors.


async def test_the_life_of_a_resource(path: Path) -> None:
    async with serving(path) as served:

        def work(cosi: Cosi) -> None:
            created = cosi.call("Create", resource=thing(labels={"x": "y"}), options={"owner": "me"}).resource
            assert (created.metadata.version, created.metadata.owner) == ("1", "me")
            assert created.spec.yaml_spec == 'name: ""\nnumber: 0\n'
            created.metadata.labels["x"] = "z"
            updated = cosi.call("Update", new_resource=created, options={"owner": "me"}).resource
            assert (updated.metadata.version, updated.metadata.labels["x"]) == ("2", "z")
            assert updated.metadata.created == created.metadata.created
            torn = cosi.call("Teardown", **THING, id="a", options={"owner": "me"})
            assert torn.destroy_ready
            assert cosi.call("Get", **THING, id="a").resource.metadata.phase == "tearingDown"
            assert cosi.call("Destroy", **THING, id="a", options={"owner": "me"}).ByteSize() == 0
            assert cosi.list(**THING) == []

        await served.use(work)


async def test_errors_are_classified_as_by_the_originals(path: Path) -> None:
    async with serving(path) as served:
        await served.state.create(Thing.new("mine", ThingSpec()), owner="me")
        held = await served.state.create(Thing.new("held", ThingSpec()))
        await served.state.add_finalizer(Thing, "held", "f")
        going = await served.state.create(Thing.new("going", ThingSpec()))
        await served.state.update(going.evolve(phase=Phase.TEARING_DOWN))
        assert held.metadata.version == 1

        def work(cosi: Cosi) -> None:
            def code(method: str, **fields: Any) -> str:
                return cosi.code(method, **fields)[0]

            gone = {**THING, "id": "gone"}
            for method in ("Get", "Destroy", "Teardown", "TeardownAndDestroy"):
                assert cosi.code(method, **gone) == (
                    "NOT_FOUND",
                    f"resource {Thing.name}(test/gone) doesn't exist",
                )
            assert code("Update", new_resource=thing("gone", "1")) == "NOT_FOUND"
            assert code("Create", resource=thing("mine")) == "ALREADY_EXISTS"
            for method in ("Destroy", "Teardown", "TeardownAndDestroy"):
                assert code(method, **THING, id="mine") == "PERMISSION_DENIED"
            assert code("Update", new_resource=thing("mine", "1")) == "PERMISSION_DENIED"
            assert code("Update", new_resource=thing("held", "1")) == "FAILED_PRECONDITION"
            assert code("Update", new_resource=thing("held", "undefined")) == "FAILED_PRECONDITION"
            assert code("Destroy", **THING, id="held") == "FAILED_PRECONDITION"
            running = {"expected_phase": "running"}
            assert code("Update", new_resource=thing("going", "2"), options=running) == "INVALID_ARGUMENT"
            # Without a phase any will do.
            assert code("Update", new_resource=thing("going", "2")) == "OK"

        await served.use(work)


async def test_what_is_malformed_is_unknown_and_says_why(path: Path) -> None:
    resource = WIRE["cosi.resource.Resource"]
    metadata = {**THING, "id": "a", "version": "undefined", "phase": "running"}
    cases: list[tuple[str, dict[str, Any], str]] = [
        ("Create", {}, "metadata and spec"),
        ("Create", {"resource": resource(metadata=metadata)}, "metadata and spec"),
        ("Create", {"resource": resource(metadata={**metadata, "version": ""}, spec={})}, "not a version"),
        ("Create", {"resource": resource(metadata={**metadata, "phase": ""}, spec={})}, "not a valid Phase"),
        ("Create", {"resource": resource(metadata=metadata, spec={"proto_spec": b"\xff"})}, "Struct"),
        ("Create", {"resource": thing(owner="you"), "options": {"owner": "me"}}, "already set"),
        ("Update", {"new_resource": thing(version="1"), "options": {"expected_phase": "odd"}}, "odd"),
        ("Watch", {**THING, "options": {"bootstrap_contents": True, "tail_events": 1}}, "exclude each other"),
    ]
    async with serving(path) as served:
        found = await served.use(lambda cosi: [cosi.code(method, **fields) for method, fields, _ in cases])
    assert [code for code, _ in found] == ["UNKNOWN"] * len(cases)
    for (_, text), (_, _, expected) in zip(found, cases, strict=True):
        assert expected in text


async def test_a_spec_of_an_unknown_type_is_kept_as_it_came(path: Path) -> None:
    async with serving(path) as served:
        metadata = {"namespace": "test", "type": UNKNOWN.type, "id": "a", "version": "undefined", "phase": "running"}
        spec: dict[str, Any] = {"proto_spec": b"\x00\x01", "yaml_spec": "b: {x: 1}\na: [2]\n"}
        resource = WIRE["cosi.resource.Resource"](metadata=metadata, spec=spec)
        await served.use(lambda cosi: cosi.call("Create", resource=resource))
        assert served.state.get(UNKNOWN, "a").spec == RawSpec(spec["proto_spec"], spec["yaml_spec"])
        got = (await served.use(lambda cosi: cosi.call("Get", namespace="test", type=UNKNOWN.type, id="a"))).resource
        assert (got.spec.proto_spec, got.spec.yaml_spec) == (spec["proto_spec"], spec["yaml_spec"])


async def test_a_spec_that_its_message_cannot_express_stops_no_other(path: Path) -> None:
    async with serving(path, types=(network.StaticHost,), messages=SpecMessages(messages())) as served:
        await served.state.create(network.StaticHost.new("bad", network.StaticHostSpec(addresses=("no address",))))
        await served.state.create(network.StaticHost.new("good", network.StaticHostSpec(addresses=("192.0.2.1",))))
        bad, good = await served.use(lambda cosi: cosi.list(namespace="network", type=network.StaticHost.name))
        assert (bad.spec.proto_spec, bad.spec.yaml_spec) == (b"", "addresses:\n    - no address\n")
        assert good.spec.proto_spec


async def test_what_is_not_text_stops_nobody_either(path: Path) -> None:
    async with serving(path) as served:
        odd = Thing.new("eth\udcff", ThingSpec("n\udcff"), labels={"l\udcff": "v\udcff"}, annotations={"a": "\udcff"})
        await served.state.create(odd.evolve(finalizers=("f\udcff",)), owner="o\udcff")
        await served.state.create(Thing.new("good", ThingSpec()))
        found, good = await served.use(lambda cosi: cosi.list(**THING))
        assert found.metadata.id == "eth\\udcff"
        assert dict(found.metadata.labels) == {"l\\udcff": "v\\udcff"}
        assert "udcff" in found.spec.yaml_spec
        assert good.metadata.id == "good"


async def test_teardown_and_destroy_waits_for_the_finalizers(path: Path) -> None:
    async with serving(path) as served, trio.open_nursery() as nursery:
        await served.state.create(Thing.new("a", ThingSpec()))
        await served.state.add_finalizer(Thing, "a", "f")
        nursery.start_soon(served.use, lambda cosi: cosi.call("TeardownAndDestroy", **THING, id="a"))
        await served.state.watch_for(Thing, "a", phases=[Phase.TEARING_DOWN])
        await served.state.remove_finalizer(Thing, "a", "f")
    assert served.state.find(Thing, "a") is None


# Watches.


def kinds(events: list[Any]) -> list[tuple[str, str, str]]:
    """What events are, of which resource, at which version."""
    return [
        (shown("EventType", event, "event_type"), event.resource.metadata.id, event.resource.metadata.version)
        for event in events
    ]


async def test_a_watch_of_a_kind_sends_contents_bookmarks_and_changes(path: Path) -> None:
    async with serving(path) as served:
        first = await served.state.create(Thing.new("a", ThingSpec("one")))

        def begin(cosi: Cosi) -> Any:
            return cosi.watch(**THING, options={"bootstrap_contents": True, "bootstrap_bookmark": True})

        with connected(path) as cosi:
            watch = await trio.to_thread.run_sync(begin, cosi)
            contents = await trio.to_thread.run_sync(watch.events, 3)
            assert kinds(contents) == [
                ("CREATED", "a", "1"),
                ("BOOTSTRAPPED", "", "undefined"),
                ("NOOP", "", "undefined"),
            ]
            created, bootstrapped, noop = contents
            assert not created.HasField("bookmark")
            assert bootstrapped.bookmark == noop.bookmark
            assert bootstrapped.resource.metadata.type == Thing.name
            assert bootstrapped.resource.HasField("spec")
            assert bootstrapped.resource.spec.yaml_spec == "{}\n"
            updated = await served.state.update(first.with_spec(ThingSpec("two")))
            await served.state.destroy(Thing, "a")
            changes = await trio.to_thread.run_sync(watch.events, 2)
            assert kinds(changes) == [("UPDATED", "a", "2"), ("DESTROYED", "a", "2")]
            assert changes[0].old.spec.yaml_spec == "name: one\nnumber: 0\n"
            assert not changes[1].HasField("old")
            assert not changes[0].HasField("error")
            (position,) = struct.unpack(">q", changes[0].bookmark[8:])
            assert position == 1
            assert updated.metadata.version == 2
            watch.end()


async def test_a_watch_resumes_after_a_bookmark_and_refuses_one_that_is_none(path: Path) -> None:
    async with serving(path) as served:
        for id in "abc":
            await served.state.create(Thing.new(id, ThingSpec()))

        def work(cosi: Cosi) -> None:
            watch = cosi.watch(**THING, options={"tail_events": 2})
            tail = watch.events(2)
            assert kinds(tail) == [("CREATED", "b", "1"), ("CREATED", "c", "1")]
            again = cosi.watch(**THING, options={"start_from_bookmark": tail[0].bookmark})
            assert kinds(again.events(1)) == [("CREATED", "c", "1")]
            bad = bytes([tail[0].bookmark[0] ^ 1]) + tail[0].bookmark[1:]
            for bookmark in (bad, b"", b"short", bad[:8] + bytes(8)):
                assert cosi.code("Watch", **THING, options={"start_from_bookmark": bookmark}) == (
                    "FAILED_PRECONDITION",
                    "invalid watch bookmark",
                )

        await served.use(work)


async def test_a_bookmark_of_yesterday_is_refused(path: Path) -> None:
    state = MemoryState(initial_capacity=10, max_capacity=10, gap=5)
    async with serving(path, state) as served:
        for number in range(40):
            await state.create(Thing.new(f"{number:02}", ThingSpec()))
        async with state.watch_kind(Thing, tail_events=1) as local:
            bookmark = (await anext(local)).bookmark
            assert bookmark is not None
        early = bookmark[:8] + struct.pack(">q", 3)
        options = {"start_from_bookmark": early}
        code, _ = await served.use(lambda cosi: cosi.code("Watch", **THING, options=options))
        assert code == "FAILED_PRECONDITION"


async def test_an_aggregated_watch_sends_a_message_for_each_batch(path: Path) -> None:
    async with serving(path) as served:
        for id in "ab":
            await served.state.create(Thing.new(id, ThingSpec()))

        def work(cosi: Cosi) -> None:
            for version, expected in ((1, ["CREATED", "CREATED", "BOOTSTRAPPED"]), (0, ["CREATED", "CREATED"])):
                options = {"bootstrap_contents": True, "aggregated": True}
                watch = cosi.watch(**THING, options=options, api_version=version)
                assert [shown("EventType", event, "event_type") for event in watch.message().event] == expected

        await served.use(work)


async def test_a_watch_of_one_resource_begins_with_what_there_is(path: Path) -> None:
    async with serving(path) as served:
        await served.state.create(Thing.new("a", ThingSpec()))

        def work(cosi: Cosi) -> None:
            assert kinds([cosi.watch(**THING, id="a").event()]) == [("CREATED", "a", "1")]
            # An id that is present counts, even if it is nothing.
            absent = cosi.watch(**THING, id="").event()
            assert kinds([absent]) == [("DESTROYED", "", "undefined")]
            assert absent.resource.spec.yaml_spec == "{}\n"
            assert not absent.HasField("bookmark")
            for options in ({"bootstrap_contents": True}, {"label_query": [{"terms": [{"key": "a"}]}]}):
                assert cosi.code("Watch", **THING, id="a", options=options)[0] == "UNIMPLEMENTED"

        await served.use(work)


async def test_a_filtered_watch_reports_what_enters_and_leaves(path: Path) -> None:
    async with serving(path) as served:
        await served.state.create(Thing.new("a", ThingSpec()))
        query = {"label_query": [{"terms": [{"key": "on"}]}]}
        with connected(path) as cosi:
            watch = await trio.to_thread.run_sync(lambda: cosi.watch(**THING, options=query))
            entered = await served.state.update(served.state.get(Thing, "a").with_labels({"on": ""}))
            await served.state.update(entered.evolve(labels={}))
            found = await trio.to_thread.run_sync(watch.events, 2)
            assert kinds(found) == [("CREATED", "a", "2"), ("DESTROYED", "a", "3")]
            watch.end()


async def test_a_watcher_that_does_not_read_gets_an_error_that_it_fell_behind(path: Path) -> None:
    """And costs the others nothing: they have every event, and the service keeps no more than a part for it."""
    state = MemoryState(initial_capacity=100, max_capacity=100)
    big = "x" * 40_000
    async with serving(path, state) as served:
        with connected(path) as slow, connected(path) as other:
            asleep = await trio.to_thread.run_sync(lambda: slow.watch(**THING))
            awake = await trio.to_thread.run_sync(lambda: other.watch(**THING))
            seen = 0
            current = await state.create(Thing.new("a", ThingSpec(big)))
            for number in range(400):
                current = await state.update(current.with_spec(ThingSpec(big, number)))
                if number % 20 == 0:
                    await trio.to_thread.run_sync(awake.events, int(current.metadata.version or 0) - seen)
                    seen = int(current.metadata.version or 0)
            assert served.server.sources.held < 1 << 20

            def read_to_the_end() -> Any:
                while True:
                    event = asleep.event()
                    if event.error:
                        return event

            failed = await trio.to_thread.run_sync(read_to_the_end)
            assert shown("EventType", failed, "event_type") == "ERRORED"
            assert failed.error.startswith('buffer overrun: namespace "test" type "Things.test.nodespan.dev"')
            assert not failed.HasField("resource")
            for watch in (asleep, awake):
                watch.end()


async def test_a_thousand_watchers_share_one_encoding(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = 0
    whole = SpecMessages.encode

    def counting(self: SpecMessages, spec: Any) -> bytes:
        nonlocal encoded
        encoded += isinstance(spec, ThingSpec)
        return whole(self, spec)

    monkeypatch.setattr(SpecMessages, "encode", counting)
    async with serving(path) as served:
        resource: Resource[ThingSpec] = await served.state.create(Thing.new("a", ThingSpec()))
        with connected(path) as cosi:
            watches = await trio.to_thread.run_sync(lambda: [cosi.watch(**THING) for _ in range(1000)])
            await served.state.update(resource.with_spec(ThingSpec("x")))
            events = await trio.to_thread.run_sync(lambda: [watch.event() for watch in watches])
            assert {event.resource.metadata.version for event in events} == {"2"}
            # The new state, and the old one.
            assert encoded == 2
            for watch in watches:
                watch.end()


async def test_a_large_list_lets_others_run(path: Path) -> None:
    async with serving(path) as served:
        for number in range(3000):
            await served.state.create(Thing.new(f"{number:04}", ThingSpec()))
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                await trio.lowlevel.checkpoint()
                turns += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(count)
            found = await served.use(lambda cosi: cosi.list(**THING))
            nursery.cancel_scope.cancel()
        assert len(found) == 3000
        assert turns > 30
