"""The cost of a frame does not grow with the number of streams: counted in calls, not in time."""

import sys
from typing import Any

import h2.connection
import pytest
from h2.settings import SettingCodes

from nodespan.runtime.api.grpc.machine import Machine

_FIELDS = ((":method", "POST"), (":scheme", "http"), (":authority", "x"), (":path", "/a/b"))


def _pair(streams: int) -> tuple[h2.connection.H2Connection, Machine]:
    client = h2.connection.H2Connection()
    client.initiate_connection()
    machine = Machine({SettingCodes.MAX_CONCURRENT_STREAMS: 5000}, 16 << 10)
    machine.initiate_connection()
    client.receive_data(machine.data_to_send())
    for number in range(streams):
        client.send_headers(2 * number + 1, _FIELDS)
    machine.receive_data(client.data_to_send())
    machine.take_work()
    return client, machine


def _steps(machine: Machine, data: bytes) -> int:
    """The lines of Python that run to receive the data: loops count by their length."""
    count = 0

    def trace(_frame: Any, event: str, _arg: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    sys.settrace(trace)
    try:
        machine.receive_data(data)
    finally:
        sys.settrace(None)
    return count


def _settings(code: int, value: int) -> bytes:
    return bytes.fromhex("000006040000000000") + code.to_bytes(2, "big") + value.to_bytes(4, "big")


_FRAMES = {
    "initial window": _settings(4, 1) + _settings(4, 70_000),
    "largest frame": _settings(5, 20_000) + _settings(5, 16_384),
    "size of the header table": _settings(1, 0) + _settings(1, 4096),
    "window of the connection": bytes.fromhex("00000408000000000000000001"),
    "window of a stream": bytes.fromhex("00000408000000000100000001"),
    "reset": bytes.fromhex("00000403000000000100000008"),
    "ping": bytes.fromhex("000008060000000000") + bytes(8),
    "priority": bytes.fromhex("000005020000000001") + bytes(5),
}


@pytest.mark.parametrize("frames", _FRAMES.values(), ids=_FRAMES)
def test_a_frame_costs_the_same_however_many_streams_there_are(frames: bytes) -> None:
    few, many = _pair(2)[1], _pair(1000)[1]
    assert _steps(many, frames) <= _steps(few, frames) + 20


def test_a_request_costs_the_same_however_many_streams_there_are() -> None:
    costs = []
    for streams in (2, 1000):
        client, machine = _pair(streams)
        client.send_headers(2 * streams + 1, _FIELDS)
        costs.append(_steps(machine, client.data_to_send()))
    assert costs[1] <= costs[0] + 20


def test_windows_are_as_with_a_machine_that_goes_through_all_streams() -> None:
    client, machine = _pair(3)
    assert machine.local_flow_control_window(1) == 65_535
    for value in (1, 100, 5):
        client.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: value})
        machine.receive_data(client.data_to_send())
        client.receive_data(machine.data_to_send())
    assert machine.local_flow_control_window(1) == 5
    client.increment_flow_control_window(7, 3)
    machine.receive_data(client.data_to_send())
    client.send_headers(7, _FIELDS)
    machine.receive_data(client.data_to_send())
    assert [machine.local_flow_control_window(id) for id in (1, 3, 7)] == [5, 12, 5]
    machine.send_headers(1, ((":status", "200"),))
    machine.send_data(1, b"12345")
    client.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 3})
    machine.receive_data(client.data_to_send())
    assert [machine.local_flow_control_window(id) for id in (1, 3, 7)] == [-2, 10, 3]


def test_streams_that_are_over_are_not_counted() -> None:
    client, machine = _pair(3)
    client.reset_stream(1)
    client.end_stream(3)
    machine.receive_data(client.data_to_send())
    machine.send_headers(3, ((":status", "200"),), end_stream=True)
    machine.retire(3)
    machine.retire(5)
    assert machine.open_inbound_streams == 1


def test_work_counts_frames_and_what_they_carry() -> None:
    client, machine = _pair(1)
    client.send_data(1, bytes(10_000))
    machine.receive_data(client.data_to_send())
    assert machine.take_work() == 3
    client.send_headers(3, (*_FIELDS, ("long", "x" * 3200)))
    machine.receive_data(client.data_to_send())
    assert 50 < machine.take_work() < 200
    assert machine.take_work() == 0


def test_no_window_opens_after_a_goodbye() -> None:
    client, machine = _pair(1)
    for _ in range(4):
        client.send_data(1, bytes(15_000))
    machine.receive_data(client.data_to_send())
    machine.close_connection()
    client.receive_data(machine.data_to_send())
    machine.open_connection_window(60_000)
    machine.open_stream_window(1, 60_000)
    assert machine.data_to_send() == b""
