"""The etcd client against real clusters, whose members are killed, stopped, cut off, restarted and restored."""

import base64
import contextlib
import itertools
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

import nodespan.etcd.watch
from nodespan.etcd import (
    AuthError,
    CompactedError,
    Compare,
    Credentials,
    Delete,
    DeleteAnswer,
    Election,
    EtcdClient,
    EventKind,
    Get,
    HistoryError,
    KeyValue,
    LeaderRecord,
    LeaseGoneError,
    LeaseKeeper,
    NotLeaderError,
    Put,
    RangeAnswer,
    RefusedError,
    Sort,
    TLSFiles,
    UnavailableError,
    beat_interval,
    boot_time,
    kept_lease,
    observe,
    settling_time,
)
from nodespan.etcd.values import prefix_end
from tests.support.certificates import Authority
from tests.support.deadlines import PATIENCE
from tests.support.etcd import Cluster, Member, Place, etcd_cluster, loopback
from tests.support.netns import Namespace, namespace
from tests.support.process import stop

pytestmark = pytest.mark.needs_program("etcd")

PREFIX = "talos:v1:vip:election:192.0.2.10/"
# The least that etcd grants with fast timers is 1, with its own 2.
TTL = 2.0


@contextlib.asynccontextmanager
async def connected(members: int | Sequence[Place] = 1, **options: Any) -> AsyncIterator[tuple[Cluster, EtcdClient]]:
    async with (
        etcd_cluster(members, **options) as cluster,
        EtcdClient(cluster.endpoints, tls=cluster.tls) as client,
    ):
        yield cluster, client


@contextlib.asynccontextmanager
async def candidate(
    client: EtcdClient, value: str = "node", *, ttl: float = TTL, settle: float | None = 0
) -> AsyncIterator[tuple[LeaseKeeper, Election]]:
    async with kept_lease(client, ttl) as keeper:
        yield keeper, Election(client, keeper, prefix=PREFIX, value=value, settle=settle)


def seconds_since(began: float) -> float:
    return trio.current_time() - began


async def until(check: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something at etcd, or a thing that follows from it, is so."""
    with trio.fail_after(PATIENCE):
        while not await check():  # noqa: ASYNC110 (polled)
            await trio.sleep(0.01)


async def standing(client: EtcdClient, count: int) -> None:
    """Wait until so many candidates stand in the queue."""

    async def stand() -> bool:
        return (await client.range(PREFIX.encode(), prefix=True)).count >= count

    await until(stand)


async def leader_seen(observed: AsyncIterator[LeaderRecord | None]) -> str | None:
    leader = await anext(observed)
    return leader.value if leader else None


class TestKeys:
    async def test_written_keys_are_read_back_by_every_kind_of_query(self) -> None:
        async with connected() as (_, client):
            lease = await client.grant(30)
            for name, value in ((b"a/2", b"\x00\xff"), (b"a/1", b"first"), (b"b", b"")):
                header = await client.put(name, value, lease=lease.id if name == b"b" else 0)
            await client.put(b"a/2", b"again")

            found = await client.range(b"a/2")
            assert found.key_values == (
                KeyValue(key=b"a/2", value=b"again", create_revision=2, mod_revision=5, version=2),
            )
            assert (found.count, found.header.revision, header.revision) == (1, 5, 4)
            assert (await client.range(b"b")).key_values[0].lease == lease.id
            assert (await client.range(b"none")).key_values == ()

            async def keys(**options: Any) -> list[bytes]:
                return [each.key for each in (await client.range(b"a/", prefix=True, **options)).key_values]

            assert await keys() == [b"a/1", b"a/2"]
            assert await keys(sort=Sort.CREATED_ASCENDING) == [b"a/2", b"a/1"]
            assert await keys(sort=Sort.CREATED_DESCENDING) == [b"a/1", b"a/2"]
            assert await keys(sort=Sort.MODIFIED_DESCENDING) == [b"a/2", b"a/1"]
            assert await keys(sort=Sort.KEY_ASCENDING, limit=1) == [b"a/1"]
            assert await keys(max_create_revision=2) == [b"a/2"]
            assert await keys(serializable=True) == [b"a/1", b"a/2"]
            assert (await client.range(b"a/2", keys_only=True)).key_values[0].value == b""
            assert (await client.range(b"", prefix=True)).count == 3
            assert await client.delete(b"a/", prefix=True) == 2
            assert await client.delete(b"a/", prefix=True) == 0
            assert (await client.time_to_live(lease.id)).keys == (b"b",)

    async def test_a_transaction_takes_exactly_one_branch(self) -> None:
        async with connected() as (_, client):
            create = {"compare": [Compare.created(b"k", 0)], "success": [Put(key=b"k", value=b"1"), Get(key=b"k")]}
            made = await client.txn(**create)  # type: ignore[arg-type]
            got = made.answers[1]
            assert made.succeeded
            assert isinstance(got, RangeAnswer)
            own = got.key_values[0]
            assert own.create_revision == made.header.revision
            assert not (await client.txn(**create)).succeeded  # type: ignore[arg-type]
            for compare, holds in (
                (Compare.modified(b"k", own.mod_revision), True),
                (Compare.modified(b"k", own.mod_revision + 1), False),
                (Compare.has_value(b"k", b"1"), True),
                (Compare.has_value(b"k", b"2"), False),
                (Compare.created(b"k", own.create_revision), True),
            ):
                assert (await client.txn(compare=[compare])).succeeded is holds
            gone = await client.txn(compare=[Compare.created(b"k", 0)], failure=[Delete(key=b"k")])
            assert isinstance(gone.answers[0], DeleteAnswer)
            assert gone.answers[0].deleted == 1

    async def test_rejections_carry_etcds_own_message(self) -> None:
        async with connected() as (_, client):
            with pytest.raises(RefusedError, match="key is not provided"):
                await client.put(b"", b"x")

    async def test_an_expired_lease_is_never_renewed(self) -> None:
        async with connected() as (_, client):
            lease = await client.grant(5)
            assert (await client.keepalive(lease.id)).ttl == lease.ttl == 5
            assert (await client.time_to_live(lease.id)).granted_ttl == 5
            await client.revoke(lease.id)
            await client.revoke(lease.id)
            with pytest.raises(LeaseGoneError):
                await client.keepalive(lease.id)
            with pytest.raises(LeaseGoneError):
                await client.time_to_live(lease.id)
            with pytest.raises(LeaseGoneError):
                await client.put(b"k", b"v", lease=lease.id)


class TestFailOver:
    async def test_calls_continue_when_a_member_is_killed_or_stopped(self) -> None:
        async with connected(3) as (cluster, client):
            await client.put(b"k", b"v")
            leader = await cluster.leader()
            others = [member for member in cluster.members if member is not leader]
            await others[0].kill()
            assert (await client.range(b"k")).count == 1
            await others[0].start()
            await cluster.healthy()
            others[1].stop()
            for _ in range(3):
                assert (await client.range(b"k")).count == 1
            # The member that serves is remembered, whatever was asked before.
            assert client._members.in_order[0] == leader.endpoint
            troubles = {status.endpoint: status.trouble for status in await client.status()}
            assert troubles[leader.endpoint] == ""
            assert "no answer" in troubles[others[1].endpoint]

    async def test_a_read_fails_over_from_a_stopped_member_at_once(self) -> None:
        async with connected(3) as (cluster, client):
            await client.range(b"k")
            await cluster.leader()
            cluster.members[0].stop()
            # Not when its time is over, but long before.
            with trio.fail_after(PATIENCE / 2):
                await client.range(b"k", within=PATIENCE)

    async def test_a_write_is_not_retried_once_a_member_may_have_received_it(self) -> None:
        async with connected(3) as (cluster, client):
            await client.put(b"k", b"v")
            preferred = next(m for m in cluster.members if m.endpoint == client._members.in_order[0])
            preferred.stop()
            with pytest.raises(UnavailableError) as failed:
                await client.put(b"k", b"w")
            assert failed.value.maybe_applied
            assert list(failed.value.reasons) == [preferred.endpoint]
            with trio.fail_after(PATIENCE):
                while True:
                    with contextlib.suppress(UnavailableError):
                        await client.put(b"k", b"x")
                        break
            await preferred.kill()
            assert (await client.range(b"k")).key_values[0].value == b"x"

    async def test_without_a_quorum_the_error_names_each_member_and_its_reason(self) -> None:
        async with connected(3) as (cluster, client):
            await cluster.members[1].kill()
            await cluster.members[2].kill()
            with pytest.raises(UnavailableError, match=r"connection refused.*connection refused") as failed:
                await client.range(b"k", within=3.0)
            assert set(failed.value.reasons) == set(cluster.endpoints)
            await trio.sleep(0.5)
            assert (await client.range(b"k", serializable=True)).count == 0
            assert "no leader" in (await client.status())[0].trouble
            await cluster.members[1].start()
            await client.range(b"k", within=PATIENCE)


class TestWatch:
    @pytest.mark.parametrize("how", ["kill", "stop", "terminate"])
    async def test_a_watch_survives_the_loss_of_its_member_without_gaps(
        self, how: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(nodespan.etcd.watch, "_GIVE_UP", PATIENCE)
        async with connected(3) as (cluster, client):
            first = await client.put(b"k/0", b"")
            await client.put(b"other", b"")
            async with client.watch(b"k/", prefix=True, from_revision=first.revision) as events:
                assert (await anext(events)).key_value.key == b"k/0"
                watched = next(m for m in cluster.members if m.endpoint == client._members.in_order[0])
                if how == "stop":
                    watched.stop()
                else:
                    await (watched.kill() if how == "kill" else watched.terminate())
                async with EtcdClient([m.endpoint for m in cluster.members if m is not watched]) as writer:
                    for number in range(1, 6):
                        await writer.txn(success=[Put(key=b"k/%d" % number, value=b"")], repeat=True, within=PATIENCE)
                    await writer.delete(b"k/0")
                seen = [await anext(events)]
                while seen[-1].kind is not EventKind.DELETE:
                    seen.append(await anext(events))
                revisions = [event.key_value.mod_revision for event in seen]
                assert revisions == sorted(set(revisions))
                # A transaction whose answer was lost with the leader is repeated, and is two events then.
                keys = [key for key, _ in itertools.groupby(event.key_value.key for event in seen)]
                assert keys == [b"k/%d" % number for number in (1, 2, 3, 4, 5, 0)]

    async def test_a_lost_quorum_ends_a_watch_whose_stream_is_merely_silent(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(nodespan.etcd.watch, "_GIVE_UP", 1.0)
        async with connected(3) as (cluster, client), client.watch(b"k", from_revision=1) as events:
            await client.put(b"k", b"v")
            await anext(events)
            cluster.members[1].stop()
            cluster.members[2].stop()
            with pytest.raises(UnavailableError):
                await anext(events)

    async def test_a_compacted_or_replaced_history_is_an_error(self) -> None:
        async with connected() as (cluster, client):
            for _ in range(5):
                revision = (await client.put(b"k", b"")).revision
            await cluster.members[0].ask("kv/compaction", {"revision": str(revision)})
            async with client.watch(b"k", from_revision=2) as events:
                with pytest.raises(CompactedError) as compacted:
                    await anext(events)
                assert compacted.value.revision == revision
            async with client.watch(b"k", from_revision=revision + 10) as events:
                with pytest.raises(HistoryError, match="snapshot"):
                    await anext(events)

    async def test_a_slow_watcher_still_receives_every_event(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(nodespan.etcd.watch, "_MOST_WAITING", 2)
        async with connected() as (_, client), client.watch(b"k", from_revision=1) as events:
            revisions = [(await client.put(b"k", b"")).revision for _ in range(20)]
            await trio.sleep(0.1)
            assert [(await anext(events)).key_value.mod_revision for _ in range(20)] == revisions


class TestTLS:
    @pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
    async def test_members_and_clients_authenticate_by_certificate(self, tmp_path: Path, address: str) -> None:
        async with connected(loopback(1, address), tls=True) as (cluster, client):
            assert cluster.tls is not None
            await client.put(b"k", b"v")
            async with client.watch(b"k", from_revision=1) as events:
                assert (await anext(events)).key_value.value == b"v"
            async with candidate(client) as (_, election):
                await election.campaign()

            foreign = tmp_path / "foreign.crt"
            foreign.write_bytes(Authority("somebody else").pem)
            wrong = attrs.evolve(cluster.tls, ca=foreign)
            async with EtcdClient(cluster.endpoints, tls=wrong) as mistaken:
                with pytest.raises(UnavailableError, match="certificate is not trusted"):
                    await mistaken.range(b"k", within=2.0)
            async with EtcdClient(cluster.endpoints, tls=TLSFiles(ca=cluster.tls.ca)) as nobody:
                with pytest.raises(UnavailableError, match="it may want a client certificate"):
                    await nobody.range(b"k", within=2.0)


class TestUsers:
    """Of an etcd with users, one of whom may use the election and nothing else."""

    @staticmethod
    async def _enable(member: Member) -> None:
        end = prefix_end(PREFIX.encode()).decode()
        permission = {"permType": "READWRITE", "key": base64_text(PREFIX), "range_end": base64_text(end)}
        for path, request in (
            ("user/add", {"name": "root", "password": "r"}),
            ("role/add", {"name": "root"}),
            ("user/grant", {"user": "root", "role": "root"}),
            ("user/add", {"name": "node", "password": "first"}),
            ("role/add", {"name": "elector"}),
            ("role/grant", {"name": "elector", "perm": permission}),
            ("user/grant", {"user": "node", "role": "elector"}),
            ("enable", {}),
        ):
            assert "header" in await member.ask(f"auth/{path}", request, within=PATIENCE)

    async def test_users_are_logged_in_and_held_to_their_roles(self, tmp_path: Path) -> None:
        password = tmp_path / "password"
        password.write_text("first\n")
        async with etcd_cluster(1, arguments=("--bcrypt-cost", "4")) as cluster:
            (member,) = cluster.members
            early = Credentials("node", "first")
            async with EtcdClient(cluster.endpoints, credentials=early) as client:
                # Where there are no users, none is needed; and once there are, the login follows.
                await client.range(PREFIX.encode())
                await self._enable(member)
                await client.range(PREFIX.encode())
                (known,) = await client.members()
                assert (known.name, known.client_urls) == (member.name, (member.endpoint,))
            for credentials, said in (
                (None, "user name is empty"),
                (Credentials("node", "wrong"), "authentication failed"),
                (Credentials("node", password_file=tmp_path / "missing"), "password of this client .* no such file"),
            ):
                async with EtcdClient(cluster.endpoints, credentials=credentials) as stranger:
                    with pytest.raises(AuthError, match=said):
                        await stranger.range(PREFIX.encode())
            user = Credentials("node", password_file=password)
            async with EtcdClient(cluster.endpoints, credentials=user) as client:
                async with kept_lease(client, TTL, probe=PREFIX.encode()) as keeper:
                    await keeper.wait_renewed()
                    election = Election(client, keeper, prefix=PREFIX, value="node", settle=0)
                    await (await election.campaign()).confirm()
                    assert await anext(observe(client, PREFIX)) is not None
                with pytest.raises(AuthError, match="permission denied"):
                    await client.put(b"other", b"v")
                async with client.watch(b"other", from_revision=1) as events:
                    with pytest.raises(AuthError, match="permission denied"):
                        await anext(events)
                # A new password ends all tokens; so does a restart of the member.
                async with EtcdClient(cluster.endpoints, credentials=Credentials("root", "r")) as root:
                    async with client.watch(PREFIX.encode(), prefix=True, from_revision=1) as events:
                        token = (await anext(events)).key_value.key
                        assert token.startswith(PREFIX.encode())
                    await root.put(b"other", b"v")
                change = {"name": "node", "password": "second"}
                assert "header" in await member.ask(
                    "auth/user/changepw", change, token=await _token(member), within=PATIENCE
                )
                password.write_text("second")
                await client.range(PREFIX.encode())
                async with client.watch(PREFIX.encode(), prefix=True, from_revision=1) as events:
                    await anext(events)
                await member.restart()
                await client.range(PREFIX.encode(), within=PATIENCE)


async def _token(member: Member) -> str:
    answer = await member.ask("auth/authenticate", {"name": "root", "password": "r"}, within=PATIENCE)
    return str(answer["token"])


class TestElection:
    async def test_candidates_lead_in_order_of_arrival_and_hand_over_at_once(self) -> None:
        async with connected(3) as (_, client):
            order: list[str] = []
            release = {name: trio.Event() for name in "abc"}
            leads = {name: trio.Event() for name in "abc"}

            async def take_part(name: str) -> None:
                async with candidate(client, name) as (_, election):
                    await election.campaign()
                    order.append(name)
                    leads[name].set()
                    await release[name].wait()
                    assert await election.resign()
                    assert not await election.resign()

            observed = observe(client, PREFIX)

            async with trio.open_nursery() as nursery:
                assert await anext(observed) is None
                for count, name in enumerate("abc", 1):
                    nursery.start_soon(take_part, name)
                    await standing(client, count)
                for name in "abc":
                    with trio.fail_after(PATIENCE):
                        await leads[name].wait()
                    assert order[-1] == name
                    assert await leader_seen(observed) == name
                    release[name].set()
            assert await leader_seen(observed) is None
            assert order == ["a", "b", "c"]

    async def test_election_keys_are_compatible_with_etcds_own(self) -> None:
        async with connected() as (cluster, client):
            (member,) = cluster.members
            foreign = await client.grant(30)
            name = {"name": base64_text(PREFIX.removesuffix("/")), "lease": str(foreign.id)}
            won = await member.ask("election/campaign", {**name, "value": base64_text("foreign")})
            async with candidate(client, "own") as (_, election), trio.open_nursery() as nursery:
                leader = await election.leader()
                assert leader is not None
                assert (leader.value, leader.key, leader.lease) == ("foreign", f"{PREFIX}{foreign.hex}", foreign.id)
                nursery.start_soon(election.campaign)
                await standing(client, 2)
                assert [each.value for each in await election.candidates()] == ["foreign", "own"]
                await member.ask("election/resign", {"leader": won["leader"]})
            # The foreign candidate waits for ours in turn.
            async with candidate(client, "own") as (_, election), trio.open_nursery() as nursery:
                await election.campaign()
                question = {**name, "value": base64_text("foreign")}
                nursery.start_soon(lambda: member.ask("election/campaign", question, within=PATIENCE))
                await standing(client, 2)
                await election.proclaim("still own")
                await election.proclaim("still own")
                leader = await election.leader()
                assert leader is not None
                assert leader.value == "still own"
                await election.resign()
            leader = await election.leader()
            assert leader is not None
            assert leader.value == "foreign"

    async def test_a_waiting_candidate_whose_lease_is_revoked_never_leads(self) -> None:
        async with connected() as (_, client), candidate(client, "a") as (_, first):
            await first.campaign()
            async with candidate(client, "b") as (keeper, second):

                async def fail() -> None:
                    with pytest.raises(LeaseGoneError):
                        await second.campaign()

                async with trio.open_nursery() as nursery:
                    nursery.start_soon(fail)
                    await standing(client, 2)
                    await client.revoke(keeper.lease.id)
                    await first.resign()
                assert keeper.lost is not None
                with pytest.raises(NotLeaderError):
                    await second.proclaim("b")

    async def test_a_deleted_key_counts_as_a_lost_lease(self) -> None:
        async with connected() as (_, client), candidate(client) as (keeper, election):
            leadership = await election.campaign()
            await leadership.confirm()
            await client.delete(election.key.encode())
            with trio.fail_after(PATIENCE):
                assert "deleted" in await keeper.wait_invalid()
            assert not keeper.is_valid
            with pytest.raises(NotLeaderError):
                await leadership.confirm()

    async def test_no_candidate_leads_before_a_silent_holders_own_deadline(self) -> None:
        async with connected() as (_, client), kept_lease(client, TTL) as keeper:
            silent = Election(client, keeper, prefix=PREFIX, value="silent", settle=0)
            await silent.campaign()
            until = keeper.valid_until
            async with candidate(client, "next") as (_, election):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(election.campaign)
                    await standing(client, 2)
                    until = keeper.valid_until
                    keeper.abandon()
                assert until < boot_time()

    async def test_an_election_is_not_trusted_before_it_has_settled(self) -> None:
        async with connected() as (_, client), candidate(client, settle=None) as (_, election):
            began = trio.current_time()
            await election.campaign()
            assert seconds_since(began) >= settling_time(TTL)


class TestLeaseKeeper:
    async def test_the_lease_survives_the_death_of_etcds_leader(self) -> None:
        async with connected(3, fast=False) as (cluster, client), candidate(client, ttl=10) as (keeper, election):
            await election.campaign()
            leader = await cluster.leader()
            # Just before a beat would come: the worst moment.
            await keeper.wait_renewed()
            await trio.sleep(0.9 * beat_interval(10))
            await leader.kill()
            until = keeper.valid_until
            await keeper.wait_renewed()
            assert boot_time() < until, keeper.trouble

    async def test_an_outage_of_etcd_suspends_the_holder_and_keeps_the_queue(self) -> None:
        async with (
            connected(3) as (cluster, client),
            candidate(client, "a") as (first, election),
            candidate(client, "b") as (second, waiting),
        ):
            leadership = await election.campaign()
            with trio.CancelScope() as campaign:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(waiting.campaign)
                    await standing(client, 2)
                    # A leader that is stopped itself finds all leases expired when it goes on; one that is left alone
                    # steps down, and the next one starts them anew.
                    leader = await cluster.leader()
                    followers = [member for member in cluster.members if member is not leader]
                    for member in followers:
                        member.stop()
                    until = first.valid_until
                    reason = await first.wait_invalid()
                    assert boot_time() >= until
                    assert "etcd is not available" in reason
                    await trio.sleep(TTL)
                    for member in followers:
                        member.cont()
                    with trio.fail_after(PATIENCE):
                        await first.wait_valid()
                        await second.wait_valid()
                    await leadership.confirm()
                    assert [each.value for each in await election.candidates()] == ["a", "b"]
                    campaign.cancel()

    async def test_a_restore_from_an_old_snapshot_leaves_at_most_one_holder(self) -> None:
        async with connected(3) as (cluster, client):
            saved = await cluster.save()
            async with candidate(client, "unknown to the snapshot", settle=0) as (keeper, election):
                await election.campaign()
                until = keeper.valid_until
                await cluster.restore(saved)
                await cluster.healthy()
                async with candidate(client, "after", settle=None) as (_, after):
                    await after.campaign()
                    won = boot_time()
                assert keeper.lost is not None
                assert until < won


class TestProcesses:
    """Holders in processes of their own, on nodes of their own: who held when is read from what they wrote."""

    async def test_a_stopped_holder_no_longer_holds_when_it_resumes(self) -> None:
        async with connected(3) as (cluster, client), holder(cluster.endpoints) as first:
            await first.holding()
            async with holder(cluster.endpoints) as second:
                await standing(client, 2)
                stop(first.process.pid)
                await second.holding()
                first.process.send_signal(signal.SIGCONT)
                await first.released()
                await trio.sleep(0.5)
                assert second.holds
                assert not first.holds
                assert_never_both(first, second)

    async def test_an_isolated_etcd_leader_is_not_trusted(self) -> None:
        with lan(4) as (*nodes, outside):
            places = [Place(address=address, namespace=node) for address, node in nodes]
            async with etcd_cluster(places, fast=False) as cluster:
                leader = await cluster.leader()
                others = [member for member in cluster.members if member is not leader]
                async with holder([leader.endpoint], inside=outside[1]) as first:
                    await first.holding()
                    async with holder([member.endpoint for member in others], inside=outside[1]) as second:

                        async def both_stand() -> bool:
                            return len((await others[0].ask("kv/range", queue())).get("kvs", ())) == 2

                        await until(both_stand)
                        leader.cut()
                        await second.holding()
                        assert not first.holds
                        assert_never_both(first, second)
                        assert any("majority" in why or "not available" in why for why in first.reasons)


@attrs.define
class Holder:
    """What a process of tests.support.etcd_holder wrote so far."""

    process: trio.Process
    records: list[dict[str, Any]] = attrs.field(factory=list)
    _news: trio.Event = attrs.field(factory=trio.Event)

    @property
    def holds(self) -> bool:
        return bool(self.records) and bool(self.records[-1]["holds"])

    @property
    def reasons(self) -> list[str]:
        return [record["why"] for record in self.records if not record["holds"]]

    async def read(self) -> None:
        assert self.process.stdout is not None
        begun = b""
        async for chunk in self.process.stdout:
            *lines, begun = (begun + chunk).split(b"\n")
            self.records += map(json.loads, lines)
            self._news.set()
            self._news = trio.Event()

    async def holding(self) -> None:
        await self._until(lambda: self.holds)

    async def released(self) -> None:
        await self._until(lambda: bool(self.records) and not self.holds)

    def spans(self) -> Iterator[tuple[float, float]]:
        """When it held: each time until it said otherwise, and never longer than its own clock allowed."""
        for record, following in zip(self.records, [*self.records[1:], None], strict=True):
            if record["holds"]:
                yield record["at"], min(record["until"], following["at"] if following else record["until"])

    async def _until(self, condition: Callable[[], bool]) -> None:
        with trio.fail_after(PATIENCE):
            while not condition():
                await self._news.wait()


def assert_never_both(first: Holder, second: Holder) -> None:
    for begin, end in first.spans():
        for other_begin, other_end in second.spans():
            assert end < other_begin or other_end < begin, (first.records, second.records)


def base64_text(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def queue() -> dict[str, str]:
    return {"key": base64_text(PREFIX), "range_end": base64_text(PREFIX[:-1] + "0")}


@contextlib.asynccontextmanager
async def holder(endpoints: Any, *, inside: Namespace | None = None) -> AsyncIterator[Holder]:
    arguments = ("--prefix", PREFIX, "--ttl", str(TTL), "--settle", "0")
    command = (sys.executable, "-m", "tests.support.etcd_holder", *arguments, *endpoints)
    process = await trio.lowlevel.open_process(
        inside.inside(*command) if inside else command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    )
    try:
        async with trio.open_nursery() as nursery:
            written = Holder(process)
            nursery.start_soon(written.read)
            yield written
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            process.kill()
            await process.wait()
            if process.stdout is not None:
                await process.stdout.aclose()


@contextlib.contextmanager
def lan(count: int) -> Iterator[list[tuple[str, Namespace]]]:
    """So many namespaces with an address each on one bridge."""
    with contextlib.ExitStack() as stack:
        switch = stack.enter_context(namespace("switch"))
        switch.run("ip", "link", "add", "switch", "type", "bridge")
        switch.run("ip", "link", "set", "switch", "up")
        nodes = []
        for number in range(1, count + 1):
            node = stack.enter_context(namespace(f"node{number}"))
            port = f"port{number}"
            switch.run("ip", "link", "add", port, "type", "veth", "peer", "name", "lan0", "netns", node.name)
            switch.run("ip", "link", "set", port, "master", "switch", "up")
            node.run("ip", "address", "add", f"192.0.2.{number}/24", "dev", "lan0")
            node.run("ip", "link", "set", "lan0", "up")
            nodes.append((f"192.0.2.{number}", node))
        yield nodes
