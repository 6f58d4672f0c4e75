"""The operator of a virtual IP with an etcd of its own, where something near it does not do its part."""

from pathlib import Path

import attrs
import pytest
import trio

from nodespan.controllers.network.vip import session
from nodespan.controllers.network.vip.tally import tally_of
from nodespan.controllers.network.vip.vip_rules import election_prefix
from nodespan.etcd import EtcdClient
from nodespan.resources.network import (
    AddressSpec,
    OperatorSpec,
    VIPHCloudSpec,
    VIPOperatorSpec,
    VIPState,
    VIPStatus,
    operator_id,
)
from nodespan.runtime.controller import Controller, ControllerContext, strong
from tests.support.clouds import AUTHORITY, TOKEN, Clouds, FloatingIP, Server, serving
from tests.support.process import eventually
from tests.support.vip_stage import ID, IP, SPEC, has_address, vip_stage

pytestmark = [pytest.mark.needs_link("veth"), pytest.mark.needs_program("etcd")]


class Holder(Controller):
    """Holds each address, as an applier does that does not get it off the link."""

    name = "test.Holder"
    inputs = (strong(AddressSpec),)

    async def run(self, ctx: ControllerContext) -> None:
        async for _ in ctx:
            for address in ctx.list(AddressSpec):
                if not address.metadata.is_tearing_down and ctx.name not in address.metadata.finalizers:
                    await ctx.add_finalizer(AddressSpec, address.id)


async def test_the_operator_resigns_once_the_address_is_gone(tmp_path: Path) -> None:
    async with vip_stage(tmp_path) as at:
        status = await at.is_(VIPState.LEADER)
        assert (status.leader, has_address(at.inside)) == ("one", True)
        assert (tmp_path / "vip" / IP).read_text().strip() == status.lease
        lease = tally_of("eth0", IP).lease
        assert lease is not None
        assert 0 < lease.remaining() <= lease.renewed == 4.0
        await at.node.state.destroy(OperatorSpec.kind, operator_id(SPEC))
        await at.node.gone(VIPStatus, ID)
        assert not has_address(at.inside)
        assert await at.keys() == 0
        assert not (tmp_path / "vip" / IP).exists()
        assert tally_of("eth0", IP).lease is None


async def test_the_operator_does_not_resign_while_the_address_may_be_present(tmp_path: Path) -> None:
    async with vip_stage(tmp_path, Holder()) as at:
        await at.is_(VIPState.LEADER)
        await at.node.state.destroy(OperatorSpec.kind, operator_id(SPEC))
        await at.node.gone(VIPStatus, ID)
        # It stays in the election until its lease has expired.
        assert await at.keys() == 1
        assert (tmp_path / "vip" / IP).exists()
        for _ in range(100):
            if not await at.keys():
                return
            await trio.sleep(0.1)
        pytest.fail("the lease is renewed still")


async def test_a_virtual_ip_removed_by_hand_is_restored(tmp_path: Path) -> None:
    async with vip_stage(tmp_path) as at:
        await at.is_(VIPState.LEADER)
        at.inside.run("ip", "address", "del", f"{IP}/32", "dev", "eth0")
        await eventually(lambda: has_address(at.inside))


async def test_the_address_is_given_up_when_the_link_loses_its_network(tmp_path: Path) -> None:
    async with vip_stage(tmp_path) as at:
        await at.is_(VIPState.LEADER)
        at.inside.run("ip", "address", "del", "192.0.2.1/24", "dev", "eth0")
        await at.is_(VIPState.WAITING, "no IPv4 network yet")
        await eventually(lambda: not has_address(at.inside))
        at.inside.run("ip", "address", "add", "192.0.2.2/24", "dev", "eth0")
        await at.is_(VIPState.LEADER)


async def test_a_deleted_key_ends_the_leadership(tmp_path: Path) -> None:
    async with vip_stage(tmp_path) as at:
        before = await at.is_(VIPState.LEADER)
        async with EtcdClient(at.etcd.endpoints) as client:
            await client.delete(election_prefix(IP).encode(), prefix=True)
        await at.is_(VIPState.CANDIDATE, "gave it up")
        after = await at.is_(VIPState.LEADER)
        assert after.lease != before.lease
        assert tally_of("eth0", IP).handovers == 0  # it was this node's before, too


CLOUD = attrs.evolve(SPEC, vip=VIPOperatorSpec(ip=IP, gratuitous_arp=False, hcloud=VIPHCloudSpec(api_token=TOKEN)))


async def test_a_cloud_leads_the_address_to_the_leader_before_it_is_held_and_is_told_first_when_it_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Half a minute otherwise.
    monkeypatch.setattr(session, "_LOOK_AT_CLOUD", 0.5)
    clouds = Clouds(servers={1: Server(), 4711: Server()}, floating={7: FloatingIP(IP, 1)})
    async with serving(clouds, tmp_path) as endpoints:
        clouds.failures = [(503, None), (404, None)]
        async with vip_stage(tmp_path, spec=CLOUD, clouds=endpoints, trust=tmp_path / AUTHORITY) as at:
            # The address need not be of a network of the link.
            await at.is_(VIPState.REFUSED, "metadata service of Hetzner Cloud answers 503")
            assert not has_address(at.inside)
            await at.is_(VIPState.LEADER, within=60.0)
            assert clouds.floating[7].server == 4711
            assert has_address(at.inside)
            assert clouds.changes()[:1] == ['POST /v1/floating_ips/7/actions/assign {"server": 4711}']
            # A request of a node that led before comes late: the holder has it led here again.
            clouds.floating[7].server = 1
            await eventually(lambda: clouds.floating[7].server == 4711)
            assert has_address(at.inside)
            await at.node.state.destroy(OperatorSpec.kind, operator_id(CLOUD))
            await at.node.gone(VIPStatus, ID)
            assert not has_address(at.inside)
            assert await at.keys() == 0


async def test_a_leader_to_whom_a_cloud_does_not_lead_the_address_resigns(tmp_path: Path) -> None:
    clouds = Clouds(servers={4711: Server()})
    async with (
        serving(clouds, tmp_path) as endpoints,
        vip_stage(tmp_path, spec=CLOUD, clouds=endpoints, trust=tmp_path / AUTHORITY) as at,
    ):
        status = await at.is_(VIPState.REFUSED, "floating IP / alias IP is not found")
        assert status.trouble
        await eventually(lambda: not has_address(at.inside))
        assert await at.keys() == 0
        clouds.floating = {7: FloatingIP(IP)}
        await at.is_(VIPState.LEADER, within=60.0)
        assert clouds.floating[7].server == 4711
