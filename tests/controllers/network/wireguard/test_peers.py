"""What a device is told of its peers: only what changed, all of it when that is not certain."""

from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from nodespan.controllers.common.journal import Journal
from nodespan.controllers.common.prior_state import PriorState, link_slot
from nodespan.controllers.network.apply.link_prior import PriorLink, to_plain
from nodespan.controllers.network.wireguard.desired_peers import DesiredPeers, Device
from nodespan.controllers.network.wireguard.peers import Compare, Send, _PeerPlan
from nodespan.kernel.wireguard.device import DeviceChange, DeviceState, PeerConfig, PeerState
from nodespan.resources.network import LinkSpecSpec, WireguardPeer, WireguardSpec
from nodespan.runtime.controller import Retries

ONE, OTHER = PeerConfig(public_key="one"), PeerConfig(public_key="other")


def device(prior: PriorState | None = None, **peers: PeerConfig) -> tuple[_PeerPlan, DesiredPeers, Device]:
    desired = DesiredPeers(Retries(), lambda: None, pause=30.0)
    desired.devices["wg0"] = found = Device(index=7, kind="wireguard", since=trio.current_time())
    desired._granted["wg0"].update(peers)
    return _PeerPlan(desired, stale_after=300.0, prior=prior or PriorState(None)), desired, found


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
@pytest.mark.parametrize(
    ("index", "is_configured", "removed"),
    [
        pytest.param(7, True, (), id="stays"),
        # The link of the mesh is the mesh's alone.
        pytest.param(7, False, ("theirs",), id="mesh"),
        # The record is about a link that has gone since.
        pytest.param(6, True, ("theirs",), id="another"),
    ],
)
async def test_peers_that_a_device_had_before_the_agent_stay_once_they_are_on_record(
    index: int, is_configured: bool, removed: tuple[str, ...], tmp_path: Path
) -> None:
    prior = PriorState(tmp_path / "before.jsonl")
    plan, _, found = device(prior, one=ONE)
    found.is_configured = is_configured
    await trio.sleep(300.0)
    decision = plan.decide("wg0")["wg0"]
    assert decision.work is None
    assert decision.waiting
    settings = WireguardSpec(peers=(WireguardPeer(public_key="theirs"),))
    before = PriorLink(index=index, spec=LinkSpecSpec(name="wg0", wireguard=settings))
    prior.journal.change({link_slot("wg0"): to_plain(before)})
    assert "theirs" in str(Journal(tmp_path / "before.jsonl").all())
    work = plan.decide("wg0")["wg0"].work
    assert isinstance(work, Compare)
    seen = DeviceState(peers={"theirs": PeerState(config=PeerConfig(public_key="theirs"))})
    change = work.ledger.differences(work.peers, seen, remove_others=True, spared=work.spared)
    assert change == DeviceChange(peers=(ONE,), removed=removed)
    # Nor do they go when they were configured for a while.
    work.ledger.note_all({"theirs": OTHER})
    assert work.ledger.changes({"theirs": None}, work.spared).removed == removed


@pytest.mark.virtual_clock
async def test_a_changed_peer_is_sent_alone() -> None:
    plan, desired, found = device(one=ONE, other=OTHER)
    found.is_unknown = False
    found.ledger.note_all({"one": ONE, "other": OTHER})
    assert plan.decide("wg0")["wg0"].work is None
    del desired._granted["wg0"]["other"]
    found.changed = {"one", "other"}
    work = plan.decide("wg0")["wg0"].work
    assert isinstance(work, Send)
    assert work.change == DeviceChange(removed=("other",))


@pytest.mark.virtual_clock
async def test_what_changed_and_changed_back_is_not_sent() -> None:
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
    desired._granted["wg0"].clear()
    found.ledger.note_all({"other": OTHER})
    assert work.peers == {"one": ONE}
    assert not work.ledger.changes({"other": None})


@pytest.mark.virtual_clock
async def test_a_full_comparison_reads_every_device() -> None:
    plan, _, found = device(one=ONE)
    found.is_unknown = False
    plan.everything()
    assert isinstance(plan.decide("wg0")["wg0"].work, Compare)


class Problems:
    """The problems of peers, by id."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    async def set(self, id: str, message: str, **_: Any) -> None:
        self.texts[id] = message

    async def clear(self, id: str) -> None:
        self.texts.pop(id, None)


NETWORK = "10.0.0.0/8"


@pytest.mark.virtual_clock
@pytest.mark.parametrize("order", ["ab", "ba"])
async def test_a_network_of_two_peers_has_one_lasting_owner(order: str) -> None:
    plan, desired, found = device()
    problems: Any = Problems()
    desired.problems = problems
    peers = {
        "a": PeerConfig(public_key="a", allowed_ips=(NETWORK, "192.0.2.1/32")),
        "b": PeerConfig(public_key="b", allowed_ips=(NETWORK,)),
    }
    for key in order:
        desired._peers["wg0"][key] = peers[key]
        await desired._grant("wg0", key)
    assert desired.peers_of("wg0") == {"a": attrs.evolve(peers["a"], allowed_ips=("192.0.2.1/32",)), "b": peers["b"]}
    assert problems.texts == {"wg0/a": f"{NETWORK} goes to the peer b, which allows it too"}
    # Nothing differs from what the kernel can hold, so nothing moves.
    held = DeviceState(peers={key: PeerState(config=peer) for key, peer in desired.peers_of("wg0").items()})
    work = plan.decide("wg0")["wg0"].work
    assert isinstance(work, Compare)
    assert not work.ledger.differences(work.peers, held, remove_others=True)
    # Its owner goes: the other one gets it, at once.
    found.changed.clear()
    del desired._peers["wg0"]["b"]
    await desired._grant("wg0", "b")
    assert desired.peers_of("wg0") == {"a": peers["a"]}
    assert found.changed == {"a", "b"}
    assert not problems.texts


@pytest.mark.virtual_clock
async def test_of_a_links_own_peers_the_last_one_gets_a_network_and_a_resource_comes_before_them() -> None:
    _, desired, _ = device()
    problems: Any = Problems()
    desired.problems = problems
    own = {key: PeerConfig(public_key=key, allowed_ips=(NETWORK,)) for key in "zyx"}
    desired._inline["wg0"] = own
    for key in own:
        await desired._grant("wg0", key)
    assert [key for key, peer in desired.peers_of("wg0").items() if peer.allowed_ips] == ["x"]
    desired._peers["wg0"]["a"] = PeerConfig(public_key="a", allowed_ips=(NETWORK,))
    await desired._grant("wg0", "a")
    assert [key for key, peer in desired.peers_of("wg0").items() if peer.allowed_ips] == ["a"]
    assert sorted(problems.texts) == ["wg0/x", "wg0/y", "wg0/z"]
