"""The server's side of HTTP/2, for untrusted peers and many connections: bytes in, calls of a handler and bytes out.

Theory of operation. The machine does no I/O. A frame costs the same however many streams there are, and nothing is
kept of a stream that is over: what still arrives for it is ignored.

    frame           of a stream that               does
    HEADERS         is new                         begins a request
                    is open                        ends it (trailers; they are decoded and ignored)
                    is over                        nothing, apart from the table of header fields
    DATA            is open, not ended             feeds the request; both windows open again at once. They have 64 KiB,
                                                   or more for a stream that was widened
                    is over                        opens the connection's window again
    RST_STREAM      is open                        ends the stream
    WINDOW_UPDATE   is open, or of all             opens a window
    SETTINGS                                       is acknowledged; a change of the first window is one number, which
                                                   is added to each stream's when that is next used
    PING                                           is answered
    PRIORITY, GOAWAY, of a kind unknown            nothing

Everything else is a violation: a GOAWAY is queued, and ProtocolError raised. What is received opens its window again at
once, because other limits bound what a peer may have buffered here.
"""

import functools
import struct
from typing import Final, NoReturn, Protocol

import h2.errors
import h2.exceptions
from hpack.exceptions import HPACKError, OversizedHeaderListError

from nodespan.runtime.api.grpc.header_block import EMPTY_TABLE
from nodespan.runtime.api.grpc.header_table import EMPTY, Headers, MalformedError, read_block

__all__ = ["Handler", "Headers", "ServerMachine", "frame", "greeting"]

Errors = h2.errors.ErrorCodes

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HEAD: Final = struct.Struct(">HBBBI")
_SETTING: Final = struct.Struct(">HI")
_HEAD_SIZE: Final = 9
_DATA, _HEADERS, _PRIORITY, _RST, _SETTINGS, _PUSH, _PING, _GOAWAY, _WINDOW, _CONTINUATION = range(10)
_END_STREAM, _ACK, _END_HEADERS, _PADDED, _WITH_PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
_TABLE_SIZE, _ENABLE_PUSH, _MAX_STREAMS, _INITIAL_WINDOW, _MAX_FRAME, _MAX_HEADER_LIST = range(1, 7)
_ID: Final = 0x7FFFFFFF
_MAX_WINDOW: Final = 0x7FFFFFFF
_DEFAULT_WINDOW: Final = 65_535
_DEFAULT_TABLE: Final = 4096
SMALLEST_MAX_FRAME: Final = 16_384
_LARGEST_FRAME: Final = (1 << 24) - 1
# What of a window is taken before it is opened again, unless it was widened; a frame of the largest size always fits
# into the rest.
_OPEN_AGAIN: Final = 32_768
_MOST_CONTINUATIONS: Final = 64
# A frame is one unit of work, plus one for each so many bytes.
_DATA_UNIT: Final = 4096
_HEADERS_UNIT: Final = 32
_ACKNOWLEDGED: Final = _HEAD.pack(0, 0, _SETTINGS, _ACK, 0)


class Handler(Protocol):
    """What a machine calls; none of it may wait."""

    def begin(self, id: int, headers: Headers, *, has_ended: bool) -> None:
        """A request begins."""
        ...

    def feed(self, id: int, data: bytes) -> None:
        """A part of its body."""
        ...

    def complete(self, id: int) -> None:
        """It ends."""
        ...

    def was_reset(self, id: int) -> None:
        """The peer has given it up."""
        ...

    def window_opened(self, id: int) -> None:
        """The peer takes more of a stream, or of all together if the id is 0."""
        ...

    def settings_changed(self, *, windows: bool) -> None:
        """The peer has sent settings; `windows`: they change the windows of all streams."""
        ...

    def pinged(self) -> None:
        """The peer has sent a ping, which is answered."""
        ...


@functools.cache
def greeting(max_streams: int, max_header_list: int) -> bytes:
    """The first frame of a server: the same for all connections."""
    settings = ((_MAX_STREAMS, max_streams), (_MAX_HEADER_LIST, max_header_list))
    return frame(_SETTINGS, 0, 0, b"".join(_SETTING.pack(*setting) for setting in settings))


def frame(kind: int, flags: int, id: int, payload: bytes = b"") -> bytes:
    """A frame as bytes."""
    size = len(payload)
    return _HEAD.pack(size >> 8, size & 0xFF, kind, flags, id) + payload


class _Flow:
    """A stream: its window before the changes that are common to all, what it took of its own, and its request."""

    __slots__ = ("has_ended", "open_again", "taken", "window")

    def __init__(self, window: int, *, has_ended: bool) -> None:
        self.window = window
        self.taken = 0
        # What is taken before the peer may send as much again.
        self.open_again = _OPEN_AGAIN
        self.has_ended = has_ended


class _Nobody:
    """Handles nothing."""

    def begin(self, id: int, headers: Headers, *, has_ended: bool) -> None:
        pass

    def feed(self, id: int, data: bytes) -> None:
        pass

    def complete(self, id: int) -> None:
        pass

    def was_reset(self, id: int) -> None:
        pass

    def window_opened(self, id: int) -> None:
        pass

    def settings_changed(self, *, windows: bool) -> None:
        pass

    def pinged(self) -> None:
        pass


_NOBODY: Final = _Nobody()


class ServerMachine:
    """One connection of a server. `work` counts what the peer caused, in units of small frames."""

    __slots__ = (
        "_block",
        "_greeted",
        "_handler",
        "_highest",
        "_is_closed",
        "_max_header_list",
        "_max_streams",
        "_open_again",
        "_out",
        "_pending",
        "_prefix",
        "_shift",
        "_streams",
        "_table",
        "_taken",
        "_widest",
        "max_outbound_frame_size",
        "outbound_flow_control_window",
        "work",
    )

    def __init__(self, handler: Handler, max_streams: int, max_header_list: int, *, has_greeted: bool = False) -> None:
        self.work = 0.0
        # What the peer takes of all streams together, and in one frame.
        self.outbound_flow_control_window = _DEFAULT_WINDOW
        self.max_outbound_frame_size = SMALLEST_MAX_FRAME
        self._handler: Handler = handler
        self._max_streams = max_streams
        self._max_header_list = max_header_list
        self._table = EMPTY
        self._streams: dict[int, _Flow] = {}
        self._highest = 0
        # The sum of the peer's changes to all windows.
        self._shift = 0
        self._taken = 0
        self._open_again = _OPEN_AGAIN
        # The largest window that the peer was given for one stream.
        self._widest = _DEFAULT_WINDOW
        self._pending = b""
        # How much of the preface has come, and whether the settings after it have.
        self._greeted = 0
        self._out: list[bytes | memoryview] = [] if has_greeted else [greeting(max_streams, max_header_list)]
        # A block of header fields that goes on in other frames: its stream, flags and parts.
        self._block: tuple[int, int, list[bytes]] | None = None
        self._prefix = b""
        self._is_closed = False

    # What is sent.

    def data_to_send(self) -> bytes:
        """What is to be sent since the last call."""
        out = self._out
        if not out:
            return b""
        data = b"".join(out)
        out.clear()
        return data

    @property
    def open_streams(self) -> int:
        """How many requests are under way."""
        return len(self._streams)

    def local_flow_control_window(self, id: int) -> int:
        """How much the peer takes of a stream. Raises StreamClosedError if it is over."""
        flow = self._streams.get(id)
        if flow is None:
            raise h2.exceptions.StreamClosedError(id)
        return min(self.outbound_flow_control_window, flow.window + self._shift)

    def send_data(self, id: int, data: bytes | memoryview, end_stream: bool = False) -> None:
        """A part of a response, for which there is room. Raises StreamClosedError if the stream is over."""
        size = len(data)
        flow = self._streams.get(id)
        if flow is None:
            raise h2.exceptions.StreamClosedError(id)
        flow.window -= size
        self.outbound_flow_control_window -= size
        self._out.append(_HEAD.pack(size >> 8, size & 0xFF, _DATA, _END_STREAM if end_stream else 0, id))
        self._out.append(data)

    def take_data(self, id: int, data: bytes) -> bytes | None:
        """A part of a response that fits into a frame, to be written by the caller at once.

        None, and nothing is sent, if it has to wait for a window or for what is to be written before it.
        """
        flow, size = self._streams.get(id), len(data)
        if flow is None or self._out or size > self.outbound_flow_control_window or size > flow.window + self._shift:
            return None
        flow.window -= size
        self.outbound_flow_control_window -= size
        return _HEAD.pack(size >> 8, size & 0xFF, _DATA, 0, id) + data

    def send_headers(self, id: int, block: bytes, end_stream: bool = False) -> None:
        """The fields before or after a response, as `header_block` makes them. Raises StreamClosedError."""
        if id not in self._streams:
            raise h2.exceptions.StreamClosedError(id)
        if self._prefix:
            block, self._prefix = self._prefix + block, b""
        size = len(block)
        flags = _END_STREAM if end_stream else 0
        if size <= SMALLEST_MAX_FRAME:
            self._out.append(_HEAD.pack(size >> 8, size & 0xFF, _HEADERS, flags | _END_HEADERS, id) + block)
            return
        kind = _HEADERS
        for start in range(0, size, SMALLEST_MAX_FRAME):
            last = _END_HEADERS if start + SMALLEST_MAX_FRAME >= size else 0
            self._out.append(frame(kind, flags | last, id, block[start : start + SMALLEST_MAX_FRAME]))
            kind, flags = _CONTINUATION, 0

    def end_stream(self, id: int) -> None:
        """Nothing comes after what was sent. Raises StreamClosedError."""
        self.send_data(id, b"", end_stream=True)

    def reset_stream(self, id: int, code: Errors) -> None:
        """Give a stream up. Raises StreamClosedError."""
        if self._streams.pop(id, None) is None:
            raise h2.exceptions.StreamClosedError(id)
        self._out.append(frame(_RST, 0, id, code.to_bytes(4, "big")))

    def widen(self, id: int, window: int) -> None:
        """The peer may have so many bytes of a stream under way from now on, and as many of all together.

        What it has under way is in the buffers of the kernels and of the network, not here.
        """
        flow = self._streams.get(id)
        if flow is None or flow.has_ended or window <= _DEFAULT_WINDOW:
            return
        if window > self._widest:
            self._out.append(frame(_WINDOW, 0, 0, (window - self._widest).to_bytes(4, "big")))
            self._widest = window
            self._open_again = window // 4
        self._out.append(frame(_WINDOW, 0, id, (window - _DEFAULT_WINDOW).to_bytes(4, "big")))
        flow.open_again = window // 4

    def retire(self, id: int) -> None:
        """Forget a stream that is over at our side."""
        self._streams.pop(id, None)

    def close_connection(self, code: Errors = Errors.NO_ERROR, reason: bytes = b"") -> None:
        """Say goodbye: nothing is received after that."""
        self._is_closed = True
        self._out.append(frame(_GOAWAY, 0, 0, struct.pack(">II", self._highest, code) + reason))

    def detach(self) -> None:
        """The connection is over, and nothing more is received: refer to the handler no more."""
        self._is_closed = True
        self._handler = _NOBODY

    # What is received.

    def take_work(self) -> float:
        """The work since the last call."""
        work, self.work = self.work, 0.0
        return work

    def forgive_data(self, size: int) -> None:
        """So many bytes of data, which were just received, are no work: they are accounted for elsewhere."""
        self.work -= 1 + size // _DATA_UNIT

    def receive_data(self, data: bytes, most: int = _LARGEST_FRAME) -> bool:
        """Handle what the peer has sent, at most so many frames. Returns whether there may be more to handle.

        Raises ProtocolError, after which nothing more may be received.
        """
        if self._pending:
            data = self._pending + data
            self._pending = b""
        at = 0
        if self._greeted < len(_PREFACE):
            size = min(len(data), len(_PREFACE) - self._greeted)
            if data[:size] != _PREFACE[self._greeted : self._greeted + size]:
                self._fail(Errors.PROTOCOL_ERROR, "the peer does not speak HTTP/2")
            self._greeted += size
            at = size
        end = len(data)
        while end - at >= _HEAD_SIZE and most:
            high, low, kind, flags, id = _HEAD.unpack_from(data, at)
            size = high << 8 | low
            if size > SMALLEST_MAX_FRAME:
                self._fail(Errors.FRAME_SIZE_ERROR, f"a frame of {size} bytes")
            start = at + _HEAD_SIZE
            at = start + size
            if at > end:
                at = start - _HEAD_SIZE
                break
            if self._is_closed:
                raise h2.exceptions.ProtocolError("the connection is closed")
            self.work += 1
            most -= 1
            self._receive(kind, flags, id & _ID, data[start:at])
        if at < end:
            self._pending = data[at:] if at else data
        return not most and end - at >= _HEAD_SIZE

    def _receive(self, kind: int, flags: int, id: int, payload: bytes) -> None:
        if self._block is not None and (kind != _CONTINUATION or id != self._block[0]):
            self._fail(Errors.PROTOCOL_ERROR, "header fields do not go on")
        if self._greeted == len(_PREFACE):
            if kind != _SETTINGS:
                self._fail(Errors.PROTOCOL_ERROR, "the first frame has no settings")
            self._greeted += 1
        if kind == _DATA:
            self._receive_data(flags, id, payload)
        elif kind == _HEADERS:
            self._receive_headers(flags, id, payload)
        elif kind == _WINDOW:
            self._receive_window(id, payload)
        elif kind == _PING:
            self._require_place(id == 0)
            self._require_size(len(payload) == 8)
            if not flags & _ACK:
                self._out.append(frame(_PING, _ACK, 0, payload))
                self._handler.pinged()
        elif kind == _SETTINGS:
            self._receive_settings(flags, id, payload)
        elif kind == _RST:
            self._require_place(0 < id <= self._highest)
            self._require_size(len(payload) == 4)
            if self._streams.pop(id, None) is not None:
                self._handler.was_reset(id)
        elif kind == _CONTINUATION:
            self._receive_continuation(flags, payload)
        elif kind == _PRIORITY:
            self._require_place(id != 0)
            self._require_size(len(payload) == 5)
        elif kind == _GOAWAY:
            self._require_place(id == 0)
            self._require_size(len(payload) >= 8)
        elif kind == _PUSH:
            self._fail(Errors.PROTOCOL_ERROR, "a client cannot promise")

    def _fail(self, code: Errors, text: str) -> NoReturn:
        if not self._is_closed:
            self.close_connection(code)
        raise h2.exceptions.ProtocolError(text)

    def _require_place(self, has_place: bool) -> None:
        if not has_place:
            self._fail(Errors.PROTOCOL_ERROR, "a frame of a stream that cannot have it")

    def _require_size(self, has_size: bool) -> None:
        if not has_size:
            self._fail(Errors.FRAME_SIZE_ERROR, "a frame of a wrong size")

    def _unpadded(self, flags: int, payload: bytes, extra: int = 0) -> bytes:
        """Without padding, and without so many bytes before the contents."""
        padding = 0
        start = extra
        if flags & _PADDED:
            self._require_size(len(payload) >= 1)
            padding = payload[0]
            start += 1
        if start + padding > len(payload):
            self._fail(Errors.PROTOCOL_ERROR, "more padding than frame")
        return payload[start : len(payload) - padding]

    def _receive_data(self, flags: int, id: int, payload: bytes) -> None:
        self._require_place(0 < id <= self._highest)
        size = len(payload)
        self.work += size // _DATA_UNIT
        data = self._unpadded(flags, payload) if flags & _PADDED else payload
        self._taken += size
        if self._taken >= self._open_again:
            self._out.append(frame(_WINDOW, 0, 0, self._taken.to_bytes(4, "big")))
            self._taken = 0
        flow = self._streams.get(id)
        if flow is None:
            return
        if flow.has_ended:
            self.reset_stream(id, Errors.STREAM_CLOSED)
            self._handler.was_reset(id)
            return
        if flags & _END_STREAM:
            flow.has_ended = True
        else:
            flow.taken += size
            if flow.taken >= flow.open_again:
                self._out.append(frame(_WINDOW, 0, id, flow.taken.to_bytes(4, "big")))
                flow.taken = 0
        if data:
            self._handler.feed(id, data)
        if flags & _END_STREAM:
            self._handler.complete(id)

    def _receive_window(self, id: int, payload: bytes) -> None:
        self._require_place(id <= self._highest)
        self._require_size(len(payload) == 4)
        increment = int.from_bytes(payload, "big") & _MAX_WINDOW
        if not increment:
            self._fail(Errors.PROTOCOL_ERROR, "a window is opened by nothing")
        if id == 0:
            self.outbound_flow_control_window += increment
            if self.outbound_flow_control_window > _MAX_WINDOW:
                self._fail(Errors.FLOW_CONTROL_ERROR, "the window is too large")
            self._handler.window_opened(0)
        elif (flow := self._streams.get(id)) is not None:
            flow.window += increment
            if flow.window + self._shift > _MAX_WINDOW:
                self.reset_stream(id, Errors.FLOW_CONTROL_ERROR)
                self._handler.was_reset(id)
            else:
                self._handler.window_opened(id)

    def _receive_settings(self, flags: int, id: int, payload: bytes) -> None:
        self._require_place(id == 0)
        self._require_size(len(payload) % _SETTING.size == 0)
        if flags & _ACK:
            self._require_size(not payload)
            return
        self.work += len(payload) // _HEADERS_UNIT
        shift = self._shift
        for code, value in _SETTING.iter_unpack(payload):
            if code == _INITIAL_WINDOW:
                if value > _MAX_WINDOW:
                    self._fail(Errors.FLOW_CONTROL_ERROR, "the window is too large")
                self._shift = value - _DEFAULT_WINDOW
            elif code == _MAX_FRAME:
                if not SMALLEST_MAX_FRAME <= value <= _LARGEST_FRAME:
                    self._fail(Errors.PROTOCOL_ERROR, f"frames of {value} bytes")
                self.max_outbound_frame_size = value
            elif code == _TABLE_SIZE:
                if value < _DEFAULT_TABLE:
                    self._prefix = EMPTY_TABLE
            elif code == _ENABLE_PUSH and value > 1:
                self._fail(Errors.PROTOCOL_ERROR, "a setting that is neither 0 nor 1")
        self._out.append(_ACKNOWLEDGED)
        self._handler.settings_changed(windows=shift != self._shift)

    # Header fields.

    def _receive_headers(self, flags: int, id: int, payload: bytes) -> None:
        self._require_place(id % 2 == 1)
        if flags & (_PADDED | _WITH_PRIORITY):
            payload = self._unpadded(flags, payload, 5 if flags & _WITH_PRIORITY else 0)
        if flags & _END_HEADERS:
            self._receive_block(id, flags, payload)
        else:
            self._block = (id, flags, [payload])

    def _receive_continuation(self, flags: int, payload: bytes) -> None:
        if self._block is None:
            self._fail(Errors.PROTOCOL_ERROR, "no header fields go on")
        id, first, parts = self._block
        parts.append(payload)
        if len(parts) > _MOST_CONTINUATIONS or sum(map(len, parts)) > 4 * self._max_header_list:
            self._fail(Errors.ENHANCE_YOUR_CALM, "too many header fields")
        if flags & _END_HEADERS:
            self._block = None
            self._receive_block(id, first, b"".join(parts))

    def _receive_block(self, id: int, flags: int, block: bytes) -> None:
        self.work += len(block) / _HEADERS_UNIT
        is_new = id > self._highest
        flow = None if is_new else self._streams.get(id)
        headers = self._decode(block, is_request=is_new)
        if is_new:
            if len(self._streams) >= self._max_streams:
                self._fail(Errors.PROTOCOL_ERROR, "too many streams")
            self._highest = id
            has_ended = bool(flags & _END_STREAM)
            self._streams[id] = _Flow(_DEFAULT_WINDOW, has_ended=has_ended)
            self._handler.begin(id, headers, has_ended=has_ended)
            if has_ended and id in self._streams:
                self._handler.complete(id)
        elif flow is not None:
            if flow.has_ended or not flags & _END_STREAM:
                self._fail(Errors.PROTOCOL_ERROR, "header fields in the middle of a request")
            flow.has_ended = True
            self._handler.complete(id)

    def _decode(self, block: bytes, *, is_request: bool) -> Headers:
        try:
            headers, self._table = read_block(self._table, block, self._max_header_list, is_request=is_request)
        except OversizedHeaderListError:
            self._fail(Errors.ENHANCE_YOUR_CALM, "too many header fields")
        except HPACKError as error:
            self._fail(Errors.COMPRESSION_ERROR, str(error))
        except MalformedError as error:
            self._fail(Errors.PROTOCOL_ERROR, str(error))
        return headers
