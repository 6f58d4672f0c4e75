"""The client's machine: the cost of a frame does not grow with the number of streams, counted in calls, not in time."""

import h2.config
import h2.connection
import pytest
from h2.events import DataReceived, Event, PingReceived, StreamEnded
from h2.settings import SettingCodes

from nodespan.runtime.api.grpc.machine import Machine
from tests.runtime.api.grpc.frames import FRAMES, steps

_FIELDS = ((":method", "POST"), (":scheme", "http"), (":authority", "x"), (":path", "/a/b"))


def _pair(streams: int) -> tuple[h2.connection.H2Connection, Machine]:
    """A server, and a client with so many requests under way."""
    server = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    server.local_settings = h2.settings.Settings(
        client=False, initial_values={SettingCodes.MAX_CONCURRENT_STREAMS: 5000}
    )
    server.initiate_connection()
    machine = Machine({SettingCodes.ENABLE_PUSH: 0}, 16 << 10)
    machine.initiate_connection()
    machine.receive_data(server.data_to_send())
    for _ in range(streams):
        machine.send_headers(machine.get_next_available_stream_id(), _FIELDS)
    server.receive_data(machine.data_to_send())
    machine.receive_data(server.data_to_send())
    machine.take_work()
    return server, machine


@pytest.mark.parametrize("frames", FRAMES.values(), ids=FRAMES)
def test_a_frame_costs_the_same_however_many_streams_there_are(frames: bytes) -> None:
    few, many = _pair(2)[1], _pair(1000)[1]
    assert steps(many.receive_data, frames) <= steps(few.receive_data, frames) + 20


def test_windows_are_as_with_a_machine_that_goes_through_all_streams() -> None:
    server, machine = _pair(3)
    assert machine.local_flow_control_window(1) == 65_535
    for value in (1, 100, 5):
        server.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: value})
        machine.receive_data(server.data_to_send())
        server.receive_data(machine.data_to_send())
    assert machine.local_flow_control_window(1) == 5
    server.increment_flow_control_window(7, 3)
    machine.receive_data(server.data_to_send())
    machine.send_headers(7, _FIELDS)
    assert [machine.local_flow_control_window(id) for id in (1, 3, 7)] == [5, 12, 5]
    machine.send_data(1, b"12345")
    server.receive_data(machine.data_to_send())
    server.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 3})
    machine.receive_data(server.data_to_send())
    assert [machine.local_flow_control_window(id) for id in (1, 3, 7)] == [-2, 10, 3]


def test_streams_that_are_over_are_not_counted() -> None:
    _, machine = _pair(3)
    machine.reset_stream(1)
    machine.retire(1)
    machine.retire(5)
    assert machine.open_outbound_streams == 2


def test_work_counts_frames_and_what_they_carry() -> None:
    server, machine = _pair(1)
    server.send_headers(1, ((":status", "200"),))
    machine.receive_data(server.data_to_send())
    assert 1 <= machine.take_work() < 2
    server.send_data(1, bytes(10_000))
    machine.receive_data(server.data_to_send())
    assert machine.take_work() == 3
    server.send_headers(1, (("long", "x" * 3200),), end_stream=True)
    machine.receive_data(server.data_to_send())
    assert 50 < machine.take_work() < 200
    assert machine.take_work() == 0


def test_no_window_opens_after_a_goodbye() -> None:
    server, machine = _pair(1)
    server.send_headers(1, ((":status", "200"),))
    for _ in range(4):
        server.send_data(1, bytes(15_000))
    machine.receive_data(server.data_to_send())
    machine.close_connection()
    server.receive_data(machine.data_to_send())
    machine.open_connection_window(60_000)
    machine.open_stream_window(1, 60_000)
    assert machine.data_to_send() == b""


@pytest.mark.parametrize("size", [1, 2, 8, 9, 10, 11, 100, 5_000, 16_384, 16_393, 60_000])
def test_data_is_taken_past_h2_however_it_is_cut(size: int) -> None:
    server, machine = _pair(2)
    server.send_headers(1, ((":status", "200"),))
    machine.receive_data(server.data_to_send())
    bodies = [bytes((number,)) * length for number, length in enumerate((1, 16_384, 700, 0, 9, 12_000))]
    for body in bodies:
        server.send_data(1, body)
    server.ping(b"nodespan")
    server.send_data(1, b"end", end_stream=True)
    sent = server.data_to_send()
    took = b""
    events: list[Event] = []
    for start in range(0, len(sent), size):
        parts, rest = machine.take_parts(sent[start : start + size])
        took += b"".join(part for _, part in parts)
        # A frame that is neither complete nor of another kind goes nowhere yet: all after it would go the long way.
        assert not rest.startswith(b"\0\x40\0\0\0") or len(rest) > 16_384
        events += machine.receive_data(rest)
    for event in events:
        if isinstance(event, DataReceived):
            took += event.data
    assert took == b"".join((*bodies, b"end"))
    assert [type(event) for event in events if not isinstance(event, DataReceived)] == [PingReceived, StreamEnded]
    assert sum(isinstance(event, DataReceived) for event in events) == 1


def test_the_beginning_of_a_frame_of_a_stream_that_is_given_up_meanwhile_is_not_lost() -> None:
    server, machine = _pair(2)
    server.send_headers(1, ((":status", "200"),))
    machine.receive_data(server.data_to_send())
    server.send_data(1, bytes(100))
    server.ping(b"nodespan")
    sent = server.data_to_send()
    assert machine.take_parts(sent[:50]) == ([], b"")
    machine.reset_stream(1)
    machine.retire(1)
    assert machine.take_parts(sent[50:]) == ([], sent)
    assert [type(event) for event in machine.receive_data(sent)] == [PingReceived]
