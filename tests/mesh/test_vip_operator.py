"""The operator of a virtual IP with an etcd of its own, where something near it does not do its part."""

from pathlib import Path

import pytest
import trio

from nodespan.controllers.network.vip.tally import tally_of
from nodespan.controllers.network.vip.vip_rules import election_prefix
from nodespan.etcd import EtcdClient
from nodespan.resources.network import AddressSpec, OperatorSpec, VIPState, VIPStatus, operator_id
from nodespan.runtime.controller import Controller, ControllerContext, strong
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
