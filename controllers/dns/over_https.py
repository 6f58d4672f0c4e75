"""Questions over HTTPS (RFC 8484): a POST each, over HTTP/2, one after the other on a connection."""

from collections.abc import Sequence

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import trio

from nodespan.controllers.dns.connections import ExchangeError
from nodespan.controllers.dns.queries import LARGEST

_CHUNK = 16 * 1024
_MEDIA_TYPE = "application/dns-message"
_PATH = "/dns-query"
_OK = b"200"


class HTTPSConnection:
    """A connection to a server by its name. After an error it is not used again."""

    def __init__(self, stream: trio.abc.Stream, name: str) -> None:
        self._stream = stream
        self._name = name
        self._machine = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding=None))
        self._machine.initiate_connection()

    async def exchange(self, question: bytes) -> bytes:
        """The answer to a question. Raises ExchangeError, OSError or BrokenResourceError."""
        try:
            return await self._exchange(question)
        except h2.exceptions.H2Error as error:
            raise ExchangeError("the server breaks the rules of HTTP/2") from error

    async def aclose(self) -> None:
        """Close it at once."""
        await trio.aclose_forcefully(self._stream)

    async def _exchange(self, question: bytes) -> bytes:
        machine = self._machine
        number = machine.get_next_available_stream_id()
        headers = {
            ":method": "POST",
            ":scheme": "https",
            ":authority": self._name,
            ":path": _PATH,
            "content-type": _MEDIA_TYPE,
            "accept": _MEDIA_TYPE,
            "content-length": str(len(question)),
        }
        machine.send_headers(number, list(headers.items()))
        machine.send_data(number, question, end_stream=True)
        await self._stream.send_all(machine.data_to_send())
        answer = bytearray()
        while True:
            data = await self._stream.receive_some(_CHUNK)
            if not data:
                raise ExchangeError("the server closed the connection")
            is_complete = self._take(machine.receive_data(bytes(data)), number, answer)
            if to_send := machine.data_to_send():
                await self._stream.send_all(to_send)
            if is_complete:
                return bytes(answer)

    def _take(self, events: Sequence[h2.events.Event], number: int, answer: bytearray) -> bool:
        """Take what came; returns whether the answer is complete."""
        for event in events:
            match event:
                case h2.events.ResponseReceived(stream_id=stream, headers=headers) if stream == number:
                    status = dict(headers).get(b":status", b"")
                    if status != _OK:
                        raise ExchangeError(
                            f"the server answers with status {status[:3].decode('ascii', 'backslashreplace')}"
                        )
                case h2.events.DataReceived(stream_id=stream) if stream == number:
                    answer += event.data
                    if len(answer) > LARGEST:
                        raise ExchangeError("the server answers more than a message of DNS has")
                    self._machine.acknowledge_received_data(event.flow_controlled_length, number)
                case h2.events.StreamEnded(stream_id=stream) if stream == number:
                    return True
                case h2.events.StreamReset(stream_id=stream) if stream == number:
                    raise ExchangeError("the server refuses the question")
                case h2.events.ConnectionTerminated():
                    raise ExchangeError("the server ended the connection")
        return False
