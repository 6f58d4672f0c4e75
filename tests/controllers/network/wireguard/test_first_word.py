"""The ends of a new tunnel get acquainted, then the one with the smaller public key begins the first handshake."""

from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from nodespan.controllers.common.prior_state import PriorState
from nodespan.controllers.network.wireguard.desired_peers import DesiredPeers, Device
from nodespan.controllers.network.wireguard.first_word import (
    ACQUAINTANCE,
    HEAD_START,
    held_back,
    silence_at_first,
    with_held_back,
    without_keepalive,
)
from nodespan.controllers.network.wireguard.peers import Compare, Send, Sent, _DeviceDriver, _PeerPlan
from nodespan.kernel.wireguard.device import DeviceChange, DeviceState, PeerConfig, PeerState
from nodespan.runtime.controller import Look, Retries

ALIVE = PeerConfig(public_key="a", persistent_keepalive=25, endpoint="192.0.2.1:51820")
QUIET = without_keepalive(ALIVE)
keys = st.text("ABCabc+/09", min_size=1, max_size=4)


@given(keys, keys)
def test_one_end_begins_well_before_the_other(one: str, other: str) -> None:
    ends = [
        silence_at_first(own, PeerConfig(public_key=peer, persistent_keepalive=25))
        for own, peer in ((one, other), (other, one))
    ]
    assert min(ends) == ACQUAINTANCE
    assert max(ends) - min(ends) == (HEAD_START if one != other else 0.0)


@pytest.mark.parametrize(
    ("own", "peer", "silence"),
    [
        ("b", ALIVE, ACQUAINTANCE + HEAD_START),
        ("B", ALIVE, ACQUAINTANCE),
        # Without keepalive a device sends nothing of its own accord.
        ("b", QUIET, 0.0),
        # The link has no private key that is known here.
        ("", ALIVE, 0.0),
    ],
)
def test_how_long_a_new_peer_is_silent(own: str, peer: PeerConfig, silence: float) -> None:
    assert silence_at_first(own, peer) == silence


@pytest.mark.parametrize(
    ("seen", "held"),
    [(None, {"a"}), (QUIET, {"a"}), (ALIVE, set())],
    ids=["new", "without-keepalive", "tunnel-of-an-agent-before"],
)
def test_a_tunnel_that_is_kept_alive_stays_so(seen: PeerConfig | None, held: set[str]) -> None:
    device = DeviceState(peers={} if seen is None else {"a": PeerState(config=seen)})
    assert held_back({"a"}, device) == held
    assert with_held_back({"a": ALIVE}, held) == {"a": QUIET if held else ALIVE}


class _NoAddresses:
    def __init__(self) -> None:
        self.items: dict[Any, Any] = {}

    def take(self) -> tuple[()]:
        return ()


def plan_of(own_key: str, **peers: PeerConfig) -> tuple[_PeerPlan, _DeviceDriver, DesiredPeers, Device]:
    desired = DesiredPeers(Retries(), lambda: None, pause=30.0)
    desired.devices["wg0"] = device = Device(7, "wireguard", trio.current_time(), own_key=own_key)
    desired._granted["wg0"].update(peers)
    prior: Any = PriorState(None)
    nothing: Any = None
    driver = _DeviceDriver(None, desired, nothing, nothing, nothing, prior)
    addresses: Any = _NoAddresses()
    driver._addresses = addresses
    return _PeerPlan(desired, stale_after=300.0, prior=prior), driver, desired, device


async def applied(driver: _DeviceDriver, sent: Sent) -> None:
    nothing: Any = None
    await driver.applied(nothing, {"wg0": sent})


@pytest.mark.virtual_clock
@pytest.mark.parametrize(("own", "silence"), [("B", ACQUAINTANCE), ("b", ACQUAINTANCE + HEAD_START)])
async def test_a_new_peer_gets_its_keepalive_a_little_later(own: str, silence: float) -> None:
    plan, driver, desired, device = plan_of(own)
    device.is_unknown = False
    desired._granted["wg0"]["a"] = ALIVE
    device.changed = {"a"}
    work = plan.decide("wg0")["wg0"].work
    assert isinstance(work, Send)
    assert work.change == DeviceChange(peers=(QUIET,))
    await applied(driver, Sent(work))
    assert driver.due() == trio.current_time() + silence
    await trio.sleep(silence)
    assert await driver.observe(Look(certain=False)) == {"wg0"}
    work = plan.decide("wg0")["wg0"].work
    assert isinstance(work, Send)
    # The endpoint is not sent again, for it moves with the peer.
    assert work.change == DeviceChange(peers=(PeerConfig(public_key="a", persistent_keepalive=25),))
    await applied(driver, Sent(work))
    assert not await driver.observe(Look(certain=False))


@pytest.mark.virtual_clock
async def test_only_new_peers_of_a_device_that_is_compared_as_a_whole_are_held_back() -> None:
    other = PeerConfig(public_key="aa", persistent_keepalive=25)
    plan, driver, _, device = plan_of("b", a=ALIVE, aa=other)
    work = plan.decide("wg0")["wg0"].work
    assert isinstance(work, Compare)
    assert work.held == {"a", "aa"}
    held = held_back(work.held, DeviceState(peers={"aa": PeerState(config=other)}))
    await applied(driver, Sent(work, held=held))
    assert device.held.keys() == {"a"}
    assert device.ledger.changes({"a": QUIET, "aa": other}) == DeviceChange()
    assert not driver.found_nothing({"wg0": Sent(work, held=held)})
    # Another full comparison leaves the keepalive of both as it is.
    plan.everything()
    work = plan.decide("wg0")["wg0"].work
    assert isinstance(work, Compare)
    assert work.held == {"a"}


@pytest.mark.virtual_clock
async def test_a_peer_that_goes_is_not_waited_for() -> None:
    plan, driver, desired, device = plan_of("b", a=ALIVE)
    device.is_unknown = False
    device.changed = {"a"}
    work = plan.decide("wg0")["wg0"].work
    assert isinstance(work, Send)
    await applied(driver, Sent(work))
    del desired._granted["wg0"]["a"]
    device.changed = {"a"}
    work = plan.decide("wg0")["wg0"].work
    assert isinstance(work, Send)
    assert work.change == DeviceChange(removed=("a",))
    assert not device.held
