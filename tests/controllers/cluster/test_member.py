"""Members, and where the control plane is among them."""

import attrs
import pytest

from nodespan.controllers.cluster.endpoint import EndpointController, sort_addresses
from nodespan.controllers.cluster.member import MemberController
from nodespan.resources.cluster import DISCOVERED, Affiliate, Endpoint, EndpointSpec, MachineType, Member, MemberSpec
from nodespan.runtime.testing.kit import running
from tests.controllers.cluster.samples import affiliate


async def test_affiliates_with_a_node_name_are_members() -> None:
    async with running(MemberController()) as node:
        await node.put(Affiliate, "id-a", attrs.evolve(affiliate("id-a", "10.0.0.1"), nodename="a"))
        await node.put(Affiliate, "id-b", attrs.evolve(affiliate("id-b"), nodename=""))
        member = await node.eventually(Member, "a")
        assert member.spec == MemberSpec(
            node_id="id-a", addresses=("10.0.0.1",), hostname="id-a", machine_type=MachineType.WORKER
        )
        await node.settled()
        assert [found.id for found in node.state.list(Member)] == ["a"]


async def test_a_renamed_member_is_a_new_member() -> None:
    async with running(MemberController()) as node:
        await node.put(Affiliate, "id", attrs.evolve(affiliate("id"), nodename="old"))
        await node.eventually(Member, "old")
        await node.put(Affiliate, "id", attrs.evolve(affiliate("id"), nodename="new"))
        await node.eventually(Member, "new")
        await node.gone(Member, "old")
        await node.destroy(Affiliate, "id")
        await node.gone(Member, "new")


async def test_when_one_of_two_nodes_with_the_same_name_leaves_the_other_remains() -> None:
    async with running(MemberController()) as node:
        for id in ("id-a", "id-b"):
            await node.put(Affiliate, id, attrs.evolve(affiliate(id), nodename="twin"))
        await node.eventually(Member, "twin", lambda found: found.spec.node_id == "id-b")
        await node.destroy(Affiliate, "id-b")
        await node.eventually(Member, "twin", lambda found: found.spec.node_id == "id-a")


async def test_the_control_plane_is_where_its_members_are() -> None:
    async with running(MemberController(), EndpointController()) as node:
        await node.put(Affiliate, "w", affiliate("w", "10.0.0.9"))
        await node.settled()
        assert node.state.find(Endpoint, DISCOVERED) is None
        await node.put(Affiliate, "b", affiliate("b", "10.0.0.10", "fd00::1", machine_type=MachineType.CONTROLPLANE))
        await node.put(Affiliate, "a", affiliate("a", "10.0.0.2", machine_type=MachineType.INIT))
        await node.eventually(Endpoint, DISCOVERED, spec=EndpointSpec(addresses=("10.0.0.2", "10.0.0.10", "fd00::1")))
        await node.destroy(Affiliate, "b")
        await node.eventually(Endpoint, DISCOVERED, spec=EndpointSpec(addresses=("10.0.0.2",)))
        await node.destroy(Affiliate, "a")
        await node.eventually(Endpoint, DISCOVERED, spec=EndpointSpec())


async def test_workers_do_not_change_the_control_plane_endpoint() -> None:
    async with running(MemberController(), EndpointController()) as node:
        await node.put(Affiliate, "a", affiliate("a", "10.0.0.2", machine_type=MachineType.CONTROLPLANE))
        await node.eventually(Endpoint, DISCOVERED)
        for number in range(50):
            await node.put(Affiliate, f"w{number}", affiliate(f"w{number}", "10.0.0.9"))
        await node.settled()
        assert node.engine.runners["cluster.EndpointController"].access.counters.writes == 1


@pytest.mark.parametrize(
    ("addresses", "order"),
    [({"fd00::1", "10.0.0.10", "10.0.0.2"}, ("10.0.0.2", "10.0.0.10", "fd00::1")), ({"x", "::1"}, ("::1", "x"))],
)
def test_addresses_are_sorted_numerically(addresses: set[str], order: tuple[str, ...]) -> None:
    assert sort_addresses(addresses) == order
