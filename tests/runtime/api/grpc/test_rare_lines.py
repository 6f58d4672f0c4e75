"""Lines of the log that are written rarely, however often they are due."""

import pytest
import structlog
import structlog.testing
import trio

from nodespan.runtime.api.grpc.rare_lines import RareLine


@pytest.mark.virtual_clock
async def test_a_line_is_written_at_once_and_then_once_a_minute_with_how_often_it_was_due() -> None:
    with structlog.testing.capture_logs() as lines:
        line = RareLine(structlog.get_logger().warning, "no room")
        line.due(error="first")
        for _ in range(59):
            await trio.sleep(1)
            line.due(error="later")
        assert [(each["event"], each["times"], each["error"]) for each in lines] == [("no room", 1, "first")]
        await trio.sleep(1)
        line.due(error="last")
    assert [(each["times"], each["error"]) for each in lines] == [(1, "first"), (60, "last")]
