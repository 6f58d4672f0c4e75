"""The methods of the service, against what the original's answers are known to be."""

import itertools
from ipaddress import ip_address
from typing import Any

import pytest

from nodespan.discovery.service import rules
from nodespan.discovery.service.affiliate import Affiliate, AffiliateSpec
from nodespan.discovery.service.client_address import Trust
from nodespan.discovery.wire import server_pb2 as wire
from nodespan.runtime.api.grpc import RPCError
from nodespan.runtime.state import MemoryState
from tests.discovery.service.house import House, open_house, settle
from tests.support.vectors import cases


def _blobs(lengths: list[int]) -> tuple[bytes, ...]:
    return tuple(number.to_bytes(2, "big").ljust(length, b"x") for number, length in enumerate(lengths))


@pytest.mark.virtual_clock
@pytest.mark.parametrize("case", cases("server_validation"))
async def test_a_report_is_accepted_or_refused_as_by_the_original(case: dict[str, Any]) -> None:
    request = case["request"]
    async with open_house() as house:
        cluster, id = "c" * request["cluster_id_len"], "x" * request["affiliate_id_len"]
        for number in range(request.get("existing_affiliates", 0)):
            await house.update(f"existing-{number}", b"d", cluster=cluster)
        code = await _code_of_update(
            house,
            id,
            b"d" * request.get("data_len", 0),
            _blobs(request.get("endpoint_lens", [])),
            ttl=request.get("ttl_s", 60),
            cluster=cluster,
        )
        assert code == case["code"]
        if case["code"] == "RESOURCE_EXHAUSTED" and "endpoint_lens" in request:
            assert len((await house.list(cluster=cluster))[id].endpoints) == 64
        if "existing_affiliates" in request:
            await house.update("existing-7", b"new", cluster=cluster)


async def _code_of_update(house: House, *args: Any, **kwargs: Any) -> str:
    try:
        await house.update(*args, **kwargs)
    except RPCError as error:
        return error.code.name
    return "OK"


@pytest.mark.virtual_clock
@pytest.mark.parametrize("case", cases("server_timeline"))
async def test_affiliates_expire_as_in_the_original(case: dict[str, Any]) -> None:
    async with open_house() as house:
        watcher = await house.watch()
        for event in case["events"]:
            house.seconds = event["t"]
            if event["op"] == "update":
                endpoints = tuple(endpoint.encode() for endpoint in event["endpoints"])
                code = await _code_of_update(house, event["id"], event["data"].encode(), endpoints, ttl=event["ttl"])
                assert code == event["code"]
            elif event["op"] == "delete":
                await house.delete(event["id"])
            else:
                await house.service.collect()
            await settle()
            assert [_seen(message) for message in watcher.take()] == event["watch_messages"]
            listed = {id: _contents(affiliate) for id, affiliate in (await house.list()).items()}
            assert listed == event["state"]


def _contents(affiliate: wire.Affiliate) -> dict[str, Any]:
    return {"data": affiliate.data.decode(), "endpoints": [endpoint.decode() for endpoint in affiliate.endpoints]}


def _seen(message: wire.WatchResponse) -> dict[str, Any]:
    (affiliate,) = message.affiliates
    if message.deleted:
        assert _contents(affiliate) == {"data": "", "endpoints": []}
        return {"id": affiliate.id, "deleted": True}
    return {"id": affiliate.id, **_contents(affiliate), "deleted": False}


_REQUESTS = {
    "Hello": wire.HelloRequest,
    "AffiliateUpdate": wire.AffiliateUpdateRequest,
    "AffiliateDelete": wire.AffiliateDeleteRequest,
    "List": wire.ListRequest,
    "Watch": wire.WatchRequest,
}


@pytest.mark.virtual_clock
@pytest.mark.parametrize("name", _REQUESTS)
async def test_every_method_requires_a_cluster_id(name: str) -> None:
    async with open_house() as house:
        with pytest.raises(RPCError, match="cluster id") as caught:
            await house.call(name, _REQUESTS[name]())
        assert caught.value.code.name == "INVALID_ARGUMENT"


@pytest.mark.virtual_clock
async def test_ids_are_measured_in_bytes() -> None:
    async with open_house() as house:
        await house.update("ü" * 128)
        with pytest.raises(RPCError, match="258 bytes"):
            await house.update("ü" * 129)


@pytest.mark.virtual_clock
async def test_a_hello_returns_address_and_redirect_and_is_counted_even_if_invalid() -> None:
    async with open_house(trust=Trust(x_real_ip=True), redirect="new.example.com:443") as house:
        hello = wire.HelloRequest(cluster_id="c", client_version="v1.8.3")
        response = await house.call("Hello", hello)
        assert (response.client_ip, response.redirect.endpoint) == (
            ip_address("192.0.2.1").packed,
            "new.example.com:443",
        )
        response = await house.call("Hello", hello, headers=(("x-real-ip", "2001:db8::1"),))
        assert response.client_ip == ip_address("2001:db8::1").packed
        with pytest.raises(RPCError):
            await house.call("Hello", wire.HelloRequest(client_version="v1.8.3"))
        assert house.greeted == ["v1.8", "v1.8", "v1.8"]


@pytest.mark.virtual_clock
async def test_slashes_in_ids_do_not_mix_up_clusters() -> None:
    async with open_house() as house:
        pairs = list(itertools.product(("a", "a/b", "a%2Fb", "a%"), ("c", "b/c", "%2Fc")))
        for cluster, id in pairs:
            await house.update(id, f"{cluster} {id}".encode(), cluster=cluster)
        for cluster, id in pairs:
            assert (await house.list(cluster=cluster))[id].data == f"{cluster} {id}".encode()
        assert len(house.state.list(Affiliate)) == len(pairs)


@pytest.mark.virtual_clock
async def test_existing_records_of_the_state_are_served() -> None:
    state = MemoryState()
    spec = AffiliateSpec(cluster="c", affiliate="a", data=b"d", expiry=2**62, announcement=3)
    await state.create(Affiliate.new("c/a", spec), owner="discovery.Service")
    async with open_house(state=state) as house:
        assert (await house.list())["a"].data == b"d"
        watcher = await house.watch()
        await house.update("a", endpoints=(b"e",))
        await settle()
        assert [_seen(message) for message in watcher.take()] == [
            {"id": "a", "data": "d", "endpoints": ["e"], "deleted": False}
        ]


@pytest.mark.virtual_clock
async def test_two_services_on_one_state_notify_watchers_of_each_others_affiliates() -> None:
    async with open_house() as one, open_house(state=one.state) as other:
        watcher = await other.watch()
        await one.update("a", b"d")
        await settle()
        await one.delete("a")
        await settle()
        assert [_seen(message)["deleted"] for message in watcher.take()] == [False, True]


@pytest.mark.virtual_clock
async def test_clusters_without_affiliates_and_watchers_are_dropped() -> None:
    async with open_house() as house:
        await house.list(cluster="mentioned")
        await house.watch(cluster="watched")
        await house.update("a", cluster="inhabited")
        assert house.clusters.drop_unused() == 1
        assert {id for id, _ in house.clusters.items()} == {"watched", "inhabited"}


@pytest.mark.virtual_clock
async def test_a_very_old_ttl_is_expired() -> None:
    async with open_house() as house:
        await house.update("a", b"d", ttl=-300_000_000_000)
        assert await house.service.collect() == 1
        assert not await house.list()


@pytest.mark.virtual_clock
async def test_all_who_ask_for_the_same_list_share_it() -> None:
    async with open_house() as house:
        await house.update("a", b"data")
        request = wire.ListRequest(cluster_id="c")
        first = await house.call("List", request)
        assert await house.call("List", request) is first
        await house.update("a", b"more")
        assert await house.call("List", request) is not first


async def test_a_collection_looks_closely_only_at_clusters_in_which_something_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked: list[str] = []

    def prune(spec: AffiliateSpec, now: int) -> AffiliateSpec | None:
        looked.append(spec.cluster)
        return rules.prune(spec, now)

    monkeypatch.setattr("nodespan.discovery.service.cluster_service.rules", _With(rules, prune))
    async with open_house() as house:
        for number in range(10):
            await house.update("a", b"d", (b"e",), ttl=1000, cluster=f"{number}")
        await house.update("b", b"d", ttl=60, cluster="3")
        assert await house.service.collect() == 0
        assert looked == []
        house.seconds += 61
        assert await house.service.collect() == 1
        assert looked == ["3", "3"]
        # What is left there ends later, and an endpoint may end before its affiliate.
        assert await house.service.collect() == 0
        assert len(looked) == 2
        await house.update("a", endpoints=(b"f",), ttl=1, cluster="5")
        house.seconds += 2
        assert await house.service.collect() == 0
        assert looked[2:] == ["5", "5"]  # once more within the write
        assert list((await house.list(cluster="5"))["a"].endpoints) == [b"e"]


class _With:
    """The rules, with another `prune`."""

    def __init__(self, original: Any, prune: Any) -> None:
        self._original = original
        self.prune = prune

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)


class _Elsewhere(MemoryState):
    """Stands for a state whose writes wait."""


@pytest.mark.parametrize(
    ("state", "at_once"),
    [(MemoryState(), {"Hello", "AffiliateUpdate", "AffiliateDelete", "List"}), (_Elsewhere(), {"Hello", "List"})],
    ids=["in memory", "elsewhere"],
)
async def test_only_what_waits_for_nothing_is_answered_at_once(state: MemoryState, at_once: set[str]) -> None:
    async with open_house(state=state) as house:
        assert {method.name for method in house.service.methods().values() if method.at_once is not None} == at_once
