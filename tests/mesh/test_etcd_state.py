"""The state on etcd against a real one: conformance, sharing, outages, compaction, a past restored, hostile values."""

import base64
import functools
import random
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path as FilePath
from typing import Any

import attrs
import pytest
import trio
import trio.testing

import nodespan.etcd.opening
from nodespan.etcd import EtcdClient, RefusedError, TxnAnswer
from nodespan.etcd import UnavailableError as EtcdUnavailableError
from nodespan.etcd.state import open_etcd
from nodespan.resources.config.nodespan import StateSettings
from nodespan.runtime.errors import (
    ConflictError,
    InvalidBookmarkError,
    NotFoundError,
    OwnerConflictError,
    PhaseConflictError,
    StateError,
    StateOpenError,
    UnavailableError,
)
from nodespan.runtime.resource import Kind, Phase, Resource, ResourceType
from nodespan.runtime.state import Event, EventType, State
from nodespan.runtime.state.opening import StateOptions, open_state
from nodespan.runtime.state.sealing import make_key
from nodespan.runtime.testing.engine_suite import SUITE_TYPES, EngineSuite
from nodespan.runtime.testing.state_model import StateModelSuite, World
from nodespan.runtime.testing.state_suite import Path, PathSpec, StateSuite
from tests.runtime.state.killing import Acknowledged, Server, check, write_until_killed, writers
from tests.support.deadlines import PATIENCE
from tests.support.etcd import etcd_cluster, loopback
from tests.support.process import eventually
from tests.support.shared_etcd import SharedEtcd, running_etcd, wired

pytestmark = pytest.mark.needs_program("etcd")

# Of everything that is waited for; it takes some tenths of a second on a quiet machine.
# Longer than a busy machine stands still.
LEASE = 60
KIND = Path.within("default")
_shared: list[SharedEtcd] = []


@pytest.fixture(scope="module", autouse=True)
def etcd() -> Iterator[SharedEtcd]:
    with running_etcd() as shared:
        _shared.append(shared)
        yield shared
        _shared.clear()


class TestStateOnEtcd(StateSuite):
    """A state of its own for each test."""

    patience = 15.0

    @asynccontextmanager
    async def open_state(self) -> AsyncIterator[State]:
        async with _shared[0].state([Path]) as state:
            yield state


class TestEngineOnEtcd(EngineSuite):
    """An engine whose controllers share their state with others."""

    @asynccontextmanager
    async def open_state(self) -> AsyncIterator[State]:
        async with _shared[0].state(SUITE_TYPES) as state:
            yield state


@attrs.frozen
class SecretSpec:
    """A secret."""

    text: str


Secret = ResourceType("Secrets.test.nodespan.dev", SecretSpec, namespace="default", sensitive=True)


def path(id: str, **labels: str) -> Resource[Any]:
    return Path.new(id, PathSpec()).with_labels(labels)


until = functools.partial(eventually, within=PATIENCE)


def numbers(state: State) -> dict[str, int | None]:
    """The versions that a state shows."""
    return {resource.id: resource.metadata.version for resource in state.list(KIND)}


class ScriptedClient(EtcdClient):
    """A client whose transactions come late or lose their answers."""

    before_next: Callable[[], Awaitable[None]] | None = None
    loses_next = False
    transactions = 0

    async def txn(self, **arguments: Any) -> TxnAnswer:
        self.transactions += 1
        before, self.before_next = self.before_next, None
        if before is not None:
            await before()
        answer = await super().txn(**arguments)
        if self.loses_next:
            self.loses_next = False
            raise EtcdUnavailableError({"etcd": "the answer was lost"}, maybe_applied=True)
        return answer


class Recorder:
    """All events of a kind, from now on."""

    def __init__(self, state: State) -> None:
        self.events: list[Event] = []
        self._state = state

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        async with self._state.watch_kind(KIND) as watch:
            task_status.started()
            async for event in watch:
                self.events.append(event)

    @property
    def seen(self) -> list[tuple[str, str, int | None]]:
        return [
            (event.type.name, event.resource.id, event.resource.metadata.version)
            for event in self.events
            if event.resource is not None
        ]


@asynccontextmanager
async def recorded(*states: State) -> AsyncIterator[tuple[Recorder, ...]]:
    async with trio.open_nursery() as nursery:
        recorders = tuple(map(Recorder, states))
        for recorder in recorders:
            await nursery.start(recorder.run)
        yield recorders
        nursery.cancel_scope.cancel()


class _Processes(World):
    """A crash leaves what etcd has: a new process reads it."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._prefix = _shared[0].prefix()
        self._scope = trio.CancelScope()

    async def crash(self) -> None:
        self._scope.cancel()
        self._scope = await self._nursery.start(self._live)

    async def _live(self, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
        with trio.CancelScope() as scope:
            async with _shared[0].state([Path], prefix=self._prefix) as self.state:
                task_status.started(scope)
                await trio.sleep_forever()


@pytest.mark.soak
class TestModelOnEtcd(StateModelSuite):
    """Any writes, and crashes anywhere."""

    @asynccontextmanager
    async def open_world(self) -> AsyncIterator[World]:
        async with trio.open_nursery() as nursery:
            world = _Processes(nursery)
            await world.crash()
            yield world
            nursery.cancel_scope.cancel()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with writers() as process:
        yield process


class TestKilled:
    async def _kill_again_and_again(self, etcd: SharedEtcd, server: Server, times: int) -> None:
        choice = random.Random(times)
        known: Acknowledged = {}
        prefix = etcd.prefix()
        for _ in range(times):
            target = f"etcd:{etcd.endpoint} prefix={prefix}"
            known |= await trio.to_thread.run_sync(write_until_killed, server, target, choice.randrange(1, 120))
            async with etcd.state([Path], prefix=prefix) as state:
                check(state, known)

    async def test_no_acknowledged_write_of_a_killed_process_is_lost(self, etcd: SharedEtcd, server: Server) -> None:
        await self._kill_again_and_again(etcd, server, 2)

    @pytest.mark.soak
    async def test_no_acknowledged_write_of_a_killed_process_is_lost_many_times(
        self, etcd: SharedEtcd, server: Server
    ) -> None:
        await self._kill_again_and_again(etcd, server, 200)

    async def test_no_acknowledged_write_is_lost_when_etcd_is_killed(self) -> None:
        await self._kill_etcd(1)

    @pytest.mark.soak
    async def test_no_acknowledged_write_is_lost_when_etcd_is_killed_many_times(self) -> None:
        await self._kill_etcd(60)

    @pytest.mark.soak
    async def test_no_acknowledged_write_is_lost_when_members_are_killed_many_times(self) -> None:
        await self._kill_etcd(60, members=3)

    async def _kill_etcd(self, times: int, *, members: int = 1) -> None:
        known: dict[str, list[int]] = {}
        async with (
            etcd_cluster(members) as cluster,
            EtcdClient(cluster.endpoints) as client,
            open_etcd(client, types=[Path], patience=PATIENCE) as state,
            recorded(state) as (events,),
        ):
            await state.until_available("")

            async def write(id: str) -> None:
                resource = await state.create(path(id))
                known[id] = [1]
                while True:
                    resource = await state.update(resource)
                    known[id].append(resource.metadata.version or 0)

            async with trio.open_nursery() as nursery:
                for number in range(4):
                    nursery.start_soon(write, str(number))
                for number in range(times):
                    count = sum(map(len, known.values()))
                    await until(lambda count=count: sum(map(len, known.values())) >= count + 20)  # type: ignore[misc]
                    await cluster.members[number % members].restart()
                    await cluster.healthy()
                count = sum(map(len, known.values()))
                await until(lambda: sum(map(len, known.values())) >= count + 20)
                nursery.cancel_scope.cancel()
            # Each write once, none twice, none missed.
            for versions in known.values():
                assert versions == list(range(1, len(versions) + 1))
            async with EtcdClient(cluster.endpoints) as other, open_etcd(other, types=[Path]) as fresh:
                await fresh.until_available("")
                await until(lambda: numbers(fresh) == numbers(state))
            for id, versions in known.items():
                seen = [version for _, each, version in events.seen if each == id]
                assert seen == list(range(1, len(seen) + 1))
                assert len(versions) <= len(seen) <= len(versions) + 1


class TestSharing:
    async def test_processes_write_one_history_and_all_see_it_in_one_order(self, etcd: SharedEtcd) -> None:
        prefix = etcd.prefix()
        async with (
            etcd.state([Path], prefix=prefix) as one,
            etcd.state([Path], prefix=prefix) as two,
            recorded(one, two) as (first, second),
        ):
            await one.create(path("shared"))
            await until(lambda: two.find(KIND, "shared") is not None)

            def count(resource: Resource[Any]) -> Resource[Any]:
                return resource.with_labels({"count": str(int(resource.metadata.labels.get("count", "0")) + 1)})

            async def work(state: State, name: str) -> None:
                for number in range(5):
                    await state.update_with_conflicts(KIND, "shared", count)
                    await state.create(path(f"{name}-{number}"))

            with trio.fail_after(PATIENCE):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(work, one, "one")
                    nursery.start_soon(work, two, "two")
            await until(lambda: len(first.seen) == len(second.seen) == 21)
            assert one.get(KIND, "shared").metadata.labels == {"count": "10"}
            assert first.seen == second.seen
            assert [version for _, id, version in first.seen if id == "shared"] == list(range(1, 12))

    async def test_a_refusal_is_given_only_when_the_view_shows_its_reason(self, etcd: SharedEtcd) -> None:
        prefix = etcd.prefix()
        async with etcd.state([Path], prefix=prefix) as one, etcd.state([Path], prefix=prefix) as two:
            for number in range(5):
                id = f"disk-{number}"
                made = await one.create(path(id), owner="one")
                with pytest.raises(OwnerConflictError):  # not NotFoundError, however late the view is
                    await two.update(made)
                with pytest.raises(ConflictError):
                    await two.create(path(id))
                assert two.get(KIND, id) == made
                await one.destroy(KIND, id, owner="one")
                with pytest.raises(NotFoundError):
                    await two.destroy(KIND, id, owner="one")

    async def test_of_two_that_destroy_a_resource_at_the_same_moment_one_is_refused(self, etcd: SharedEtcd) -> None:
        prefix = etcd.prefix()
        async with etcd.state([Path], prefix=prefix) as one, ScriptedClient([etcd.endpoint]) as client:
            await one.create(path("disk"))

            async def destroy() -> None:
                await one.destroy(KIND, "disk")

            async with open_etcd(client, types=[Path], prefix=prefix) as two:
                await two.until_available("")
                client.before_next = destroy
                with pytest.raises(NotFoundError):
                    await two.destroy(KIND, "disk")
                assert two.find(KIND, "disk") is None

    async def test_a_resource_that_changed_meanwhile_is_not_destroyed(self, etcd: SharedEtcd) -> None:
        prefix = etcd.prefix()
        async with etcd.state([Path], prefix=prefix) as one, ScriptedClient([etcd.endpoint]) as client:
            await one.create(path("disk"))

            async def change() -> None:
                await one.add_finalizer(KIND, "disk", "A")
                await one.remove_finalizer(KIND, "disk", "A")

            async with open_etcd(client, types=[Path], prefix=prefix) as two:
                await two.until_available("")
                # The change is committed before the other process has seen it.
                client.before_next = change
                with pytest.raises(ConflictError, match="changed by another process"):
                    await two.destroy(KIND, "disk")
                assert numbers(two) == {"disk": 3}

    async def test_a_bookmark_holds_in_another_process_as_far_as_its_history_goes(self, etcd: SharedEtcd) -> None:
        prefix = etcd.prefix()
        async with etcd.state([Path], prefix=prefix) as one, recorded(one) as (events,):
            await one.create(path("before"))
            async with etcd.state([Path], prefix=prefix) as two:
                for number in range(3):
                    await one.create(path(str(number)))
                await until(lambda: len(two.list(KIND)) == 4 and len(events.events) == 4)
                for count, event in enumerate(events.events):
                    assert event.bookmark is not None
                    async with two.watch_kind(KIND, start_from=event.bookmark) as watch:
                        for expected in events.events[count + 1 :]:
                            assert (await anext(watch)).resource == expected.resource
            async with etcd.state([Path], prefix=prefix) as late:
                with pytest.raises(InvalidBookmarkError):
                    await late.watch_kind(KIND, start_from=events.events[1].bookmark).__aenter__()
                async with late.watch_kind(KIND, start_from=events.events[-1].bookmark) as watch:
                    await one.destroy(KIND, "before")
                    assert (await anext(watch)).type is EventType.DESTROYED


class TestLeases:
    async def test_leased_resources_end_with_their_writer_and_others_changes_do_not_free_them(
        self, etcd: SharedEtcd
    ) -> None:
        prefix = etcd.prefix()
        async with etcd.state([Path], prefix=prefix) as one, etcd.state([Path], prefix=prefix) as two:
            async with one.leased(LEASE) as leased:
                await leased.create(path("mine"))
                await leased.create(path("kept"))
                await one.create(path("lasting"))
                await until(lambda: len(two.list(KIND)) == 3)
                await two.add_finalizer(KIND, "mine", "holder")
            await until(lambda: numbers(one) == numbers(two) == {"lasting": 1})

    async def test_a_lost_lease_ends_the_block(self, etcd: SharedEtcd) -> None:
        async with etcd.state([Path]) as state:

            async def hold() -> None:
                async with state.leased(LEASE) as leased:
                    await leased.create(path("mine"))
                    for lease in (await etcd.post("lease/leases", {}))["leases"]:
                        await etcd.post("lease/revoke", lease)
                    await trio.sleep(PATIENCE)

            with pytest.raises(UnavailableError, match="lease"):
                await hold()
            await until(lambda: not numbers(state))

    async def test_tasks_that_change_one_resource_at_once_take_turns(self, etcd: SharedEtcd) -> None:
        async with (
            ScriptedClient([etcd.endpoint]) as client,
            open_etcd(client, types=[Path], prefix=etcd.prefix()) as state,
        ):
            await state.until_available("")
            await state.create(path("disk"))

            async def label(name: str) -> None:
                await state.update_with_conflicts(
                    KIND, "disk", lambda known: known.with_labels(known.metadata.labels | {name: ""})
                )

            async def crowd() -> None:
                """While the first is at it the others wait, and one of them gives up; not who has nothing to write."""
                known = state.get(KIND, "disk")
                assert await state.update_with_conflicts(KIND, "disk", lambda current: current) is known
                with pytest.raises(PhaseConflictError):
                    await state.update_with_conflicts(
                        KIND, "disk", lambda current: current, expected_phase=Phase.TEARING_DOWN
                    )
                for number in range(1, 16):
                    nursery.start_soon(label, f"label-{number}")
                with trio.CancelScope() as impatient:
                    async with trio.open_nursery() as inner:
                        inner.start_soon(label, "given up")
                        await trio.testing.wait_all_tasks_blocked()
                        impatient.cancel()

            client.before_next, client.transactions = crowd, 0
            async with trio.open_nursery() as nursery:
                nursery.start_soon(label, "label-0")
            labels = {f"label-{number}": "" for number in range(16)}
            assert state.get(KIND, "disk").metadata.labels == labels
            # All at once took 89. One that a busy machine does not answer in time is sent again.
            assert 16 <= client.transactions < 32


class TestClosing:
    async def test_a_closed_state_is_read_and_refuses_writes(self, etcd: SharedEtcd) -> None:
        prefix = etcd.prefix()
        async with wired(etcd) as wire, trio.open_nursery() as nursery:
            async with etcd.state([Path], prefix=prefix, endpoint=wire.endpoint, patience=PATIENCE) as state:
                await state.create(path("disk"))
                wire.cut()

                async def write() -> None:
                    with pytest.raises(UnavailableError, match="closed; it may have been written"):
                        await state.create(path("waiting"))

                async def change(label: str, outcome: str) -> None:
                    with pytest.raises(UnavailableError, match=f"closed; {outcome}"):
                        await state.update_with_conflicts(KIND, "disk", lambda known: known.with_labels({label: ""}))

                nursery.start_soon(write)
                nursery.start_soon(change, "one", "it may have been written")
                await trio.testing.wait_all_tasks_blocked(0.01)
                nursery.start_soon(change, "other", "nothing was written")
                await trio.testing.wait_all_tasks_blocked(0.01)
            assert numbers(state) == {"disk": 1}
            with pytest.raises(UnavailableError, match="closed; nothing was written"):
                await state.create(path("late"))


class TestOutages:
    async def test_the_view_stays_and_says_since_when_and_afterwards_no_event_is_missed(self, etcd: SharedEtcd) -> None:
        prefix = etcd.prefix()
        async with (
            wired(etcd) as wire,
            etcd.state([Path], prefix=prefix) as one,
            etcd.state([Path], prefix=prefix, endpoint=wire.endpoint, patience=0) as cut,
            etcd.state([Path], prefix=prefix, endpoint=wire.endpoint, patience=PATIENCE) as patient,
            recorded(one, cut) as (all, received),
        ):
            await one.create(path("disk"))
            await until(lambda: bool(received.seen) and bool(patient.list(KIND)))
            wire.cut()
            await until(lambda: cut.outage("default") is not None and patient.outage("default") is not None)
            outage = cut.outage("default")
            assert outage is not None
            assert outage.is_loaded
            assert outage.since() <= time.time_ns()
            assert numbers(cut) == {"disk": 1}
            with pytest.raises(UnavailableError, match="nothing was written"):
                await cut.create(path("impatient"))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(patient.create, path("patient"))
                for number in range(3):
                    await one.add_finalizer(KIND, "disk", str(number))
                await one.create(path("new"))
                assert numbers(cut) == {"disk": 1}
                wire.heal()
            with trio.fail_after(PATIENCE):
                await cut.until_available("default")
            await until(lambda: numbers(cut) == numbers(one) == {"disk": 4, "new": 1, "patient": 1})
            await until(lambda: received.seen == all.seen)

    async def test_a_gap_that_etcd_has_forgotten_is_reported_as_changes_only(self, etcd: SharedEtcd) -> None:
        prefix = etcd.prefix()
        async with (
            wired(etcd) as wire,
            etcd.state([Path], prefix=prefix) as one,
            etcd.state([Path], prefix=prefix, endpoint=wire.endpoint) as cut,
            recorded(cut) as (received,),
        ):
            for id in ("changed", "gone", "replaced", "same"):
                await one.create(path(id))
            await until(lambda: len(received.seen) == 4)
            wire.cut()
            await until(lambda: cut.outage("default") is not None)
            before = received.events[-1].bookmark
            await one.add_finalizer(KIND, "changed", "A")
            await one.add_finalizer(KIND, "changed", "B")
            for id in ("gone", "replaced"):
                await one.destroy(KIND, id)
            await one.create(path("replaced"))
            await one.create(path("new"))
            foreign = (await one.create(path("last"))).metadata
            await etcd.compact()
            wire.heal()
            await until(lambda: numbers(cut) == numbers(one))
            await until(lambda: len(received.seen) == 10)
            assert sorted(received.seen[4:]) == [
                ("CREATED", "last", 1),
                ("CREATED", "new", 1),
                ("CREATED", "replaced", 1),
                ("DESTROYED", "gone", 1),
                ("DESTROYED", "replaced", 1),
                ("UPDATED", "changed", 3),
            ]
            assert foreign.version == 1
            # In this process the bookmark is good still; in another the history is gone.
            async with cut.watch_kind(KIND, start_from=before) as watch:
                assert (await anext(watch)).resource == received.events[4].resource
            async with etcd.state([Path], prefix=prefix) as other:
                with pytest.raises(InvalidBookmarkError):
                    await other.watch_kind(KIND, start_from=before).__aenter__()

    async def test_a_transaction_whose_answer_is_lost_is_done_once(self, etcd: SharedEtcd) -> None:
        async with (
            ScriptedClient([etcd.endpoint]) as client,
            open_etcd(client, types=[Path], prefix=etcd.prefix()) as state,
            recorded(state) as (events,),
        ):
            await state.until_available("")
            client.loses_next = True
            made = await state.create(path("disk"))
            client.loses_next = True
            await state.update(made.with_labels({"app": "web"}))
            client.loses_next = True
            await state.destroy(KIND, "disk")
            assert not client.loses_next
            await until(lambda: len(events.seen) == 3)
            assert events.seen == [("CREATED", "disk", 1), ("UPDATED", "disk", 2), ("DESTROYED", "disk", 2)]

    async def test_a_full_etcd_is_read_refuses_writes_and_is_written_again_when_there_is_room(self) -> None:
        with running_etcd("--quota-backend-bytes", str(16 << 20)) as full:
            async with full.state([Path]) as state, EtcdClient([full.endpoint]) as client:
                await state.create(path("before"))

                async def fill() -> None:
                    for number in range(100):
                        await client.put(f"/ballast/{number}".encode(), bytes(1 << 20))

                with pytest.raises(RefusedError, match="space exceeded"):
                    await fill()
                with pytest.raises(UnavailableError, match="database space exceeded; nothing was written"):
                    await state.create(path("refused"))
                outage = state.outage("default")
                assert outage is not None
                assert "space exceeded" in outage.reason
                assert numbers(state) == {"before": 1}
                await client.delete(b"/ballast/", prefix=True)
                await full.compact()
                await full.post("maintenance/defragment", {})
                for alarm in (await full.post("maintenance/alarm", {"action": "GET"}))["alarms"]:
                    await full.post("maintenance/alarm", {"action": "DEACTIVATE", **alarm})
                with trio.fail_after(PATIENCE):
                    await state.until_available("default")
                await state.create(path("after"))
                assert numbers(state) == {"after": 1, "before": 1}

    async def test_a_restored_past_is_reported_as_changes_and_written_on(self) -> None:
        async with (
            etcd_cluster(1) as cluster,
            EtcdClient(cluster.endpoints) as client,
            open_etcd(client, types=[Path], patience=PATIENCE) as state,
            recorded(state) as (events,),
        ):
            await state.until_available("")
            await state.create(path("kept"))
            saved = await cluster.save()
            await state.add_finalizer(KIND, "kept", "A")
            await state.create(path("lost"))
            await cluster.restore(saved)
            await until(lambda: numbers(state) == {"kept": 1})
            assert (await state.create(path("lost"))).metadata.version == 1
            assert (await state.update(state.get(KIND, "kept"))).metadata.version == 2
            await until(lambda: len(events.seen) == 8)
            assert events.seen[3:] == [
                ("DESTROYED", "lost", 1),
                ("DESTROYED", "kept", 2),
                ("CREATED", "kept", 1),
                ("CREATED", "lost", 1),
                ("UPDATED", "kept", 2),
            ]


class TestValues:
    async def test_what_others_wrote_is_named_and_stops_nothing(self, etcd: SharedEtcd) -> None:
        prefix = etcd.prefix()
        async with etcd.state([Path], prefix=prefix) as state, EtcdClient([etcd.endpoint]) as client:
            await state.create(path("good"))
            await state.create(path("spoilt"))
            root = f"{prefix}/default/Paths.os.cosi.dev/"
            head = '{"nodespan":1,"write":"0123456789abcdef",'
            deep = "[" * 50_000 + "]" * 50_000
            for id, value in {
                "spoilt": "x",
                "text": "hello",
                "new-format": '{"nodespan":2,"write":"0123456789abcdef","spec":{}}',
                "no-owner": head + '"phase":"running","created":1,"updated":1,"spec":{}}',
                "odd-phase": head + '"owner":"","phase":"odd","created":1,"updated":1,"spec":{}}',
                "odd-time": head + '"owner":"","phase":"running","created":-1,"updated":1e400,"spec":{}}',
                "odd-labels": head + '"owner":"","phase":"running","created":1,"updated":1,"labels":[1],"spec":{}}',
                "odd-spec": head + '"owner":"","phase":"running","created":1,"updated":1,"spec":{"more":1}}',
                "deep": head + f'"owner":"","phase":"running","created":1,"updated":1,"spec":{deep}}}',
            }.items():
                await client.put(f"{root}{id}".encode(), value.encode())
            for key in ("default", "default/Paths.os.cosi.dev/a/b", "%64efault/Paths.os.cosi.dev/x"):
                await client.put(f"{prefix}/{key}".encode(), b"{}")
            await client.put(f"{prefix}/default/Strangers.test.dev/x".encode(), (head + '"spec":{}}').encode())
            later = await state.create(path("later"))
            assert state.get(KIND, "later") == later
            assert numbers(state) == {"good": 1, "spoilt": 1, "later": 1}
            named = {pointer.id for pointer in state.unreadable}
            assert {"spoilt", "text", "new-format", "no-owner", "odd-phase", "odd-time", "odd-labels"} <= named
            assert {"odd-spec", "deep", f"{prefix}/default"} <= named
            assert "x" not in named  # a type that others know
            for write in (
                state.create(path("text")),
                state.update(state.get(KIND, "spoilt")),
                state.destroy(KIND, "spoilt"),
            ):
                with pytest.raises(StateError, match="cannot be read"):
                    await write
            await client.delete(f"{root}spoilt".encode())
            await until(lambda: "spoilt" not in numbers(state))
            assert (await state.create(path("spoilt"))).metadata.version == 1

    async def test_secrets_are_sealed_and_bound_to_their_place(self, etcd: SharedEtcd, tmp_path: FilePath) -> None:
        prefix, key, other = etcd.prefix(), tmp_path / "key", tmp_path / "other"
        make_key(key)
        make_key(other)
        secret = secrets.token_hex(16)
        kind: Kind[SecretSpec] = Secret.kind
        async with (
            etcd.state([Secret], prefix=prefix, key=key) as state,
            EtcdClient([etcd.endpoint]) as client,
        ):
            await state.create(Secret.new("a", SecretSpec(secret)))
            (stored,) = (await client.range(prefix.encode(), prefix=True)).key_values
            assert secret.encode() not in stored.value
            assert base64.b64encode(secret.encode())[:20] not in stored.value
            await client.put(stored.key[:-1] + b"b", stored.value)
            async with etcd.state([Secret], prefix=prefix, key=key) as same:
                assert same.get(kind, "a").spec.text == secret
                assert {pointer.id for pointer in same.unreadable} == {"b"}
            for wrong in (other, None):
                async with etcd.state([Secret], prefix=prefix, key=wrong) as blind:
                    assert blind.list(kind) == []
                    assert {pointer.id for pointer in blind.unreadable} == {"a", "b"}
                    assert not any(secret in reason for reason in blind.unreadable.values())


class TestByURL:
    async def test_a_configuration_opens_it(self, etcd: SharedEtcd, tmp_path: FilePath) -> None:
        make_key(tmp_path / "seal")
        configured = StateSettings(url=f"etcd:{etcd.endpoint}", prefix=etcd.prefix(), seal_key="seal", patience="7")
        settings = attrs.asdict(configured, filter=lambda field, value: bool(value) and field.name != "url")
        options = StateOptions(state_dir=tmp_path, types=(Secret,), settings=settings)
        async with open_state(configured.url, options) as state:
            await state.create(Secret.new("a", SecretSpec("hidden")))
            async with etcd.state([Secret], prefix=configured.prefix, key=tmp_path / "seal") as same:
                assert same.get(Secret, "a").spec.text == "hidden"

    async def test_one_out_of_reach_is_said(self, monkeypatch: pytest.MonkeyPatch, tmp_path: FilePath) -> None:
        monkeypatch.setattr(nodespan.etcd.opening, "_OPEN_WITHIN", 0.5)
        (place,) = loopback(1)
        url = f"etcd:{place.url(place.client_port)}"
        with pytest.raises(StateOpenError, match=r"refused|no member|not connected"):
            await open_state(url, StateOptions(state_dir=tmp_path)).__aenter__()
        async with open_state(url, StateOptions(state_dir=tmp_path, wait=True)) as state:
            outage = state.outage("default")
            assert outage is not None
            assert not outage.is_loaded

    @pytest.mark.parametrize(
        ("settings", "problem"),
        [({"colour": "red"}, "no setting"), ({"patience": "long"}, "seconds"), ({"ca": "none.pem"}, "none.pem")],
    )
    async def test_a_bad_setting_is_said(self, settings: dict[str, str], problem: str, tmp_path: FilePath) -> None:
        with pytest.raises(StateOpenError, match=problem):
            await open_state("etcd:https://a:1", StateOptions(state_dir=tmp_path, settings=settings)).__aenter__()
