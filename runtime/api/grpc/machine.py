"""The client's side of HTTP/2, for servers it need not trust: a frame costs the same however many streams there are.

h2 iterates over all streams when a peer changes its settings, and to count the open ones whenever one is opened. Here a
change of the initial window is one number, which each stream applies when it is next used; and closed streams are
removed at once, so that the open ones need not be counted.
"""

import struct
from typing import Any

import h2.config
import h2.connection
import h2.errors
import h2.exceptions
import h2.settings
import h2.stream
from h2.events import ConnectionTerminated, Event
from h2.stream import H2Stream
from h2.utilities import guard_increment_window
from hyperframe.frame import DataFrame, Frame, GoAwayFrame, HeadersFrame, RstStreamFrame, WindowUpdateFrame

_CLOSED = h2.connection.ConnectionState.CLOSED
# A gRPC status message may begin with a space, for which h2 would close the connection.
_CLIENT = h2.config.H2Configuration(
    client_side=True,
    header_encoding=None,
    validate_inbound_headers=False,
    validate_outbound_headers=False,
    normalize_outbound_headers=False,
)
# A frame is one unit of work, plus one for each so many bytes.
_DATA_UNIT = 4096
_HEADERS_UNIT = 32
_FRAME_HEAD = 9
_RECEIVING = (h2.stream.StreamState.OPEN, h2.stream.StreamState.HALF_CLOSED_LOCAL)
_HEAD = struct.Struct(">HBBBI")


class Machine(h2.connection.H2Connection):
    """One connection of a client. `work` counts what the server caused, in units of small frames."""

    # Only distinguishes late frames of a closed stream from those of one that never existed.
    MAX_CLOSED_STREAMS = 2 * 1024

    def __init__(self, initial_settings: dict[h2.settings.SettingCodes, int], max_header_list: int) -> None:
        super().__init__(_CLIENT)
        self.local_settings = h2.settings.Settings(client=True, initial_values=dict(initial_settings))
        self.decoder.max_header_list_size = max_header_list
        self.work = 0.0
        # The sum of the peer's changes to all windows, and how much of it each stream has applied.
        self._shift = 0
        self._taken: dict[int, int] = {}
        # The beginning of a frame that `take_parts` waits for the rest of.
        self._begun = b""

    def take_work(self) -> float:
        """The work since the last call."""
        work, self.work = self.work, 0.0
        return work

    def retire(self, id: int) -> None:
        """Forget a stream if it is closed."""
        stream = self.streams.get(id)
        if stream is not None and stream.closed:
            del self.streams[id]
            self._taken.pop(id, None)
            self._closed_streams[id] = stream.closed_by

    def send_data(
        self, stream_id: int, data: bytes | memoryview, end_stream: bool = False, pad_length: Any = None
    ) -> None:
        """A part of a request, for which there is room. Raises ProtocolError if the stream is over."""
        if end_stream or pad_length is not None:
            super().send_data(stream_id, data, end_stream=end_stream, pad_length=pad_length)
        else:
            self.send_part(stream_id, data)

    def send_part(self, id: int, data: bytes | memoryview) -> None:
        """A part of a request, for which there is room and after which more comes: a frame without the pains of h2.

        Raises ProtocolError if the stream is over.
        """
        stream = self._get_stream_by_id(id)
        if not stream.open or self.state_machine.state is _CLOSED:
            raise h2.exceptions.StreamClosedError(id)
        size = len(data)
        self.outbound_flow_control_window -= size
        stream.outbound_flow_control_window -= size
        self._data_to_send += _HEAD.pack(size >> 8, size & 0xFF, 0, 0, id)
        self._data_to_send += data

    def take_parts(self, data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
        """The frames of data with which what was received begins, as far as they need nothing of h2; and the rest.

        Their windows are those of h2: open them again as for others. One that goes on in what comes next is kept until
        then: given to h2, it would lead all that follow there.
        """
        parts: list[tuple[int, bytes]] = []
        if self.incoming_buffer._data:
            return parts, data
        if self._begun:
            data, self._begun = self._begun + data, b""
        at, end = 0, len(data)
        while end > at:
            if end - at < _FRAME_HEAD:
                self._begun = data[at:]
                return parts, b""
            high, low, kind, flags, id = _HEAD.unpack_from(data, at)
            size = high << 8 | low
            start = at + _FRAME_HEAD
            stream = self.streams.get(id)
            if kind or flags or stream is None:
                break
            state = stream.state_machine
            if not state.headers_received or state.state not in _RECEIVING:
                break
            if size > self.max_inbound_frame_size or size > min(
                stream._inbound_window_manager.current_window_size,
                self._inbound_flow_control_window_manager.current_window_size,
            ):
                break  # h2 says what is wrong with it
            if start + size > end:
                self._begun = data[at:]
                return parts, b""
            stream._inbound_window_manager.window_consumed(size)
            self._inbound_flow_control_window_manager.window_consumed(size)
            self.work += 1 + size // _DATA_UNIT
            at = start + size
            parts.append((id, data[start:at]))
        return parts, data[at:] if at else data

    # Windows of what is received: a stream's opens when its data is read, the connection's when there is room for more.

    def open_connection_window(self, size: int) -> None:
        """The peer may send so many bytes more, of all streams together; nothing happens after a goodbye."""
        if self.state_machine.state is _CLOSED:
            return
        increment = self._inbound_flow_control_window_manager.process_bytes(size)
        if increment:
            frame = WindowUpdateFrame(0)
            frame.window_increment = increment
            self._prepare_for_sending([frame])

    def open_stream_window(self, id: int, size: int) -> None:
        """The peer may send so many bytes more of a stream; nothing happens if it, or the connection, is over."""
        stream = self.streams.get(id)
        if stream is not None and stream.open and self.state_machine.state is not _CLOSED:
            self._prepare_for_sending(stream.acknowledge_received_data(size))

    # What h2 does for each stream, or by going through all of them.

    @property
    def open_inbound_streams(self) -> int:
        """How many requests of the server are under way: it can make none."""
        return 0

    @property
    def open_outbound_streams(self) -> int:
        """How many requests are under way."""
        return len(self.streams)

    def _begin_new_stream(self, stream_id: int, allowed_ids: h2.connection.AllowedStreamIDs) -> H2Stream:
        stream = super()._begin_new_stream(stream_id, allowed_ids)
        self._taken[stream_id] = self._shift
        return stream

    def _get_stream_by_id(self, stream_id: int | None) -> H2Stream:
        stream = super()._get_stream_by_id(stream_id)
        missing = self._shift - self._taken.get(stream.stream_id, self._shift)
        if missing:
            self._taken[stream.stream_id] = self._shift
            stream.outbound_flow_control_window = guard_increment_window(stream.outbound_flow_control_window, missing)
        stream.max_outbound_frame_size = self.max_outbound_frame_size
        return stream

    def _flow_control_change_from_settings(self, old_value: int | None, new_value: int) -> None:
        self._shift += new_value - (old_value or 0)

    def _acknowledge_settings(self) -> list[Frame]:
        # h2 passes the maximum frame size to every stream; here each gets it when it is used.
        streams, self.streams = self.streams, {}
        try:
            return super()._acknowledge_settings()
        finally:
            self.streams = streams

    def _receive_goaway_frame(self, frame: GoAwayFrame) -> tuple[list[Frame], list[Event]]:
        # h2 accepts nothing after it; but the streams that the peer has begun go on.
        event = ConnectionTerminated()
        event.error_code = _error_code(frame.error_code)
        event.last_stream_id = frame.last_stream_id
        event.additional_data = frame.additional_data or None
        return [], [event]

    def _receive_rst_stream_frame(self, frame: RstStreamFrame) -> tuple[list[Frame], list[Event]]:
        result = super()._receive_rst_stream_frame(frame)
        self.retire(frame.stream_id)
        return result

    def receive_data(self, data: Any) -> list[Event]:
        """The events of the received data. Raises ProtocolError."""
        events = super().receive_data(data)
        # h2 looks at the length of a frame when all of it is here: that may be 16 MiB, of one that is then refused.
        waiting = self.incoming_buffer._data
        if len(waiting) >= _FRAME_HEAD and int.from_bytes(waiting[:3]) > self.max_inbound_frame_size:
            self._terminate_connection(h2.errors.ErrorCodes.FRAME_SIZE_ERROR)
            raise h2.exceptions.FrameTooLargeError(f"a frame of {int.from_bytes(waiting[:3])} bytes")
        return events

    def _receive_frame(self, frame: Frame) -> list[Event]:
        self.work += 1
        if isinstance(frame, DataFrame):
            self.work += len(frame.data) // _DATA_UNIT
        elif isinstance(frame, HeadersFrame):
            self.work += len(frame.data) / _HEADERS_UNIT
        return super()._receive_frame(frame)


def _error_code(number: int) -> h2.errors.ErrorCodes | int:
    try:
        return h2.errors.ErrorCodes(number)
    except ValueError:
        return number
