"""What several sources say of a node, as one affiliate."""

from typing import Any

import pytest

from nodespan.controllers.cluster.affiliate_merge import AffiliateMergeController, merge
from nodespan.resources.cluster import (
    RAW_NAMESPACE,
    Affiliate,
    AffiliateSpec,
    ControlPlane,
    KubeSpanAffiliate,
    MachineType,
)
from nodespan.runtime.resource import Resource
from nodespan.runtime.testing.kit import Node, running
from tests.controllers.cluster.samples import affiliate
from tests.support.vectors import cases

NAME = "cluster.AffiliateMergeController"


def frozen(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()}


def spec_of(fields: dict[str, Any]) -> AffiliateSpec:
    values = frozen(fields)
    kubespan = fields.get("kubespan")
    values["kubespan"] = KubeSpanAffiliate(**frozen(kubespan)) if kubespan else None
    if "control_plane" in fields:
        values["control_plane"] = ControlPlane(**fields["control_plane"])
    if "machine_type" in fields:
        values["machine_type"] = MachineType(fields["machine_type"])
    return AffiliateSpec(**values)


def raw(id: str, spec: AffiliateSpec) -> Resource[AffiliateSpec]:
    return Affiliate.new(id, spec, namespace=RAW_NAMESPACE)


async def put_raw(node: Node, id: str, spec: AffiliateSpec) -> None:
    await node.state.modify(raw(id, spec), lambda resource: resource.with_spec(spec))


@pytest.mark.parametrize("case", cases("affiliate_merge"))
def test_known_merges(case: dict[str, Any]) -> None:
    assert merge(spec_of(case["first"]), spec_of(case["second"])) == spec_of(case["result"])


async def test_sources_are_merged_in_the_order_of_their_ids_and_by_node() -> None:
    async with running(AffiliateMergeController()) as node:
        await put_raw(node, "service/a", affiliate("a", "10.0.0.2"))
        await put_raw(node, "k8s/a", affiliate("a", "10.0.0.1"))
        await put_raw(node, "service/b", affiliate("b", "10.0.0.3"))
        merged = await node.eventually(Affiliate, "a", lambda found: len(found.spec.addresses) == 2)
        assert merged.spec.addresses == ("10.0.0.1", "10.0.0.2")
        await node.eventually(Affiliate, "b", spec=affiliate("b", "10.0.0.3"))
        await node.destroy(Affiliate.within(RAW_NAMESPACE), "k8s/a")
        await node.eventually(Affiliate, "a", spec=affiliate("a", "10.0.0.2"))
        await node.destroy(Affiliate.within(RAW_NAMESPACE), "service/a")
        await node.gone(Affiliate, "a")


async def test_a_record_that_changes_its_node_no_longer_counts_for_the_old_one() -> None:
    async with running(AffiliateMergeController()) as node:
        await put_raw(node, "service/x", affiliate("a"))
        await node.eventually(Affiliate, "a")
        await put_raw(node, "service/x", affiliate("b"))
        await node.eventually(Affiliate, "b")
        await node.gone(Affiliate, "a")


async def test_an_affiliate_owned_by_another_controller_is_left_alone() -> None:
    async with running(AffiliateMergeController()) as node:
        await node.create(Affiliate.new("a", affiliate("a", "10.0.0.1")), owner="somebody")
        await put_raw(node, "service/a", affiliate("a", "10.0.0.2"))
        await node.settled()
        assert node.state.get(Affiliate, "a").spec == affiliate("a", "10.0.0.1")


async def test_an_affiliate_with_a_finalizer_is_destroyed_once_released() -> None:
    async with running(AffiliateMergeController()) as node:
        await put_raw(node, "service/a", affiliate("a"))
        await node.eventually(Affiliate, "a")
        await node.state.add_finalizer(Affiliate, "a", "holder")
        await node.destroy(Affiliate.within(RAW_NAMESPACE), "service/a")
        await node.eventually(Affiliate, "a", lambda found: found.metadata.is_tearing_down)
        await node.settled()
        await node.state.remove_finalizer(Affiliate, "a", "holder")
        await node.gone(Affiliate, "a")


async def test_an_affiliate_that_returns_during_teardown_is_created_again() -> None:
    async with running(AffiliateMergeController()) as node:
        await put_raw(node, "service/a", affiliate("a"))
        await node.eventually(Affiliate, "a")
        await node.state.add_finalizer(Affiliate, "a", "holder")
        await node.destroy(Affiliate.within(RAW_NAMESPACE), "service/a")
        await node.settled()
        await put_raw(node, "service/a", affiliate("a", "10.0.0.1"))
        await node.settled()
        await node.state.remove_finalizer(Affiliate, "a", "holder")
        await node.eventually(Affiliate, "a", spec=affiliate("a", "10.0.0.1"))
        assert not node.state.get(Affiliate, "a").metadata.is_tearing_down


async def test_what_an_earlier_process_left_behind_is_removed() -> None:
    async with running() as before:
        await before.create(Affiliate.new("gone", affiliate("gone")), owner=NAME)
        await before.create(Affiliate.new("me", affiliate("me")), owner="cluster.LocalAffiliateController")
        await before.create(raw("service/a", affiliate("a")))
        async with running(AffiliateMergeController(), state=before.state) as node:
            await node.eventually(Affiliate, "a")
            await node.gone(Affiliate, "gone")
            assert node.state.find(Affiliate, "me") is not None


@pytest.mark.parametrize("size", [10, 300])
async def test_the_cost_of_one_nodes_change_is_independent_of_cluster_size(size: int) -> None:
    async with running(AffiliateMergeController()) as node:
        for number in range(size):
            await node.create(raw(f"service/n{number}", affiliate(f"n{number}")))
        await node.settled()
        counters = node.engine.runners[NAME].access.counters
        before = (counters.wakeups, counters.reads, counters.writes)
        await put_raw(node, "service/n7", affiliate("n7", "10.0.0.7"))
        await node.settled()
        after = (counters.wakeups, counters.reads, counters.writes)
        assert [b - a for a, b in zip(before, after, strict=True)] == [1, 5, 1]
