"""The protocol machine, for peers that are not to be trusted: no frame costs more the more streams there are.

h2 goes through all streams when a peer changes its settings, and to count the open ones whenever one is opened. Here a
change of the initial window is one number, which each stream takes in when it is next used; and streams are counted by
keeping none that is over.
"""

import h2.config
import h2.connection
import h2.errors
import h2.settings
from h2.events import Event
from h2.stream import H2Stream
from h2.utilities import guard_increment_window
from hyperframe.frame import DataFrame, Frame, HeadersFrame, RstStreamFrame

_CONFIG = h2.config.H2Configuration(
    client_side=False, header_encoding=None, validate_outbound_headers=False, normalize_outbound_headers=False
)
# A frame is one unit of work, and so are that many bytes of one.
_DATA_UNIT = 4096
_HEADERS_UNIT = 32


class Machine(h2.connection.H2Connection):
    """A server's side of a connection. `work` counts what the peer has made it do, in units of small frames."""

    # Only tells late frames of a stream that has ended from those of one that never was.
    MAX_CLOSED_STREAMS = 2 * 1024

    def __init__(self, initial_settings: dict[h2.settings.SettingCodes, int], max_header_list: int) -> None:
        super().__init__(_CONFIG)
        self.local_settings = h2.settings.Settings(client=False, initial_values=dict(initial_settings))
        self.decoder.max_header_list_size = max_header_list
        self.work = 0.0
        # By how much the peer has changed the windows of all streams so far, and how much of that each stream has.
        self._shift = 0
        self._taken: dict[int, int] = {}

    def take_work(self) -> float:
        """What was done since the last call."""
        work, self.work = self.work, 0.0
        return work

    def retire(self, id: int) -> None:
        """Forget a stream if it is over."""
        stream = self.streams.get(id)
        if stream is not None and stream.closed:
            del self.streams[id]
            self._taken.pop(id, None)
            self._closed_streams[id] = stream.closed_by

    # What h2 does for each stream, or by going through all of them.

    @property
    def open_inbound_streams(self) -> int:
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
        # h2 gives the largest frame's size to every stream; here they get it when they are used.
        streams, self.streams = self.streams, {}
        try:
            return super()._acknowledge_settings()
        finally:
            self.streams = streams

    def _receive_rst_stream_frame(self, frame: RstStreamFrame) -> tuple[list[Frame], list[Event]]:
        result = super()._receive_rst_stream_frame(frame)
        self.retire(frame.stream_id)
        return result

    def _receive_frame(self, frame: Frame) -> list[Event]:
        self.work += 1
        if isinstance(frame, DataFrame):
            self.work += len(frame.data) // _DATA_UNIT
        elif isinstance(frame, HeadersFrame):
            self.work += len(frame.data) / _HEADERS_UNIT
        return super()._receive_frame(frame)
