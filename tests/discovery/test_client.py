"""The client of a discovery service, in virtual time."""

import itertools
import os
import random
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import structlog
import trio
from structlog.testing import capture_logs
from trio.testing import wait_all_tasks_blocked

from nodespan.discovery.ciphers import ClusterCipher
from nodespan.discovery.client import TTL, Client, ClientOptions, Failure, TransportError
from nodespan.discovery.endpoint_url import DialAddress
from nodespan.discovery.wire import server_pb2
from nodespan.runtime.api.grpc.client import Stage
from tests.discovery.fake_service import FakeService
from tests.discovery.samples import KEY, OTHER_KEY, node
from tests.support.vectors import load

pytestmark = pytest.mark.virtual_clock

TARGET = DialAddress("discovery.example.org:443")
CIPHER = ClusterCipher(KEY, os.urandom)


class Middle(random.Random):
    """Waits are their nominal length."""

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2


class News:
    """Counts what the client says."""

    def __init__(self) -> None:
        self.count = 0
        self._lot = trio.lowlevel.ParkingLot()

    def __call__(self) -> None:
        self.count += 1
        self._lot.unpark_all()

    async def next(self) -> None:
        await self._lot.park()


def make_client(service: FakeService, id: str = "me", on_change: Any = lambda: None, seed: Any = None) -> Client:
    options = ClientOptions(target=TARGET, cluster_id="cluster", node_id=id, key=KEY, version="v1.2.3")
    return Client(
        options,
        service,
        log=structlog.get_logger(),
        on_change=on_change,
        random=Middle() if seed is None else random.Random(seed),
        random_bytes=os.urandom,
    )


@asynccontextmanager
async def running(client: Client) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.run)
        yield
        nursery.cancel_scope.cancel()


def blob(id: str, *endpoints: str, key: bytes = KEY) -> server_pb2.Affiliate:
    cipher = ClusterCipher(key, os.urandom)
    return server_pb2.Affiliate(
        id=id, data=cipher.encrypt_affiliate(node(id)), endpoints=map(cipher.encrypt_endpoint, endpoints)
    )


async def test_the_client_starts_with_hello_watch_and_its_own_record() -> None:
    service, news = FakeService(), News()
    service.put(blob("a", "10.0.0.1:51820"))
    client = make_client(service, on_change=news)
    client.publish(node("me", "10.0.0.9"), ("10.0.0.9:51820",))
    async with running(client):
        await trio.sleep(1)
        hello, watch, update = service.calls
        assert hello.at == 0.5
        assert hello.request == server_pb2.HelloRequest(cluster_id="cluster", client_version="v1.2.3")
        assert watch.request == server_pb2.WatchRequest(cluster_id="cluster")
        assert isinstance(update.request, server_pb2.AffiliateUpdateRequest)
        assert update.request.ttl.seconds == TTL == 1800
        assert CIPHER.decrypt_affiliate(update.request.affiliate_data) == node("me", "10.0.0.9")
        assert [CIPHER.decrypt_endpoint(e) for e in update.request.affiliate_endpoints] == ["10.0.0.9:51820"]
        assert client.public_address == "192.0.2.7"
        assert client.is_synced
        assert {id: seen.data for id, seen in client.affiliates.items()} == {"a": node("a")}
        assert client.affiliates["a"].endpoints == ("10.0.0.1:51820",)
        assert client.take_changes() == {"a"}
        assert client.take_changes() == frozenset()
        assert service.keepalive == 180


async def test_a_reconnect_request_redials_at_once_and_keeps_known_affiliates() -> None:
    service, news = FakeService(), News()
    service.put(blob("a"))
    client = make_client(service, on_change=news)
    async with running(client):
        await trio.sleep(1)
        service.is_down = True
        client.reconnect()
        await trio.sleep(100)
        assert client.affiliates.keys() == {"a"}
        service.is_down = False
        client.reconnect()
        await trio.sleep(1)
        assert [call.name for call in service.calls[-2:]] == ["hello", "watch"]
        assert client.affiliates.keys() == {"a"}


async def test_other_nodes_appear_change_and_disappear() -> None:
    service, news = FakeService(), News()
    client = make_client(service, on_change=news)
    async with running(client):
        await trio.sleep(1)
        assert client.is_synced
        service.put(blob("a"))
        await news.next()
        assert client.take_changes() == {"a"} == client.affiliates.keys()
        service.put(blob("a", "10.0.0.1:1"))
        await news.next()
        assert client.take_changes() == {"a"}
        service.drop("a")
        await news.next()
        assert client.take_changes() == {"a"}
        assert not client.affiliates


async def test_what_others_report_of_the_node_itself_is_news() -> None:
    service, news = FakeService(), News()
    client = make_client(service, on_change=news)
    client.publish(node("me"), ("203.0.113.7:51820",))
    async with running(client):
        await trio.sleep(1)
        service.put(blob("me", "203.0.113.7:51820", "203.0.113.7:6000"))
        await wait_all_tasks_blocked()
        assert client.own_endpoints == ("203.0.113.7:51820", "203.0.113.7:6000")
        count = news.count
        assert count
        service.put(blob("me", "203.0.113.7:51820", "203.0.113.7:6000"))
        await wait_all_tasks_blocked()
        assert news.count == count
        assert not client.affiliates


async def test_two_clients_find_each_other() -> None:
    service = FakeService()
    one, two = make_client(service, "one"), make_client(service, "two")
    one.publish(node("one", "10.0.0.1"), ("10.0.0.1:51820",))
    two.publish(node("two", "10.0.0.2"), ())
    async with running(one), running(two):
        await trio.sleep(2)
        assert one.affiliates["two"].data == node("two", "10.0.0.2")
        assert two.affiliates["one"].endpoints == ("10.0.0.1:51820",)
        one.report({"two": ("203.0.113.1:4000",)})
        await trio.sleep(1)
        assert one.affiliates["two"].endpoints == ("203.0.113.1:4000",)


async def test_nothing_is_sent_before_there_is_a_record() -> None:
    service = FakeService()
    async with running(make_client(service)):
        await trio.sleep(2 * TTL)
    assert service.names() == ["hello", "watch"]


async def test_the_record_is_refreshed_at_half_its_life_with_the_same_bytes() -> None:
    service = FakeService()
    client = make_client(service)
    client.publish(node("me"), ())
    async with running(client):
        await trio.sleep(2 * TTL + 1)
    updates = [call for call in service.calls if call.name == "update"]
    assert [call.at for call in updates] == [0.5 + n * TTL / 2 for n in range(5)]
    assert (
        len({call.request.SerializeToString() for call in updates if hasattr(call.request, "SerializeToString")}) == 1
    )


async def test_a_change_is_sent_at_once_and_only_once() -> None:
    service = FakeService()
    client = make_client(service)
    client.publish(node("me"), ())
    async with running(client):
        await trio.sleep(1)
        for number in range(3):
            client.publish(node("me", f"10.0.0.{number}"), ())
        client.publish(node("me", "10.0.0.2"), ())
        await trio.sleep(1)
        client.publish(node("me", "10.0.0.2"), ())
        await trio.sleep(1)
    assert service.names() == ["hello", "watch", "update", "update"]
    assert service.calls[-1].at == 1


async def test_redirects_are_followed_and_remembered() -> None:
    service = FakeService(redirects=deque(["b.example.org:1", "[::2]:2"]))
    client = make_client(service)
    async with running(client):
        await trio.sleep(5)
        service.end_watches()
        await trio.sleep(20)
    # The wait is not reset by a redirect: 0.5, 0.75, 1.125 and then 1.6875 seconds.
    assert [(target.address, at) for target, at in service.dialled] == [
        ("discovery.example.org:443", 0.5),
        ("b.example.org:1", 1.25),
        ("[::2]:2", 2.375),
        ("[::2]:2", 5 + 0.5),
    ]
    assert service.names() == ["hello"] * 3 + ["watch", "hello", "watch"]


async def test_a_redirect_to_nowhere_is_a_failure() -> None:
    service = FakeService(redirects=deque(["unix:/run/other.sock"]))
    with capture_logs() as logs:
        async with running(make_client(service)):
            await trio.sleep(2)
    assert [target for target, _ in service.dialled] == [TARGET, TARGET]
    assert "unix:/run/other.sock" in logs[0]["error"]


@pytest.mark.parametrize("case", load("client_backoff"), ids=lambda case: case["name"])
async def test_reconnects_to_a_dead_service_back_off(case: dict[str, Any]) -> None:
    for seed in range(20):
        service = FakeService(is_down=True)
        began = trio.current_time()
        async with running(make_client(service, seed=seed)):
            await trio.sleep(20 * 60)
        times = [began, *(call.at for call in service.calls)]
        waits = [after - before for before, after in itertools.pairwise(times)]
        for wait, bounds in zip(waits, case["sequence"], strict=False):
            assert bounds["min_s"] - 1e-6 <= wait <= bounds["max_s"] + 1e-6


async def test_only_an_accepted_record_resets_the_backoff() -> None:
    service = FakeService(failures={"update": deque([TransportError("RESOURCE_EXHAUSTED", "full")] * 3)})
    client = make_client(service)
    client.publish(node("me"), ())
    async with running(client):
        await trio.sleep(10)
        assert [round(at, 4) for _, at in service.dialled] == [0.5, 1.25, 2.375, 4.0625]
        service.end_watches()
        await trio.sleep(10)
        assert service.dialled[-1][1] == 10.5


async def test_a_failed_refresh_is_retried_before_the_next_one_is_due() -> None:
    service = FakeService()
    client = make_client(service)
    client.publish(node("me"), ())
    async with running(client):
        await trio.sleep(TTL / 2)
        service.failures["update"] = deque([TransportError("UNAVAILABLE", "gone")])
        await trio.sleep(5)
    assert service.names() == ["hello", "watch", "update", "update", "hello", "watch", "update"]
    assert service.calls[-1].at == pytest.approx(0.5 + TTL / 2 + 0.5)


@pytest.mark.parametrize(("name", "limit"), [("hello", 10), ("update", 30)])
async def test_a_service_that_does_not_answer_times_out(name: str, limit: float) -> None:
    service = FakeService(hangs={name})
    client = make_client(service)
    client.publish(node("me"), ())
    with capture_logs() as logs:
        async with running(client):
            await trio.sleep(limit + 1.4)
    assert [round(at, 4) for _, at in service.dialled] == [0.5, 0.5 + limit + 0.75]
    assert "DEADLINE_EXCEEDED" in logs[0]["error"]


async def test_known_affiliates_survive_an_outage_and_missed_changes_arrive_after_it() -> None:
    service = FakeService()
    for id in "ab":
        service.put(blob(id))
    client = make_client(service)
    client.publish(node("me"), ())
    async with running(client):
        await trio.sleep(1)
        service.stop()
        await trio.sleep(300)
        client.take_changes()
        assert client.affiliates.keys() == {"a", "b"}
        client.publish(node("me", "10.9.9.9"), ())
        del service.affiliates["a"], service.affiliates["me"]
        service.affiliates["c"] = blob("c")
        service.is_down = False
        await trio.sleep(100)
        assert client.affiliates.keys() == {"b", "c"}
        # Its blob is another than before, its content is not: that is no news.
        assert client.take_changes() == {"a", "c"}
        assert CIPHER.decrypt_affiliate(service.affiliates["me"].data) == node("me", "10.9.9.9")


async def test_leaving_deletes_the_record_and_sends_nothing_more() -> None:
    service, news = FakeService(), News()
    client = make_client(service, on_change=news)
    client.publish(node("me"), ())
    async with running(client):
        await trio.sleep(1)
        assert "me" in service.affiliates
        client.leave()
        assert not client.has_left
        await news.next()
        assert client.has_left
        assert "me" not in service.affiliates
        await trio.sleep(TTL)
        assert "me" not in service.affiliates
        client.publish(node("me"), ())
        assert not client.has_left
        await trio.sleep(1)
        assert "me" in service.affiliates


async def test_leaving_retries_while_the_service_is_down() -> None:
    service, news = FakeService(), News()
    client = make_client(service, on_change=news)
    client.publish(node("me"), ())
    async with running(client):
        await trio.sleep(1)
        service.is_down = True
        service.end_watches()
        client.leave()
        await trio.sleep(60)
        assert "me" in service.affiliates
        service.is_down = False
        await news.next()
        assert client.has_left
        assert "me" not in service.affiliates


async def test_stopping_keeps_the_record_and_leaves_no_task_running() -> None:
    service = FakeService()
    client = make_client(service)
    client.publish(node("me"), ())
    async with running(client):
        await trio.sleep(1)
    assert "me" in service.affiliates
    assert not service.watchers
    assert service.names() == ["hello", "watch", "update"]


async def test_unreadable_blobs_are_skipped_counted_and_reported_once() -> None:
    service = FakeService()
    client = make_client(service)
    garbage = server_pb2.Affiliate(id="garbage", data=os.urandom(300), endpoints=[b"", os.urandom(33)])
    with capture_logs() as logs:
        async with running(client):
            await trio.sleep(1)
            service.put(blob("other", key=OTHER_KEY))
            service.put(garbage)
            service.put(garbage)
            service.put(server_pb2.Affiliate(id="big", data=os.urandom(100_000)))
            service.put(blob("good"))
            await trio.sleep(1)
            assert client.affiliates.keys() == {"good"}
            assert client.rejected == 4
    assert [log["affiliate"] for log in logs] == ["other", "garbage", "big"]


async def test_a_rejected_endpoint_of_another_node_does_not_end_the_watch() -> None:
    service = FakeService()
    client = make_client(service)
    client.publish(node("me"), ())
    async with running(client):
        await trio.sleep(1)
        service.failures["update"] = deque()
        client.report({"a": ("10.0.0.1:1",), "b": ("10.0.0.2:2",)})
        refused = TransportError("RESOURCE_EXHAUSTED", "too many endpoints")
        original = service.update

        def update(request: server_pb2.AffiliateUpdateRequest) -> None:
            if request.affiliate_id == "a":
                raise refused
            original(request)

        service.update = update  # type: ignore[method-assign]
        await trio.sleep(1)
        assert service.names() == ["hello", "watch", "update", "update", "update"]
        assert "b" in service.affiliates
        assert len(service.watchers) == 1


async def test_only_new_observed_endpoints_are_sent_between_refreshes() -> None:
    service = FakeService()
    client = make_client(service)
    client.publish(node("me"), ())
    observed = {f"n{number}": (f"10.0.0.{number}:1",) for number in range(10)}
    client.report(observed)
    async with running(client):
        await trio.sleep(1)
        assert service.names().count("update") == 11
        client.report({**observed, "n3": ("10.0.1.3:1",)})
        await trio.sleep(1)
        assert service.names().count("update") == 12
        client.publish(node("me", "10.0.0.9"), ())
        await trio.sleep(1)
        assert service.names().count("update") == 13
        await trio.sleep(TTL / 2)
        assert service.names().count("update") == 24


async def test_an_oversized_record_is_trimmed_to_the_service_limit() -> None:
    service = FakeService()
    client = make_client(service)
    addresses = tuple(f"2001:db8::{n:x}" for n in range(1, 301))
    with capture_logs() as logs:
        client.publish(node("me", *addresses), tuple(f"10.0.0.{n}:1" for n in range(100)))
    async with running(client):
        await trio.sleep(1)
    told = service.affiliates["me"]
    assert 2030 < len(told.data) <= 2048
    data = CIPHER.decrypt_affiliate(told.data)
    assert data.addresses == addresses[: len(data.addresses)]
    assert len(told.endpoints) == 64
    assert [(log["log_level"], log["sent"]) for log in logs] == [("warning", len(data.addresses)), ("warning", 64)]


async def test_an_invalid_client_address_from_the_service_is_ignored() -> None:
    service = FakeService()
    client = make_client(service)

    async with running(client):
        await trio.sleep(1)
        assert client.public_address == "192.0.2.7"
        service.client_ip = ""
        service.end_watches()
        await trio.sleep(5)
        await wait_all_tasks_blocked()
        assert client.public_address == ""


# A service that lies.


def _broken(*ids: Any) -> list[server_pb2.Affiliate]:
    return [server_pb2.Affiliate(id=str(id), data=b"x") for id in ids]


async def test_a_service_that_sends_too_much_is_left_for_longer_each_time() -> None:
    service = FakeService()
    client = make_client(service)
    client.publish(node("me"), ())
    with capture_logs() as logs:
        async with running(client):
            for _ in range(3):
                dials = len(service.dialled)
                while len(service.dialled) == dials or not service.watchers:  # noqa: ASYNC110  # virtual time
                    await trio.sleep(1)
                service.tell(server_pb2.WatchResponse(affiliates=_broken(*range(5000))))
                await trio.sleep(1)
                assert not service.watchers
                assert client.failure is not None
                assert client.failure.stage is Stage.SERVICE
                assert "5000 affiliates, at most 4096 are read" in client.failure.message
    waits = [later[1] - earlier[1] for earlier, later in itertools.pairwise(service.dialled)]
    assert waits == pytest.approx([122, 242], abs=3)
    assert [log["event"] for log in logs] == [
        "the discovery service sends more than it may, it is left for some minutes"
    ] * 3


async def test_a_thousand_unreadable_records_are_a_few_lines_and_others_run_in_between() -> None:
    service = FakeService()
    client = make_client(service)
    client.publish(node("me"), ())
    with capture_logs() as logs:
        async with running(client):
            await trio.sleep(1)
            for first in range(1000, 5000, 1000):
                service.tell(server_pb2.WatchResponse(affiliates=_broken(*range(first, first + 1000))))
            await trio.sleep(1)
            assert client.rejected == 4000
            assert len(client.unreadable) == 4000
    events = [log["event"] for log in logs]
    assert len(events) == 64 + 1
    assert events.count("many records from the discovery service are unreadable") == 1


async def test_messages_are_read_no_faster_than_they_may_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nodespan.discovery.client._BLOBS_AT_ONCE", 30_000)
    monkeypatch.setattr("nodespan.discovery.client._BLOBS_PER_SECOND", 500)
    service = FakeService()
    client = make_client(service)
    client.publish(node("me"), ())
    async with running(client):
        await trio.sleep(1)
        for _ in range(90):
            service.tell(server_pb2.WatchResponse(affiliates=_broken(*range(1000))))
        await trio.sleep(1)
        assert 30_000 <= client.rejected < 40_000
        await trio.sleep(60)
        assert 60_000 <= client.rejected < 70_000


async def test_a_lie_in_an_answer_is_cut_and_escaped() -> None:
    service = FakeService()
    client = make_client(service)
    service.failures["hello"] = deque([TransportError("UNKNOWN", "\x1b[2J" * 10_000)])
    service.redirects.append("x" * 100_000 + ":443")
    with capture_logs() as logs:
        async with running(client):
            await trio.sleep(5)
    assert [len(log["error"]) < 2000 for log in logs] == [True, True]
    assert logs[0]["error"].isprintable()
    assert "a name of 100004 characters" in logs[1]["error"]
    assert [address for address, _ in service.dialled] == [TARGET] * 3


# Why a service is not in use.


async def test_the_cause_of_a_failure_is_looked_for_and_shown_until_the_service_is_in_use() -> None:
    service, news = FakeService(is_down=True), News()
    service.cause = TransportError("UNAVAILABLE", "the name x cannot be looked up", Stage.LOOKUP)
    client = make_client(service, on_change=news)
    client.publish(node("me"), ())
    async with running(client):
        assert (client.failure, client.is_connected) == (None, False)
        await news.next()
        assert client.failure == Failure(stage=Stage.LOOKUP, message="the name x cannot be looked up")
        service.is_down = False
        await news.next()
        while not client.is_connected:
            await news.next()
        assert client.failure is None
        service.end_watches()
        await news.next()
        assert client.failure is not None
        assert (client.failure.stage, client.is_connected) == (Stage.SERVICE, False)


async def test_a_service_that_does_not_answer_has_missed_a_deadline() -> None:
    service = FakeService(hangs={"hello"})
    client = make_client(service)
    async with running(client):
        await trio.sleep(15)
        assert client.failure == Failure(stage=Stage.DEADLINE, message="hello took longer than 10 s")
