"""What a device is told of its peers: only what changed, all of it when that is not certain."""

import pytest
import trio
import trio.testing

from nodespan.controllers.network.wireguard.desired_peers import DesiredPeers, Device
from nodespan.controllers.network.wireguard.peers import Compare, Tell, _PeerPlan
from nodespan.kernel.wireguard.device import DeviceChange, PeerConfig
from nodespan.runtime.controller import Retries

ONE, OTHER = PeerConfig(public_key="one"), PeerConfig(public_key="other")


def device(**peers: PeerConfig) -> tuple[_PeerPlan, DesiredPeers, Device]:
    desired = DesiredPeers(Retries(), lambda: None, pause=30.0)
    desired.devices["wg0"] = found = Device(index=7, kind="wireguard", since=trio.current_time())
    desired._peers["wg0"].update(peers)
    return _PeerPlan(desired, stale_after=300.0), desired, found


@pytest.mark.virtual_clock
async def test_a_new_device_is_compared_as_a_whole_and_keeps_unknown_peers_for_a_while() -> None:
    plan, _, _ = device(one=ONE)
    work = plan.decide("wg0")["wg0"].work
    assert isinstance(work, Compare)
    assert (work.peers, work.remove_others) == ({"one": ONE}, False)
    await trio.sleep(300.0)
    work = plan.decide("wg0")["wg0"].work
    assert isinstance(work, Compare)
    assert work.remove_others


@pytest.mark.virtual_clock
async def test_a_changed_peer_is_told_alone() -> None:
    plan, desired, found = device(one=ONE, other=OTHER)
    found.is_unknown = False
    found.ledger.note_all({"one": ONE, "other": OTHER})
    assert plan.decide("wg0")["wg0"].work is None
    del desired._peers["wg0"]["other"]
    found.changed = {"one", "other"}
    work = plan.decide("wg0")["wg0"].work
    assert isinstance(work, Tell)
    assert work.change == DeviceChange(removed=("other",))


@pytest.mark.virtual_clock
async def test_what_changed_and_changed_back_is_not_told() -> None:
    plan, _, found = device(one=ONE)
    found.is_unknown = False
    found.ledger.note_all({"one": ONE})
    found.changed = {"one"}
    assert plan.decide("wg0")["wg0"].work is None
    assert not found.changed


@pytest.mark.virtual_clock
async def test_a_worker_gets_values_apart_from_those_of_the_controller() -> None:
    plan, desired, found = device(one=ONE)
    work = plan.decide("wg0")["wg0"].work
    assert isinstance(work, Compare)
    desired._peers["wg0"].clear()
    found.ledger.note_all({"other": OTHER})
    assert work.peers == {"one": ONE}
    assert not work.ledger.changes({"other": None})


@pytest.mark.virtual_clock
async def test_a_full_comparison_reads_every_device() -> None:
    plan, _, found = device(one=ONE)
    found.is_unknown = False
    plan.everything()
    assert isinstance(plan.decide("wg0")["wg0"].work, Compare)
