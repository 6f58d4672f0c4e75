"""No step of the wall clock changes a lifetime."""

import time
from urllib.request import urlopen

import attrs
import grpc
import pytest
import trio

from nodespan.discovery.service import rules
from nodespan.discovery.service.affiliate import AffiliateSpec, EndpointRecord
from nodespan.discovery.service.server import DiscoveryOptions, serve_discovery
from nodespan.discovery.service.steady_clock import steady_clock
from nodespan.discovery.wire import server_pb2 as wire
from tests.discovery.service.house import SECOND, open_house
from tests.support.deadlines import PATIENCE

HOUR = 3600 * SECOND
STEPS = pytest.mark.parametrize("step", [HOUR, -HOUR], ids=["forward", "back"])


@attrs.define
class Machine:
    """A machine's clocks, and who sets the one that can be set."""

    wall: int = 1_700_000_000 * SECOND
    boot: int = 50 * SECOND

    def sleep(self, seconds: int) -> None:
        self.wall += seconds * SECOND
        self.boot += seconds * SECOND


@STEPS
def test_the_clock_starts_at_the_wall_clock_and_is_not_set(step: int) -> None:
    machine = Machine()
    now = steady_clock(lambda: machine.wall, lambda: machine.boot)
    start = now()
    assert start == machine.wall
    machine.wall += step
    machine.sleep(100)
    assert now() == start + 100 * SECOND


@STEPS
@pytest.mark.virtual_clock
async def test_records_last_as_long_as_they_were_to(step: int) -> None:
    machine = Machine()
    async with open_house(now=steady_clock(lambda: machine.wall, lambda: machine.boot)) as house:
        await house.update("a", b"data", (b"endpoint",), ttl=600)
        machine.wall += step
        await house.service.collect()
        assert len((await house.list())["a"].endpoints) == 1
        await house.update("b", b"data", ttl=60)
        machine.sleep(61)
        assert await house.service.collect() == 1
        assert (await house.list()).keys() == {"a"}
        machine.sleep(540)
        await house.service.collect()
        assert not await house.list()


@STEPS
async def test_the_service_as_it_runs_goes_by_that_clock(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    wall = time.time_ns
    options = DiscoveryOptions(listen=("127.0.0.1", 0), metrics=("127.0.0.1", 0), collect_interval=0.02)
    async with trio.open_nursery() as nursery:
        bound = await nursery.start(serve_discovery, options)

        def call(name: str, request: object, response: type) -> object:
            with grpc.insecure_channel(f"127.0.0.1:{bound.port}") as channel:
                method = channel.unary_unary(
                    f"/sidero.discovery.server.Cluster/{name}",
                    request_serializer=lambda message: message.SerializeToString(),
                    response_deserializer=response.FromString,  # type: ignore[attr-defined]
                )
                return method(request, timeout=PATIENCE)

        def collections() -> float:
            with urlopen(f"{bound.metrics}/metrics", timeout=PATIENCE) as answer:
                lines = answer.read().decode().splitlines()
            return float(next(line for line in lines if line.startswith("discovery_state_gc_runs_total")).split()[1])

        report = wire.AffiliateUpdateRequest(cluster_id="c", affiliate_id="a", affiliate_data=b"data")
        report.ttl.seconds = 600
        await trio.to_thread.run_sync(call, "AffiliateUpdate", report, wire.AffiliateUpdateResponse)
        monkeypatch.setattr(time, "time_ns", lambda: wall() + step)
        before = await trio.to_thread.run_sync(collections)
        while await trio.to_thread.run_sync(collections) < before + 2:  # noqa: ASYNC110  # the service counts
            await trio.sleep(0.01)
        listed = await trio.to_thread.run_sync(call, "List", wire.ListRequest(cluster_id="c"), wire.ListResponse)
        assert [affiliate.id for affiliate in listed.affiliates] == ["a"]  # type: ignore[attr-defined]
        nursery.cancel_scope.cancel()


def test_a_record_kept_by_a_clock_that_was_ahead_lasts_no_longer_than_any_other() -> None:
    now = 100 * HOUR
    ahead = AffiliateSpec(
        cluster="c", affiliate="a", expiry=now + HOUR, endpoints=(EndpointRecord(data=b"e", expiry=now + 2 * HOUR),)
    )
    cut = rules.prune(ahead, now)
    assert cut is not None
    latest = now + rules.MAX_TTL
    assert (cut.expiry, cut.endpoints[0].expiry, cut.announcement) == (latest, latest, ahead.announcement)
    assert rules.prune(cut, now) is cut
