"""Questions over HTTPS (RFC 8484): a POST each, over HTTP/2, each on a stream of its own."""

import contextlib
from collections.abc import Iterator

import attrs
import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions

from nodespan.controllers.dns.connections import MOST_QUESTIONS, ExchangeError, UntakenError
from nodespan.controllers.dns.queries import LARGEST

_MEDIA_TYPE = "application/dns-message"
_PATH = "/dns-query"
_OK = b"200"
# What may have come of all answers of a connection that are not complete, and of a frame that is not.
_MOST_UNFINISHED = 1 << 20


def _machine() -> h2.connection.H2Connection:
    machine = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding=None))
    machine.initiate_connection()
    return machine


@attrs.define(eq=False)
class HTTPSFraming:
    """HTTP/2 with a server by its name: see `Framing`."""

    _name: str
    _machine: h2.connection.H2Connection = attrs.field(factory=_machine)
    # What has come so far, by stream.
    _answers: dict[int, bytearray] = attrs.field(factory=dict)
    # How many bytes came since those that meant anything: the machine keeps what is no whole frame yet.
    _unread: int = 0

    @property
    def room(self) -> int:
        """See `Framing`."""
        most = self._machine.remote_settings.max_concurrent_streams
        return min(MOST_QUESTIONS, most) - len(self._answers)

    @property
    def given_up(self) -> int:
        """See `Framing`: the server is told."""
        return 0

    def begin(self, question: bytes) -> int:
        """See `Framing`."""
        headers = {
            ":method": "POST",
            ":scheme": "https",
            ":authority": self._name,
            ":path": _PATH,
            "content-type": _MEDIA_TYPE,
            "accept": _MEDIA_TYPE,
            "content-length": str(len(question)),
        }
        try:
            number = self._machine.get_next_available_stream_id()
            self._machine.send_headers(number, list(headers.items()))
            self._machine.send_data(number, question, end_stream=True)
        except h2.exceptions.H2Error as error:
            raise ExchangeError("the connection takes no more questions") from error
        self._answers[number] = bytearray()
        return number

    def give_up(self, number: int) -> None:
        """See `Framing`."""
        if self._answers.pop(number, None) is not None:
            # All of the answer may have come, and the end of the connection with it.
            with contextlib.suppress(h2.exceptions.ProtocolError):
                self._machine.reset_stream(number, h2.errors.ErrorCodes.CANCEL)

    def take(self, data: bytes) -> Iterator[tuple[int, bytes | ExchangeError]]:
        """See `Framing`."""
        try:
            events = self._machine.receive_data(data)
            self._unread = 0 if events else self._unread + len(data)
            if self._unread > _MOST_UNFINISHED:
                raise ExchangeError("the server breaks the rules of HTTP/2")
            for event in events:
                if isinstance(event, h2.events.ConnectionTerminated):
                    raise ExchangeError("the server ended the connection")
                number = getattr(event, "stream_id", None)
                if isinstance(event, h2.events.DataReceived):
                    # Also that of questions that have ended: it takes up the window of the whole connection.
                    self._machine.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                if number in self._answers and (outcome := self._outcome(event, number)) is not None:
                    yield number, outcome
        except h2.exceptions.H2Error as error:
            raise ExchangeError("the server breaks the rules of HTTP/2") from error

    def to_send(self) -> bytes:
        """See `Framing`."""
        return self._machine.data_to_send()

    def _outcome(self, event: h2.events.Event, number: int) -> bytes | ExchangeError | None:
        """What an event of a stream makes of its question, None for nothing yet."""
        answer = self._answers[number]
        match event:
            case h2.events.ResponseReceived(headers=headers):
                status = dict(headers).get(b":status", b"")
                if status != _OK:
                    self.give_up(number)
                    shown = status[:3].decode("ascii", "backslashreplace")
                    return ExchangeError(f"the server answers with status {shown}")
            case h2.events.DataReceived():
                answer += event.data
                if len(answer) > LARGEST:
                    self.give_up(number)
                    return ExchangeError("the server answers more than a message of DNS has")
                if sum(map(len, self._answers.values())) > _MOST_UNFINISHED:
                    raise ExchangeError("the server begins more answers than it ends")
            case h2.events.StreamEnded():
                return bytes(self._answers.pop(number))
            case h2.events.StreamReset(error_code=code):
                del self._answers[number]
                is_untaken = code == h2.errors.ErrorCodes.REFUSED_STREAM
                return (UntakenError if is_untaken else ExchangeError)("the server refuses the question")
        return None
