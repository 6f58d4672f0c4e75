"""The table in the docstring of the lease keeper, against its transitions as data, and against what it does."""

import pytest
import trio

from nodespan.etcd import LeaseGoneError, kept_lease, lease_keeper
from nodespan.etcd.lease_keeper import TRANSITIONS, LeaseState
from tests.etcd.test_lease_keeper import TTL, FakeEtcd, down
from tests.support.transitions import documented_transitions, transition_names


def test_the_docstring_has_the_transitions_of_the_data() -> None:
    assert documented_transitions(lease_keeper.__doc__, LeaseState) == transition_names(TRANSITIONS)


@pytest.mark.virtual_clock
async def test_a_lease_goes_through_its_states() -> None:
    etcd = FakeEtcd()
    async with kept_lease(etcd, TTL, clock=trio.current_time) as keeper:
        states = [keeper.state]
        etcd.fail = down()
        await keeper.wait_invalid()
        states.append(keeper.state)
        etcd.fail = None
        await keeper.wait_valid()
        states.append(keeper.state)
        etcd.fail = LeaseGoneError("gone")
        await keeper.wait_lost()
        states.append(keeper.state)
        etcd.fail = None
        await trio.sleep(TTL)
        states.append(keeper.state)
    assert states == [LeaseState.VALID, LeaseState.INVALID, LeaseState.VALID, LeaseState.LOST, LeaseState.LOST]
