"""The server's machine against h2's client: what it says is understood, and a frame costs the same whatever is open."""

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import pytest
from h2.settings import SettingCodes

from nodespan.runtime.api.grpc.header_block import header_block
from nodespan.runtime.api.grpc.server_machine import Headers, ServerMachine, frame, greeting
from tests.runtime.api.grpc.frames import FRAMES, setting, steps

_FIELDS = ((":method", "POST"), (":scheme", "http"), (":authority", "x"), (":path", "/a/b"))
_OK = header_block(((":status", "200"),))
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_SETTINGS = bytes.fromhex("000000040000000000")


class Recorder:
    """What the machine said of its peer."""

    def __init__(self) -> None:
        self.said: list[tuple[object, ...]] = []

    def begin(self, id: int, headers: Headers, *, has_ended: bool) -> None:
        self.said.append(("begin", id, headers))

    def feed(self, id: int, data: bytes) -> None:
        self.said.append(("feed", id, data))

    def complete(self, id: int) -> None:
        self.said.append(("complete", id))

    def was_reset(self, id: int) -> None:
        self.said.append(("reset", id))

    def window_opened(self, id: int) -> None:
        self.said.append(("window", id))

    def settings_changed(self, *, windows: bool) -> None:
        self.said.append(("settings", windows))

    def pinged(self) -> None:
        self.said.append(("ping",))

    def take(self) -> list[tuple[object, ...]]:
        said, self.said = self.said, []
        return said


def _pair(streams: int = 0) -> tuple[h2.connection.H2Connection, ServerMachine, Recorder]:
    client = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    client.initiate_connection()
    recorder = Recorder()
    machine = ServerMachine(recorder, 5000, 16 << 10)
    client.receive_data(machine.data_to_send())
    for number in range(streams):
        client.send_headers(2 * number + 1, _FIELDS)
    machine.receive_data(client.data_to_send())
    client.receive_data(machine.data_to_send())
    machine.take_work()
    recorder.take()
    return client, machine, recorder


@pytest.mark.parametrize("frames", FRAMES.values(), ids=FRAMES)
def test_a_frame_costs_the_same_however_many_streams_there_are(frames: bytes) -> None:
    few, many = _pair(2)[1], _pair(1000)[1]
    assert steps(many.receive_data, frames) == steps(few.receive_data, frames)


def test_a_request_costs_the_same_however_many_streams_there_are() -> None:
    costs = []
    for streams in (2, 1000):
        client, machine, _ = _pair(streams)
        client.send_headers(2 * streams + 1, _FIELDS)
        costs.append(steps(machine.receive_data, client.data_to_send()))
    assert costs[1] == costs[0]


def test_the_header_fields_of_a_request_like_the_last_are_not_read_again() -> None:
    client, machine, recorder = _pair(2)
    lines = []
    for id in (5, 7):
        client.send_headers(id, (*_FIELDS, ("content-type", "application/grpc")))
        lines.append(steps(machine.receive_data, client.data_to_send()))
    client.send_headers(9, (*_FIELDS, ("content-type", "application/grpc")))
    lines.append(steps(machine.receive_data, client.data_to_send()))
    assert lines[2] < 60 < lines[0]
    (_, _, first), (_, _, second), (_, _, third) = recorder.take()
    assert first == second == third == (*_FIELDS, ("content-type", "application/grpc"))
    # The table has another field first: the same bytes stand for something else.
    client.send_headers(11, (*_FIELDS, ("x", "new")))
    client.send_headers(13, (*_FIELDS, ("content-type", "application/grpc")))
    machine.receive_data(client.data_to_send())
    assert [headers[-1] for _, _, headers in recorder.take()] == [("x", "new"), ("content-type", "application/grpc")]  # type: ignore[index]


def test_windows_are_as_with_a_machine_that_goes_through_all_streams() -> None:
    client, machine, _ = _pair(3)
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
    machine.send_headers(1, _OK)
    machine.send_data(1, b"12345")
    client.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 3})
    machine.receive_data(client.data_to_send())
    assert [machine.local_flow_control_window(id) for id in (1, 3, 7)] == [-2, 10, 3]


def test_streams_that_are_over_are_not_counted_and_what_comes_for_them_is_ignored() -> None:
    client, machine, recorder = _pair(3)
    client.reset_stream(1)
    client.end_stream(3)
    client.send_data(5, b"late")
    machine.receive_data(client.data_to_send()[:-13])
    machine.send_headers(3, _OK, end_stream=True)
    machine.retire(3)
    machine.reset_stream(5, h2.errors.ErrorCodes.CANCEL)
    assert machine.open_streams == 0
    assert recorder.take() == [("reset", 1), ("complete", 3)]
    machine.receive_data(frame(0, 0, 5, b"late") + frame(0, 1, 1, b"later") + frame(3, 0, 3, bytes(4)))
    assert recorder.take() == []
    for id in (1, 3, 5, 7):
        with pytest.raises(h2.exceptions.StreamClosedError):
            machine.send_data(id, b"x")


def test_work_counts_frames_and_what_they_carry() -> None:
    client, machine, _ = _pair(1)
    client.send_data(1, bytes(10_000))
    machine.receive_data(client.data_to_send())
    assert machine.take_work() == 3
    client.send_headers(3, (*_FIELDS, ("long", "x" * 3200)))
    machine.receive_data(client.data_to_send())
    assert 50 < machine.take_work() < 200
    assert machine.take_work() == 0
    # A settings frame may carry thousands of settings.
    machine.receive_data(frame(4, 0, 0, bytes.fromhex("000400000001") * 2000))
    assert machine.take_work() > 300


def test_a_request_may_come_byte_by_byte_and_be_as_long_as_it_likes() -> None:
    client = h2.connection.H2Connection()
    client.initiate_connection()
    client.send_headers(1, (*_FIELDS, ("long", "x" * 40_000)))
    client.send_data(1, b"body", end_stream=True)
    recorder = Recorder()
    machine = ServerMachine(recorder, 10, 64 << 10)
    for byte in client.data_to_send():
        machine.receive_data(bytes((byte,)))
    (_, (begin, _, headers), *rest) = recorder.take()
    assert begin == "begin"
    assert headers[-1] == ("long", "x" * 40_000)  # type: ignore[index]
    assert rest == [("feed", 1, b"body"), ("complete", 1)]


def test_a_whole_body_passes_however_small_the_windows_are() -> None:
    client, machine, recorder = _pair(1)
    left = 300_000
    while left:
        size = min(left, client.local_flow_control_window(1), 16_384)
        assert size > 0
        client.send_data(1, bytes(size), pad_length=3 if size < 16_000 else None)
        left -= size
        machine.receive_data(client.data_to_send())
        client.receive_data(machine.data_to_send())
    assert sum(len(data) for _, _, data in recorder.take()) == 300_000  # type: ignore[arg-type,misc]


def test_a_stream_that_is_widened_may_have_more_under_way_and_others_as_much_as_before() -> None:
    client, machine, recorder = _pair(3)
    for id, window in ((1, 1 << 20), (3, 100_000), (7, 1 << 20), (1, 10)):
        machine.widen(id, window)
    client.receive_data(machine.data_to_send())
    windows = [client.local_flow_control_window(id) for id in (1, 3, 5)]
    assert windows == [1 << 20, 100_000, 65_535]
    # What is under way is taken again and again, and no window is larger than it was.
    for _ in range(100):
        for id in (1, 3, 5):
            for _ in range(client.local_flow_control_window(id) // 16_384):
                client.send_data(id, bytes(16_384))
        machine.receive_data(client.data_to_send())
        client.receive_data(machine.data_to_send())
        after = [client.local_flow_control_window(id) for id in (1, 3, 5)]
        assert all(
            least < now <= most for least, now, most in zip((780_000, 30_000, 16_384), after, windows, strict=True)
        )
    assert sum(said[0] == "feed" for said in recorder.take()) > 5000


def test_a_response_is_understood_with_long_fields_and_after_the_table_was_shortened() -> None:
    client, machine, _ = _pair(1)
    client.update_settings({SettingCodes.HEADER_TABLE_SIZE: 100})
    machine.receive_data(client.data_to_send())
    client.receive_data(machine.data_to_send())
    fields = ((":status", "418"), ("content-type", "a/b"), ("x-long", "y" * 40_000), ("x", ""))
    client.decoder.max_header_list_size = 1 << 20
    machine.send_headers(1, header_block(fields))
    machine.send_data(1, b"body")
    machine.send_headers(1, header_block((("grpc-status", "0"),)), end_stream=True)
    head, data, trailers, _ = client.receive_data(machine.data_to_send())
    assert isinstance(head, h2.events.ResponseReceived)
    assert dict[object, object](head.headers) == dict(fields)
    assert isinstance(data, h2.events.DataReceived)
    assert isinstance(trailers, h2.events.TrailersReceived)
    assert dict[object, object](trailers.headers) == {"grpc-status": "0"}


def test_the_settings_of_all_connections_are_the_same_bytes() -> None:
    assert greeting(10, 100) is greeting(10, 100)
    assert ServerMachine(Recorder(), 10, 100, has_greeted=True).data_to_send() == b""


def _request(*fields: tuple[bytes, bytes]) -> bytes:
    block = b"".join(
        b"\x00" + bytes((len(name),)) + name + bytes((len(value),)) + value
        for name, value in (*((name.encode(), value.encode()) for name, value in _FIELDS), *fields)
    )
    return frame(1, 5, 1, block)


_VIOLATIONS = {
    "no settings first": (_request(), 1),
    "a frame that is too large": (_SETTINGS + b"\x00\x40\x01\x00\x00\x00\x00\x00\x01", 6),
    "data of no stream": (_SETTINGS + frame(0, 0, 0, b"x"), 1),
    "data of a stream to come": (_SETTINGS + frame(0, 0, 9, b"x"), 1),
    "more padding than data": (_SETTINGS + _request() + frame(0, 8, 1, b"\x05abc"), 1),
    "a request by an even number": (_SETTINGS + frame(1, 5, 2, b"\x82"), 1),
    "fields that nothing follows": (_SETTINGS + frame(1, 0, 1, b"\x82") + frame(6, 0, 0, bytes(8)), 1),
    "fields that follow nothing": (_SETTINGS + frame(9, 4, 1, b"\x82"), 1),
    "fields without end": (_SETTINGS + frame(1, 0, 1, b"\x82") + frame(9, 0, 1, b"") * 65, 11),
    "fields that are too large": (_SETTINGS + frame(1, 0, 1, b"\x82") + frame(9, 0, 1, bytes(16_000)) * 5, 11),
    "too many fields": (_SETTINGS + frame(1, 5, 1, b"\x82" * 5000), 11),
    "fields that cannot be read": (_SETTINGS + frame(1, 5, 1, b"\xff\xff\xff"), 9),
    "no path": (_SETTINGS + frame(1, 5, 1, b"\x83\x86"), 1),
    "upper case": (_SETTINGS + _request((b"Name", b"x")), 1),
    "a field of HTTP/1": (_SETTINGS + _request((b"connection", b"close")), 1),
    "a path after other fields": (_SETTINGS + _request((b"x", b"y"), (b":path", b"/z")), 1),
    "a promise": (_SETTINGS + frame(5, 0, 1, bytes(4)), 1),
    "a short ping": (_SETTINGS + frame(6, 0, 0, b"x"), 6),
    "a ping of a stream": (_SETTINGS + frame(6, 0, 1, bytes(8)), 1),
    "half a setting": (_SETTINGS + frame(4, 0, 0, b"xxx"), 6),
    "a window too large": (_SETTINGS + setting(4, 1 << 31), 3),
    "a frame size too small": (_SETTINGS + setting(5, 1), 1),
    "a window opened by nothing": (_SETTINGS + frame(8, 0, 0, bytes(4)), 1),
    "a window opened too far": (_SETTINGS + frame(8, 0, 0, b"\x7f\xff\xff\xff"), 3),
    "a reset of a stream to come": (_SETTINGS + frame(3, 0, 5, bytes(4)), 1),
    "trailers in the middle": (_SETTINGS + frame(1, 4, 1, _request()[9:]) + frame(1, 4, 1, b""), 1),
}


@pytest.mark.parametrize(("data", "code"), _VIOLATIONS.values(), ids=_VIOLATIONS)
def test_a_violation_ends_the_connection_with_its_reason(data: bytes, code: int) -> None:
    machine = ServerMachine(Recorder(), 10, 16 << 10)
    with pytest.raises(h2.exceptions.ProtocolError):
        machine.receive_data(_PREFACE + data)
    said = machine.data_to_send()
    goodbye = said[said.rindex(b"\x07\x00\x00\x00\x00\x00") :]
    assert int.from_bytes(goodbye[10:14], "big") == code
    with pytest.raises(h2.exceptions.ProtocolError):
        machine.receive_data(frame(6, 0, 0, bytes(8)))


def test_what_is_no_http_2_is_refused_at_once() -> None:
    with pytest.raises(h2.exceptions.ProtocolError):
        ServerMachine(Recorder(), 10, 100).receive_data(b"GET")


def test_data_after_the_end_and_a_window_too_large_reset_their_stream_only() -> None:
    client, machine, recorder = _pair(2)
    client.end_stream(1)
    machine.receive_data(client.data_to_send() + frame(0, 0, 1, b"x") + frame(8, 0, 3, b"\x7f\xff\xff\xff"))
    assert recorder.take() == [("complete", 1), ("reset", 1), ("reset", 3)]
    codes = [event.error_code for event in client.receive_data(machine.data_to_send()) if hasattr(event, "error_code")]
    assert codes == [h2.errors.ErrorCodes.STREAM_CLOSED, h2.errors.ErrorCodes.FLOW_CONTROL_ERROR]


def test_more_streams_than_allowed_end_the_connection() -> None:
    machine = ServerMachine(Recorder(), 2, 16 << 10)
    machine.receive_data(_PREFACE + _SETTINGS)
    block = _request()[9:]
    with pytest.raises(h2.exceptions.ProtocolError):
        machine.receive_data(b"".join(frame(1, 4, id, block) for id in (1, 3, 5)))


def test_so_many_frames_are_handled_at_most_and_the_others_with_the_next() -> None:
    client, machine, recorder = _pair()
    client.send_headers(1, _FIELDS)
    for number in range(5):
        client.send_data(1, bytes((number,)))
    data = client.data_to_send()
    assert machine.receive_data(data, 3)
    assert [said[0] for said in recorder.take()] == ["begin", "feed", "feed"]
    assert machine.receive_data(b"", 2)
    assert not machine.receive_data(b"", 2)
    assert [said[2] for said in recorder.take()] == [b"\2", b"\3", b"\4"]
    # What is incomplete waits for its rest.
    client.send_data(1, b"end")
    data = client.data_to_send()
    assert not machine.receive_data(data[:-1], 1)
    assert not machine.receive_data(data[-1:], 2)
    assert recorder.take() == [("feed", 1, b"end")]
