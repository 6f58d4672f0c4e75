"""The reports of an operator's tasks, combined in order."""

import functools

import pytest
import trio
from structlog import get_logger

from nodespan.controllers.common.wall_offset import WallOffset
from nodespan.controllers.network.operators.base import OperatorContext, OperatorOutput
from nodespan.controllers.network.vip.report import Report
from nodespan.controllers.network.vip.vip_rules import held_address
from nodespan.resources.network import Operator as OperatorKind
from nodespan.resources.network import OperatorSpecSpec, VIPOperatorSpec, VIPState, VIPStatusSpec
from nodespan.runtime.codec.plain import parse_time
from nodespan.runtime.controller.context import Access
from nodespan.runtime.state import MemoryState

IP = "192.0.2.100"
SPEC = OperatorSpecSpec(operator=OperatorKind.VIP, link_name="eth0", vip=VIPOperatorSpec(ip=IP))
ADDRESS = held_address(SPEC, 5.0)


class Board:
    """Notes what is reported, some time after the call as a state kept elsewhere would."""

    def __init__(self) -> None:
        self.output: list[OperatorOutput] = []
        self.seconds, self.ahead = 1, 0

    def report(self) -> Report:
        access = Access("test", MemoryState(), (), (), get_logger())
        return Report(
            OperatorContext(access, SPEC, self._write), WallOffset(self._boot, lambda: self.seconds + self.ahead)
        )

    def _boot(self) -> float:
        return self.seconds

    async def _write(self, output: OperatorOutput) -> None:
        await trio.lowlevel.checkpoint()
        self.output.append(output)

    @property
    def status(self) -> VIPStatusSpec:
        status = self.output[-1].vip_status
        assert status is not None
        return status


async def test_a_state_has_begun_when_it_was_another_before() -> None:
    board = Board()
    report = board.report()
    await report.update(leader="two")
    assert board.status.since == "1970-01-01T00:00:01Z"
    board.seconds = 2
    await report.update(state=VIPState.LEADER)
    assert board.status.since == "1970-01-01T00:00:02Z"
    board.seconds = 3
    await report.update(leader="one")
    assert (board.status.since, board.status.leader) == ("1970-01-01T00:00:02Z", "one")


@pytest.mark.parametrize(("step", "shown"), [(7200, "1970-01-01T02:30:00Z"), (-1800, "1970-01-01T00:00:00Z")])
async def test_a_step_of_the_wall_clock_corrects_when_a_state_began(step: int, shown: str) -> None:
    board = Board()
    report = board.report()
    await report.show_again()
    assert board.output == []
    board.seconds = 1800
    await report.update(state=VIPState.CANDIDATE)
    board.seconds, board.ahead = 3000, step
    await report.show_again()
    assert board.status.since == shown
    # What comes later is shown by the new setting, too.
    board.seconds = 3600
    await report.update(state=VIPState.LEADER)
    assert parse_time(board.status.since) == (3600 + step) * 10**9


async def test_what_is_shown_already_is_not_written_again() -> None:
    board = Board()
    report = board.report()
    await report.update(leader="two")
    await report.update(leader="two")
    assert len(board.output) == 1


async def test_while_etcd_is_unavailable_no_leader_is_shown() -> None:
    board = Board()
    report = board.report()
    await report.update(leader="two", reason="gave it up", namesake="twin")
    assert (board.status.leader, board.status.reason) == ("two", "twin")
    await report.update(watch_trouble="no answer")
    assert (board.status.leader, board.status.reason) == ("", "no answer")
    await report.update(lease_trouble="not renewed")
    assert board.status.reason == "not renewed"
    await report.update(watch_trouble="", lease_trouble="", namesake="")
    assert (board.status.leader, board.status.reason) == ("two", "gave it up")


async def test_what_is_wrong_is_a_problem() -> None:
    board = Board()
    report = board.report()
    await report.update(problem="outside")
    assert (board.output[-1].problem, board.status.trouble) == ("outside", "outside")
    await report.update(problem="", namesake="twin")
    assert board.output[-1].problem == "twin"
    for trouble in ("watch_trouble", "lease_trouble"):
        await report.update(**{trouble: "it speaks only gRPC"})
        assert board.output[-1].problem == board.status.trouble == "it speaks only gRPC"
        await report.update(**{trouble: ""})
        assert board.output[-1].problem == "twin"


async def test_an_address_given_up_is_not_written_again_by_a_slower_task() -> None:
    board = Board()
    report = board.report()
    await report.set_address(ADDRESS)
    async with trio.open_nursery() as nursery:
        for leader in ("one", "two", "three"):
            nursery.start_soon(functools.partial(report.update, leader=leader))
        nursery.start_soon(report.set_address, None)
        nursery.start_soon(functools.partial(report.update, leader="four"))
    has_it = [bool(output.addresses) for output in board.output]
    assert has_it == sorted(has_it, reverse=True)
    assert not has_it[-1]


async def test_another_leader_than_the_last_known_one_is_a_handover() -> None:
    report = Board().report()
    for leader, trouble in (("one", ""), ("", "etcd is away"), ("one", ""), ("two", ""), ("two", "etcd is away")):
        await report.update(leader=leader, watch_trouble=trouble)
    assert report.tally.handovers == 1
    # An operator that starts again goes on with the same tally.
    assert Board().report().tally is report.tally
