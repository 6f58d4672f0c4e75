"""Resources of other machines that are watched over the times when their node is away."""

from typing import Any

import attrs
import pytest

from nodespan.controllers.remote.following import follow
from nodespan.controllers.remote.nodes import Answer, Asked
from nodespan.runtime.api import protocol
from nodespan.runtime.api.grpc import Code
from nodespan.runtime.api.grpc.client import CallError
from nodespan.runtime.cli.get import Follower, Output

DEFINITION: Answer = {"definition": {"printColumns": []}}
PRESENT: Answer = {"event": protocol.BOOTSTRAPPED}
UNAVAILABLE = CallError(Code.UNAVAILABLE, "the connection was lost")
FELL_BEHIND = CallError(Code.ABORTED, "the watch fell behind")
DENIED = CallError(Code.PERMISSION_DENIED, "not authorized")


@attrs.define
class Watched:
    """A node whose watches say so much, and end so."""

    watches: list[tuple[list[Answer], CallError]]
    node: str = "one"

    async def watch(self, _asked: Asked, show: Any) -> None:
        answers, end = self.watches.pop(0)
        for answer in answers:
            show(answer)
        raise end


@pytest.mark.virtual_clock
async def test_each_time_that_a_node_is_away_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    node: Any = Watched(
        [
            ([DEFINITION, PRESENT], UNAVAILABLE),
            ([], UNAVAILABLE),
            ([DEFINITION, PRESENT], FELL_BEHIND),
            ([DEFINITION, PRESENT], UNAVAILABLE),
            ([], UNAVAILABLE),
            ([DEFINITION, PRESENT], UNAVAILABLE),
            ([], DENIED),
        ]
    )
    with pytest.raises(CallError, match="not authorized"):
        await follow(node, Asked("links", None, "", (), "data"), Follower(Output(), of_one=False))
    assert capsys.readouterr().err == "one: the connection was lost; trying again\n" * 3
