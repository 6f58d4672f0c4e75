"""The service on states that last: nothing acknowledged is lost, and what takes time to be stored breaks no rule."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from nodespan.discovery.service import rules
from nodespan.discovery.service.affiliate import Affiliate, AffiliateSpec, EndpointRecord, address_of, affiliate_id
from nodespan.discovery.service.cluster import Clusters
from nodespan.discovery.service.server import Bound, DiscoveryOptions, serve_discovery
from nodespan.runtime.api.grpc import Code, RPCError
from nodespan.runtime.cli import main
from nodespan.runtime.errors import ConflictError, UnavailableError
from nodespan.runtime.resource import KindLike, Resource
from nodespan.runtime.state import MemoryState
from tests.discovery.service.house import SECOND, open_house
from tests.discovery.service.rpc import connected
from tests.support.deadlines import PATIENCE
from tests.support.ports import free_port
from tests.support.process import running

HERE = DiscoveryOptions(listen=("127.0.0.1", 0))


class SlowState(MemoryState):
    """A state that is kept elsewhere: writes wait."""

    async def create(self, resource: Resource[Any], *, owner: str = "") -> Resource[Any]:
        await trio.sleep(1)
        return await super().create(resource, owner=owner)

    async def update(self, resource: Resource[Any], **options: Any) -> Resource[Any]:
        await trio.sleep(1)
        return await super().update(resource, **options)


class BrokenState(MemoryState):
    """A state out of reach."""

    async def create(self, resource: Resource[Any], *, owner: str = "") -> Resource[Any]:
        raise UnavailableError("etcd is gone")

    async def destroy(self, kind: KindLike[Any], id: str, *, owner: str = "") -> None:
        raise UnavailableError("etcd is gone")


class BusyState(MemoryState):
    """Whatever is to be destroyed was just changed by another."""

    async def destroy(self, kind: KindLike[Any], id: str, *, owner: str = "") -> None:
        raise ConflictError("changed by another process")


@asynccontextmanager
async def service(options: DiscoveryOptions, **named: Any) -> AsyncIterator[Bound]:
    async with trio.open_nursery() as nursery:
        yield await nursery.start(lambda task_status: serve_discovery(options, task_status=task_status, **named))
        nursery.cancel_scope.cancel()


@pytest.mark.virtual_clock
async def test_a_cluster_has_its_bound_also_while_affiliates_are_being_stored() -> None:
    refusals: list[Code] = []

    async with open_house(state=SlowState()) as house:

        async def join(id: str) -> None:
            try:
                await house.update(id, b"data")
            except RPCError as error:
                refusals.append(error.code)

        async with trio.open_nursery() as nursery:
            for number in range(rules.MAX_AFFILIATES + 3):
                nursery.start_soon(join, str(number))
            nursery.start_soon(join, "0")
        assert len(await house.list()) == rules.MAX_AFFILIATES
        assert refusals == [Code.RESOURCE_EXHAUSTED] * 3
        await house.delete("0")
        await house.update("new", b"data")


@pytest.mark.virtual_clock
async def test_what_is_being_announced_again_is_not_collected() -> None:
    async with open_house(state=SlowState()) as house:
        await house.update("a", b"data", ttl=1)
        house.seconds += 10
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: house.update("a", b"data", ttl=100))
            await trio.testing.wait_all_tasks_blocked()
            assert await house.service.collect() == 0
        assert list(await house.list()) == ["a"]


@pytest.mark.virtual_clock
async def test_an_unreachable_state_is_reported_to_clients_and_does_not_end_the_service() -> None:
    state = BrokenState()
    old = Affiliate.new(affiliate_id("c", "old"), AffiliateSpec(cluster="c", affiliate="old"))
    await MemoryState.create(state, old)
    async with open_house(state=state) as house:
        for call in (house.update("new", b"data"), house.delete("old")):
            with pytest.raises(RPCError, match="etcd is gone") as refusal:
                await call
            assert refusal.value.code is Code.UNAVAILABLE
        assert await house.service.collect() == 0
        assert list(await house.list()) == ["old"]


@pytest.mark.virtual_clock
async def test_what_is_announced_at_another_instance_meanwhile_does_not_expire() -> None:
    async with open_house(state=BusyState()) as house:
        await house.update("a", b"data", ttl=1)
        house.seconds += 10
        assert await house.service.collect() == 0
        assert list(await house.list()) == ["a"]


def affiliate(**changes: Any) -> Resource[AffiliateSpec]:
    spec = AffiliateSpec(cluster="c/%", affiliate="a/b", data=b"d", endpoints=(EndpointRecord(data=b"e", expiry=1),))
    return Affiliate.new(affiliate_id("c/%", "a/b"), attrs.evolve(spec, **changes))


def test_an_id_leads_back_to_cluster_and_affiliate() -> None:
    assert address_of(affiliate_id("c/%", "a/b")) == ("c/%", "a/b")


@pytest.mark.parametrize(
    "changes",
    [
        {"cluster": "other"},
        {"affiliate": "other"},
        {"data": b"d" * (rules.MAX_DATA + 1)},
        {"endpoints": (EndpointRecord(data=b"e" * (rules.MAX_ENDPOINT + 1), expiry=1),)},
        {"endpoints": tuple(EndpointRecord(data=bytes((n,)), expiry=1) for n in range(rules.MAX_ENDPOINTS + 1))},
    ],
)
async def test_what_others_store_against_the_rules_is_not_served(changes: dict[str, Any]) -> None:
    state = MemoryState()
    async with trio.open_nursery() as nursery:
        clusters = Clusters(state, nursery, checked=True)
        sound = await state.create(affiliate())
        cluster = clusters.find("c/%")
        assert cluster is not None
        assert list(cluster.affiliates) == ["a/b"]
        await state.update(sound.with_spec(affiliate(**changes).spec))
        assert not cluster.affiliates
        assert clusters.find("other") is None
        nursery.cancel_scope.cancel()


async def test_the_snapshot_is_taken_over_once(tmp_path: Path) -> None:
    snapshot = tmp_path / "state.binpb"
    async with service(attrs.evolve(HERE, snapshot=snapshot)) as bound, connected(bound.port) as client:
        for id in ("a", "b"):
            await client.update(id, id.encode())
    lasting = attrs.evolve(HERE, snapshot=snapshot, state="sqlite:records.db", state_dir=tmp_path)
    async with service(lasting) as bound, connected(bound.port) as client:
        assert await client.list() == {"a": b"a", "b": b"b"}
        await client.update("a", b"new")
    assert not snapshot.exists()
    assert (tmp_path / "state.binpb.migrated").exists()
    async with service(lasting) as bound, connected(bound.port) as client:
        assert await client.list() == {"a": b"new", "b": b"b"}


@pytest.mark.parametrize(("grace", "left"), [(600.0, {"a": b"data"}), (0.0, {})])
async def test_what_expired_during_an_outage_is_kept_for_a_while(
    grace: float, left: dict[str, bytes], tmp_path: Path
) -> None:
    options = attrs.evolve(HERE, state="sqlite:records.db", state_dir=tmp_path, grace=grace)
    async with service(options, now=lambda: SECOND) as bound, connected(bound.port) as client:
        await client.update("a", b"data", ttl=60)
    async with service(options, now=lambda: 1000 * SECOND) as bound, connected(bound.port) as client:
        assert await client.list() == left


async def test_no_acknowledged_announcement_is_lost_by_a_kill(tmp_path: Path) -> None:
    port = free_port()
    nodespan = "import sys; from nodespan.runtime.cli import main; sys.exit(main(sys.argv[1:]))"
    words = ("discovery", "serve", "--insecure", "--listen", f"127.0.0.1:{port}", "--rate-limit", "0")
    lasting = ("--snapshot", "", "--state", "sqlite:records.db", "--state-dir", str(tmp_path), "--log-level", "error")
    command = (sys.executable, "-c", nodespan, *words, *lasting)
    acknowledged: dict[str, bytes] = {}
    sent: dict[str, set[bytes]] = {}
    endings: list[Code] = []

    async def announce(name: str) -> None:
        async with connected(port) as client:
            for number in range(1_000_000):
                id, data = f"{name}-{number % 50}", str(number).encode()
                sent.setdefault(id, set()).add(data)
                await client.update(id, data)
                acknowledged[id] = data
                sent[id] = {data}

    async with running(*command) as process:
        await _answering(port)
        async with trio.open_nursery() as nursery:

            async def announce_until_killed(name: str) -> None:
                with pytest.raises(RPCError) as ended:
                    await announce(name)
                endings.append(ended.value.code)

            for name in "abcd":
                nursery.start_soon(announce_until_killed, name)
            with trio.fail_after(PATIENCE):
                while len(acknowledged) < 150:  # noqa: ASYNC110 (counted by other tasks)
                    await trio.sleep(0.01)
            process.kill()
            await process.wait()
    async with running(*command):
        await _answering(port)
        async with connected(port) as client:
            found = await client.list()
    assert endings == [Code.UNAVAILABLE] * 4
    assert found.keys() >= acknowledged.keys()
    # What was sent last may have been stored without an answer.
    assert all(found[id] in sent[id] for id in found)


async def _answering(port: int) -> None:
    with trio.fail_after(PATIENCE):
        while True:
            try:
                stream = await trio.open_tcp_stream("127.0.0.1", port)
            except OSError:
                await trio.sleep(0.02)
            else:
                await stream.aclose()
                return


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--state", "nowhere"), "it begins with"),
        (("--state", "sqlite:"), "missing"),
        (("--state", "etcd:x", "--state-setting", "ca"), "NAME=VALUE"),
        (("--state", "sqlite:x", "--embedded"), "give no --state"),
        (("--state", "etcd:ftp://a", "--snapshot", ""), "not an etcd endpoint"),
        (("--state", "etcd:http://a", "--state-setting", "cat=x", "--snapshot", ""), "no setting of a state on etcd"),
    ],
)
def test_a_bad_state_is_refused(words: tuple[str, ...], problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["discovery", "serve", "--insecure", "--listen", "127.0.0.1:0", *words]) != 0
    assert problem in capsys.readouterr().err
