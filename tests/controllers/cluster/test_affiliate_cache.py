import stat
from pathlib import Path

import attrs
import pytest
import trio

from nodespan.controllers.cluster.affiliate_cache import FILE_NAME, TTL, AffiliateCacheController, load, save
from nodespan.resources.cluster import (
    DISCOVERY_CONFIG_ID,
    RAW_AFFILIATE,
    Affiliate,
    AffiliateSpec,
    DiscoveryConfig,
    DiscoveryConfigSpec,
    KubeSpanAffiliate,
)
from nodespan.runtime.resource import Resource
from nodespan.runtime.testing.kit import running
from tests.controllers.cluster.samples import affiliate

CLUSTER = DiscoveryConfigSpec(service_cluster_id="cluster")
OTHER = AffiliateSpec(
    node_id="other",
    nodename="b",
    addresses=("192.0.2.2",),
    kubespan=KubeSpanAffiliate(public_key="key", address="fd00::2", endpoints=("192.0.2.2:51820",)),
)


def test_saved_affiliates_are_loaded_for_the_same_cluster_until_they_expire(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    save(path, "cluster", {"other": OTHER}, 1000.0)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load(path, "cluster", 1001.0) == ({"other": OTHER}, 1000.0 + TTL)
    assert load(path, "another cluster", 1001.0)[0] == {}
    assert load(path, "cluster", 1000.0 + TTL)[0] == {}
    assert load(path, "cluster", 999.0)[0] == {}
    assert load(tmp_path / "none", "cluster", 1001.0)[0] == {}


@pytest.mark.parametrize("stepped", [3600.0, -3600.0])
def test_a_step_of_the_wall_clock_changes_no_age_until_the_next_boot(tmp_path: Path, stepped: float) -> None:
    path = tmp_path / FILE_NAME
    save(path, "cluster", {"other": OTHER}, 10_000.0, "one", 100.0)
    now = 10_060.0 + stepped
    assert load(path, "cluster", now, "one", 160.0) == ({"other": OTHER}, now - 60 + TTL)
    assert load(path, "cluster", now, "one", 100.0 + TTL)[0] == {}
    # After a reboot there is nothing else to go by.
    assert load(path, "cluster", now, "two", 160.0)[0] == {}


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"clusterId": 1', '{"clusterId": "c", "time": 1, "affiliates": [1]}']
)
def test_a_damaged_file_is_a_value_error(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE_NAME).write_text(text)
    with pytest.raises(ValueError):  # noqa: PT011  # of JSON, of the codec, or of our own
        load(tmp_path / FILE_NAME, "c", 2.0)


async def test_after_a_restart_without_discovery_the_other_nodes_are_remembered(tmp_path: Path) -> None:
    save(tmp_path / FILE_NAME, "cluster", {"other": OTHER}, trio.current_time())
    async with running(AffiliateCacheController(tmp_path, now=trio.current_time)) as node:
        await node.put(DiscoveryConfig, DISCOVERY_CONFIG_ID, CLUSTER)
        remembered = await node.eventually(RAW_AFFILIATE, "cache/other")
        assert remembered.spec == OTHER
        # A service reports it: that counts alone.
        await node.create(_reported("other"))
        await node.gone(RAW_AFFILIATE, "cache/other")


async def test_what_no_service_reports_counts_for_a_while_unless_another_node_has_replaced_it(tmp_path: Path) -> None:
    saved = {"other": OTHER, "old": affiliate("old", "10.0.0.8")}
    save(tmp_path / FILE_NAME, "cluster", saved, trio.current_time())
    # Not in virtual time, which does not wait for the thread that reads the file.
    async with running(AffiliateCacheController(tmp_path, now=trio.current_time, patience=0.5)) as node:
        await node.put(DiscoveryConfig, DISCOVERY_CONFIG_ID, CLUSTER)
        await node.eventually(RAW_AFFILIATE, "cache/other")
        await node.eventually(RAW_AFFILIATE, "cache/old")
        began = trio.current_time()
        await node.create(_reported("new", "10.0.0.8"))
        await node.gone(RAW_AFFILIATE, "cache/old")
        await node.gone(RAW_AFFILIATE, "cache/other")
        assert trio.current_time() >= began + 0.5


async def test_the_time_of_what_no_service_reports_goes_on_when_no_node_is_reported_any_more(tmp_path: Path) -> None:
    saved = {"other": OTHER, "left": affiliate("left", "10.0.0.8")}
    save(tmp_path / FILE_NAME, "cluster", saved, trio.current_time())
    # Not in virtual time, which does not wait for the thread that reads the file.
    async with running(AffiliateCacheController(tmp_path, now=trio.current_time, patience=0.3)) as node:
        await node.put(DiscoveryConfig, DISCOVERY_CONFIG_ID, CLUSTER)
        await node.eventually(RAW_AFFILIATE, "cache/other")
        await node.eventually(RAW_AFFILIATE, "cache/left")
        await node.create(_reported("left"))
        await node.gone(RAW_AFFILIATE, "cache/left")
        await node.destroy(RAW_AFFILIATE, "service/left")
        await node.gone(RAW_AFFILIATE, "cache/other")


async def test_a_node_remembered_with_the_name_of_another_one_does_not_replace_it(tmp_path: Path) -> None:
    saved = {name: attrs.evolve(affiliate(name, "10.0.0.8"), nodename="clone") for name in ("other", "back")}
    save(tmp_path / FILE_NAME, "cluster", saved, trio.current_time())
    async with running(AffiliateCacheController(tmp_path, now=trio.current_time)) as node:
        await node.put(DiscoveryConfig, DISCOVERY_CONFIG_ID, CLUSTER)
        await node.eventually(RAW_AFFILIATE, "cache/other")
        await node.eventually(RAW_AFFILIATE, "cache/back")
        await node.create(Affiliate.new("service/back", saved["back"], namespace=RAW_AFFILIATE.namespace))
        await node.gone(RAW_AFFILIATE, "cache/back")
        await node.settled()
        assert [found.id for found in node.state.list(RAW_AFFILIATE)] == ["cache/other", "service/back"]


async def test_affiliates_from_services_are_saved(tmp_path: Path) -> None:
    # Not in virtual time, which does not wait for the thread that writes the file.
    async with running(AffiliateCacheController(tmp_path, now=trio.current_time, save_interval=0.01)) as node:
        await node.put(DiscoveryConfig, DISCOVERY_CONFIG_ID, CLUSTER)
        await node.create(_reported("third"))
        while not (tmp_path / FILE_NAME).exists():  # noqa: ASYNC110  # a file is no event
            await trio.sleep(0.01)
        assert set(load(tmp_path / FILE_NAME, "cluster", trio.current_time())[0]) == {"third"}


async def test_remembered_affiliates_expire(tmp_path: Path) -> None:
    # Not in virtual time, which does not wait for the thread that reads the file.
    save(tmp_path / FILE_NAME, "cluster", {"other": OTHER}, trio.current_time() - TTL + 0.3)
    async with running(AffiliateCacheController(tmp_path, now=trio.current_time)) as node:
        await node.put(DiscoveryConfig, DISCOVERY_CONFIG_ID, CLUSTER)
        await node.eventually(RAW_AFFILIATE, "cache/other")
        await node.gone(RAW_AFFILIATE, "cache/other")


async def test_a_damaged_file_is_reported_and_ignored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / FILE_NAME).write_text("{")
    async with running(AffiliateCacheController(tmp_path, now=trio.current_time)) as node:
        await node.put(DiscoveryConfig, DISCOVERY_CONFIG_ID, CLUSTER)
        await node.settled()
        await trio.to_thread.run_sync(lambda: None)
        await node.settled()
    assert "not remembered" in capsys.readouterr().out


def _reported(node_id: str, *addresses: str) -> Resource[AffiliateSpec]:
    spec = AffiliateSpec(node_id=node_id, addresses=addresses)
    return Affiliate.new(f"service/{node_id}", spec, namespace=RAW_AFFILIATE.namespace)
